"""Natural language inference: labels, templates and label words that the NLI tasks share.

The `question` templates are those of PCT (Qi et al., ACL 2022), the `soft` template that of Zhao & Schütze
(EMNLP 2021). In a template `{premise}` and `{hypothesis}` stand for the row's texts, `{premise.}` for a text
without its closing punctuation, `<sep>` for the boundary between two segments, `<prompt>` for the vectors of
a soft prompt and `<mask>` for the token at which label words are scored.
"""

from typing import ClassVar

from xlbench.task import Task
from xlbench.wording import QUESTION_WORDS as QUESTION_WORDS
from xlbench.wording import template

NLI_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")

# The label words of the released code of Zhao & Schütze (2021), which SoftMV shares, as they stand there: el `Nαί`
# begins with a Latin letter, bg `можеби` is Macedonian.
RIGHT_WRONG: dict[str, tuple[str, ...]] = {
    "en": ("right", "maybe", "wrong"),
    "fr": ("oui", "possible", "non"),
    "de": ("Ja", "vielleicht", "Nein"),
    "es": ("sí", "talvez", "no"),
    "el": ("Nαί", "μπορεί", "όχι"),
    "bg": ("да", "можеби", "не"),
    "ru": ("да", "возможно", "нет"),
    "tr": ("Evet", "belki", "hiçbir"),
    "vi": ("dạ", "lẽ", "Không"),
    "th": ("ใช่", "อาจจะ", "ไม่"),
    "zh": ("是", "也许", "否"),
    "hi": ("सच", "शायद", "झूठ"),
    "sw": ("ndio", "labda", "hasi"),
    "ur": ("ہاں", "شاید", "نہیں"),
    "ar": ("نعم", "يمكن", "لا"),
}

# The label words of the released code of DPA (Zhou et al. 2023), as they stand there: ru `може` is Bulgarian.
DPA: dict[str, tuple[str, ...]] = {
    "en": ("yes", "maybe", "no"),
    "fr": ("Oui", "possible", "non"),
    "de": ("Ja", "möglicherweise", "Nein"),
    "es": ("sí", "talvez", "no"),
    "el": ("Μάλιστα", "μπορεί", "όχι"),
    "bg": ("да", "може", "не"),
    "ru": ("да", "може", "нет"),
    "tr": ("Evet", "belki", "hiçbir"),
    "vi": ("dạ", "lẽ", "không"),
    "th": ("ใช่", "อาจจะ", "ไม่"),
    "zh": ("是", "也许", "否"),
    "hi": ("हां", "शायद", "न"),
    "sw": ("ndio", "labda", "sio"),
    "ur": ("جی", "شاید", "نہیں"),
    "ar": ("نعم", "ربما", "لا"),
}


FIELDS = ("premise", "hypothesis")
TEMPLATES = {
    name: {language: template(name, FIELDS, language) or "" for language in NLI_LANGUAGES}
    for name in ("pair", "soft", "question")
}


class NLITask(Task):
    """A task with a premise, a hypothesis, and the labels entailment, neutral and contradiction."""

    labels: ClassVar[tuple[str, ...]] = ("entailment", "neutral", "contradiction")
    fields: ClassVar[tuple[str, ...]] = FIELDS
    languages: ClassVar[tuple[str, ...]] = NLI_LANGUAGES

    templates: ClassVar[dict[str, dict[str, str]]] = TEMPLATES

    label_words: ClassVar[dict[str, tuple[str, ...]]] = {
        "en": ("yes", "maybe", "no"),
        "fr": ("oui", "peut-être", "non"),
        "de": ("ja", "vielleicht", "nein"),
        "es": ("sí", "quizás", "no"),
        "el": ("ναι", "ίσως", "όχι"),
        "bg": ("да", "може", "не"),
        "ru": ("да", "возможно", "нет"),
        "tr": ("evet", "belki", "hayır"),
        "vi": ("có", "có lẽ", "không"),
        "th": ("ใช่", "บางที", "ไม่"),
        "zh": ("是", "也许", "不"),
        "hi": ("हाँ", "शायद", "नहीं"),
        "sw": ("ndiyo", "labda", "hapana"),
        "ur": ("ہاں", "شاید", "نہیں"),
        "ar": ("نعم", "ربما", "لا"),
    }
    word_sets: ClassVar[dict[str, dict[str, tuple[str, ...]]]] = {
        "yes-no": label_words, "right-wrong": RIGHT_WRONG, "dpa": DPA,
    }  # fmt: skip

    def template(self, name: str, language: str) -> str | None:
        """The text of a template; in a language beside the 15 the general one, in that language's words."""
        return super().template(name, language) or template(name, self.fields, language)
