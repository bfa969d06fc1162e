"""Records that differ in the selection policy alone, side by side: what the choice of the checkpoint is worth."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import get_args

from xlbench.analysis.evidence import count, points
from xlbench.analysis.matching import Group, Line, alike_but
from xlbench.board.blocks import Family, Grid
from xlbench.spec import ORACLE, Selection, written

KIND = "Selection policies"
POLICIES = (*(name for name in get_args(Selection) if name != ORACLE), ORACLE)  # the oracle apart, at the end
WORDS = (
    "Mean of the metric in percent, by which checkpoint was tested; all else is equal, and each row is the mean over "
    "the draws and seeds that all policies of the row have",
    "The oracle chose on target-language labels, which few-shot transfer does not have: a ceiling, not a result",
)


def side_by_side(groups: Sequence[Group]) -> list[Family]:
    """A table of methods × policies for all groups that have such others, in the order of the groups."""
    return [tables for family in alike_but(groups, {"selection"}).values() for tables in _family(family)]


def _family(family: Sequence[Group]) -> Iterator[Family]:
    """The table of groups that differ in the policy alone; none where no method was run with two."""
    family = [group for group in family if group.key["selection"] in POLICIES]  # a protocol's is none
    policies = [policy for policy in POLICIES if policy in {group.key["selection"] for group in family}]
    lines: dict[tuple[int, str], dict[str, Line]] = defaultdict(dict)
    for group in family:
        for table in group.tables:
            for line in table.lines:
                lines[table.shots, line.method][group.key["selection"]] = line
    rows = [_row(*name, by_policy, policies) for name, by_policy in sorted(lines.items()) if len(by_policy) > 1]
    if rows:
        heads = ["oracle (not ranked)" if policy == ORACLE else policy for policy in policies]
        head = ["selection", "shots", "runs", *heads]
        oracle = ORACLE in policies
        grid = Grid(KIND, head, rows, apart=len(head) - 1 if oracle else None)
        yield Family(KIND, family[0].title, (WORDS if oracle else WORDS[:1], grid))


def _row(shots: int, method: str, by_policy: dict[str, Line], policies: Sequence[str]) -> list[str]:
    """A method's means over the cells common to its policies; a dash for a policy that it was not run with."""
    common = sorted(set.intersection(*(set(line.records) for line in by_policy.values())))
    means = {
        policy: points(fmean(line.records[cell].mean for cell in common)) if common else "–"
        for policy, line in by_policy.items()
    }
    return [method, str(written(shots)), count(len(common), "run"), *(means.get(policy, "–") for policy in policies)]
