"""Intervals, paired differences, ranks, variance parts and power, from accuracies per unit.

A design is an array (draws, seeds, units) of one method's accuracies: the same units in every run, the seeds
nested in their draw. All accuracies, differences and bounds are shares of 1, not points.

The interval. The error of a mean is the sum of two parts: what the draws (and the seeds within them) do, known
with draws - 1 degrees of freedom, and what the units do, known with a thousand and more. Each has a t interval
of its own; the half-width of the whole is the root of the sum of their squares (Zou & Donner 2008, "MOVER"). With
few draws it errs wide. `benchmarks/calibration.py` measures it beside the two usual ways, which are too narrow
with few draws: the percentiles of a hierarchical bootstrap, and one t with the degrees of freedom of Satterthwaite
(1946).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from xlbench.errors import XlbenchError

FloatArray = NDArray[np.float64]

LEVEL = 0.95
ROUNDING = 1e-12  # accuracies that differ by less are equal
SMALLEST_P = 1e-15
OVER_DRAWS = "other draws, seeds and units"
OVER_SEEDS = "other seeds and units, with this one draw"
OVER_UNITS = "other units, with this one run"
OVER_TASKS = "other tasks"


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, and what the interval says it of: OVER_DRAWS, OVER_SEEDS or OVER_UNITS."""

    estimate: float
    low: float
    high: float
    scope: str

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Pair:
    """One comparison of a table: first minus second, with its interval and two-sided `p`. `corrected` is the interval
    at the level of the correction's step: it excludes zero where, and only where, `corrected_p` is at most 1 - level.
    `within`: the smallest margin in which the two are shown to be the same, by two one-sided tests at 5 % (Schuirmann
    1987): the end of the 90 % interval that is farther from zero. `draws`: how many the two have in common."""

    first: str
    second: str
    difference: Interval
    p: float
    corrected: Interval
    corrected_p: float
    within: float = math.inf
    draws: int = 2

    @property
    def better(self) -> str | None:
        """The method that is better by the corrected interval; None where they cannot be told apart, and with one
        draw, which says nothing of another."""
        if not self.corrected.excludes_zero or self.draws < 2:
            return None
        return self.first if self.corrected.estimate > 0 else self.second

    @property
    def worse(self) -> str | None:
        """The other one."""
        return {self.first: self.second, self.second: self.first, None: None}[self.better]


@dataclass(frozen=True)
class Rank:
    """The places that a method can have: from `best` to `worst`, 1 the first. See `ranks`."""

    best: int
    worst: int

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


@dataclass(frozen=True)
class AboveChance:
    """A one-sided test of a mean against chance; `excess` is how far the mean is above it."""

    excess: float
    p: float
    above: bool


@dataclass(frozen=True)
class _Error:
    """What the error of a mean is made of: squared standard errors, and degrees of freedom (0: no such part)."""

    estimate: float
    runs: float
    runs_df: int
    units: float
    units_df: int

    def half_width(self, tail: float) -> float:
        """Of the interval that leaves `tail` on each side."""
        return math.sqrt(_t(tail, self.runs_df) ** 2 * self.runs + _t(tail, self.units_df) ** 2 * self.units)

    def interval(self, level: float, scope: str) -> Interval:
        half = self.half_width((1 - level) / 2)
        return Interval(self.estimate, self.estimate - half, self.estimate + half, scope)

    def tail(self) -> float:
        """The tail at which zero lies on the edge of the interval; half of the two-sided p."""
        if self.estimate == 0:
            return 0.5
        if self.half_width(SMALLEST_P) <= abs(self.estimate):
            return 0.0 if self.half_width(SMALLEST_P) == 0 else SMALLEST_P
        edge = optimize.brentq(
            lambda log: self.half_width(math.exp(log)) - abs(self.estimate),
            math.log(SMALLEST_P), math.log(0.5), xtol=1e-12,
        )  # fmt: skip
        return math.exp(edge)


def score(values: ArrayLike, *, level: float = LEVEL) -> Interval:
    """The mean of a design (draws, seeds, units), with its interval.

    With one draw the interval speaks of other seeds and units only, with one run of other units only, and
    its `scope` says so. Raises XlbenchError for an array that is no design.
    """
    design = as_design(values)
    return _error(design).interval(_level(level), _scope(design))


def shaffer_steps(methods: int) -> list[int]:
    """By how many true hypotheses at most each p of all pairs of so many methods is multiplied, the smallest p first
    (Shaffer 1986, procedure 1): of the pairs of 4 methods 6, 3, 3, 3, 2, 1, where Holm's are 6, 5, 4, 3, 2, 1.

    If one pair differs, at most so many others can be equal as groups of equal methods allow.
    """
    possible: list[set[int]] = [{0}, {0}]  # numbers of pairs that may be equal among so many methods
    for count in range(2, methods + 1):
        possible.append(
            {math.comb(equal, 2) + rest for equal in range(1, count + 1) for rest in possible[count - equal]}
        )
    pairs = math.comb(methods, 2)
    return [max(number for number in possible[methods] if number <= pairs - step) for step in range(pairs)]


