"""A suite of runs: which cells are missing, who computes them, and what they give."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pandas as pd

from xlbench import registry
from xlbench.analysis.declared import name_of
from xlbench.analysis.matching import drift
from xlbench.comparison import ray_tasks as ray_executor
from xlbench.comparison.crew import Crew, Employ, local
from xlbench.comparison.jobs import Jobs, jobs_for
from xlbench.comparison.outcomes import Outcome
from xlbench.comparison.processes import Worker
from xlbench.comparison.watch import Watch, describe
from xlbench.engine.prepare import Prepared, prepare
from xlbench.engine.tuning import outside_space
from xlbench.errors import NotSupported, XlbenchError
from xlbench.host.ctrl_c import Stop
from xlbench.host.progress import Progress
from xlbench.host.provenance import versions
from xlbench.records.analyses import keep_analysis
from xlbench.records.bucket import store_at
from xlbench.records.index import Index, Result
from xlbench.records.leftovers import sweep
from xlbench.records.record import Record, as_row
from xlbench.records.vetting import RefusedData, kept, result_of
from xlbench.spec import NONE, RunSpec, Runtime, Suite, in_words


@dataclass
class Comparison:
    """What a suite gave: results in the order of its cells, and what has none, with the reason."""

    suite: Suite
    part: str = ""  # which of the suite's cells, where not all
    results: list[Result] = field(default_factory=list)
    computed: int = 0
    skipped: list[str] = field(default_factory=list)  # methods that do not run on the task
    failed: list[str] = field(default_factory=list)  # cells that broke

    @property
    def records(self) -> list[Record]:
        return [result.record for result in self.results]

    def frame(self) -> pd.DataFrame:
        """One row a finished cell: method, shots, draw, seed, mean, target_mean, gap, and each language."""
        return pd.DataFrame(map(_frame_row, self.records))


def compare(suite: Suite, runtime: Runtime | None = None, progress: Progress | None = None) -> pd.DataFrame:
    """Run what is missing of a suite and return its cells as a frame, one row a finished cell.

    Raises XlbenchError for a mistake in the suite, before anything runs. A cell that fails leaves a record
    with its error and a line in `frame.attrs["failed"]`; the others go on.
    """
    comparison = run_suite(suite, runtime, progress)
    table = comparison.frame()
    table.attrs |= {"failed": comparison.failed, "skipped": comparison.skipped}
    return table


def run_suite(suite: Suite, runtime: Runtime | None = None, progress: Progress | None = None) -> Comparison:
    """Like `compare`, with the records themselves."""
    runtime, progress = runtime or Runtime(), progress or Progress()
    if runtime.executor == "ray":
        ray_executor.required()
    comparison = Comparison(suite, part_in_words(suite, runtime))
    cells = prepare_all(suite, runtime, comparison)
    store = store_at(runtime.runs)
    if suite.declared:
        store.ready()
        keep_analysis(store.root, name_of(suite), suite)
        progress.say(f"declared analysis {name_of(suite)} of suite {suite.name}: kept for the boards of {runtime.runs}")
    sweep(store.root)
    index = Index(store.root)
    done: dict[str, Result] = {}
    missing = []
    for cell in cells:
        try:
            result = kept(store, cell.id, progress.say, index)
        except RefusedData as fault:
            comparison.failed.append(f"{describe(cell.spec)}: {fault}")
            continue
        if result is None:
            missing.append(cell)
        else:
            done[cell.id] = result
    index.save()
    part = f", {comparison.part}" if comparison.part else ""
    refused = f", {len(comparison.failed)} refused for their data" if comparison.failed else ""
    progress.say(
        f"{suite.name}{part}: {len(cells)} cells, {len(done)} done already{refused}, {len(missing)} to compute"
    )
    for shots, sentence in short_budgets(missing).items():
        progress.say(f"{in_words(shots)}: {sentence}")
    for method, sentence in odd_rates(missing).items():
        progress.say(f"{method}: {sentence}; --tune N chooses among those by source dev")
    records = [result.record for result in done.values()]
    if (other_versions := drift(records, versions())) is not None:
        progress.say(other_versions)
    with closing(outcomes(cells, missing, records, runtime, progress)) as ends:
        for outcome in ends:
            error = outcome.error
            if outcome.record is not None:
                comparison.computed += 1
                try:
                    done[outcome.prepared.id] = result_of(outcome.record, store)
                except XlbenchError as fault:
                    error = str(fault)
            if outcome.skipped:
                comparison.skipped = list(dict.fromkeys([*comparison.skipped, error]))
            elif error:
                comparison.failed.append(f"{describe(outcome.prepared.spec)}: {error}")
    comparison.results = [done[cell.id] for cell in cells if cell.id in done]
    return comparison


def short_budgets(cells: Iterable[Prepared]) -> dict[int, str]:
    """By number of shots, that a budget is too short for methods to converge, in sentences."""
    by_shots = {cell.spec.shots: cell.spec.training.too_short(len(cell.episode.shots.learnt)) for cell in cells}
    return {shots: sentence for shots, sentence in by_shots.items() if sentence}


def odd_rates(cells: Iterable[Prepared]) -> dict[str, str]:
    """By method, which rates and settings of one trial lie outside of the space in which they are searched."""
    found = {
        cell.spec.method: outside_space(cell.spec, cell.config, cell.backbone.recommended_learning_rate)
        for cell in cells
        if cell.spec.trials == 1 and cell.spec.shots != NONE and cell.method_class.learns_by_gradient()
    }
    return {method: "; ".join(sentences) for method, sentences in found.items() if sentences}


def outcomes(
    cells: list[Prepared], missing: list[Prepared], done: list[Record], runtime: Runtime, progress: Progress
) -> Generator[Outcome, None, None]:
    """Compute what is missing of `cells` where the runtime says, each outcome as it comes.

    After Ctrl-C what runs is finished, and KeyboardInterrupt raised; at the second Ctrl-C, at once.
    """
    stop = Stop()
    jobs: Jobs | None = None
    employ: Employ = Worker
    with ExitStack() as stack:
        if missing and runtime.executor == "ray":
            jobs, employ = stack.enter_context(ray_executor.cluster(cells, done, runtime))
        elif missing and runtime.in_workers:
            jobs = jobs_for(cells, done, runtime)
        if jobs is not None:
            progress.say(jobs.sentence)
        at_once = jobs.number if jobs else 1
        watch = stack.enter_context(Watch.over(missing, at_once, progress, runtime.log_json))
        stack.enter_context(stop)
        stack.enter_context(progress.stage("cells", len(missing)))
        if missing:
            store_at(runtime.runs).ready()
        todo = watch.starting(missing, stop)
        computed = Crew(todo, runtime, jobs, employ).outcomes() if jobs else local(todo, runtime, progress)
        with closing(computed):
            for outcome in computed:
                watch.ended(outcome)
                yield outcome
    if stop.asked:
        raise KeyboardInterrupt


def part_in_words(suite: Suite, runtime: Runtime) -> str:
    """Which cells of a suite are run, where they are not all; else empty."""
    if runtime.part[1] == 1:
        return ""
    chosen, total = (sum(1 for _ in cells) for cells in (shard(suite.cells(), runtime), suite.cells()))
    return f"shard {runtime.shard}, {chosen} of the suite's {total} cells"


def shard(cells: Iterable[RunSpec], runtime: Runtime) -> Iterator[RunSpec]:
    """The part of a suite's cells that the runtime names: i, i+n, …, counted from 1. All parts are a partition."""
    number, parts = runtime.part
    return islice(cells, number - 1, None, parts)


