"""Where a mean's variance comes from, and what a design of draws, seeds and units can show.

The model of a design (`xlbench.analysis.statistics`): mean + draw + seed within draw + unit + draw x unit + rest,
each with a variance of its own. All are shares of 1, not points.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from xlbench.analysis.statistics import LEVEL, FloatArray, as_design
from xlbench.errors import XlbenchError

POWER = 0.8
POINTS = (0.01, 0.02, 0.03)
MOST_DRAWS = 1000
QUANTILES = (np.arange(400) + 0.5) / 400

NO_DRAW = "one draw: what another draw would change is not known"
NO_SEED = "one seed a draw: what the seed changes is counted with the draw, and the rest with draw x unit"
NO_SEED_ONE_DRAW = "one seed: what another seed would change is not known"
NO_REST = "one run: the rest is counted with the unit"


@dataclass(frozen=True)
class VarianceParts:
    """Variance components of a unit's value, or of a paired difference; None: cannot be told, see `notes`.

    `draw`, `seed` (within a draw) and `unit` shift all units of a run, or all runs of a unit;
    `draw_unit` is what a draw does to single units, `rest` what a seed does to them, and sampling.
    """

    draw: float | None
    seed: float | None
    unit: float
    draw_unit: float | None
    rest: float | None
    notes: tuple[str, ...] = ()

    def of_mean(self, draws: int, seeds: int, units: int) -> dict[str, float | None]:
        """What each part adds to the variance of a mean over a design: draw, seed, unit, rest (both kinds).

        Where the seed could not be told from the draw, more seeds are not counted on.
        """
        runs = draws * (seeds if self.seed is not None or self.draw is None else 1)
        both = ((self.draw_unit, draws), (self.rest, runs))
        rest = [part / number / units for part, number in both if part is not None]
        return {
            "draw": None if self.draw is None else self.draw / draws,
            "seed": None if self.seed is None else self.seed / runs,
            "unit": self.unit / units,
            "rest": sum(rest) if rest else None,
        }

    def shares(self, draws: int, seeds: int, units: int) -> dict[str, float | None]:
        """`of_mean` as shares of its sum; all 0 where nothing varies."""
        parts = self.of_mean(draws, seeds, units)
        total = sum(part or 0.0 for part in parts.values())
        return {name: None if part is None else part / total if total else 0.0 for name, part in parts.items()}


# Without records, of a difference between two methods: papers report a deviation of 1 to 4 points between runs at 64
# shots and fewer, here 2, three quarters of the variance the draw's. That of units is a choice as well: 10 points.
DEFAULT_PARTS = VarianceParts(
    0.75 * 0.02**2, 0.25 * 0.02**2, 0.1**2, 0.0, 0.1**2,
    (
        "no records: a deviation of 2 points between runs is assumed (published ones are 1 to 4 at 64 shots and "
        "fewer), most of it the draw's",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Power:
    """What a design can show. `smallest` is a difference, None where there is no test over draws (one draw); `low` and
    `high` are the ends of its 95 % interval, for the variances are estimated too; `draws_for` maps a difference to the
    draws that show it, None where no number up to MOST_DRAWS does."""

    units: int
    smallest: float | None
    draws_for: dict[float, int | None]
    notes: tuple[str, ...]
    low: float | None = None
    high: float | None = None


def variance_parts(values: ArrayLike) -> VarianceParts:
    """Variance components of a design (draws, seeds, units), or of the difference of two.

    From the mean squares and what they expect (Searle, Casella & McCulloch 1992, chapter 4: two-way crossed, one
    factor nested); an estimate below zero is zero. `notes` says what cannot be told, and with what it is counted.
    Raises XlbenchError.
    """
    design = as_design(values)
    draws, seeds, units = design.shape
    of_draws, of_runs = design.mean(axis=(1, 2)), design.mean(axis=2)
    of_units, crossed = design.mean(axis=(0, 1)), design.mean(axis=1)
    mean = float(design.mean())

    between_units = draws * seeds * _square(of_units - mean, units - 1)
    between_draws = seeds * units * _square(of_draws - mean, draws - 1)
    between_seeds = units * _square(of_runs - of_draws[:, None], draws * (seeds - 1))
    interaction = seeds * _square(
        crossed - of_draws[:, None] - of_units + mean, (draws - 1) * (units - 1)
    )  # fmt: skip
    within = _square(
        design - of_runs[:, :, None] - crossed[:, None, :] + of_draws[:, None, None], draws * (seeds - 1) * (units - 1)
    )
    if draws == 1 and seeds == 1:
        return VarianceParts(None, None, between_units, None, None, (NO_DRAW, NO_SEED_ONE_DRAW, NO_REST))
    if draws == 1:
        return VarianceParts(
            None, _part(between_seeds - within, units), _part(between_units - within, seeds), None, within,
            (NO_DRAW,),
        )  # fmt: skip
    unit = _part(between_units - interaction, draws * seeds)
    if seeds == 1:
        return VarianceParts(_part(between_draws - interaction, units), None, unit, interaction, None, (NO_SEED,))
    return VarianceParts(
        _part(between_draws - between_seeds - interaction + within, seeds * units),
        _part(between_seeds - within, units),
        unit,
        _part(interaction - within, seeds),
        within,
    )


def pooled(differences: Sequence[VarianceParts]) -> VarianceParts | None:
    """The mean of each part over the pairs of a table: what a pair of it varies by, if pairs vary alike.

    The smallest of them would promise too much, the largest too little (both are the extremes of noisy estimates).
    None where no pair has two draws.
    """
    known = [parts for parts in differences if parts.draw is not None]
    if not known:
        return None

    def mean(name: str) -> float | None:
        values = [value for parts in known if (value := getattr(parts, name)) is not None]
        return float(np.mean(values)) if values else None

    means = {name: mean(name) for name in ("draw", "seed", "draw_unit", "rest")}
    return VarianceParts(unit=mean("unit") or 0.0, notes=known[0].notes, **means)


def pooled_degrees(methods: int, draws: int, units: int) -> tuple[int, int]:
    """With how many degrees of freedom `pooled` tells what runs and what units do, of all pairs of so many methods."""
    return (methods - 1) * (draws - 1), (methods - 1) * (units - 1)


def power(
    parts: VarianceParts, draws: int, seeds: int, units: int, *, level: float = LEVEL,
    degrees: tuple[int, int] | None = None,
) -> Power:  # fmt: skip
    """What a design can show: the smallest difference found with probability POWER, and the draws for POINTS.

    `parts` are those of the paired difference (`variance_parts(first - second)`, `pooled` over pairs, or
    DEFAULT_PARTS), `degrees` those of `pooled_degrees`, for the interval; the test is that of
    `xlbench.analysis.statistics.compared`, two-sided. For m pairs, the level 1 - 0.05 / m is that of the correction's
    first step. Raises XlbenchError where the draw's part is not known, or the design is none.
    """
    if parts.draw is None:
        raise XlbenchError("one draw tells nothing of the power over draws; give the parts of two or more draws")
    if min(draws, seeds) < 1 or units < 2:
        raise XlbenchError(f"a design needs a draw, a seed and two units, not {draws} x {seeds} x {units}")
    smallest = None if draws == 1 else _Test(parts, draws, seeds, units, level).smallest()
    needed = {difference: _draws_for(difference, parts, seeds, units, level) for difference in POINTS}
    if smallest is None or degrees is None:
        return Power(units, smallest, needed, parts.notes)
    return Power(units, smallest, needed, parts.notes, *_ends(smallest, parts, (draws, seeds, units), level, degrees))


def _ends(
    smallest: float, parts: VarianceParts, design: tuple[int, int, int], level: float, degrees: tuple[int, int]
) -> tuple[float, float]:
    """The 95 % interval of a design's smallest difference: how far what runs do and what units do move it at the ends
    of their own intervals (chi-square), as the root of the sum of squares (MOVER, as intervals of means have it)."""
    moves = []
    for tail in (0.025, 0.975):
        of_runs, of_units = (number / special.chdtri(number, tail) for number in degrees)
        moved = _of_runs_times(parts, of_runs), replace(parts, unit=of_units * parts.unit)
        moves.append(math.hypot(*(_Test(other, *design, level).smallest() - smallest for other in moved)))
    return max(0.0, smallest - moves[0]), smallest + moves[1]


def _of_runs_times(parts: VarianceParts, factor: float) -> VarianceParts:
    """With what draws and seeds do, so many times as large."""

    def times(value: float | None) -> float | None:
        return None if value is None else factor * value

    draw, seed, both, rest = map(times, (parts.draw, parts.seed, parts.draw_unit, parts.rest))
    return replace(parts, draw=draw, seed=seed, draw_unit=both, rest=rest)


class _Test:
    """The test over draws of a design with a deviation.

    The error of the mean and its estimate are independent, so the power is a mean over the estimate's
    distribution, chi-square with draws - 1 degrees of freedom.
    """

    def __init__(self, parts: VarianceParts, draws: int, seeds: int, units: int, level: float) -> None:
        added = {name: part or 0.0 for name, part in parts.of_mean(draws, seeds, units).items()}
        runs, of_units = added["draw"] + added["seed"] + added["rest"], added["unit"]
        tail, degrees = (1 - level) / 2, draws - 1
        t_runs, t_units = special.stdtrit(degrees, tail), special.stdtrit(units - 1, tail)
        self.spread = math.sqrt(runs + of_units)
        self.half_widths = np.sqrt(t_runs**2 * runs * _estimates(degrees) + t_units**2 * of_units)

    def power(self, difference: float) -> float:
        """The probability that it finds a difference."""
        if self.spread == 0:
            return 1.0
        above = special.ndtr((difference - self.half_widths) / self.spread)
        below = special.ndtr((-difference - self.half_widths) / self.spread)
        return float((above + below).mean())

    def smallest(self) -> float:
        """The difference that it finds with probability POWER."""
        if self.spread == 0:
            return 0.0
        largest = self.half_widths.max() + 10 * self.spread
        return float(optimize.brentq(lambda difference: self.power(difference) - POWER, 0.0, largest))


@lru_cache(maxsize=MOST_DRAWS)
def _estimates(degrees: int) -> FloatArray:
    """How an estimate of a variance is spread around it: its quantiles, as shares of it."""
    return np.asarray(special.chdtri(degrees, QUANTILES) / degrees)


def _draws_for(difference: float, parts: VarianceParts, seeds: int, units: int, level: float) -> int | None:
    """The fewest draws that find it with probability POWER; more draws never show less."""

    def enough(draws: int) -> bool:
        return _Test(parts, draws, seeds, units, level).power(difference) >= POWER

    if not enough(MOST_DRAWS):
        return None
    return bisect.bisect_left(range(2, MOST_DRAWS), True, key=enough) + 2


def _square(deviations: np.ndarray, degrees: int) -> float:
    """A mean square; 0 without degrees of freedom."""
    return float((deviations**2).sum()) / degrees if degrees else 0.0


def _part(difference: float, number: int) -> float:
    """A component from a difference of mean squares; never below zero."""
    return max(0.0, difference / number)
