"""Swahili: class 1 and 2 verb prefixes (a-, wa-; negative ha-, hawa-), object markers for persons."""

from .base import Realiser, Subject

COMPARATIVE = {  # affirmative, negative
    "tall": ("ni mrefu kuliko", "si mrefu kuliko"),
    "old": ("ni mkubwa kwa umri kuliko", "si mkubwa kwa umri kuliko"),
    "fast": ("ana kasi zaidi kuliko", "hana kasi zaidi kuliko"),
}
EQUATIVE = {"tall": "urefu", "old": "umri", "fast": "kasi"}
CITIES = {2: "miji miwili", 3: "miji mitatu", 4: "miji minne", 5: "miji mitano", 6: "miji sita"}
ROLE = {
    "teacher": "mwalimu",
    "singer": "mwimbaji",
    "writer": "mwandishi",
    "painter": "mchoraji",
    "journalist": "mwanahabari",
    "translator": "mtafsiri",
    "student": "mwanafunzi",
    "pianist": "mpiga piano",
}


class Swahili(Realiser):
    code = "sw"
    time_comma = ","
    conjunction = " na "

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role]

    def visited(self, who: Subject, what: str) -> str:
        return f"{who.text} {'walitembelea' if who.plural else 'alitembelea'} {what}"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        if positive:
            return self.visited(who, self.listed(places))
        return f"{who.text} hakutembelea {self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"si {first} wala {second} aliyetembelea {self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visited(who, self.name(visited))} lakini hakutembelea {self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{self.visited(who, self.listed(places))} pekee"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        if comparison == "exactly":
            return self.visited(who, f"{CITIES[number]} kamili")
        return self.visited(who, f"{'zaidi ya' if comparison == 'more' else 'chini ya'} {CITIES[number]}")

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"kila mtu alitembelea {self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"hakuna mtu aliyetembelea {self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        marker = "wa" if len(guests) > 1 else "mw"
        return f"{who.text} {'ali' if positive else 'haku'}{marker}alika {self.listed(guests)}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)} lakini hakumwalika {self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        return f"{who.text} {COMPARATIVE[adjective][not positive]} {self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} ana {EQUATIVE[adjective]} sawa na {self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} {'ndiye' if positive else 'siye'} {self.the_role(role, who.gender)}"


REALISER = Swahili()
