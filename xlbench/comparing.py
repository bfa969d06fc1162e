"""A suite of runs: which cells are missing, who computes them, and what they give."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from xlbench import executors, registry
from xlbench.errors import NotSupported, XlbenchError
from xlbench.matching import drift
from xlbench.preparing import Prepared, prepare
from xlbench.progress import Progress
from xlbench.running import versions
from xlbench.spec import RunSpec, Runtime, Suite
from xlbench.store import Record, Store
from xlbench.vetting import kept


@dataclass
class Comparison:
    """What a suite gave: records in the order of its cells, and what has none, with the reason."""

    suite: Suite
    records: list[Record] = field(default_factory=list)
    computed: int = 0
    skipped: list[str] = field(default_factory=list)  # methods that do not run on the task
    failed: list[str] = field(default_factory=list)  # cells that broke

    def frame(self) -> pd.DataFrame:
        """One row a finished cell: method, shots, draw, seed, mean, target_mean, gap, and each language."""
        return frame(self.records)


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
    comparison = Comparison(suite)
    cells = prepare_all(suite, runtime, comparison)
    store = Store(runtime.runs)
    done = {number: record for number, cell in enumerate(cells) if (record := kept(store, cell.id, progress.say))}
    missing = [number for number in range(len(cells)) if number not in done]
    progress.say(f"{suite.name}: {len(cells)} cells, {len(done)} done already, {len(missing)} to compute")
    drifted = drift(done.values(), versions())
    if drifted is not None:
        progress.say(drifted)
    if missing:
        store.ready()
    with progress.stage("cells", len(missing)):
        todo = _announced([cells[number] for number in missing], progress)
        for number, outcome in zip(missing, executors.local(todo, runtime, progress), strict=True):
            if outcome.skipped:
                comparison.skipped = list(dict.fromkeys([*comparison.skipped, outcome.error]))
            elif outcome.record is None:
                comparison.failed.append(f"{describe(outcome.prepared.spec)}: {outcome.error}")
                progress.say(f"failed: {comparison.failed[-1]}")
            else:
                done[number] = outcome.record
                comparison.computed += 1
            progress.step(1)
    comparison.records = [done[number] for number in sorted(done)]
    return comparison


def prepare_all(suite: Suite, runtime: Runtime, comparison: Comparison) -> list[Prepared]:
    """The cells of a suite that can run, prepared so that mistakes show before anything is trained.

    Methods that do not support the task are left out and named in `comparison.skipped`; a cell that the suite
    names twice is one.
    """
    for plugin in runtime.plugins:
        registry.load_plugin(plugin)
    cells: dict[str, Prepared] = {}
    reasons: dict[str, str] = {}
    for spec in suite.cells():
        if spec.method not in reasons:
            try:
                cell = prepare(spec, runtime)
                cells.setdefault(cell.id, cell)
            except NotSupported as fault:
                reasons[spec.method] = str(fault)
    comparison.skipped = list(reasons.values())
    if not cells:
        raise XlbenchError(f"suite {suite.name}: no method can run: {'; '.join(comparison.skipped)}")
    return list(cells.values())


def _announced(cells: list[Prepared], progress: Progress) -> Iterator[Prepared]:
    for cell in cells:
        progress.say(describe(cell.spec))
        yield cell


def describe(spec: RunSpec) -> str:
    """A cell in a few words."""
    method = f"{spec.method} ({spec.settings})" if spec.settings else spec.method
    return f"{method}, {spec.task}, {spec.shots} shots, draw {spec.draw}, seed {spec.seed}"


def frame(records: list[Record]) -> pd.DataFrame:
    """Records as a frame, one row each; accuracies 0 to 1."""
    rows = [
        {
            "method": record.spec.method,
            "config": record.spec.settings,
            "task": record.spec.task,
            "model": record.spec.model,
            "shots": record.spec.shots,
            "draw": record.spec.draw,
            "seed": record.spec.seed,
            "mean": record.mean,
            "source": record.accuracy.get(record.source_language),
            "target_mean": record.target_mean,
            "gap": record.transfer_gap,
            **{f"accuracy_{language}": value for language, value in record.accuracy.items()},
            "training_seconds": record.costs.get("training_seconds"),
            "record": record.id,
        }
        for record in records
    ]
    return pd.DataFrame(rows)