def holm_steps(hypotheses: int) -> list[int]:
    """The same by Holm (1979), who asks nothing of how hypotheses hang together: n, n - 1, …, 1."""
    return list(range(hypotheses, 0, -1))


def pairwise(methods: Mapping[str, ArrayLike], *, level: float = LEVEL) -> list[Pair]:
    """All pairs of a table's methods, corrected over the table by Shaffer's steps; `methods` maps a name to its design,
    all of one shape: they are paired over the same draws, seeds and units. Raises XlbenchError for arrays that are no
    designs, or not of one shape."""
    names = list(combinations(methods, 2))
    differences = {(first, second): paired(methods[first], methods[second]) for first, second in names}
    return compared(differences, shaffer_steps(len(methods)), level=level)


def compared(
    differences: Mapping[tuple[str, str], ArrayLike], steps: Sequence[int] | None = None, *, level: float = LEVEL
) -> list[Pair]:
    """Some pairs, corrected together; a pair maps to the design (draws, seeds, units) of first minus second.

    p is that at which the interval's edge is zero. The corrected interval is at the level of the pair's step: 1 - alpha
    / steps[0] for the smallest p, and so on to the first that is not significant, whose level all others get; `steps`
    are Holm's where none are given. That any pair is wrongly told apart has a chance of alpha at most; that all these
    intervals hold the truth at once may have less than 1 - alpha. Raises XlbenchError.
    """
    designs = {pair: as_design(difference) for pair, difference in differences.items()}
    told = {pair: (_error(design), _scope(design), len(design)) for pair, design in designs.items()}
    return _corrected(told, steps, level)


def of_samples(values: ArrayLike, scope: str = OVER_TASKS, *, level: float = LEVEL) -> Interval:
    """The mean of what tasks, or draws, show, (n,), with the t interval over others: what runs and units do within each
    is in how they differ. Raises XlbenchError for fewer than two."""
    return _of_samples(values).interval(_level(level), scope)


def compared_over_tasks(differences: Mapping[tuple[str, str], ArrayLike], *, level: float = LEVEL) -> list[Pair]:
    """As `compared`, by Shaffer's steps, of what tasks show of first minus second, (tasks,), for all pairs of some
    methods; a pair's `draws` are its tasks."""
    methods = {name for pair in differences for name in pair}
    told = {pair: (_of_samples(values), OVER_TASKS, len(np.asarray(values))) for pair, values in differences.items()}
    return _corrected(told, shaffer_steps(len(methods)), level)


def _of_samples(values: ArrayLike) -> "_Error":
    shown = np.asarray(values, dtype=np.float64)
    if shown.ndim != 1 or len(shown) < 2 or not np.isfinite(shown).all():
        raise XlbenchError("an interval over tasks or draws needs numbers of two at least")
    return _Error(float(shown.mean()), float(shown.var(ddof=1)) / len(shown), len(shown) - 1, 0.0, 0)


def _corrected(
    told: Mapping[tuple[str, str], tuple["_Error", str, int]], steps: Sequence[int] | None, level: float
) -> list[Pair]:
    """Pairs by their error, scope and number of draws, corrected together; see `compared`."""
    names = list(told)
    errors = [error for error, _, _ in told.values()]
    p = np.array([2 * error.tail() for error in errors])
    factors = list(steps or holm_steps(len(names)))[: len(names)]
    alpha, step, stopped, largest = 1 - _level(level), 0, False, 0.0
    levels, corrected_p = np.empty(len(names)), np.empty(len(names))
    for number, place in enumerate(np.argsort(p, kind="stable")):
        largest = corrected_p[place] = max(largest, min(1.0, p[place] * factors[number]))
        levels[place] = 1 - alpha / factors[step]
        stopped = stopped or p[place] > alpha / factors[step]
        step += not stopped and step + 1 < len(factors)
    return [
        Pair(*pair, error.interval(level, scope), float(p[place]), error.interval(float(levels[place]), scope),
             float(corrected_p[place]), _within(error), draws)
        for place, (pair, (error, scope, draws)) in enumerate(told.items())
    ]  # fmt: skip


def _within(error: "_Error") -> float:
    """The end of the 90 % interval that is farther from zero."""
    interval = error.interval(0.90, "")
    return max(abs(interval.low), abs(interval.high))


def first_step(pairs: int) -> float:
    """The level of an interval at the first, strictest step of the correction over so many pairs."""
    return 1 - (1 - LEVEL) / max(1, pairs)


