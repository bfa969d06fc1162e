"""Natural language inference: labels, templates and label words that the NLI tasks share.

The `question` templates are those of PCT (Qi et al., ACL 2022), the `soft` template that of Zhao & Schütze
(EMNLP 2021). In a template `{premise}` and `{hypothesis}` stand for the row's texts, `{premise.}` for a text
without its closing punctuation, `<sep>` for the boundary between two segments, `<prompt>` for the vectors of
a soft prompt and `<mask>` for the token at which label words are scored.
"""

from typing import ClassVar

from xlbench.task import Task

NLI_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")

# language → (question, answer, question mark)
QUESTION_WORDS = {
    "en": ("question:", "Answer:", "?"),
    "fr": ("question:", "réponse:", "?"),
    "de": ("frage:", "Antwort:", "?"),
    "es": ("pregunta:", "Respuesta:", "?"),
    "el": ("ερώτηση:", "Απάντηση:", "?"),
    "bg": ("въпрос:", "Отговор:", "?"),
    "ru": ("вопрос:", "Ответ:", "?"),
    "tr": ("soru:", "Cevap:", "?"),
    "vi": ("câu hỏi:", "Trả lời:", "?"),
    "th": ("คำถาม:", "คำตอบ:", "?"),
    "zh": ("问题:", "答案:", "?"),
    "hi": ("प्रश्न:", "उत्तर:", "?"),
    "sw": ("swali:", "Jibu:", "?"),
    "ur": ("سوال:", "جواب:", "؟"),
    "ar": ("سؤال:", "الجواب:", "؟"),
}


# The label words of the released code of Zhao & Schütze (2021), which SoftMV shares.
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


class NLITask(Task):
    """A task with a premise, a hypothesis, and the labels entailment, neutral and contradiction."""

    labels: ClassVar[tuple[str, ...]] = ("entailment", "neutral", "contradiction")
    fields: ClassVar[tuple[str, ...]] = ("premise", "hypothesis")
    languages: ClassVar[tuple[str, ...]] = NLI_LANGUAGES

    templates: ClassVar[dict[str, dict[str, str]]] = {
        "pair": dict.fromkeys(NLI_LANGUAGES, "{premise}<sep>{hypothesis}"),
        "soft": dict.fromkeys(NLI_LANGUAGES, "{premise.} . {hypothesis.} ? <prompt> <mask> ."),
        "question": {
            language: f"{{premise}}<sep>{question} {{hypothesis}}{mark} {answer} <mask>"
            for language, (question, answer, mark) in QUESTION_WORDS.items()
        },
    }

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
