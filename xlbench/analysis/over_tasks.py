"""What several tasks show together of the methods that ran on all of them: wins, normalised means and places.

A task counts once, whatever its tables and languages are: its value of a method is the mean over its tables of
(metric − chance) / (1 − chance), chance being the best constant answer on the same test rows. Languages are averaged
within a task and never paired between tasks. Intervals are over other tasks: t intervals of the tasks' values, in
which the draws' and the units' share stands already. `benchmarks/calibration_tasks.py` measures them beside the
percentiles of resampled tasks, draws and units, which are too narrow with few tasks.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import fmean

from xlbench.analysis.evidence import SENTENCES as OF_ONE_TABLE
from xlbench.analysis.evidence import evidence, points, summary_of
from xlbench.analysis.matching import Group, Line, Table, alike_but
from xlbench.analysis.statistics import Interval, Pair, Rank, compared_over_tasks, of_samples, ranks
from xlbench.errors import XlbenchError

OF_TASKS = (
    "task", "languages", "split", "test_units", "test_design", "source", "translations", "target_shots",
    "task_version", "test_data",
)  # fmt: skip
# What of a group's key may differ between the tasks of a summary.
FEW_TASKS = 5
SENTENCES = {
    "better": "Over tasks {0} is better than {1} by {2} points of the normalised metric (corrected: {3} to {4})",
    "none apart": "Over other tasks no two methods can be told apart",
    "few tasks": "{0} tasks cannot support a ranking of close methods over others",
    "unfinished": OF_ONE_TABLE["unfinished"].replace("this table", "one of these tables"),
}


@dataclass(frozen=True)
class OverTasks:
    """Of tasks that differ in nothing else: by method the normalised value of each of `tasks`, its mean with the
    interval over other tasks, and its places; of each ordered pair, on how many tasks the first has the higher value,
    a tie counting one half. `unfinished`: of a table nothing is ranked, so that here nothing is either."""

    tasks: tuple[str, ...]
    values: Mapping[str, tuple[float, ...]]
    scores: Mapping[str, Interval]
    pairs: Sequence[Pair]
    places: Mapping[str, Rank]
    wins: Mapping[tuple[str, str], float]
    unfinished: bool = False

    def words(self) -> list[str]:
        """What it shows, in sentences without their full stops."""
        if self.unfinished:
            return [SENTENCES["unfinished"]]
        told = [
            SENTENCES["better"].format(
                pair.better, pair.worse, points(abs(pair.difference.estimate)),
                *map(points, sorted((abs(pair.corrected.low), abs(pair.corrected.high)))),
            )
            for pair in self.pairs
            if pair.better is not None
        ]  # fmt: skip
        few = [SENTENCES["few tasks"].format(len(self.tasks))] if len(self.tasks) < FEW_TASKS else []
        return [*(told or [SENTENCES["none apart"]]), *few]


def summaries(groups: Sequence[Group]) -> list[tuple[Group, OverTasks]]:
    """A summary of all groups that differ in the task alone, where they have two tasks and two methods in common, with
    the first of those groups. Nothing is said of the oracle's."""
    families = alike_but((group for group in groups if not group.oracle), OF_TASKS).values()
    found = ((family[0], _summary([table for group in family for table in group.tables])) for family in families)
    return [(group, summary) for group, summary in found if summary is not None]


def _summary(tables: Sequence[Table]) -> OverTasks | None:
    by_task: dict[str, list[Table]] = defaultdict(list)
    for table in tables:
        by_task[table.first.spec.task].append(table)
    methods = set.intersection(*({line.method for table in own for line in table.lines} for own in by_task.values()))
    shared = {
        task: [table for table in own if methods <= {line.method for line in table.lines}]
        for task, own in sorted(by_task.items())
    }
    tasks = tuple(task for task, own in shared.items() if own)
    if len(methods) < 2 or len(tasks) < 2:
        return None
    every = [table for task in tasks for table in shared[task]]
    lines = {(id(table), line.method): line for table in every for line in table.lines}
    try:
        values = {
            method: tuple(fmean(_normalised(lines[id(table), method]) for table in shared[task]) for task in tasks)
            for method in sorted(methods)
        }
        unfinished = any(evidence(table).unfinished for table in every)
    except XlbenchError:  # predictions that are not of the same rows, or were not read: the table says so
        return None
    return over(tasks, values, unfinished)


def over(tasks: Sequence[str], values: Mapping[str, Sequence[float]], unfinished: bool = False) -> OverTasks:
    """The summary of methods' normalised values, by method those of `tasks`, two at least."""
    scores = {method: of_samples(own) for method, own in values.items()}
    order = sorted(values, key=lambda method: (-scores[method].estimate, method))
    differences = {
        (first, second): [ours - theirs for ours, theirs in zip(values[first], values[second], strict=True)]
        for place, first in enumerate(order)
        for second in order[place + 1 :]
    }
    pairs = compared_over_tasks(differences)
    wins = {
        (first, second): sum(
            1.0 if ours > theirs else 0.5 if ours == theirs else 0.0
            for ours, theirs in zip(values[first], values[second], strict=True)
        )
        for first, second in permutations(order, 2)
    }
    return OverTasks(
        tuple(tasks),
        {method: tuple(values[method]) for method in order},
        {method: scores[method] for method in order},
        pairs,
        {} if unfinished else ranks(order, pairs),
        wins,
        unfinished,
    )


def _normalised(line: Line) -> float:
    """(metric − chance) / (1 − chance) of a method's mean; chance is the same in all runs of a table."""
    chance = float(summary_of(next(iter(line.results.values()))).chance.mean())
    return (line.mean(lambda record: record.mean) - chance) / (1 - chance) if chance < 1 else 0.0
