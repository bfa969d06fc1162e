"""Templates and words of languages for tasks that bring none of their own.

A template is made of what a task's rows have (one text or two, choices) and of a language's words for question and
answer: PCT's own in its 15 languages, else those of `words.tsv`, which names its source.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from xlbench.language_codes import language_of

# language → (question, answer, question mark), of the released code of PCT (Qi et al., ACL 2022)
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

# language → (question, answer) of discrete prompts in a language's own words (Zhao & Schütze 2021, released code)
DISCRETE_WORDS = {
    "en": ("Question:", "Answer:"),
    "zh": ("问题：", "答案："),
    "de": ("Frage:", "Antworten:"),
    "fr": ("Question:", "Répondre:"),
    "ar": ("سؤال:", "إجابه:"),
    "bg": ("Въпрос:", "Отговор:"),
    "el": ("Ερώτηση:", "Απάντηση:"),
    "es": ("Pregunta:", "Respuesta:"),
    "hi": ("सवाल:", "उत्तर:"),
    "ru": ("Вопрос:", "Отвечать:"),
    "sw": ("Swali:", "Jibu:"),
    "th": ("คำถาม:", "ตอบ:"),
    "tr": ("Soru:", "Cevap:"),
    "ur": ("سوال:", "جواب:"),
    "vi": ("Câu hỏi:", "Câu trả lời:"),
}


@dataclass(frozen=True)
class Words:
    """Words of a language; empty where it is not known."""

    question: str = ""
    answer: str = ""
    yes: str = ""
    also: str = ""
    no: str = ""
    because: str = ""
    therefore: str = ""
    mark: str = ""


@cache
def _table() -> dict[str, Words]:
    lines = (files("xlbench") / "words.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {code: Words(*words) for code, *words in rows[1:]}


def words_of(code: str) -> Words:
    """The words of a code's language; all empty where there are none."""
    return _table().get(language_of(code), Words())


def question_words(code: str) -> tuple[str, str, str] | None:
    """(question, answer, question mark) of a code's language; None where they are not known."""
    published = QUESTION_WORDS.get(language_of(code))
    words = words_of(code)
    if published is not None or not (words.question and words.answer):
        return published
    return f"{words.question}:", f"{words.answer.capitalize()}:", words.mark or "?"


def discrete_words(code: str) -> tuple[str, str] | None:
    """(question, answer) of discrete prompts in the words of a code's language; None where they are not known."""
    words, published = words_of(code), DISCRETE_WORDS.get(language_of(code))
    if published is not None or not (words.question and words.answer):
        return published
    return f"{words.question.capitalize()}:", f"{words.answer.capitalize()}:"


def notes_of_english(languages: Iterable[str]) -> list[str]:
    """A sentence for a record on languages that discrete prompts have English words for; none where there are none."""
    lacking = ", ".join(language for language in dict.fromkeys(languages) if discrete_words(language) is None)
    return [f"the question is in English's words for {lacking}: no others are known"] if lacking else []


def template(name: str, fields: Sequence[str], language: str) -> str | None:
    """A template of a name for rows of some texts, in a language's words or in English; None for another name.

    `pair`: the texts one after the other. `soft`: those of Zhao & Schütze (2021), texts with a full stop behind each,
    the last of two with a question mark, then the prompt and `<mask>`. `question`: that of PCT for two texts (the
    second is asked), and for one text the text, then `Answer: <mask>`. `discrete`: that of Zhao & Schütze, texts as in
    `soft` with question and answer between them; `mixed` has the prompt before `<mask>` too, `mixed-answer` before the
    answer's word. `universal`: that of DPA (Zhou et al. 2023), which has no words.
    """
    if name == "pair":
        return "<sep>".join(f"{{{field}}}" for field in fields)
    if name == "soft":
        first, *others = (f"{{{field}.}}" for field in fields)
        texts = [f"{first} .", *(f"{other} ?" for other in others)]
        return " ".join([*texts, "<prompt> <mask> ."])
    if name == "universal":
        *before, last = (f"{{{field}.}}" for field in fields)
        return "<sep>".join([*(f"{text} ." for text in before), f"{last} {'?' if before else '.'} <mask> ."])
    if name == "question":
        question, answer, mark = question_words(language) or QUESTION_WORDS["en"]
        *before, last = (f"{{{field}}}" for field in fields)
        asked = f"{question} {last}{mark} {answer} <mask>" if before else f"{last}<sep>{answer} <mask>"
        return "<sep>".join([*before, asked])
    if name in {"discrete", "mixed", "mixed-answer"}:
        question, answer = discrete_words(language) or DISCRETE_WORDS["en"]
        first, *others = (f"{{{field}.}}" for field in fields)
        end = {"discrete": "{} <mask> .", "mixed": "{} <prompt> <mask> .", "mixed-answer": "<prompt> {} <mask> ."}[name]
        return " ".join([f"{first} .", *(f"{question} {other} ?" for other in others), end.format(answer)])
    return None
