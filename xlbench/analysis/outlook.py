"""What a suite could show before it is run, how long it would take, and the best design for some hours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xlbench import registry
from xlbench.analysis.duration import Pace, paces
from xlbench.analysis.evidence import summary_of, weigh
from xlbench.analysis.matching import group
from xlbench.analysis.power import DEFAULT_PARTS, Power, VarianceParts, pooled, power
from xlbench.analysis.statistics import first_step
from xlbench.errors import XlbenchError
from xlbench.records.index import Result
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.records.vetting import readable, result_of
from xlbench.spec import RunSpec, Suite

ASSUMED = "assumed"
MOST_DRAWS_TRIED = 60
UNIT_SHARES = (0.06, 0.12, 0.25, 0.5, 1.0)  # of a test's units


@dataclass(frozen=True)
class Outlook:
    """One number of shots of a suite.

    `power`: what the suite's draws, seeds and units can show of a difference, at the level of the correction's first
    step over the declared primary contrasts, or over all pairs; `seconds`: of computing for all its runs, at most, None
    where a method has no finished record to go by; `basis`: what the variances are taken from; `warning`: that the
    budget is short.
    """

    shots: int
    power: Power
    seconds: float | None
    basis: str
    warning: str = ""


@dataclass(frozen=True)
class Design:
    """A design that fits some hours: what to ask for, and the smallest difference that it shows."""

    shots: int
    draws: int
    units: int
    checkpoints: int
    smallest: float
    hours: float


def outlook(suite: Suite, store: Store) -> list[Outlook]:
    """What a suite can show, for each of its numbers of shots. Raises XlbenchError for a suite that is mistaken."""
    known = _known(suite, store)
    outlooks = []
    for shots in dict.fromkeys(suite.shots):
        specs, parts, basis, pace = known.of(shots)
        shown = power(parts, suite.draws, suite.seeds, known.units, level=known.level)
        seconds = known.seconds(specs, pace, suite.draws * suite.seeds)
        warning = specs[0].training.too_short(shots * known.classes) or "" if shots else ""
        outlooks.append(Outlook(shots, shown, seconds, basis, warning))
    return outlooks


def best_design(suite: Suite, store: Store, hours: float) -> list[Design]:
    """For each number of shots, the draws, test units and checkpoints that show the smallest difference of the declared
    contrast within some hours of computing. Languages and test design stay: others would ask another question, or have
    variances that these records do not tell.

    Raises XlbenchError where a method has no finished record to go by, or not even two draws fit.
    """
    known, designs = _known(suite, store), []
    for shots in dict.fromkeys(suite.shots):
        specs, parts, _, pace = known.of(shots)
        if known.seconds(specs, pace, 1) is None:
            lacking = sorted({spec.method for spec in specs} - pace.keys())
            raise XlbenchError(f"--hours needs a finished run of {', '.join(lacking)} on this task and model to go by")
        found = [
            design
            for units, checkpoints in known.choices(specs[0])
            if (design := known.fitting(specs, parts, pace, hours, units, checkpoints)) is not None
        ]
        if not found:
            raise XlbenchError(
                f"{hours:g} hours hold no two draws of {shots or 'all'} shots; ask for more, or fewer methods"
            )
        designs.append(min(found, key=lambda design: (design.smallest, design.hours)))
    return designs


@dataclass(frozen=True)
class _Known:
    """What is known of a suite before it is run."""

    suite: Suite
    store: Store
    alike: Sequence[Record]
    tuned_alike: Sequence[Record]  # with as many trials, which take longer
    units: int
    all_units: int | None
    languages: int
    classes: int
    level: float

    def of(self, shots: int) -> tuple[list[RunSpec], VarianceParts, str, dict[str, Pace]]:
        """The runs of one draw and seed, the variance parts of a difference and where they come from, and paces."""
        first = [spec for spec in self.suite.cells() if spec.shots == shots and spec.draw == self.suite.first_draw]
        specs = [spec for spec in first if spec.seed == 0]
        tested_alike = [record for record in self.alike if record.spec.test_design == specs[0].test_design]
        parts, basis = _parts([record for record in tested_alike if record.spec.shots == shots], self.store)
        return specs, parts, basis, paces(self.tuned_alike, shots)

    def seconds(self, specs: Sequence[RunSpec], pace: dict[str, Pace], times: int) -> float | None:
        """Of so many draws and seeds of all methods; None where a method has no run to go by."""
        if any(spec.method not in pace for spec in specs):
            return None
        each = (pace[spec.method].seconds(spec, self.classes, self.units, self.languages) for spec in specs)
        return times * sum(each)

    def choices(self, spec: RunSpec) -> list[tuple[int, int]]:
        """Test units and checkpoints to choose among."""
        most = self.all_units or self.units
        units = sorted({max(2 * self.languages, round(share * most)) for share in UNIT_SHARES} | {self.units})
        looks = sorted({5, 10, spec.training.checkpoints})
        return [(number, count) for number in units if number <= most for count in looks]

    def fitting(
        self, specs: Sequence[RunSpec], parts: VarianceParts, pace: dict[str, Pace], hours: float, units: int,
        checkpoints: int,
    ) -> Design | None:  # fmt: skip
        """The most draws that fit, of one choice; None where two do not."""
        changed = [spec.with_(training={**spec.training.model_dump(), "checkpoints": checkpoints}) for spec in specs]
        each = sum(pace[spec.method].seconds(spec, self.classes, units, self.languages) for spec in changed)
        draws = min(MOST_DRAWS_TRIED, int(3600 * hours / (each * self.suite.seeds)))
        if draws < 2:
            return None
        smallest = power(parts, draws, self.suite.seeds, units, level=self.level).smallest or 1.0
        return Design(specs[0].shots, draws, units, checkpoints, smallest, draws * self.suite.seeds * each / 3600)


def _known(suite: Suite, store: Store) -> _Known:
    first = next(suite.cells())
    task: Any = registry.get("task", first.task)
    units: int | None = first.test_units or task.units
    if units is None:
        raise XlbenchError(f"task {first.task} does not say how many test units it has; give --test-units")
    asked = (first.task, first.model_name)
    alike = [record for record in readable(store) if (record.spec.task, record.spec.model) == asked]
    tuned_alike = [record for record in alike if record.spec.trials == first.trials]
    tables = len(set(suite.shots))  # over which a board corrects too, where nothing is declared
    contrasts = len(suite.analysis.primary) or tables * math.comb(len(suite.methods), 2)
    languages, classes = len(first.languages or task.languages), len(task().problem.strata())
    return _Known(
        suite, store, alike, tuned_alike, units, task.units, languages, classes, first_step(max(1, contrasts))
    )


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
