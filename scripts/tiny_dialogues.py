"""Dialogues: a text, a claim about it, and the verdict, an English true, open or false.

    Anna visited Paris but not Rome. Claim: Anna did not visit Rome. Verdict: true

No method asks in these words: what a model learns here, it has yet to learn to say in a template's words, as a
model of language has. (Asked in a template's own words it answered before it saw a shot.)

A small model learns nothing from all of them at once, because no single word tells an answer. So lessons come one
after another, in English: denials first, and the next as soon as the last answers are mostly right. The other
languages come in when all lessons have begun.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from xlbench.tasks.logic.grammar import LANGUAGES, questions
from xlbench.tasks.logic.languages import load
from xlbench.tasks.logic.situations import KINDS, Kind

ENGLISH, ENGLISH_SHARE = "en", 0.35  # of the dialogues, in the end
CLAIM, VERDICT, VERDICTS = "claim", "verdict", ("true", "open", "false")  # in every language
PAIRS = 0.3  # in the end; before all lessons have begun there are none
ORDER = ("negation", "coordination", "quantifier", "comparative", "definite", "counting")
ENOUGH, ANSWERS = 0.87, 1200  # share of right answers, of so many, that ends a lesson
LONGEST_LESSON, OPENING = 900, 2500  # steps


class Dialogue(NamedTuple):
    """A text, what stands before the answer, the answer (one word), and what stands after it.

    `form`: "apart" (the text is a segment of its own), "running" (one segment), or "pair": text and statement,
    two segments, with no place for the answer, which the first token is asked for, as BERT's is for whether two
    sentences belong together.
    """

    form: Literal["apart", "running", "pair"]
    text: str
    before: str
    answer: str
    after: str = ""


class Lessons:
    """Which kinds of situation are talked about so far, and whether it is time for the next."""

    def __init__(self) -> None:
        short = [replace(kind, lengths=(min(kind.lengths),)) for kind in KINDS]
        self.later = deque(sorted(short, key=lambda kind: ORDER.index(kind.phenomenon)))
        self.kinds: list[Kind] = [self.later.popleft()]
        self.recent: deque[bool] = deque(maxlen=ANSWERS)
        self.steps = self.since = 0

    @property
    def opened(self) -> float:
        """How far other texts have come in: 0 until every kind is talked about, then up to 1."""
        return min(1.0, self.since / OPENING)

    def skip(self) -> None:
        """Begin with everything: for a model that has had these lessons."""
        self.later.clear()
        self.kinds[:] = KINDS
        self.since = OPENING

    def see(self, right: Sequence[bool]) -> str:
        """One step's answers; the name of a lesson that begins now, or nothing."""
        self.recent.extend(right)
        self.steps += 1
        self.since += not self.later
        learned = len(self.recent) == ANSWERS and sum(self.recent) > ENOUGH * ANSWERS
        if not (learned or self.steps > LONGEST_LESSON) or self.kinds == list(KINDS):
            return ""
        self.recent.clear()
        self.steps = 0
        if self.later:
            self.kinds.append(self.later.popleft())
            return self.kinds[-1].phenomenon
        self.kinds[:] = KINDS  # with longer texts
        return "longer texts"


def dialogues(rng: random.Random, lessons: Lessons) -> Iterator[Dialogue]:
    """Endless dialogues of the lessons that have begun."""
    others = [language for language in LANGUAGES if language != ENGLISH]
    for _, told, form, label in questions(rng, lessons.kinds):
        english = rng.random() < 1 - (1 - ENGLISH_SHARE) * lessons.opened
        language = ENGLISH if english else rng.choice(others)
        realiser = load(language)
        text, asked = realiser.text(told), f"{CLAIM}: {realiser.say(form)} {VERDICT}:"
        if rng.random() < PAIRS * lessons.opened:
            yield Dialogue("pair", text, realiser.say(form), VERDICTS[label])
        elif rng.random() < 0.5:
            yield Dialogue("apart", text, asked, VERDICTS[label])
        else:
            yield Dialogue("running", text, asked, VERDICTS[label], ".")
