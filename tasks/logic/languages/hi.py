"""Hindi: ergative subjects; the verb agrees with "daura" (a visit), adjectives with the subject."""

from .base import Realiser, Subject

COMPARATIVE = {  # masculine, feminine
    "tall": ("{} से ज़्यादा लंबा", "{} से ज़्यादा लंबी"),
    "old": ("उम्र में {} से बड़ा", "उम्र में {} से बड़ी"),
    "fast": ("{} से ज़्यादा तेज़", "{} से ज़्यादा तेज़"),
}
EQUATIVE = {
    "tall": ("{} जितना लंबा", "{} जितनी लंबी"),
    "old": ("उम्र में {} के बराबर", "उम्र में {} के बराबर"),
    "fast": ("{} जितना तेज़", "{} जितनी तेज़"),
}
NUMBER = {2: "दो", 3: "तीन", 4: "चार", 5: "पाँच", 6: "छह"}
COUNT = {"exactly": "ठीक {}", "more": "{} से ज़्यादा", "fewer": "{} से कम"}
ROLE = {
    "teacher": ("शिक्षक", "शिक्षिका"),
    "singer": ("गायक", "गायिका"),
    "writer": ("लेखक", "लेखिका"),
    "painter": ("चित्रकार", "चित्रकार"),
    "journalist": ("पत्रकार", "पत्रकार"),
    "translator": ("अनुवादक", "अनुवादिका"),
    "student": ("छात्र", "छात्रा"),
    "pianist": ("पियानोवादक", "पियानोवादिका"),
}


class Hindi(Realiser):
    code = "hi"
    time_first = True
    conjunction = " और "
    stop = "।"

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role][gender == "f"]

    def visited(self, subject: str, what: str, negation: str = "") -> str:
        return f"{subject} ने {what} का दौरा {negation}किया"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return self.visited(who.text, self.listed(places), "" if positive else "नहीं ")

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"न तो {first} ने और न ही {self.visited(second, self.name(place))}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visited(who.text, self.name(visited))}, लेकिन {self.name(missed)} का नहीं"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text} ने केवल {self.listed(places)} का दौरा किया"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return self.visited(who.text, f"{COUNT[comparison].format(NUMBER[number])} शहरों")

    def everyone(self, places: tuple[str, ...]) -> str:
        return self.visited("सभी", self.listed(places))

    def nobody(self, place: str) -> str:
        return f"किसी ने भी {self.name(place)} का दौरा नहीं किया"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} ने {self.listed(guests)} को आमंत्रित {'' if positive else 'नहीं '}किया"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)}, लेकिन {self.name(left_out)} को नहीं"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        phrase = COMPARATIVE[adjective][who.gender == "f"].format(self.name(other))
        return f"{who.text} {phrase} {'' if positive else 'नहीं '}है"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} {EQUATIVE[adjective][who.gender == 'f'].format(self.name(other))} है"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} {self.the_role(role, who.gender)} {'' if positive else 'नहीं '}है"


REALISER = Hindi()
