"""German: perfect tense with the participle last."""

from collections.abc import Sequence

from .base import Realiser, Subject, Word

COMPARATIVE = {"tall": "größer", "old": "älter", "fast": "schneller"}
EQUATIVE = {"tall": "groß", "old": "alt", "fast": "schnell"}
COUNT = {"exactly": "genau", "more": "mehr als", "fewer": "weniger als"}
NUMBER = {2: "zwei", 3: "drei", 4: "vier", 5: "fünf", 6: "sechs"}
ROLE = {
    "teacher": "Lehrer",
    "singer": "Sänger",
    "writer": "Schriftsteller",
    "painter": "Maler",
    "journalist": "Journalist",
    "translator": "Übersetzer",
    "student": "Student",
    "pianist": "Pianist",
}


class German(Realiser):
    code = "de"
    conjunction = " und "

    def with_time(self, clause: Sequence[Word], time: Sequence[Word], first: bool) -> list[Word]:
        """The finite verb is the second part: before the subject where a time comes first, else before the time."""
        verb = next(at for at, word in enumerate(clause) if word.text in ("hat", "haben"))
        subject, rest = clause[:verb], clause[verb + 1 :]
        return [*time, clause[verb], *subject, *rest] if first else [*subject, clause[verb], *time, *rest]

    def the_role(self, role: str, gender: str) -> str:
        return f"die {ROLE[role]}in" if gender == "f" else f"der {ROLE[role]}"

    def visited(self, who: Subject, what: str) -> str:
        return f"{who.text} {'haben' if who.plural else 'hat'} {what} besucht"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return self.visited(who, self.listed(places) + ("" if positive else " nicht"))

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"weder {first} noch {second} haben {self.name(place)} besucht"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visited(who, self.name(visited))}, aber nicht {self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return self.visited(who, f"nur {self.listed(places)}")

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return self.visited(who, f"{COUNT[comparison]} {NUMBER[number]} Städte")

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"alle haben {self.listed(places)} besucht"

    def nobody(self, place: str) -> str:
        return f"niemand hat {self.name(place)} besucht"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} hat {self.listed(guests)}{'' if positive else ' nicht'} eingeladen"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{who.text} hat {self.name(guest)} eingeladen, aber nicht {self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        return f"{who.text} ist {'' if positive else 'nicht '}{COMPARATIVE[adjective]} als {self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} ist genauso {EQUATIVE[adjective]} wie {self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} ist {'' if positive else 'nicht '}{self.the_role(role, who.gender)}"


REALISER = German()
