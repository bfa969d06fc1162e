"""Turkish: verb last, accusative and ablative of names by vowel harmony, after an apostrophe."""

from .base import Realiser, Subject

ADJECTIVE = {"tall": ("uzun", "uzundur"), "old": ("yaşlı", "yaşlıdır"), "fast": ("hızlı", "hızlıdır")}
NUMBER = {2: "iki", 3: "üç", 4: "dört", 5: "beş", 6: "altı"}
NUMBER_ABLATIVE = {2: "ikiden", 3: "üçten", 4: "dörtten", 5: "beşten", 6: "altıdan"}
ROLE = {  # noun, predicate
    "teacher": ("öğretmen", "öğretmendir"),
    "singer": ("şarkıcı", "şarkıcıdır"),
    "writer": ("yazar", "yazardır"),
    "painter": ("ressam", "ressamdır"),
    "journalist": ("gazeteci", "gazetecidir"),
    "translator": ("çevirmen", "çevirmendir"),
    "student": ("öğrenci", "öğrencidir"),
    "pianist": ("piyanist", "piyanisttir"),
}
HARMONY = {"a": "ı", "ı": "ı", "o": "u", "u": "u", "e": "i", "i": "i", "ö": "ü", "ü": "ü"}
VOICELESS = "fstkçşhp"
# Cities that are written as abroad but take the suffix of their Turkish sound.
ACCUSATIVE = {
    "Brisbane": "Brisbane'i",
    "Cambridge": "Cambridge'i",
    "Denver": "Denver'ı",
    "Houston": "Houston'ı",
    "Manchester": "Manchester'ı",
    "Melbourne": "Melbourne'ü",
    "Seattle": "Seattle'ı",
    "Seul": "Seul'ü",
    "Toulouse": "Toulouse'u",
    "Vancouver": "Vancouver'ı",
    "Windhoek": "Windhoek'u",
}


def lower(word: str) -> str:
    """Lower case with the dotted and dotless i kept apart."""
    return word.replace("I", "ı").replace("İ", "i").lower()


def high_vowel(word: str) -> str:
    """The vowel of a suffix that has ı, i, u or ü; ValueError for a word without a vowel."""
    for letter in reversed(lower(word)):
        if letter in HARMONY:
            return HARMONY[letter]
    raise ValueError(f"no Turkish vowel in the name {word!r}")


def accusative(word: str) -> str:
    if word in ACCUSATIVE:
        return ACCUSATIVE[word]
    return f"{word}'{'y' if lower(word)[-1] in HARMONY else ''}{high_vowel(word)}"


def ablative(word: str) -> str:
    vowel = "a" if high_vowel(word) in "ıu" else "e"
    return f"{word}'{'t' if lower(word)[-1] in VOICELESS else 'd'}{vowel}n"


class Turkish(Realiser):
    code = "tr"
    time_first = True
    conjunction = " ve "

    def begun(self, clause: str) -> str:
        """Sentence-initial i becomes İ, which `str.upper` doesn't know."""
        return ("İ" if clause[0] == "i" else clause[0].upper()) + clause[1:]

    def spellings(self, key: str) -> tuple[str, ...]:
        name = self.name(key)
        return name, accusative(name), ablative(name)

    def with_family(self, key: str, spelled: str, family: str) -> tuple[str, ...]:
        """The suffix moves to the last word."""
        name = self.name(key)
        suffixed = {accusative(name): accusative, ablative(name): ablative}
        return name, suffixed[spelled](family) if spelled in suffixed else family

    def accusative(self, key: str) -> str:
        return accusative(self.name(key))

    def objects(self, keys: tuple[str, ...]) -> str:
        return self.join([self.accusative(key) for key in keys])

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role][0]

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {self.objects(places)} ziyaret {'etti' if positive else 'etmedi'}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"ne {first} ne de {second} {self.accusative(place)} ziyaret etti"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visit(who, (visited,), True)} ama {self.accusative(missed)} ziyaret etmedi"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text} sadece {self.objects(places)} ziyaret etti"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        if comparison == "exactly":
            cities = f"tam olarak {NUMBER[number]} şehri"
        else:
            cities = f"{NUMBER_ABLATIVE[number]} {'fazla' if comparison == 'more' else 'az'} şehri"
        return f"{who.text} {cities} ziyaret etti"

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"herkes {self.objects(places)} ziyaret etti"

    def nobody(self, place: str) -> str:
        return f"hiç kimse {self.accusative(place)} ziyaret etmedi"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {self.objects(guests)} davet {'etti' if positive else 'etmedi'}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)} ama {self.accusative(left_out)} davet etmedi"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        plain, predicate = ADJECTIVE[adjective]
        return f"{who.text} {ablative(self.name(other))} daha {predicate if positive else plain + ' değildir'}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} {self.name(other)} kadar {ADJECTIVE[adjective][1]}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        noun, predicate = ROLE[role]
        return f"{who.text} {predicate if positive else noun + ' değildir'}"


REALISER = Turkish()
