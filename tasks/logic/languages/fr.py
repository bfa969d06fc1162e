"""French: perfect tense, gendered adjectives, elision of "que" and of the article."""

import unicodedata

from .base import Realiser, Subject

ADJECTIVE = {  # masculine, feminine
    "tall": ("grand", "grande"),
    "old": ("âgé", "âgée"),
    "fast": ("rapide", "rapide"),
}
COUNT = {"exactly": "exactement", "more": "plus de", "fewer": "moins de"}
NUMBER = {2: "deux", 3: "trois", 4: "quatre", 5: "cinq", 6: "six"}
ROLE = {
    "teacher": ("enseignant", "enseignante"),
    "singer": ("chanteur", "chanteuse"),
    "writer": ("écrivain", "écrivaine"),
    "painter": ("peintre", "peintre"),
    "journalist": ("journaliste", "journaliste"),
    "translator": ("traducteur", "traductrice"),
    "student": ("étudiant", "étudiante"),
    "pianist": ("pianiste", "pianiste"),
}


def starts_with_vowel(word: str) -> bool:
    """Whether elision applies; names in H and in a gliding i (Ioanna) keep the full word."""
    plain = unicodedata.normalize("NFD", word).lower()
    return plain[0] in "aeiou" and not plain.startswith("io")


class French(Realiser):
    code = "fr"
    time_comma = ","
    conjunction = " et "

    def than(self, key: str) -> str:
        name = self.name(key)
        return f"qu'{name}" if starts_with_vowel(name) else f"que {name}"

    def the_role(self, role: str, gender: str) -> str:
        noun = ROLE[role][gender == "f"]
        if starts_with_vowel(noun):
            return f"l'{noun}"
        return f"{'la' if gender == 'f' else 'le'} {noun}"

    def visited(self, who: Subject, what: str) -> str:
        return f"{who.text} {'ont' if who.plural else 'a'} visité {what}"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        if positive:
            return self.visited(who, self.listed(places))
        return f"{who.text} n'a pas visité {self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"ni {first} ni {second} n'ont visité {self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visited(who, self.name(visited))} mais pas {self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text} a visité seulement {self.listed(places)}"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return self.visited(who, f"{COUNT[comparison]} {NUMBER[number]} villes")

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"tout le monde a visité {self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"personne n'a visité {self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        verb = "a invité" if positive else "n'a pas invité"
        return f"{who.text} {verb} {self.listed(guests)}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{who.text} a invité {self.name(guest)} mais pas {self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        verb = "est" if positive else "n'est pas"
        return f"{who.text} {verb} plus {ADJECTIVE[adjective][who.gender == 'f']} {self.than(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} est aussi {ADJECTIVE[adjective][who.gender == 'f']} {self.than(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        verb = "est" if positive else "n'est pas"
        return f"{who.text} {verb} {self.the_role(role, who.gender)}"


REALISER = French()
