"""What the predictions behind one table show: intervals, places, pairs, and where the variance comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from xlbench.analysis.matching import ORACLE, Table
from xlbench.analysis.power import Power, VarianceParts, power, steadiest, variance_parts
from xlbench.analysis.statistics import (
    AboveChance,
    Interval,
    Pair,
    Rank,
    above_chance,
    first_step,
    pairwise,
    ranks,
    score,
)
from xlbench.errors import XlbenchError
from xlbench.records.predictions import Cell, Unit, seen, stack, summary
from xlbench.records.store import Store

FEW_DRAWS = 3


@dataclass(frozen=True)
class Evidence:
    """Of one table, by method: accuracies as shares of 1.

    `scores` are means over languages, draws, seeds and premises with their intervals; `places` those of the
    methods above chance, by the corrected pairs; `parts` the variance components of each method's score,
    `differences` those of each pair's. `power` is what the design can show at the level of Holm's first step, by
    the pair that varies least; None where there is one draw or one method.
    """

    draws: int
    seeds: int
    premises: int
    scores: dict[str, Interval]
    above: dict[str, AboveChance]
    places: dict[str, Rank]
    pairs: list[Pair]
    parts: dict[str, VarianceParts]
    differences: list[VarianceParts]
    power: Power | None

    def words(self) -> list[str]:
        """The findings as sentences: who is better, who is at chance, and what this design could show."""
        told = "" if self.draws > 1 else "With this one draw of the shots, "
        said = []
        for pair in self.pairs:
            if pair.better is not None and {pair.first, pair.second} <= self.places.keys():
                low, high = sorted((abs(pair.corrected.low), abs(pair.corrected.high)))
                by, within = points(abs(pair.difference.estimate)), f"{points(low)} to {points(high)}"
                said.append(f"{told}{pair.better} is better than {pair.worse} by {by} points (corrected: {within})")
        if len(self.places) > 1 and not said:
            said.append("No two methods above chance can be told apart")
        if len(self.places) == 1 < len(self.scores):
            said.append(f"Only {next(iter(self.places))} is shown to be above chance, which ranks it above none")
        at_chance = sorted(self.scores.keys() - self.places.keys())
        if at_chance:
            said.append(f"Not shown to be above chance, and not ranked: {', '.join(at_chance)}")
        design = f"{count(self.draws, 'draw')}, {count(self.seeds, 'seed')}, {self.premises:,} premises"
        smallest = None if self.power is None else self.power.smallest
        if smallest is not None and smallest >= 1:
            said.append(f"This design ({design}) cannot show any difference, once corrected over the pairs")
        elif smallest is not None:
            said.append(
                f"With this design ({design}) even the steadiest pair has to differ by {points(smallest)} points "
                "to be told apart in four cases of five"
            )
        if self.draws < FEW_DRAWS:
            said.append(f"{count(self.draws, 'draw').capitalize()} cannot support a ranking of close methods")
        return said


def weigh(runs: Mapping[str, Mapping[Cell, Path]], unit: Unit = "premise") -> Evidence:
    """The evidence in the predictions of some methods, each with the same draws and seeds: cell → record's folder.

    `unit` is what the task declares: "row" where its rows share no premise, or languages have rows of their own.
    Raises XlbenchError for predictions that cannot be read, or that are not of the same rows.
    """
    scored = {method: {cell: summary(folder, unit) for cell, folder in cells.items()} for method, cells in runs.items()}
    designs = stack(scored)
    chance = next(iter(next(iter(scored.values())).values())).chance
    above = {method: above_chance(design, chance) for method, design in designs.items()}
    pairs = pairwise(designs)
    draws, seeds, premises = next(iter(designs.values())).shape
    level = first_step(len(pairs))
    differences = [variance_parts(designs[pair.first] - designs[pair.second]) for pair in pairs]
    best = steadiest(differences, draws, seeds, premises, level=level)
    return Evidence(
        draws,
        seeds,
        premises,
        {method: score(design) for method, design in designs.items()},
        above,
        ranks([method for method in designs if above[method].above], pairs),
        pairs,
        {method: variance_parts(design) for method, design in designs.items()},
        differences,
        None if best is None else power(best, draws, seeds, premises, level=level),
    )


def points(value: float) -> str:
    """A share of 1 in points, with one decimal."""
    return f"{round(100 * value, 1) + 0.0:.1f}"  # adding zero, so that a little less than none is no -0.0


def count(number: int, thing: str) -> str:
    """So many things, in the singular for one."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def evidence(table: Table, store: Store) -> Evidence:
    """What the predictions behind a table show. Raises XlbenchError where they cannot be read or compared."""
    runs = [
        (line.method, tuple((cell[:2], store.path(line.records[cell].id)) for cell in table.cells))
        for line in table.by_mean
    ]
    files = tuple(seen(folder) for _, cells in runs for _, folder in cells)
    return _weighed(tuple(runs), table.first.unit, files)


def evidence_once(table: Table, store: Store) -> Evidence:
    """`evidence`, for which the files are looked at once: a board is made of one reading of them."""
    return table.once(("evidence", store.name), lambda: evidence(table, store))


@lru_cache(maxsize=4096)
def _weighed(runs: tuple[tuple[str, tuple[tuple[tuple[int, int], Path], ...]], ...], unit: Unit, _: object) -> Evidence:
    """`weigh`, once for all that shows it: the markdown, the page and the figures."""
    return weigh({method: dict(cells) for method, cells in runs}, unit)


def findings(table: Table, store: Store) -> list[str]:
    """What the predictions behind a table show, in sentences; of the oracle's nothing, for it is never ranked."""
    if table.first.spec.selection == ORACLE:
        return []
    try:
        return evidence_once(table, store).words()
    except XlbenchError as fault:
        return [f"No intervals: {fault}"]
