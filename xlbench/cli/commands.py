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
from xlbench.cli.options import Picture, Plugin, Runs, Settings, With, takes
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import listed
from xlbench.spec import ParallelSettings, RunSpec, Runtime, Suite, Training, parse, words
from xlbench.version import __version__

DEMO_OPTIONS = ("runs", "device", "executor", "jobs", "cell_timeout", "shard", "log_json", "quiet")


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


@command
@takes(
    (RunSpec, (*words.FIRST_OPTIONS, *words.OPTIONS)),
    (ParallelSettings, words.PARALLEL_OPTIONS),
    (Training, words.TRAINING_OPTIONS),
    (Runtime, words.RUNTIME_OPTIONS),
)
def run_command(*, set_: Settings = None, with_: With = None, **given: Any) -> None:
    """Train a method on a few shots in one language, test it in many, and keep the record."""
    runtime = _runtime(given)
    fields = words.run_fields({**given, "with_": with_})
    registry.load_plugins(runtime.plugins)
    registry.find("method", given["method"])
    registry.find("task", fields.get("task", RunSpec.model_fields["task"].default))
    spec = parse(RunSpec, {**fields, "config": words.settings(set_ or [])}, "the command line")
    from xlbench.cli.terminal import BarProgress, show_record
    from xlbench.engine.execute import run

    record = run(spec, runtime, BarProgress(runtime.quiet))
    show_record(record, f"{runtime.runs}/{record.id}")


@command
@takes(
    (RunSpec, ("task", *words.OPTIONS)),
    (ParallelSettings, words.PARALLEL_OPTIONS),
    (Training, words.TRAINING_OPTIONS),
    (Runtime, (*words.RUNTIME_OPTIONS, *words.WORKER_OPTIONS)),
)
def compare_command(
    suite: Annotated[str | None, typer.Option(help="a suite's TOML file, or the name of one that ships")] = None,
    methods: Annotated[str | None, typer.Option(help="methods, as finetune,mpt(alpha=0.3)")] = None,
    shots: Annotated[str | None, typer.Option(help="numbers of shots, or all; 4,16 if left out")] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help="few-shot draws; if left out 3, or 1 with --split, which is one")
    ] = None,
    first_draw: Annotated[int | None, typer.Option(min=0, help="number of the first draw; 0 if left out")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="seeds for each draw; 2 if left out")] = None,
    sources: Annotated[
        str | None,
        typer.Option(help="languages of the shots, as en,de,zh: each with each test language, a table a source"),
    ] = None,
    *,
    with_: With = None,
    picture: Picture = None,
    plan: Annotated[bool, typer.Option("--plan", help="run nothing; say what the table could show")] = False,
    **given: Any,
) -> None:
    """Run what is missing of a table of methods × shots × draws × seeds, and print it.

    With --suite, what is given beside it holds in place of what the suite says (--model, --shots, --steps, …). Without
    --selection, 16 shots and fewer are run by source dev and, for it has few rows then, by the last state too.
    """
    runtime = _runtime(given)
    fields = words.run_fields({**given, "with_": with_})
    if draws is None and fields.get("split") is not None:
        draws = 1
    numbers = None if shots is None else words.whole_numbers(shots)
    given_axes = (
        ("shots", numbers), ("draws", draws), ("first_draw", first_draw), ("seeds", seeds),
        ("sources", tuple(listed(sources)) if sources else None),
    )  # fmt: skip
    axes: dict[str, Any] = {name: value for name, value in given_axes if value is not None}
    if (suite is None) == (methods is None):
        raise XlbenchError("give either --methods a,b (with --task and --shots) or --suite FILE.toml")
    if suite is not None:
        asked = words.suite_of(suite, axes, fields)
    else:
        axes = {"methods": words.method_choices(methods or ""), "shots": (4, 16), "draws": 3, "seeds": 2, **axes}
        axes |= {} if "selection" in fields else {"beside": ("last",)}
        asked = parse(Suite, {**axes, "run": fields}, "the command line")
    if plan:
        from xlbench.cli.terminal import show_plan

        show_plan(asked, runtime.runs)
    else:
        _compare(asked, runtime, picture)


@command
@takes((RunSpec, ("model", "test_units")))
def plan_command(
    suite: Annotated[str, typer.Option(help="a suite's TOML file, or the name of one that ships")],
    hours: Annotated[
        float | None, typer.Option(min=0.01, help="choose the design that shows most in so many hours of computing")
    ] = None,
    *,
    runs: Runs = "runs",
    plugin: Plugin = None,
    **given: Any,
) -> None:
    """What differences a suite can show, how many draws would show 1, 2 and 3 points, and how long it takes."""
    registry.load_plugins(plugin or ())
    from xlbench.cli.terminal import show_plan

    show_plan(words.suite_of(suite, {}, words.run_fields(given)), runs, hours)


@command
@takes((Runtime, DEMO_OPTIONS))
def demo_command(*, picture: Picture = None, **given: Any) -> None:
    """Compare the four methods on the embedded model and task: about a minute on two cores.

    Its runs go in as many processes as cores and memory hold (--jobs auto).
    """
    if given["executor"] in (None, "processes"):
        given["jobs"] = given["jobs"] or "auto"
    _compare(words.suite_of("demo", {}, {}), _runtime(given), picture)


