"""Urdu: ergative subjects; the verb agrees with "daura" (a visit), adjectives with the subject."""

from .base import Realiser, Subject

COMPARATIVE = {  # masculine, feminine
    "tall": ("{} سے زیادہ لمبا", "{} سے زیادہ لمبی"),
    "old": ("عمر میں {} سے بڑا", "عمر میں {} سے بڑی"),
    "fast": ("{} سے زیادہ تیز", "{} سے زیادہ تیز"),
}
EQUATIVE = {
    "tall": ("{} جتنا لمبا", "{} جتنی لمبی"),
    "old": ("عمر میں {} کے برابر", "عمر میں {} کے برابر"),
    "fast": ("{} جتنا تیز", "{} جتنی تیز"),
}
NUMBER = {2: "دو", 3: "تین", 4: "چار", 5: "پانچ", 6: "چھ"}
COUNT = {"exactly": "ٹھیک {}", "more": "{} سے زیادہ", "fewer": "{} سے کم"}
ROLE = {
    "teacher": ("استاد", "استانی"),
    "singer": ("گلوکار", "گلوکارہ"),
    "writer": ("مصنف", "مصنفہ"),
    "painter": ("مصور", "مصورہ"),
    "journalist": ("صحافی", "صحافی"),
    "translator": ("مترجم", "مترجمہ"),
    "student": ("طالب علم", "طالبہ"),
    "pianist": ("پیانو نواز", "پیانو نواز"),
}


class Urdu(Realiser):
    code = "ur"
    time_first = True
    comma = "، "
    conjunction = " اور "
    stop = "۔"

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role][gender == "f"]

    def visited(self, subject: str, what: str, negation: str = "") -> str:
        return f"{subject} نے {what} کا دورہ {negation}کیا"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return self.visited(who.text, self.listed(places), "" if positive else "نہیں ")

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"نہ تو {first} نے اور نہ ہی {self.visited(second, self.name(place))}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visited(who.text, self.name(visited))}، لیکن {self.name(missed)} کا نہیں"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text} نے صرف {self.listed(places)} کا دورہ کیا"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return self.visited(who.text, f"{COUNT[comparison].format(NUMBER[number])} شہروں")

    def everyone(self, places: tuple[str, ...]) -> str:
        return self.visited("سب", self.listed(places))

    def nobody(self, place: str) -> str:
        return f"کسی نے بھی {self.name(place)} کا دورہ نہیں کیا"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} نے {self.listed(guests)} کو مدعو {'' if positive else 'نہیں '}کیا"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)}، لیکن {self.name(left_out)} کو نہیں"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        phrase = COMPARATIVE[adjective][who.gender == "f"].format(self.name(other))
        return f"{who.text} {phrase} {'' if positive else 'نہیں '}ہے"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} {EQUATIVE[adjective][who.gender == 'f'].format(self.name(other))} ہے"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} {self.the_role(role, who.gender)} {'' if positive else 'نہیں '}ہے"


REALISER = Urdu()
