"""Dialogues: a text, a claim about it, and the verdict, an English true, open or false.

    Claim: Anna did not visit Rome. Verdict: true. Anna visited Paris but not Rome.
    Anna visited Paris but not Rome. Verdict: true. Claim: Anna did not visit Rome.

No method asks so. Its words are no template's and no label's; a dialogue is one segment, where two methods give two;
the verdict stands in the middle, where the others read at the end or at the first token. What a model learns here, it
has yet to learn to say where a method reads, as a model of language has.

A small model learns nothing from all of them at once, because no single word tells an answer. So lessons come one
after another, in English: denials first, and the next as soon as the last answers are mostly right. The other
languages come in when all lessons have begun.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from xlbench.tasks.logic.grammar import LANGUAGES, questions
from xlbench.tasks.logic.languages import load
from xlbench.tasks.logic.situations import KINDS, Kind

ENGLISH, ENGLISH_SHARE = "en", 0.35  # of the dialogues, in the end
CLAIM, VERDICT, VERDICTS = "claim", "verdict", ("true", "open", "false")  # in every language
ORDER = ("negation", "coordination", "quantifier", "comparative", "definite", "counting")
ENOUGH, ANSWERS = 0.87, 1200  # share of right answers, of so many, that ends a lesson
LONGEST_LESSON, OPENING = 900, 2500  # steps


class Dialogue(NamedTuple):
    """What stands before the answer, the answer (one word), and what stands after it, in one segment."""

    before: str
    answer: str
    after: str


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
        text, claim, answer = realiser.text(told), f"{CLAIM}: {realiser.say(form)}", VERDICTS[label]
        if rng.random() < 0.5:
            yield Dialogue(f"{claim} {VERDICT}:", answer, f". {text}")
        else:
            yield Dialogue(f"{text} {VERDICT}:", answer, f". {claim}")
