"""Spanish: preterite, "e" for "y" before the sound i, personal "a"."""

from .base import Realiser, Subject

COMPARATIVE = {  # masculine, feminine
    "tall": ("más alto", "más alta"),
    "old": ("mayor", "mayor"),
    "fast": ("más rápido", "más rápida"),
}
EQUATIVE = {
    "tall": ("es tan alto como", "es tan alta como"),
    "old": ("tiene la misma edad que", "tiene la misma edad que"),
    "fast": ("es tan rápido como", "es tan rápida como"),
}
COUNT = {"exactly": "exactamente", "more": "más de", "fewer": "menos de"}
NUMBER = {2: "dos", 3: "tres", 4: "cuatro", 5: "cinco", 6: "seis"}
ROLE = {
    "teacher": ("profesor", "profesora"),
    "singer": ("cantante", "cantante"),
    "writer": ("escritor", "escritora"),
    "painter": ("pintor", "pintora"),
    "journalist": ("periodista", "periodista"),
    "translator": ("traductor", "traductora"),
    "student": ("estudiante", "estudiante"),
    "pianist": ("pianista", "pianista"),
}


class Spanish(Realiser):
    code = "es"
    time_comma = ","

    def join(self, parts: list[str]) -> str:
        if len(parts) == 1:
            return parts[0]
        last = parts[-1].lower()
        sounds_i = last.startswith(("i", "í", "hi", "hí")) and not last.startswith(("hie", "ia", "ie", "io"))
        return f"{self.comma.join(parts[:-1])} {'e' if sounds_i else 'y'} {parts[-1]}"

    def the_role(self, role: str, gender: str) -> str:
        return f"{'la' if gender == 'f' else 'el'} {ROLE[role][gender == 'f']}"

    def visited(self, who: Subject, what: str) -> str:
        return f"{who.text} {'visitaron' if who.plural else 'visitó'} {what}"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return self.visited(who, self.listed(places)) if positive else f"{who.text} no visitó {self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"ni {first} ni {second} visitaron {self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visited(who, self.name(visited))}, pero no {self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return self.visited(who, f"solo {self.listed(places)}")

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return self.visited(who, f"{COUNT[comparison]} {NUMBER[number]} ciudades")

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"todos visitaron {self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"nadie visitó {self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        invited = self.join([f"a {self.name(guest)}" for guest in guests])
        return f"{who.text} {'' if positive else 'no '}invitó {invited}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{who.text} invitó a {self.name(guest)}, pero no a {self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        verb, form = "es" if positive else "no es", COMPARATIVE[adjective][who.gender == "f"]
        return f"{who.text} {verb} {form} que {self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} {EQUATIVE[adjective][who.gender == 'f']} {self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} {'' if positive else 'no '}es {self.the_role(role, who.gender)}"


REALISER = Spanish()
