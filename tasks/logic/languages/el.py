"""Greek: articles with every name, accusative objects, final nu of the feminine article by sound."""

from .base import Realiser, Subject

COMPARATIVE = {  # masculine, feminine
    "tall": ("ψηλότερος", "ψηλότερη"),
    "old": ("μεγαλύτερος σε ηλικία", "μεγαλύτερη σε ηλικία"),
    "fast": ("γρηγορότερος", "γρηγορότερη"),
}
EQUATIVE = {
    "tall": ("είναι εξίσου ψηλός με", "είναι εξίσου ψηλή με"),
    "old": ("έχει την ίδια ηλικία με", "έχει την ίδια ηλικία με"),
    "fast": ("είναι εξίσου γρήγορος με", "είναι εξίσου γρήγορη με"),
}
COUNT = {"exactly": "ακριβώς", "more": "περισσότερες από", "fewer": "λιγότερες από"}
NUMBER = {2: "δύο", 3: "τρεις", 4: "τέσσερις", 5: "πέντε", 6: "έξι"}
ROLE = {
    "teacher": ("δάσκαλος", "δασκάλα"),
    "singer": ("τραγουδιστής", "τραγουδίστρια"),
    "writer": ("συγγραφέας", "συγγραφέας"),
    "painter": ("ζωγράφος", "ζωγράφος"),
    "journalist": ("δημοσιογράφος", "δημοσιογράφος"),
    "translator": ("μεταφραστής", "μεταφράστρια"),
    "student": ("φοιτητής", "φοιτήτρια"),
    "pianist": ("πιανίστας", "πιανίστρια"),
}
NOMINATIVE_ARTICLE = {"m": "ο", "f": "η", "n": "το"}
# Sounds before which the feminine accusative article keeps its nu.
KEEPS_NU = (*"αάεέηήιίοόυύωώκπτξψ", "γκ", "μπ", "ντ")
DECLINED = ("ος", "ός", "ης", "ής", "ας", "άς")
# Foreign names that look like Greek masculines and stay as they are.
INDECLINABLE = ("Κάρλος", "Τόμας", "Λούκας", "Τομπίας", "Γιόνας", "Ματτίας")


def accusative(word: str, gender: str) -> str:
    """The accusative singular with its article: names in -ος, -ης, -ας lose the s."""
    if gender == "n":
        return f"το {word}"
    if word.endswith(DECLINED) and word not in INDECLINABLE:
        word = word[:-1]
    if gender == "m":
        return f"τον {word}"
    return f"{'την' if word.lower().startswith(KEEPS_NU) else 'τη'} {word}"


class Greek(Realiser):
    code = "el"
    conjunction = " και "

    def spellings(self, key: str) -> tuple[str, ...]:
        return self.name(key), self.accusative(key).partition(" ")[2]

    def nominative(self, person: str) -> str:
        return f"{NOMINATIVE_ARTICLE[self.gender(person)]} {self.name(person)}"

    def accusative(self, key: str) -> str:
        return accusative(self.name(key), self.gender(key))

    def objects(self, keys: tuple[str, ...]) -> str:
        return self.join([self.accusative(key) for key in keys])

    def the_role(self, role: str, gender: str) -> str:
        return f"{NOMINATIVE_ARTICLE[gender]} {ROLE[role][gender == 'f']}"

    def visited(self, who: Subject, what: str) -> str:
        return f"{who.text} {'επισκέφθηκαν' if who.plural else 'επισκέφθηκε'} {what}"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        if positive:
            return self.visited(who, self.objects(places))
        return f"{who.text} δεν επισκέφθηκε {self.objects(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.nominative, people)
        return f"ούτε {first} ούτε {second} επισκέφθηκαν {self.accusative(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visited(who, self.accusative(visited))} αλλά όχι {self.accusative(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return self.visited(who, f"μόνο {self.objects(places)}")

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return self.visited(who, f"{COUNT[comparison]} {NUMBER[number]} πόλεις")

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"όλοι επισκέφθηκαν {self.objects(places)}"

    def nobody(self, place: str) -> str:
        return f"κανείς δεν επισκέφθηκε {self.accusative(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {'' if positive else 'δεν '}προσκάλεσε {self.objects(guests)}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{who.text} προσκάλεσε {self.accusative(guest)} αλλά όχι {self.accusative(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        form = COMPARATIVE[adjective][who.gender == "f"]
        return f"{who.text} {'' if positive else 'δεν '}είναι {form} από {self.accusative(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} {EQUATIVE[adjective][who.gender == 'f']} {self.accusative(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} {'' if positive else 'δεν '}είναι {self.the_role(role, who.gender)}"


REALISER = Greek()
