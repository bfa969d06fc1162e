"""Typer commands: parse, call, print. No logic, and nothing heavy imported before a command needs it.

Exit codes: 0 all well; 1 a run, a cell of a comparison or a check failed; 2 a mistake in what was asked; 130 stopped
by Ctrl-C.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from xlbench import registry
from xlbench.cli.frame import app, command, echo
from xlbench.cli.options import (
    Address,
    BatchSize,
    CellCpus,
    CellGpus,
    CellTimeout,
    CheckpointMinutes,
    Checkpoints,
    DataRoot,
    Device,
    Epochs,
    Executor,
    Jobs,
    Languages,
    LearningRate,
    LogJson,
    MaxLength,
    Model,
    Parallel,
    ParallelSize,
    Picture,
    Plugin,
    Precision,
    Quiet,
    Revision,
    Runs,
    Selection,
    Settings,
    Shard,
    Split,
    Steps,
    TestUnits,
    TokenBudget,
    Tracker,
    Tune,
    Warmup,
    With,
)
from xlbench.cli.reading_commands import COMMANDS
from xlbench.errors import XlbenchError
from xlbench.spec.words import (
    method_choices,
    run_fields,
    settings,
    suite_of,
    whole_number,
    whole_numbers,
)
from xlbench.version import __version__


def _version(asked: bool) -> None:
    if asked:
        echo(f"xlbench {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Few-shot cross-lingual transfer methods, compared under equal conditions."""


@command("run")
def run_command(
    method: Annotated[str, typer.Option(help="registered method; see `xlbench list methods`")],
    shots: Annotated[str, typer.Option(help="labelled examples per class, for training and again for dev; or all")],
    task: Annotated[str, typer.Option(help="registered task; see `xlbench list tasks`")] = "xnli",
    set_: Settings = None,
    draw: Annotated[int, typer.Option(min=0, help="number of the few-shot draw")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="seed of initialisation, order and dropout")] = 0,
    model: Model = None, revision: Revision = None, languages: Languages = None, test_units: TestUnits = None,
    split: Split = None, tune: Tune = None, max_length: MaxLength = None, precision: Precision = None,
    selection: Selection = None, parallel: Parallel = None, parallel_size: ParallelSize = None, steps: Steps = None,
    epochs: Epochs = None, batch_size: BatchSize = None, learning_rate: LearningRate = None, warmup: Warmup = None,
    checkpoints: Checkpoints = None, data_root: DataRoot = None, runs: Runs = "runs", device: Device = "auto",
    plugin: Plugin = None, token_budget: TokenBudget = None, with_: With = None, tracker: Tracker = None,
    checkpoint_minutes: CheckpointMinutes = 30.0, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train a method on a few shots in one language, test it in many, and keep the record."""
    where = {"tracker": tracker, "checkpoint_minutes": checkpoint_minutes}
    runtime = _runtime(runs, data_root, device, plugin, token_budget, quiet, **where)
    asked = {"task": task, "method": method, "shots": whole_number(shots), "draw": draw, "seed": seed}
    fields = run_fields(locals()) | asked
    registry.load_plugins(plugin or ())
    registry.find("method", method)
    registry.find("task", task)
    from xlbench.spec import RunSpec, parse

    spec = parse(RunSpec, {**fields, "config": settings(set_ or [])}, "the command line")
    from xlbench.cli.terminal import BarProgress, show_record
    from xlbench.engine.execute import run

    record = run(spec, runtime, BarProgress(quiet))
    show_record(record, f"{runs}/{record.id}")


@command("compare")
def compare_command(
    suite: Annotated[str | None, typer.Option(help="a suite's TOML file, or the name of one that ships")] = None,
    methods: Annotated[str | None, typer.Option(help="methods, as finetune,mpt(alpha=0.3)")] = None,
    shots: Annotated[str | None, typer.Option(help="numbers of shots, or all; 4,16 if left out")] = None,
    draws: Annotated[int | None, typer.Option(min=1, help="few-shot draws; 3 if left out")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="seeds for each draw; 2 if left out")] = None,
    task: Annotated[str | None, typer.Option(help="registered task; xnli if left out")] = None,
    model: Model = None, revision: Revision = None, languages: Languages = None, test_units: TestUnits = None,
    split: Split = None, tune: Tune = None, max_length: MaxLength = None, precision: Precision = None,
    selection: Selection = None, parallel: Parallel = None, parallel_size: ParallelSize = None, steps: Steps = None,
    epochs: Epochs = None, batch_size: BatchSize = None, learning_rate: LearningRate = None, warmup: Warmup = None,
    checkpoints: Checkpoints = None, data_root: DataRoot = None, runs: Runs = "runs", device: Device = "auto",
    plugin: Plugin = None, token_budget: TokenBudget = None, with_: With = None, picture: Picture = None,
    executor: Executor = None, jobs: Jobs = None, address: Address = None, cell_cpus: CellCpus = None,
    cell_gpus: CellGpus = None, cell_timeout: CellTimeout = None, shard: Shard = None, log_json: LogJson = None,
    tracker: Tracker = None, checkpoint_minutes: CheckpointMinutes = 30.0, quiet: Quiet = False,
    plan: Annotated[bool, typer.Option("--plan", help="run nothing; say what the table could show")] = False,
) -> None:  # fmt: skip
    """Run what is missing of a table of methods × shots × draws × seeds, and print it.

    With --suite, what is given beside it holds in place of what the suite says (--model, --shots, --steps, …).
    """
    where = {"executor": executor, "jobs": jobs, "cell_timeout": cell_timeout, "shard": shard, "log_json": log_json}
    where |= {"address": address, "cell_cpus": cell_cpus, "cell_gpus": cell_gpus, "tracker": tracker}
    where |= {"checkpoint_minutes": checkpoint_minutes}
    runtime = _runtime(runs, data_root, device, plugin, token_budget, quiet, **where)
    fields = run_fields(locals()) | ({"task": task} if task is not None else {})
    given = {"shots": None if shots is None else whole_numbers(shots), "draws": draws, "seeds": seeds}
    axes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if (suite is None) == (methods is None):
        raise XlbenchError("give either --methods a,b (with --task and --shots) or --suite FILE.toml")
    from xlbench.spec import Suite, parse

    if suite is not None:
        asked = suite_of(suite, axes, fields)
    else:
        axes = {"methods": method_choices(methods or ""), "shots": (4, 16), "draws": 3, "seeds": 2, **axes}
        asked = parse(Suite, {**axes, "run": fields}, "the command line")
    if plan:
        from xlbench.cli.terminal import show_plan

        show_plan(asked, runtime.runs)
    else:
        _compare(asked, runtime, quiet, picture)


@command("plan")
def plan_command(
    suite: Annotated[str, typer.Option(help="a suite's TOML file, or the name of one that ships")],
    runs: Runs = "runs",
    model: Model = None,
    test_units: TestUnits = None,
    plugin: Plugin = None,
) -> None:
    """What differences a suite can show, how many draws would show 1, 2 and 3 points, and how long it takes."""
    registry.load_plugins(plugin or ())
    from xlbench.cli.terminal import show_plan

    fields = {"model": model, "test_units": test_units}
    show_plan(suite_of(suite, {}, {name: value for name, value in fields.items() if value is not None}), runs)


@command("demo")
def demo_command(
    runs: Runs = "runs", device: Device = "auto", picture: Picture = None,
    executor: Executor = None, jobs: Jobs = "auto", cell_timeout: CellTimeout = None, shard: Shard = None,
    log_json: LogJson = None, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Compare the four methods on the embedded model and task: about a minute on two cores."""
    where = {"executor": executor, "jobs": jobs, "cell_timeout": cell_timeout, "shard": shard, "log_json": log_json}
    _compare(suite_of("demo", {}, {}), _runtime(runs, None, device, None, None, quiet, **where), quiet, picture)


