"""What the predictions behind one table show: intervals, places, pairs, and where the variance comes from.

Every method counts with all draws that it has; every difference with the draws that its two methods have in common,
seeds averaged within a draw. So a method or a run that is added takes no other pair's data away.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from xlbench.analysis import statistics
from xlbench.analysis.matching import Table, once
from xlbench.analysis.power import Power, VarianceParts, pooled, pooled_degrees, power, variance_parts
from xlbench.analysis.statistics import FloatArray
from xlbench.errors import XlbenchError
from xlbench.records.index import Result
from xlbench.records.predictions import Summary

FEW_DRAWS = 3
MARGIN = 0.02  # differences below it are the same, where a suite declares no other

Run = tuple[int, int, str]  # draw, seed, and a digest of the shots
Draws = Mapping[Hashable, Mapping[int, Summary]]  # draw → seed → what a run shows


@dataclass(frozen=True)
class Evidence:
    """Of one table, by method: the metric as shares of 1.

    `runs` counts each method's runs and draws; `scores` are means over languages, draws, seeds and units with their
    intervals; `above` says whether a method's runs are above chance on other units, which it must be to be ranked, and
    `above_draws` whether other draws would be; `places` are those of the methods above chance, by the corrected pairs,
    and empty where no pair has two draws; `parts` the variance components of each method's score, `differences` those
    of each pair's. `power` is what the design can show at the level of the correction's first step, by the variances
    of all pairs together; None where no pair has two draws. `alpha` is what all pairs together may err by.
    """

    runs: dict[str, tuple[int, int]]
    units: int
    scores: dict[str, statistics.Interval]
    above: dict[str, statistics.AboveChance]
    above_draws: dict[str, statistics.AboveChance]
    places: dict[str, statistics.Rank]
    pairs: list[statistics.Pair]
    shapes: dict[str, tuple[int, int, int]]
    parts: dict[str, VarianceParts]
    differences: dict[tuple[str, str], VarianceParts]
    power: Power | None
    unit: str = "unit"  # the task's word for what is resampled
    alpha: float = 1 - statistics.LEVEL
    margin: float = MARGIN
    not_converged: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    unfinished: bool = False  # so many runs had not converged that nothing is ranked

    @property
    def scope(self) -> str:
        """What the intervals of the scores speak of, in the task's word for its units."""
        scopes = dict.fromkeys(score.scope for score in self.scores.values())
        return " or ".join(scopes).replace("units", f"{self.unit}s")

    @property
    def draws(self) -> int:
        """The most draws that two methods have in common; of one method, its own."""
        return max([pair.draws for pair in self.pairs] or [draws for _, draws in self.runs.values()])

    @property
    def unbalanced(self) -> bool:
        """Whether methods have different draws or numbers of seeds."""
        return len(set(self.runs.values())) > 1 or any(pair.draws != self.draws for pair in self.pairs)

    def words(self) -> list[str]:
        """The findings as sentences: who is better, who is the same, who is at chance, what this design could show."""
        sentences = [SENTENCES["unbalanced"]] if self.unbalanced else []
        if self.not_converged:
            counts = ", ".join(f"{name} in {k} of {n} runs" for name, (k, n) in sorted(self.not_converged.items()))
            sentences.append(SENTENCES["not converged"].format(counts))
        if self.unfinished:
            return [SENTENCES["unfinished"], *sentences, *self._of_power()]
        told_apart = [self._better(pair) for pair in self.pairs if pair.better is not None and self._ranked(pair)]
        sentences += told_apart
        if len(self.places) > 1 and not told_apart and any(pair.draws > 1 for pair in self.pairs):
            sentences.append(SENTENCES["none apart"])
        sentences += [
            SENTENCES["same"].format(
                pair.first, pair.second, points(self.margin), points(pair.within), count(pair.draws, "draw")
            )
            for pair in self.pairs
            if pair.draws > 1 and pair.within <= self.margin and self._ranked(pair)
        ]
        sentences += [
            SENTENCES["these items"].format(
                pair.first, pair.second, points(pair.difference.estimate), points(pair.difference.low),
                points(pair.difference.high), f"{self.unit}s", "runs" if self._several_runs(pair) else "run",
            )
            for pair in self.pairs
            if pair.draws == 1 and pair.difference.excludes_zero
        ]  # fmt: skip
        if len(self.places) == 1 < len(self.scores):
            sentences.append(SENTENCES["only"].format(next(iter(self.places))))
        at_chance = sorted(name for name, above in self.above.items() if not above.above)
        if at_chance:
            sentences.append(SENTENCES["at chance"].format(f"{self.unit}s", ", ".join(at_chance)))
        sentences += self._of_power()
        if self.draws < FEW_DRAWS:
            sentences.append(SENTENCES["few draws"].format(count(self.draws, "draw").capitalize()))
        return sentences

    def _of_power(self) -> list[str]:
        if self.power is None or self.power.smallest is None:
            return []
        design = f"{count(self.draws, 'draw')}, {count(self.units, self.unit)}"
        if self.power.smallest >= 1:
            return [SENTENCES["no power"].format(design)]
        ends = points(self.power.low or 0.0), points(min(1.0, self.power.high or 1.0))
        return [SENTENCES["power"].format(design, points(self.power.smallest), *ends)]

    def _ranked(self, pair: statistics.Pair) -> bool:
        return self.above[pair.first].above and self.above[pair.second].above

    def _several_runs(self, pair: statistics.Pair) -> bool:
        return max(self.runs[pair.first][0], self.runs[pair.second][0]) > 1

    def _better(self, pair: statistics.Pair) -> str:
        low, high = sorted((abs(pair.corrected.low), abs(pair.corrected.high)))
        by = points(abs(pair.difference.estimate))
        return SENTENCES["better"].format(pair.better, pair.worse, by, points(low), points(high))


