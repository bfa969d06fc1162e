"""What the tiny model reads in 15 languages: unlabelled text from the logic grammar.

Four kinds of reading, none of which holds a premise with a hypothesis and its label (`tiny_dialogues` does, in
English):

* a story in one language;
* a story with its translation into another language (translation language modelling);
* a story that changes language half-way;
* stand-alone remarks, "Yes, Anna visited Paris.", "Question: Anna visited Paris?", "Answer: Anna visited Paris.",
  whose yes, maybe or no is drawn at random, so that these words are ordinary words and carry no judgement, and stand
  in no template's order.

The grammar's stories leave out every premise of the validation and test splits.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from xlbench.nli import QUESTION_WORDS, NLITask
from xlbench.prompts import without_closing_punctuation
from xlbench.tasks.logic.facts import ENTAILMENT, Facts
from xlbench.tasks.logic.forms import Compare, Form, Invite, IsThe, RoleVisit, Visit
from xlbench.tasks.logic.grammar import LANGUAGES, stories
from xlbench.tasks.logic.languages import load

Segment = tuple[str, str]  # language, text


class Text(NamedTuple):
    """One segment or two; `kind` is one of KINDS."""

    kind: str
    segments: tuple[Segment, ...]


PUNCTUATION = ".。।۔,،?？؟!:;"
KINDS = {"story": 0.3, "translation": 0.5, "change of language": 0.15, "remark": 0.05}
LENGTHS = (4, 5, 6)  # sentences a story


def opening(story: tuple[Form, ...]) -> int:
    """How many sentences it takes until one follows from those before (or until the last)."""
    for told in range(1, len(story) - 1):
        if Facts(story[:told]).label(story[told]) == ENTAILMENT:
            return told
    return len(story) - 1


def tell(story: tuple[Form, ...], language: str) -> Segment:
    """A story in one language."""
    return language, load(language).text(story)


def remark(form: Form, language: str, rng: random.Random) -> Segment:
    """One sentence, alone as a question or an answer, or after a yes, maybe or no that nothing before it justifies:
    yes to it, or no and its denial."""
    realiser, (question, answer, mark) = load(language), QUESTION_WORDS[language]
    word, reply = rng.randrange(3), form
    if word == 2:
        reply = replace(form, positive=not form.positive)
    bare, statement = without_closing_punctuation(realiser.say(form)), realiser.say(reply)
    said = NLITask.label_words[language][word]
    return language, rng.choice(
        (f"{said}, {statement}", f"{said}, {statement}", f"{question} {bare}{mark}", f"{answer} {statement}")
    )


def deniable(form: Form) -> bool:
    """Whether the grammar can also say that the sentence is not so."""
    if isinstance(form, Visit):
        return len(form.people) * len(form.places) == 1
    return isinstance(form, (Compare, IsThe, RoleVisit)) or (isinstance(form, Invite) and len(form.guests) == 1)


def read(seed: int) -> Iterator[Text]:
    """An endless, seeded stream of texts."""
    rng = random.Random(seed)
    for story in stories(rng, lengths=LENGTHS):
        (kind,) = rng.choices(list(KINDS), weights=list(KINDS.values()))
        one, other = rng.sample(LANGUAGES, 2)
        cut = opening(story) if rng.random() < 0.8 else rng.randrange(1, len(story))
        head, rest = story[:cut], story[cut : cut + rng.choice((1, 1, 2, 4))]
        if kind == "translation":
            start = rng.randrange(len(story))
            part = story[start : start + rng.choice((1, 1, 2, 3))]
            yield Text(kind, (tell(part, one), tell(part, other)))
        elif kind == "remark":
            yield from (Text(kind, (remark(form, one, rng),)) for form in filter(deniable, story))
        else:
            yield Text(kind, (tell(head, one), tell(rest, other if kind == "change of language" else one)))