for name, function in COMMANDS.items():
    command(name)(function)


def _compare(suite: Any, runtime: Any, quiet: bool, picture: Path | None = None) -> None:
    """Run a suite, print its board, say what failed; exit 1 where a cell did."""
    from xlbench.cli.terminal import BarProgress, show_board
    from xlbench.comparison.compare import run_suite

    comparison = run_suite(suite, runtime, BarProgress(quiet))
    if comparison.results:
        show_board(comparison.results, picture)
    for sentence in comparison.skipped:
        echo(f"skipped: {sentence}")
    part = f"; {comparison.part}" if comparison.part else ""
    echo(
        f"{comparison.computed} runs computed, {len(comparison.records)} in the table; records in {runtime.runs}{part}"
    )
    if comparison.failed:
        for sentence in comparison.failed:
            echo(f"failed: {sentence}", err=True)
        raise typer.Exit(1)


def _runtime(
    runs: str, data_root: Path | None, device: str, plugins: list[str] | None, token_budget: int | None, quiet: bool,
    **where: Any,
) -> Any:  # fmt: skip
    from xlbench.spec import Runtime, parse

    if where.get("tracker") is not None:
        from xlbench.engine.trackers import tracker_of

        tracker_of(where["tracker"])  # raises where there is none
    if data_root is not None and not os.path.isdir(data_root):
        raise XlbenchError(f"--data-root {data_root} is not a folder")
    fields = {
        "runs": runs, "data_root": data_root, "device": device, "plugins": tuple(plugins or ()),
        "token_budget": token_budget, "quiet": quiet, **where,
    }  # fmt: skip
    return parse(Runtime, fields, "the command line")


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