# What a board may say of evidence; docs/sentences.md has the simulation or test that backs each.
SENTENCES = {
    "unbalanced": "Methods have different runs: each mean is over a method's own, each difference over the draws that "
    "its two methods have in common",
    "not converged": "Not converged, for they chose the last checkpoint of the budget while dev still improved: {0}",
    "unfinished": "Not converged, not ranked: this table shows who is ahead when the budget ends, not which method is "
    "better",
    "better": "{0} is better than {1} by {2} points (corrected: {3} to {4})",
    "none apart": "No two methods above chance can be told apart",
    "same": "{0} and {1} are the same within {2} points (shown within {3}, {4} in common)",
    "these items": "On these test items the {6} of {0} and {1} differ by {2} points ({3} to {4} over other {5}); of "
    "other draws of the shots one draw says nothing, so that neither is called better",
    "only": "Only {0} is shown to be above chance, which ranks it above none",
    "at chance": "Not shown to be above chance on other {0}, and not ranked: {1}",
    "power": "With this design ({0}) two methods have to differ by about {1} points to be told apart in four cases of "
    "five ({2} to {3}, for variances are estimated too)",
    "no power": "This design ({0}) cannot show any difference, once corrected over the pairs",
    "few draws": "{0} cannot support a ranking of close methods",
}


def weigh(
    runs: Mapping[str, Mapping[Run, Summary]], unit: str = "unit", alpha: float = 1 - statistics.LEVEL
) -> Evidence:
    """The evidence in the predictions of some methods: method → (draw, seed, shots) → what a run shows.

    `unit` is the task's word for what is resampled; `alpha` is shared by all pairs. Raises XlbenchError for runs that
    are not of the same test rows.
    """
    of_pairs = differences(runs)
    by_draw = {method: draws_of(cells) for method, cells in runs.items()}
    designs = {
        method: design_of([list(seeds.values()) for seeds in draws.values()]) for method, draws in by_draw.items()
    }
    chance = next(iter(next(iter(runs.values())).values())).chance
    on_units = {name: statistics.above_chance(design, chance, over_draws=False) for name, design in designs.items()}
    above_draws = {name: statistics.above_chance(design, chance) for name, design in designs.items()}
    pairs = statistics.compared(of_pairs, statistics.shaffer_steps(len(designs)), level=1 - alpha)
    several = [pair for pair in pairs if pair.draws > 1]
    ranked = [name for name in designs if on_units[name].above and _compared(name, several, designs)]
    parts = {pair: variance_parts(difference) for pair, difference in of_pairs.items()}
    shapes = {name: (len(design), design.shape[1], design.shape[2]) for name, design in designs.items()}
    return Evidence(
        {name: (len(cells), len(by_draw[name])) for name, cells in runs.items()},
        len(chance),
        {name: statistics.score(design) for name, design in designs.items()},
        on_units,
        above_draws,
        statistics.ranks(ranked, several) if several or len(designs) == 1 else {},
        pairs,
        shapes,
        {name: variance_parts(design) for name, design in designs.items()},
        parts,
        _power(list(parts.values()), several, len(designs), shapes, alpha),
        unit,
        alpha,
    )


def _compared(name: str, pairs: Sequence[statistics.Pair], methods: Mapping[str, FloatArray]) -> bool:
    """Whether a method has two draws in common with another; alone in its table, it has nothing to compare with."""
    return len(methods) == 1 or any(name in (pair.first, pair.second) for pair in pairs)


