"""What a suite could show before it is run, and how long it would take, from the records so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from xlbench import registry
from xlbench.analysis.evidence import summary_of, weigh
from xlbench.analysis.matching import group
from xlbench.analysis.power import DEFAULT_PARTS, Power, VarianceParts, pooled, power
from xlbench.analysis.statistics import first_step
from xlbench.errors import XlbenchError
from xlbench.records.index import Result
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.records.vetting import readable, result_of
from xlbench.spec import Suite

ASSUMED = "assumed"


@dataclass(frozen=True)
class Outlook:
    """One number of shots of a suite.

    `power`: what the suite's draws, seeds and units can show of a difference, at the level of Holm's first
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
    task: Any = registry.get("task", first.task)
    units: int | None = first.test_units or task.units
    if units is None:
        raise XlbenchError(f"task {first.task} does not say how many test units it has; give --test-units")
    asked = (first.task, first.model_name)
    alike = [record for record in readable(store) if (record.spec.task, record.spec.model) == asked]
    tuned_alike = [record for record in alike if record.spec.trials == first.trials]  # several trials take longer
    level = first_step(math.comb(len(suite.methods), 2))
    outlooks = []
    for shots in dict.fromkeys(suite.shots):
        parts, basis = _parts([record for record in alike if record.spec.shots == shots], store)
        shown = power(parts, suite.draws, suite.seeds, units, level=level)
        outlooks.append(Outlook(shots, shown, _seconds(suite, shots, tuned_alike), basis))
    return outlooks


def _parts(records: Sequence[Record], store: Store) -> tuple[VarianceParts, str]:
    """Variance parts of a difference, and in words where they come from.

    Of the table with most runs, those of all its pairs together; assumed ones where no table has two draws.
    """
    tables = [table for matched in group(map(Result, records)) for table in matched.tables] if records else []
    for table in sorted(tables, key=lambda table: -sum(len(line.results) for line in table.lines)):
        if len(table.lines) < 2:
            continue
        try:
            runs = {
                line.method: {cell: summary_of(result_of(record, store)) for cell, record in line.records.items()}
                for line in table.lines
            }
            together = pooled(list(weigh(runs).differences.values()))
        except XlbenchError:
            continue
        if together is not None:
            return together, f"from {sum(map(len, runs.values()))} runs"
    return DEFAULT_PARTS, ASSUMED


def _seconds(suite: Suite, shots: int, alike: Sequence[Record]) -> float | None:
    """Of all runs with so many shots, by what the records took; the nearest number of shots stands in."""
    total = 0.0
    for choice in suite.methods:
        records = [record for record in alike if record.spec.method == choice.method]
        if not records:
            return None
        nearest = min({record.spec.shots for record in records}, key=lambda number: abs(number - shots))
        total += fmean(record.seconds for record in records if record.spec.shots == nearest)
    return total * suite.draws * suite.seeds
