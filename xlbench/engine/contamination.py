"""No test sentence among what a method learns from: shots, dev rows, parallel text.

Sentences are compared after NFKC, case folding, and removal of punctuation, symbols and extra white space. Those of
a test row are its texts, as its problem has them; its choices are none, for many rows may have the same answers. Texts
and choices of what is learnt from are held against them.
"""

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from xlbench.errors import XlbenchError
from xlbench.problem import Problem
from xlbench.task import Row

SHOWN = 5  # row ids that a message names


@lru_cache(maxsize=2**16)  # the cells of a suite ask for the same texts
def normalised(text: str) -> str:
    """A text as the guard compares it: NFKC, case-folded, punctuation and symbols as spaces, spaces joined."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())  # folding takes ß apart
    return " ".join(folded.translate(_punctuation()).split())


@cache
def _punctuation() -> dict[int, str]:
    return {point: " " for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point))[0] in "PS"}


@dataclass(frozen=True)
class TestSentences:
    """The normalised sentences of a test set, with the id of a row that holds each."""

    __test__ = False  # not a test, whatever pytest thinks of the name
    rows: Mapping[str, str]

    @classmethod
    def of(cls, problem: Problem, rows: Iterable[Row]) -> "TestSentences":
        sentences: dict[str, str] = {}
        for row in rows:
            for text in problem.sentences(row.texts):
                sentences.setdefault(normalised(text), row.id)
        sentences.pop("", None)
        return cls(sentences)

    def shared_with(self, texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """(id of the learning text, id of the test row) for every one of (id, text) that is a test sentence."""
        return [(id_, self.rows[key]) for id_, text in texts if (key := normalised(text)) in self.rows]


def texts_of(problem: Problem, rows: Iterable[Row]) -> list[tuple[str, str]]:
    """(id, text) of what may be learnt from rows: their sentences and their choices."""
    return [(row.id, text) for row in rows for text in (*problem.sentences(row.texts), *row.choices)]


def without_shared(test: TestSentences, problem: Problem, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows of which no text is a test sentence."""
    shared = {id_ for id_, _ in test.shared_with(texts_of(problem, rows))}
    return tuple(row for row in rows if row.id not in shared)


def check(test: TestSentences, learning: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, int]:
    """Texts compared, by what they are for: `learning` is (id, text) of each.

    Raises XlbenchError naming rows where one is a test sentence.
    """
    for purpose, texts in learning.items():
        shared = list(dict.fromkeys(test.shared_with(texts)))
        if shared:
            named = ", ".join(f"{ours} (test row {theirs})" for ours, theirs in shared[:SHOWN])
            more = f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
            raise XlbenchError(
                f"{len(shared)} {purpose} rows share a sentence with the test rows: {named}{more}; "
                "use another corpus, split or draw"
            )
    return {purpose: len(texts) for purpose, texts in learning.items()}
