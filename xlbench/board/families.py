"""What is said of several groups of records together, where they differ in one thing alone."""

from collections.abc import Sequence

from xlbench.analysis.evidence import points
from xlbench.analysis.matching import Group
from xlbench.analysis.over_tasks import OverTasks, summaries
from xlbench.board.blocks import Family, Grid, interval, p_value
from xlbench.board.selection_policies import side_by_side
from xlbench.board.source_languages import matrices

OVER_TASKS = "Over tasks"
WORDS = (
    "A task counts once, by (metric − chance) / (1 − chance), in percent, its languages, sources and numbers of shots "
    "averaged; chance is the best constant answer",
    "Intervals and places are of other tasks, for which these stand as a sample",
)


def families(groups: Sequence[Group]) -> list[Family]:
    """All that is said of groups together: over tasks, by the languages of the shots, and by selection policy."""
    return [*over_tasks(groups), *matrices(groups), *side_by_side(groups)]


def over_tasks(groups: Sequence[Group]) -> list[Family]:
    """Means over tasks with places, the differences, and on how many tasks one method has more than another."""
    return [
        Family(OVER_TASKS, f"{', '.join(summary.tasks)} on {group.key['model']}", (WORDS, *_blocks(summary)))
        for group, summary in summaries(groups)
    ]


def _blocks(summary: OverTasks) -> tuple[tuple[str, ...] | Grid, ...]:
    methods, tasks = list(summary.values), summary.tasks
    means = [
        [method, points(summary.scores[method].estimate), interval(summary.scores[method]),
         str(summary.places.get(method, "–")), *map(points, summary.values[method])]
        for method in methods
    ]  # fmt: skip
    wins = [
        [first, *("–" if first == second else f"{summary.wins[first, second]:g} of {len(tasks)}" for second in methods)]
        for first in methods
    ]
    pairs = [
        [f"{pair.first} − {pair.second}", points(pair.difference.estimate), interval(pair.difference),
         interval(pair.corrected), p_value(pair.corrected_p)]
        for pair in summary.pairs
    ]  # fmt: skip
    return (
        tuple(summary.words()),
        Grid("Normalised means", ["over tasks", "mean", "95 % interval (other tasks)", "place", *tasks], means),
        Grid("Differences over tasks", ["difference over tasks", "points", "95 % interval", "corrected (Shaffer)",
             "corrected p"], pairs),
        Grid("Wins", ["tasks on which it has more than", *methods], wins),
    )  # fmt: skip