def ranks(methods: Collection[str], pairs: Sequence[Pair]) -> dict[str, Rank]:
    """The places of methods by the pairs' corrected intervals. Pairs with a method that is not named do not count.

    The best place is 1 + the number of methods that are better, the worst the number of methods - the number that
    are worse; better than one that is better counts as better. 'Not told apart' is not transitive (a above c, b
    apart from neither), so one number a method would claim more than was shown. Places do not: where one method's
    come wholly before another's, it is better; methods that cannot be told apart share at least one; and of two
    that can, the better has both the better best and the better worst.
    """
    better = {name: {pair.better for pair in pairs if pair.worse == name} & set(methods) for name in methods}
    for middle in better:
        for name in better:
            if middle in better[name]:
                better[name] |= better[middle]
    return {
        name: Rank(1 + len(better[name]), len(better) - sum(name in above for above in better.values()))
        for name in methods
    }


def above_chance(values: ArrayLike, chance: ArrayLike, *, over_draws: bool = True, level: float = LEVEL) -> AboveChance:
    """Whether the mean of a design is above chance, by a one-sided test at 1 - level.

    `chance` is the accuracy of always answering the majority class: a number, or (units,), which takes the
    test set's own chance variation out. With `over_draws` the statement is of other draws too; without, of these runs
    on other units, which is what a method must pass to be ranked. Raises XlbenchError.
    """
    design = as_design(values)
    if not over_draws:
        design = design.mean(axis=(0, 1), keepdims=True)
    floor = np.asarray(chance, dtype=np.float64)
    if floor.shape not in ((), design.shape[2:]) or not np.isfinite(floor).all():
        raise XlbenchError("chance must be one number, or one for each unit")
    error = _error(design - floor)
    p = error.tail() if error.estimate > 0 else 1 - error.tail()
    return AboveChance(error.estimate, p, p <= 1 - _level(level))


def as_design(values: ArrayLike) -> FloatArray:
    """An array (draws, seeds, units). Raises XlbenchError."""
    design = np.asarray(values, dtype=np.float64)
    if design.ndim != 3:
        raise XlbenchError(f"statistics need an array of draws, seeds and units, not one of {design.ndim} axes")
    if 0 in design.shape or design.shape[2] < 2:
        raise XlbenchError(
            f"statistics need a draw, a seed and two units at least, not {' x '.join(map(str, design.shape))}"
        )
    if not np.isfinite(design).all():
        raise XlbenchError("an accuracy is missing or NaN; leave its run out, or run it again")
    return design


def paired(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """First minus second. Raises XlbenchError where they are not of one shape."""
    designs = as_design(first), as_design(second)
    if designs[0].shape != designs[1].shape:
        shapes = " and ".join(" x ".join(map(str, design.shape)) for design in designs)
        raise XlbenchError(f"paired methods need the same draws, seeds and units, not {shapes}")
    return designs[0] - designs[1]


def _level(level: float) -> float:
    """A level of confidence. Raises XlbenchError."""
    if not 0 < level < 1:
        raise XlbenchError(f"the level must lie between 0 and 1, not at {level}")
    return level


def _scope(design: FloatArray) -> str:
    """What an interval of this design speaks of."""
    return OVER_DRAWS if design.shape[0] > 1 else OVER_SEEDS if design.shape[1] > 1 else OVER_UNITS


def _error(design: FloatArray) -> _Error:
    """The parts of the mean's error. What is resampled beside the units are draws; with one draw, its seeds.

    The squared standard error over units holds all that varies with them, so that of the units alone is less the
    interaction's share (a two-way table without replication; Searle, Casella & McCulloch 1992, chapter 4).
    """
    rows = design.mean(axis=1) if design.shape[0] > 1 else design[0]  # a row a draw, or a seed
    number, units = rows.shape
    of_rows, of_units = rows.mean(axis=1), rows.mean(axis=0)
    spread = float(of_units.var(ddof=1))
    runs = 0.0
    if number > 1:
        rest = rows - of_rows[:, None] - of_units + of_rows.mean()
        spread = max(0.0, spread - float((rest**2).sum()) / ((number - 1) * (units - 1) * number))
        runs = float(of_rows.var(ddof=1)) / number
    estimate = float(of_rows.mean())
    return _Error(
        0.0 if abs(estimate) <= ROUNDING else estimate,
        0.0 if runs < ROUNDING**2 else runs, number - 1,
        0.0 if spread / units < ROUNDING**2 else spread / units, units - 1,
    )  # fmt: skip


def _t(tail: float, degrees: int) -> float:
    """The t that leaves `tail` above it; 0 where there are no degrees of freedom."""
    return -float(special.stdtrit(degrees, tail)) if degrees else 0.0
