"""Bulgarian: aorist, suffixed article, no case."""

from .base import Realiser, Subject

ADJECTIVE = {  # masculine, feminine
    "tall": ("висок", "висока"),
    "old": ("възрастен", "възрастна"),
    "fast": ("бърз", "бърза"),
}
COUNT = {"exactly": "точно", "more": "повече от", "fewer": "по-малко от"}
NUMBER = {2: "два", 3: "три", 4: "четири", 5: "пет", 6: "шест"}
ROLE = {
    "teacher": ("учителят", "учителката"),
    "singer": ("певецът", "певицата"),
    "writer": ("писателят", "писателката"),
    "painter": ("художникът", "художничката"),
    "journalist": ("журналистът", "журналистката"),
    "translator": ("преводачът", "преводачката"),
    "student": ("студентът", "студентката"),
    "pianist": ("пианистът", "пианистката"),
}


class Bulgarian(Realiser):
    code = "bg"
    conjunction = " и "

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role][gender == "f"]

    def visited(self, who: Subject, what: str) -> str:
        return f"{who.text} {'посетиха' if who.plural else 'посети'} {what}"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return self.visited(who, self.listed(places)) if positive else f"{who.text} не посети {self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"нито {first}, нито {second} посетиха {self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visited(who, self.name(visited))}, но не и {self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return self.visited(who, f"само {self.listed(places)}")

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return self.visited(who, f"{COUNT[comparison]} {NUMBER[number]} града")

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"всички посетиха {self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"никой не посети {self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {'' if positive else 'не '}покани {self.listed(guests)}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{who.text} покани {self.name(guest)}, но не и {self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        form = ADJECTIVE[adjective][who.gender == "f"]
        return f"{who.text} {'' if positive else 'не '}е по-{form} от {self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} е толкова {ADJECTIVE[adjective][who.gender == 'f']}, колкото и {self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} {'' if positive else 'не '}е {self.the_role(role, who.gender)}"


REALISER = Bulgarian()