def _power(
    parts: Sequence[VarianceParts], pairs: Sequence[statistics.Pair], methods: int,
    shapes: Mapping[str, tuple[int, int, int]], alpha: float,
) -> Power | None:  # fmt: skip
    """What a pair with as many draws as any two have can show, by the variances of all pairs."""
    together = pooled(parts)
    if together is None or not pairs:
        return None
    draws = max(pair.draws for pair in pairs)
    seeds, units = max(seeds for _, seeds, _ in shapes.values()), next(iter(shapes.values()))[2]
    degrees = pooled_degrees(methods, draws, units)
    return power(together, draws, seeds, units, level=1 - alpha / len(parts), degrees=degrees)


def differences(runs: Mapping[str, Mapping[Run, Summary]]) -> dict[tuple[str, str], FloatArray]:
    """(draws, seeds, units) of first minus second of every pair with draws in common. Raises XlbenchError for runs that
    are not of the same test rows."""
    _refuse_other_tests(runs)
    by_draw = {method: draws_of(cells) for method, cells in runs.items()}
    return {
        (first, second): difference
        for first, second in combinations(by_draw, 2)
        if (difference := difference_of(by_draw[first], by_draw[second])) is not None
    }


def draws_of(cells: Mapping[Run, Summary]) -> dict[Hashable, dict[int, Summary]]:
    """Runs by draw and then seed, both in order; a draw is its number and its shots."""
    draws: dict[Hashable, dict[int, Summary]] = defaultdict(dict)
    for (draw, seed, shots), run in sorted(cells.items()):
        draws[draw, shots][seed] = run
    return draws


def design_of(draws: Sequence[Sequence[Summary]]) -> FloatArray:
    """(draws, seeds, units) of the runs of each draw; their mean as one seed where draws have different numbers."""
    values = [np.array([run.values for run in seeds]) for seeds in draws]
    if len({len(seeds) for seeds in values}) > 1:
        values = [seeds.mean(axis=0, keepdims=True) for seeds in values]
    return np.stack(values)


def difference_of(first: Draws, second: Draws) -> FloatArray | None:
    """(draws, seeds, units) of first minus second over the draws that both have; None where they have none in common.

    Seeds are paired where both have the same in every draw; else each method's are averaged within a draw.
    """
    common = [draw for draw in first if draw in second]
    if not common:
        return None
    paired = all(first[draw].keys() == second[draw].keys() for draw in common)
    sides = [design_of([list(side[draw].values()) for draw in common]) for side in (first, second)]
    if not paired or sides[0].shape != sides[1].shape:
        sides = [side.mean(axis=1, keepdims=True) for side in sides]
    return sides[0] - sides[1]


def _refuse_other_tests(runs: Mapping[str, Mapping[Run, Summary]]) -> None:
    every = [(method, cell, run) for method, cells in runs.items() for cell, run in sorted(cells.items())]
    if not every:
        raise XlbenchError("there is no run to compute statistics of; name at least one")
    first_method, first_cell, first = every[0]
    for method, cell, run in every:
        if run.test != first.test:
            raise XlbenchError(
                f"{method} (draw {cell[0]}, seed {cell[1]}) and {first_method} (draw {first_cell[0]}, seed "
                f"{first_cell[1]}) were not tested on the same rows; compare only runs that were"
            )


@once
def evidence(table: Table) -> Evidence:
    """What the predictions behind a table show. Raises XlbenchError where they cannot be compared."""
    runs = {line.method: {cell: summary_of(result) for cell, result in line.results.items()} for line in table.by_mean}
    weighed = weigh(runs, table.first.unit, (1 - statistics.LEVEL) / max(1, table.of_tables))
    weighed = replace(weighed, not_converged=table.not_converged)
    return replace(weighed, places={}, unfinished=True) if table.unfinished else weighed


def summary_of(result: Result) -> Summary:
    """What a result's predictions show. Raises XlbenchError where they were not read."""
    if result.summary is None:
        raise XlbenchError(f"the predictions of record {result.record.id} were not read")
    return result.summary


def findings(table: Table) -> list[str]:
    """What the predictions behind a table show, in sentences; of the oracle's nothing, for it is never ranked."""
    if table.oracle:
        return []
    try:
        return evidence(table).words()
    except XlbenchError as fault:
        return [f"No intervals: {fault}"]


def points(value: float) -> str:
    """A share of 1 in points, with one decimal."""
    return f"{round(100 * value, 1) + 0.0:.1f}"  # adding zero, so that a little less than none is no -0.0


def count(number: int, thing: str) -> str:
    """So many things, in the singular for one."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