@command
def leaderboard_command(
    runs: Runs = "runs",
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("board"),
    replace: Annotated[
        bool, typer.Option("--replace", help="write over a board of other records, or files that are no board's")
    ] = False,
    together: Annotated[
        bool, typer.Option("--together", help="refuse records that may not all be compared, and print what differs")
    ] = False,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="draw none, for boards of many records")] = False,
    open_: Annotated[bool, typer.Option("--open", help="show the page in the browser, once it is written")] = False,
) -> None:
    """Write the board from the records: markdown, a web page, figures, CSV and parquet; same records, same bytes."""
    from xlbench.analysis.matching import NotMatched
    from xlbench.board.publish import publish

    try:
        board = publish(runs, out, together, figures=not no_figures, replace=replace)
    except NotMatched as fault:
        from xlbench.cli.terminal import show_mismatches

        show_mismatches(fault.groups)
        raise
    echo("\n".join(f"wrote {file}" for file in board.files))
    for note in board.notes:
        echo(f"note: {note}")
    if open_:
        import webbrowser

        page = (out / "index.html").resolve()
        if not webbrowser.open(page.as_uri()):
            echo(f"note: there is no browser here that could be asked to open {page}")


@command
def vote_command(
    records: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="ids of two records or more, of the same test")
    ],
    rule: Annotated[str, typer.Option(help="log-mean, mean or majority")] = "log-mean",
    weights: Annotated[str | None, typer.Option(help="a weight for each run, as 1,2")] = None,
    runs: Runs = "runs",
) -> None:
    """Combine what several runs say of the same test rows into a record with the sum of their costs."""
    from xlbench.cli.terminal import show_record
    from xlbench.comparison.vote import vote

    try:
        numbers = [float(weight) for weight in listed(weights)] if weights else []
    except ValueError as fault:
        raise XlbenchError(f"--weights {weights}: {fault}; give numbers, as 1,2") from fault
    record = vote(records, runs, rule, numbers)  # type: ignore[arg-type]
    show_record(record, f"{runs}/{record.id}")


@command
@takes((RunSpec, ("model",)), (Runtime, ("data_root", "runs", "device", "plugins", "quiet")))
def average_command(
    records: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="ids of two records or more, kept with weights")
    ],
    weights: Annotated[Path, typer.Option(help="the folder that --keep-weights named when they were computed")],
    **given: Any,
) -> None:
    """Score the mean of several runs' weights, and keep a record with the sum of their budgets."""
    runtime = _runtime(given)
    registry.load_plugins(runtime.plugins)
    from xlbench.cli.terminal import show_record
    from xlbench.comparison.average import average

    record = average(records, weights, runtime, words.run_fields(given).get("model"))
    show_record(record, f"{runtime.runs}/{record.id}")


@command
@takes((RunSpec, ("model",)), (Runtime, ("data_root", "runs", "device", "plugins", "quiet")))
def predict_command(
    record: Annotated[str, typer.Argument(metavar="RUN", help="a record's id, kept with weights")],
    file: Annotated[Path, typer.Argument(help="your rows: the task's texts and `language`; CSV, TSV, JSON lines")],
    weights: Annotated[Path, typer.Option(help="the folder that --keep-weights named when it was computed")],
    language: Annotated[str | None, typer.Option(help="of all rows, where the file has no such column")] = None,
    out: Annotated[Path | None, typer.Option(help="the CSV file to write; printed if left out")] = None,
    **given: Any,
) -> None:
    """Score your own rows, without labels, with a run's kept model: a label and probabilities for each."""
    if out is not None and out.exists():
        raise XlbenchError(f"{out} is there already; name another file with --out")
    runtime = _runtime(given)
    registry.load_plugins(runtime.plugins)
    from xlbench.comparison.own_rows import predicted

    text = predicted(record, file, weights, runtime, words.run_fields(given).get("model"), language)
    if out is None:
        echo(text, nl=False)
    else:
        from xlbench.host.whole_files import replace_file

        echo(f"wrote {replace_file(out, text.encode())}")


def _compare(suite: Suite, runtime: Runtime, picture: Path | None = None) -> None:
    """Run a suite, print its board, say what failed; exit 1 where a cell did."""
    from xlbench.cli.terminal import BarProgress, show_board
    from xlbench.comparison.compare import run_suite

    comparison = run_suite(suite, runtime, BarProgress(runtime.quiet))
    if comparison.results:
        show_board(comparison.results, picture)
    for sentence in comparison.skipped:
        echo(f"skipped: {sentence}")
    computed = f"{comparison.computed} runs computed, {len(comparison.records)} in the table"
    echo(f"{computed}; records in {runtime.runs}{f'; {comparison.part}' if comparison.part else ''}")
    for sentence in comparison.failed:
        echo(f"failed: {sentence}", err=True)
    if comparison.failed:
        raise typer.Exit(1)


def _runtime(given: dict[str, Any]) -> Runtime:
    """Where to run, as far as it was said. A task's file becomes a plug-in, and its name the task.

    Raises XlbenchError for a tracker or a folder of data that is not there.
    """
    if str(given.get("task") or "").endswith(".toml"):
        given["plugins"] = [*(given.get("plugins") or ()), given["task"]]
        registry.load_plugins(given["plugins"])
        given["task"] = registry.task_name(given["task"])
    fields = {name: given[name] for name in Runtime.model_fields if given.get(name) is not None}
    if "tracker" in fields:
        from xlbench.engine.trackers import tracker_of

        tracker_of(fields["tracker"])  # raises where there is none
    if "data_root" in fields and not os.path.isdir(fields["data_root"]):
        raise XlbenchError(f"--data-root {fields['data_root']} is not a folder")
    return parse(Runtime, fields, "the command line")


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
