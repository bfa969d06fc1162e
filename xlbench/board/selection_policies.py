"""Records that differ in the selection policy alone, side by side: what the choice of the checkpoint is worth."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import get_args

from xlbench.analysis.evidence import count, points
from xlbench.analysis.matching import ORACLE, Group, Line
from xlbench.board.blocks import Grid
from xlbench.spec import Selection, digest

POLICIES = (*(name for name in get_args(Selection) if name != ORACLE), ORACLE)  # the oracle apart, at the end
WORDS = (
    "Mean of the metric in percent, by which checkpoint was tested; all else is equal, and each row is the mean over "
    "the draws and seeds that all policies of the row have",
    "The oracle chose on target-language labels, which few-shot transfer does not have: a ceiling, not a result",
)


@dataclass(frozen=True)
class SideBySide:
    """Groups that differ in the selection policy alone: what they are called, and their table."""

    title: str
    grid: Grid
    oracle: bool

    @property
    def words(self) -> tuple[str, ...]:
        """What the table shows, in sentences without their full stops."""
        return WORDS if self.oracle else WORDS[:1]


def side_by_side(groups: Sequence[Group]) -> list[SideBySide]:
    """A table of methods × policies for all groups that have such others, in the order of the groups."""
    families: dict[str, list[Group]] = defaultdict(list)
    for one in groups:
        families[digest({name: value for name, value in one.key.items() if name != "selection"})].append(one)
    return [found for family in families.values() if (found := _family(family)) is not None]


def _family(family: Sequence[Group]) -> SideBySide | None:
    policies = [policy for policy in POLICIES if policy in {one.key["selection"] for one in family}]
    lines: dict[tuple[int, str], dict[str, Line]] = defaultdict(dict)
    for one in family:
        for table in one.tables:
            for line in table.lines:
                lines[table.shots, line.method][one.key["selection"]] = line
    rows = [_row(*name, by_policy, policies) for name, by_policy in sorted(lines.items()) if len(by_policy) > 1]
    if not rows:
        return None
    oracle = ORACLE in policies
    heads = ["oracle (not ranked)" if policy == ORACLE else policy for policy in policies]
    head = ["selection", "shots", "runs", *heads]
    grid = Grid("Selection policies", head, rows, apart=len(head) - 1 if oracle else None)
    return SideBySide(family[0].title, grid, oracle)


def _row(shots: int, method: str, by_policy: dict[str, Line], policies: Sequence[str]) -> list[str]:
    """A method's means over the cells common to its policies; a dash for a policy that it was not run with."""
    common = sorted(set.intersection(*(set(line.records) for line in by_policy.values())))
    means = {
        policy: points(fmean(line.records[cell].mean for cell in common)) if common else "–"
        for policy, line in by_policy.items()
    }
    return [method, str(shots or "all"), count(len(common), "run"), *(means.get(policy, "–") for policy in policies)]
