"""Russian: gender and number in the past tense, accusative of names by rule."""

from .base import Realiser, Subject

COMPARATIVE = {"tall": "выше", "old": "старше", "fast": "быстрее"}
EQUATIVE = {  # masculine, feminine
    "tall": ("такой же высокий", "такая же высокая"),
    "old": ("такого же возраста", "такого же возраста"),
    "fast": ("такой же быстрый", "такая же быстрая"),
}
EXACTLY = {2: "два города", 3: "три города", 4: "четыре города", 5: "пять городов", 6: "шесть городов"}
GENITIVE = {2: "двух", 3: "трёх", 4: "четырёх", 5: "пяти", 6: "шести"}
ROLE = {
    "teacher": ("учитель", "учительница"),
    "singer": ("певец", "певица"),
    "writer": ("писатель", "писательница"),
    "painter": ("художник", "художница"),
    "journalist": ("журналист", "журналистка"),
    "translator": ("переводчик", "переводчица"),
    "student": ("студент", "студентка"),
    "pianist": ("пианист", "пианистка"),
}
# Masculine names that lose a vowel.
ACCUSATIVE = {"Павел": "Павла", "Лев": "Льва", "Пётр": "Петра"}
CONSONANTS = "бвгджзклмнпрстфхцчшщ"


def accusative(word: str, gender: str, person: bool) -> str:
    """The accusative singular of a name; persons are animate, places are not."""
    if word.endswith("а"):
        return word[:-1] + "у"
    if word.endswith("я"):
        return word[:-1] + "ю"
    if person and gender == "m":
        if word in ACCUSATIVE:
            return ACCUSATIVE[word]
        if word[-1] in "йь":
            return word[:-1] + "я"
        if word[-1] in CONSONANTS:
            return word + "а"
    return word


class Russian(Realiser):
    code = "ru"
    conjunction = " и "

    def spellings(self, key: str) -> tuple[str, ...]:
        return self.name(key), self.person(key), self.place(key)

    def person(self, key: str) -> str:
        return accusative(self.name(key), self.gender(key), person=True)

    def place(self, key: str) -> str:
        return accusative(self.name(key), "", person=False)

    def places(self, keys: tuple[str, ...]) -> str:
        return self.join([self.place(key) for key in keys])

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role][gender == "f"]

    def past(self, who: Subject, stem: str) -> str:
        return stem + ("и" if who.plural else "а" if who.gender == "f" else "")

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {'' if positive else 'не '}{self.past(who, 'посетил')} {self.places(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"ни {first}, ни {second} не посетили {self.place(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visit(who, (visited,), True)}, но не {self.place(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text} {self.past(who, 'посетил')} только {self.places(places)}"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        if comparison == "exactly":
            cities = f"ровно {EXACTLY[number]}"
        else:
            cities = f"{'более' if comparison == 'more' else 'менее'} {GENITIVE[number]} городов"
        return f"{who.text} {self.past(who, 'посетил')} {cities}"

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"все посетили {self.places(places)}"

    def nobody(self, place: str) -> str:
        return f"никто не посетил {self.place(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        invited = self.join([self.person(guest) for guest in guests])
        return f"{who.text} {'' if positive else 'не '}{self.past(who, 'пригласил')} {invited}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)}, но не {self.person(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        return f"{who.text} {'' if positive else 'не '}{COMPARATIVE[adjective]}, чем {self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} {EQUATIVE[adjective][who.gender == 'f']}, как {self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} — {'' if positive else 'не '}{self.the_role(role, who.gender)}"


REALISER = Russian()
