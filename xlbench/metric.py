"""Metric: a figure of merit as a smooth function of credits, numbers that each row brings and that add up.

So a test set can be resampled by its units (`unit_values`). Nothing here imports torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Answers = Any  # one answer a row: an array of labels or choices, or a list of arrays of tags; -1 is none

STEP = 1e-30  # of the complex step: so small that its square is nothing beside 1


@dataclass(frozen=True)
class Metric:
    """A figure of merit, `low` at worst and `high` at best, the higher the better.

    `credits` gives the numbers of each row, (rows, c), from the gold answers, the given ones and how many labels
    there are; `of` the figure from their sums or means over rows, (c,). It must be smooth and written with
    operations that complex numbers have, for its gradient is taken by a complex step.
    """

    name: str
    credits: Callable[[Answers, Answers, Sequence[str]], FloatArray]
    of: Callable[[Any], Any]
    low: float = 0.0
    high: float = 1.0

    def value(self, credits: FloatArray) -> float:
        """The figure of some rows, from their credits, (rows, c)."""
        return float(np.real(self.of(credits.sum(axis=0))))

    def unit_values(self, sums: FloatArray) -> FloatArray:
        """Numbers of units, (units,), whose mean is the figure and whose spread is that of the figure.

        `sums`: (units, c), each unit's credits added up. By the delta method: the figure, and how far each unit's
        sums pull it from there (Särndal et al. 1992, section 5.7, for a ratio).
        """
        mean = sums.mean(axis=0)
        return float(np.real(self.of(mean))) + (sums - mean) @ self.gradient(mean)

    def gradient(self, sums: FloatArray) -> FloatArray:
        """How the figure changes with each sum, (c,): the complex step (Squire & Trapp 1998), exact to rounding."""
        steps = sums + 1j * STEP * np.eye(len(sums))
        return np.array([np.imag(self.of(moved)) / STEP for moved in steps])


def _ratio(part: Any, whole: Any) -> Any:
    """part / whole; 0 where the whole is nothing. Arrays or numbers, complex ones too."""
    something = np.real(whole) != 0
    return np.where(something, part / np.where(something, whole, 1.0), 0.0)


def _flat(answers: Answers) -> NDArray[np.int64]:
    """All answers of all rows, one after the other."""
    if isinstance(answers, np.ndarray):
        return answers
    return np.concatenate([np.atleast_1d(answer) for answer in answers]) if len(answers) else np.zeros(0, np.int64)


def answer_counts(answers: Answers) -> NDArray[np.int64]:
    """(rows,): how many answers each row has."""
    if isinstance(answers, np.ndarray):
        return np.ones(len(answers), dtype=np.int64)
    return np.array([np.size(answer) for answer in answers], dtype=np.int64)


def _right_of_all(gold: Answers, given: Answers, labels: Sequence[str]) -> FloatArray:
    """(rows, 2): answers that are right, and answers that were asked for."""
    return np.stack([_by_row(gold, _flat(gold) == _flat(given)), answer_counts(gold).astype(np.float64)], axis=1)


def _by_row(gold: Answers, counted: NDArray[np.bool_]) -> FloatArray:
    """How many of each row's answers count."""
    if isinstance(gold, np.ndarray):
        return counted.astype(np.float64)
    rows = np.repeat(np.arange(len(gold)), answer_counts(gold))
    return np.bincount(rows, counted, len(gold)).astype(np.float64)


def _confusion(gold: Answers, given: Answers, labels: Sequence[str]) -> FloatArray:
    """(rows, 3k): of each of k labels, how often it was right, was given, was the gold one."""
    of_gold, of_given = _flat(gold), _flat(given)
    golds, givens = ([side == label for label in range(len(labels))] for side in (of_gold, of_given))
    rights = [is_gold & is_given for is_gold, is_given in zip(golds, givens, strict=True)]
    return np.stack([_by_row(gold, counted) for counted in (*rights, *givens, *golds)], axis=1)


def _macro_f1(sums: Any) -> Any:
    """The mean F1 of the labels that stand in gold or answers, as scikit-learn's `f1_score(average="macro")`."""
    right, given, gold = np.split(sums, 3)
    labels = (np.real(given + gold) > 0).sum()
    return _ratio(2 * right, given + gold).sum() / max(1, labels)


def _weighted_f1(sums: Any) -> Any:
    """The F1 of each label, weighted by how often it is the gold one."""
    right, given, gold = np.split(sums, 3)
    return _ratio((_ratio(2 * right, given + gold) * gold).sum(), gold.sum())


def _mcc(sums: Any) -> Any:
    """Matthews' correlation for any number of labels (Gorodkin 2004); 0 where gold or answers are all of one."""
    right, given, gold = np.split(sums, 3)
    rows = gold.sum()
    covariance = right.sum() * rows - (given * gold).sum()
    spread = (rows * rows - (given * given).sum()) * (rows * rows - (gold * gold).sum())
    return _ratio(covariance, np.sqrt(np.where(np.real(spread) > 0, spread, 1.0)) * (np.real(spread) > 0))


def spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """The spans of a row's tags, (first, past the last, type), as conlleval reads B-, I- and O.

    A span begins at B-, at an I- behind O or behind another type, and ends where its type does.
    """
    spans: list[tuple[int, int, str]] = []
    begun = -1
    for at, tag in enumerate([*tags, "O"]):
        before = tags[at - 1] if at else "O"
        (mark, _, kind), (_, _, kind_before) = tag.partition("-"), before.partition("-")
        goes_on = mark == "I" and before != "O" and kind == kind_before
        if begun >= 0 and not goes_on:
            spans.append((begun, at, kind_before))
            begun = -1
        if begun < 0 and tag != "O":
            begun = at
    return spans


def _span_counts(gold: Answers, given: Answers, labels: Sequence[str]) -> FloatArray:
    """(rows, 3): spans that are right, given, and gold; a token without an answer is outside of all."""
    counts = np.zeros((len(gold), 3))
    for row, sides in enumerate(zip(gold, given, strict=True)):
        theirs, ours = ({*spans([labels[tag] if tag >= 0 else "O" for tag in side])} for side in sides)
        counts[row] = len(theirs & ours), len(ours), len(theirs)
    return counts


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _right_of_all, lambda sums: _ratio(sums[0], sums[1])),
        Metric("macro-F1", _confusion, _macro_f1),
        Metric("weighted-F1", _confusion, _weighted_f1),
        Metric("MCC", _confusion, _mcc, low=-1.0),
        Metric("span-F1", _span_counts, lambda sums: _ratio(2 * sums[0], sums[1] + sums[2])),
    )
}
