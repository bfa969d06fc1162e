"""What a suite could show before it is run, and how long it would take, from the records so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from xlbench.errors import XlbenchError
from xlbench.evidence import weigh
from xlbench.leaderboard import Table, group
from xlbench.planning import DEFAULT_PARTS, Power, VarianceParts, power
from xlbench.spec import Suite
from xlbench.statistics import LEVEL
from xlbench.store import Record, Store

XNLI_PREMISES = 1670
ASSUMED = "assumed"


@dataclass(frozen=True)
class Outlook:
    """One number of shots of a suite.

    `power`: what the suite's draws, seeds and premises can show of a difference, at the level of Holm's first
    step; `seconds`: of computing for all its runs, None where a method has no finished record to go by;
    `basis`: what the variances are taken from.
    """

    shots: int
    power: Power
    seconds: float | None
    basis: str


def outlook(suite: Suite, store: Store) -> list[Outlook]:
    """What a suite can show, for each of its numbers of shots. Raises XlbenchError for a suite that is mistaken."""
    first = next(suite.cells())
    model = Path(first.model).expanduser().name if Path(first.model).expanduser().is_dir() else first.model
    finished = [one for one in store.records() if one.status == "finished"] if store.root.is_dir() else []
    alike = [one for one in finished if (one.spec.task, one.spec.model) == (first.task, model)]
    pairs = len(suite.methods) * (len(suite.methods) - 1) // 2
    found = []
    for shots in dict.fromkeys(suite.shots):
        parts, premises, basis = _parts([one for one in alike if one.spec.shots == shots], store)
        asked = first.test_premises or premises
        found.append(
            Outlook(
                shots,
                power(parts, suite.draws, suite.seeds, asked, level=1 - (1 - LEVEL) / max(1, pairs)),
                _seconds(suite, shots, alike),
                basis,
            )
        )
    return found


def _parts(records: Sequence[Record], store: Store) -> tuple[VarianceParts, int, str]:
    """Variance parts of a difference, the premises they come from, and in words where from.

    Of the table with most runs, those of the pair that varies most; assumed ones where no table has two draws.
    """
    tables = [table for one in group(records) for table in one.tables] if records else []
    for table in sorted(tables, key=lambda one: -len(one.cells) * len(one.lines)):
        found = _of_table(table, store)
        if found is not None:
            return found
    return DEFAULT_PARTS, XNLI_PREMISES, ASSUMED


def _of_table(table: Table, store: Store) -> tuple[VarianceParts, int, str] | None:
    if len({draw for draw, _, _ in table.cells}) < 2 or len(table.lines) < 2:
        return None
    runs = {line.method: {cell[:2]: store.path(line.records[cell].id) for cell in table.cells} for line in table.lines}
    try:
        found = weigh(runs, next(iter(table.lines[0].records.values())).unit)
    except XlbenchError:
        return None
    widest = max(found.differences, key=lambda one: (one.draw or 0.0) + (one.draw_premise or 0.0) / found.premises)
    return widest, found.premises, f"from {len(table.cells) * len(table.lines)} runs"


def _seconds(suite: Suite, shots: int, alike: Sequence[Record]) -> float | None:
    """Of all runs with so many shots, by what the records took; the nearest number of shots stands in."""
    total = 0.0
    for choice in suite.methods:
        known = [one for one in alike if one.spec.method == choice.method]
        if not known:
            return None
        nearest = min({one.spec.shots for one in known}, key=lambda number: abs(number - shots))
        total += fmean(one.seconds for one in known if one.spec.shots == nearest)
    return total * suite.draws * suite.seeds
