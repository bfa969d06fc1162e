"""What the predictions behind one table show: intervals, places, pairs, and where the variance comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

from xlbench.analysis import statistics
from xlbench.analysis.matching import ORACLE, Table, once
from xlbench.analysis.power import Power, VarianceParts, power, steadiest, variance_parts
from xlbench.errors import XlbenchError
from xlbench.records.index import Result
from xlbench.records.predictions import Cell, Summary, stack

FEW_DRAWS = 3


@dataclass(frozen=True)
class Evidence:
    """Of one table, by method: accuracies as shares of 1.

    `scores` are means over languages, draws, seeds and units with their intervals; `places` those of the
    methods above chance, by the corrected pairs; `parts` the variance components of each method's score,
    `differences` those of each pair's. `power` is what the design can show at the level of Holm's first step, by
    the pair that varies least; None where there is one draw or one method.
    """

    draws: int
    seeds: int
    units: int
    scores: dict[str, statistics.Interval]
    above: dict[str, statistics.AboveChance]
    places: dict[str, statistics.Rank]
    pairs: list[statistics.Pair]
    parts: dict[str, VarianceParts]
    differences: list[VarianceParts]
    power: Power | None
    unit: str = "unit"  # the task's word for what is resampled

    @property
    def scope(self) -> str:
        """What the intervals of the scores speak of, in the task's word for its units."""
        return next(iter(self.scores.values())).scope.replace("units", f"{self.unit}s")

    def words(self) -> list[str]:
        """The findings as sentences: who is better, who is at chance, and what this design could show."""
        limit = "" if self.draws > 1 else "With this one draw of the shots, "
        sentences = []
        for pair in self.pairs:
            if pair.better is not None and {pair.first, pair.second} <= self.places.keys():
                low, high = sorted((abs(pair.corrected.low), abs(pair.corrected.high)))
                by, within = points(abs(pair.difference.estimate)), f"{points(low)} to {points(high)}"
                sentences.append(
                    f"{limit}{pair.better} is better than {pair.worse} by {by} points (corrected: {within})"
                )
        if len(self.places) > 1 and not sentences:
            sentences.append("No two methods above chance can be told apart")
        if len(self.places) == 1 < len(self.scores):
            sentences.append(f"Only {next(iter(self.places))} is shown to be above chance, which ranks it above none")
        at_chance = sorted(self.scores.keys() - self.places.keys())
        if at_chance:
            sentences.append(f"Not shown to be above chance, and not ranked: {', '.join(at_chance)}")
        design = f"{count(self.draws, 'draw')}, {count(self.seeds, 'seed')}, {count(self.units, self.unit)}"
        smallest = None if self.power is None else self.power.smallest
        if smallest is not None and smallest >= 1:
            sentences.append(f"This design ({design}) cannot show any difference, once corrected over the pairs")
        elif smallest is not None:
            sentences.append(
                f"With this design ({design}) even the steadiest pair has to differ by {points(smallest)} points "
                "to be told apart in four cases of five"
            )
        if self.draws < FEW_DRAWS:
            sentences.append(f"{count(self.draws, 'draw').capitalize()} cannot support a ranking of close methods")
        return sentences


def weigh(runs: Mapping[str, Mapping[Cell, Summary]], unit: str = "unit") -> Evidence:
    """The evidence in the predictions of some methods, each with the same draws and seeds: cell → what a run shows.

    `unit` is the task's word for what is resampled. Raises XlbenchError for runs that are not of the same rows.
    """
    designs = stack(runs)
    chance = next(iter(next(iter(runs.values())).values())).chance
    above = {method: statistics.above_chance(design, chance) for method, design in designs.items()}
    pairs = statistics.pairwise(designs)
    places = statistics.ranks([method for method in designs if above[method].above], pairs)
    draws, seeds, units = next(iter(designs.values())).shape
    level = statistics.first_step(len(pairs))
    differences = [variance_parts(designs[pair.first] - designs[pair.second]) for pair in pairs]
    best = steadiest(differences, draws, seeds, units, level=level)
    scores = {method: statistics.score(design) for method, design in designs.items()}
    parts = {method: variance_parts(design) for method, design in designs.items()}
    shown = None if best is None else power(best, draws, seeds, units, level=level)
    return Evidence(draws, seeds, units, scores, above, places, pairs, parts, differences, shown, unit)


@once
def evidence(table: Table) -> Evidence:
    """What the predictions behind a table show. Raises XlbenchError where they cannot be compared."""
    runs = {line.method: {cell[:2]: summary_of(line.results[cell]) for cell in table.cells} for line in table.by_mean}
    return weigh(runs, table.first.unit)


def summary_of(result: Result) -> Summary:
    """What a result's predictions show. Raises XlbenchError where they were not read."""
    if result.summary is None:
        raise XlbenchError(f"the predictions of record {result.record.id} were not read")
    return result.summary


def findings(table: Table) -> list[str]:
    """What the predictions behind a table show, in sentences; of the oracle's nothing, for it is never ranked."""
    if table.first.spec.selection == ORACLE:
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
