"""No test sentence among what a method learns from: shots, dev rows, parallel text.

Sentences are compared after NFKC, case folding, and removal of punctuation, symbols and extra white space.
"""

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from xlbench.errors import XlbenchError
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
    def of(cls, rows: Iterable[Row]) -> "TestSentences":
        sentences: dict[str, str] = {}
        for row in rows:
            for _, text in texts_of(row):
                sentences.setdefault(normalised(text), row.id)
        sentences.pop("", None)
        return cls(sentences)

    def shared_with(self, texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """(id of the learning text, id of the test row) for every one of (id, text) that is a test sentence."""
        return [(id_, self.rows[key]) for id_, text in texts if (key := normalised(text)) in self.rows]


def texts_of(row: Row) -> list[tuple[str, str]]:
    """(id, text) of what a row says: each of its texts, or its words as one where words are labelled."""
    if isinstance(row.gold, tuple | list):
        return [(row.id, " ".join(row.texts))]
    return [(row.id, text) for text in row.texts]


def without_shared(test: TestSentences, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows of which no text is a test sentence."""
    shared = {id_ for id_, _ in test.shared_with(text for row in rows for text in texts_of(row))}
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
