"""What a suite could show before it is run, how long it would take, and the best design for some hours."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import Any

from xlbench import registry
from xlbench.analysis.duration import Pace, paces
from xlbench.analysis.evidence import count, differences, summary_of
from xlbench.analysis.matching import group
from xlbench.analysis.power import DEFAULT_PARTS, Power, VarianceParts, pooled, pooled_degrees, power, variance_parts
from xlbench.analysis.statistics import first_step
from xlbench.errors import XlbenchError
from xlbench.problem import problem_of
from xlbench.records.index import Result
from xlbench.records.predictions import Summary, unit_scores
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.records.vetting import readable, result_of
from xlbench.spec import ALL, NONE, RunSpec, Suite, TestDesign, in_words

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
    """A design that fits some hours: what to ask for, and the smallest difference that it shows. `hours` of computing
    are those of this number of shots."""

    shots: int
    draws: int
    units: int
    test_design: TestDesign
    checkpoints: int
    smallest: float
    hours: float


def outlook(suite: Suite, store: Store) -> list[Outlook]:
    """What a suite can show, for each of its numbers of shots. Raises XlbenchError for a suite that is mistaken."""
    known = _known(suite, store)
    outlooks = []
    for shots in dict.fromkeys(suite.shots):
        specs = known.specs(shots)
        found, pace = known.parts(shots, specs[0].test_design), paces(known.tuned_alike, shots)
        units = known.resampled(known.units, specs[0].test_design)
        shown = power(found.parts, suite.draws, suite.seeds, units, level=known.level, degrees=found.degrees)
        seconds = known.seconds(specs, pace, known.units)
        warning = specs[0].training.too_short(shots * known.classes) or "" if shots else ""
        asked = None if seconds is None else suite.draws * suite.seeds * seconds
        outlooks.append(Outlook(shots, shown, asked, found.basis, warning))
    return outlooks


def best_design(suite: Suite, store: Store, hours: float) -> list[Design]:
    """For each number of shots, which get equal parts of so many hours of computing: the draws, the test units, whether
    all languages share them, and the checkpoints that show the smallest difference of the declared contrast.

    Languages stay: the mean over others is another question. In how many languages a unit is tested is chosen: in all
    (parallel) or in one (sharded), where records tell what that does. Raises XlbenchError where a method has no
    finished record to go by, not even two draws fit, or all shots are asked for.
    """
    known, designs = _known(suite, store), []
    each = hours / len(set(suite.shots))
    for shots in dict.fromkeys(suite.shots):
        if shots in (ALL, NONE):
            raise XlbenchError(
                f"--hours chooses a number of draws, and of {in_words(shots)} there is one; ask for a number of --shots"
            )
        specs, pace = known.specs(shots), paces(known.tuned_alike, shots)
        if lacking := sorted({spec.method for spec in specs} - pace.keys()):
            raise XlbenchError(f"--hours needs a finished run of {', '.join(lacking)} on this task and model to go by")
        found = [design for design in known.designs(specs, pace, each) if design.draws > 1]
        if not found:
            raise XlbenchError(f"{each:g} hours hold no two draws of {shots} shots; ask for more, or fewer methods")
        designs.append(min(found, key=lambda design: (design.smallest, design.hours)))
    return designs


@dataclass(frozen=True)
class _Parts:
    """Variance parts of a difference, with how many degrees of freedom they are known, and in words where from."""

    parts: VarianceParts = DEFAULT_PARTS
    degrees: tuple[int, int] | None = None
    basis: str = ASSUMED


@dataclass(frozen=True)
class _Known:
    """What is known of a suite before it is run."""

    suite: Suite
    store: Store
    alike: Sequence[Record]
    tuned_alike: Sequence[Record]  # with as many trials, which take longer
    units: int
    all_units: int | None
    aligned: bool
    languages: int
    classes: int
    level: float

    def specs(self, shots: int) -> list[RunSpec]:
        """The runs of one draw and seed."""
        first = [spec for spec in self.suite.cells() if spec.shots == shots and spec.draw == self.suite.first_draw]
        return [spec for spec in first if spec.seed == 0]

    def parts(self, shots: int, design: TestDesign) -> _Parts:
        """Variance parts of a difference, from runs of this test design; from parallel ones dealt out where there are
        none, for these hold what a sharded test of the same runs would have shown."""
        of_shots = [record for record in self.alike if record.spec.shots == shots]
        found = _parts([record for record in of_shots if record.spec.test_design == design], self.store)
        if found.basis == ASSUMED and design == "sharded":
            return _parts([record for record in of_shots if record.aligned], self.store, dealt=True)
        return found

    def resampled(self, units: int, design: TestDesign) -> int:
        """How many units a board resamples, of so many asked for: of all languages where these have their own."""
        return units if self.aligned or design == "sharded" else units * self.languages

    def seconds(self, specs: Sequence[RunSpec], pace: dict[str, Pace], units: int) -> float | None:
        """Of one draw and seed of all methods; None where a method has no run to go by, or its steps are not known."""
        if any(spec.method not in pace for spec in specs):
            return None
        each = [pace[spec.method].seconds(spec, self.classes, units, self.languages) for spec in specs]
        return None if None in each else sum(filter(None, each))

    def designs(self, specs: Sequence[RunSpec], pace: dict[str, Pace], hours: float) -> Iterator[Design]:
        """For each choice of test design, test units and checkpoints, the one with the most draws that fit."""
        own, seeds, training = specs[0].test_design, self.suite.seeds, specs[0].training.model_dump()
        every: tuple[TestDesign, ...] = ("parallel", "sharded") if self.aligned else (own,)
        told = [(design, self.parts(specs[0].shots, design)) for design in every]
        told = [(design, found) for design, found in told if found.basis != ASSUMED]
        for design, found in told or [(own, _Parts())]:
            for units, checkpoints in product(self._units(), sorted({5, 10, training["checkpoints"]})):
                changed = {"test_design": design, "training": {**training, "checkpoints": checkpoints}}
                seconds = self.seconds([spec.with_(**changed) for spec in specs], pace, units)
                draws = min(MOST_DRAWS_TRIED, int(3600 * hours / ((seconds or math.inf) * seeds)))
                resampled = self.resampled(units, design)
                if draws > 1:
                    smallest = power(found.parts, draws, seeds, resampled, level=self.level).smallest or 0.0
                    spent = draws * seeds * (seconds or 0.0) / 3600
                    yield Design(specs[0].shots, draws, units, design, checkpoints, smallest, spent)

    def _units(self) -> list[int]:
        """Test units to choose among."""
        most = self.all_units or self.units
        shares = {max(2 * self.languages, round(share * most)) for share in UNIT_SHARES}
        return sorted(number for number in shares | {self.units} if number <= most)


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
        suite, store, alike, tuned_alike, units, task.units, task.aligned, languages, classes,
        first_step(max(1, contrasts)),
    )  # fmt: skip


def _parts(records: Sequence[Record], store: Store, dealt: bool = False) -> _Parts:
    """Variance parts of the table with most runs, those of all its pairs together; assumed ones where no table has two
    draws. `dealt`: those that sharded tests would have had, over every way to deal units out in turn."""
    tables = [table for matched in group(map(Result, records)) for table in matched.tables] if records else []
    for table in sorted(tables, key=lambda table: -sum(len(line.results) for line in table.lines)):
        if len(table.lines) < 2:
            continue
        try:
            read = _dealt if dealt else _as_it_is
            runs = {
                line.method: {cell: read(record, store) for cell, record in line.records.items()}
                for line in table.lines
            }
            ways = len(next(iter(next(iter(runs.values())).values())))
            weighed = [
                differences(
                    {method: {cell: told[way] for cell, told in cells.items()} for method, cells in runs.items()}
                )
                for way in range(ways)
            ]
        except XlbenchError:
            continue
        together = pooled([variance_parts(design) for pairs in weighed for design in pairs.values()])
        if together is not None:
            draws, _, units = max((design.shape for design in weighed[0].values()), key=itemgetter(0))
            basis = f"from {count(sum(map(len, runs.values())), 'run')}{', dealt out' if dealt else ''}"
            return _Parts(together, pooled_degrees(len(runs), draws, units), basis)
    return _Parts()


def _as_it_is(record: Record, store: Store) -> list[Summary]:
    return [summary_of(result_of(record, store))]


def _dealt(record: Record, store: Store) -> list[Summary]:
    """A run of a parallel test as sharded ones would have shown it: one for each language that units begin with."""
    told = unit_scores(store.path(record.id), problem_of(record.problem))
    ways = range(len(told.languages))
    return [Summary(told.scores, told.dealt(first), told.constant.mean(axis=0), told.test) for first in ways]