def prepare_all(suite: Suite, runtime: Runtime, comparison: Comparison) -> list[Prepared]:
    """The cells of a suite that can run, prepared so that mistakes show before anything is trained.

    Methods that do not support the task are left out and named in `comparison.skipped`; a cell that the suite
    names twice is one.
    """
    registry.load_plugins(runtime.plugins)
    cells: dict[str, Prepared] = {}
    reasons: dict[str, str] = {}
    for spec in shard(suite.cells(), runtime):
        if spec.method not in reasons:
            try:
                cell = prepare(spec, runtime)
                cells.setdefault(cell.id, cell)
            except NotSupported as fault:
                reasons[spec.method] = str(fault)
    comparison.skipped = list(reasons.values())
    if not cells and reasons:
        raise XlbenchError(f"suite {suite.name}: no method can run: {'; '.join(comparison.skipped)}")
    return list(cells.values())


def _frame_row(record: Record) -> dict[str, Any]:
    """The metric from 0 to 1, by language in columns that begin with its name."""
    fields = as_row(record) | {"shots": record.spec.shots}
    return {
        **{name: fields[name] for name in ("method", "config", "task", "model", "shots", "draw", "seed")},
        "mean": record.mean,
        "target_mean": record.target_mean,
        "gap": record.transfer_gap,
        "source": record.by_language.get(record.source_language),
        **{f"{record.metric}_{language}": value for language, value in record.by_language.items()},
        **{name: fields[name] for name in ("training_seconds", "record")},
    }
