"""Typer commands: parse, call, print. No logic, and nothing heavy imported before a command needs it.

Exit codes: 0 all well; 1 a run, a cell of a comparison or a check failed; 2 a mistake in what was asked; 130 stopped
by Ctrl-C.
"""

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from xlbench import registry
from xlbench.cli.frame import app, command, echo
from xlbench.cli.options import DataRoot, Languages, Picture, Plugin, Runs, Settings, With, takes
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


LISTED: dict[str, registry.Kind] = {"methods": "method", "tasks": "task", "resources": "resource"}


@command
def list_command(
    kind: Annotated[str, typer.Argument(help="methods, tasks, resources, suites or records")] = "methods",
    where: Annotated[
        list[str] | None,
        typer.Option(help="of records, only those so: method=mpt,pct, steps!=120, score>0.5; several must all hold"),
    ] = None,
    runs: Runs = "runs",
    plugin: Plugin = None,
) -> None:
    """List what is registered: names, what they are, and where they come from; or the records of a store."""
    registry.load_plugins(plugin or ())
    if kind == "records":
        from xlbench.records.bucket import store_at
        from xlbench.records.query import lines_of

        lines, unreadable = lines_of(store_at(runs), where or ())
        _say_left_out(unreadable)
        echo("\n".join(lines))
        return
    if where:
        raise XlbenchError(f"--where chooses among records; ask for `xlbench list records`, not {kind}")
    if kind == "suites":
        for name, file in words.shipped_suites().items():
            echo(f"{name:24} {tomllib.loads(file.read_text(encoding='utf-8')).get('description', '')}")
    elif kind == "methods":
        echo("\n".join(_methods_by_family()))
    elif listed_kind := LISTED.get(kind):
        for entry in registry.entries(listed_kind):
            echo(f"{entry.name:24} {entry.summary}  [{entry.place}]")
    else:
        raise XlbenchError(f"cannot list {kind!r}; list methods, tasks, resources, suites or records")


def _methods_by_family() -> list[str]:
    """A line a family and a line a method of it; those of none at the end."""
    from xlbench.literature import method_families

    entries = {entry.name: entry for entry in registry.entries("method")}
    blocks = [
        (f"{family.name}. {family.what}.", [entries.pop(name) for name in family.methods if name in entries])
        for family in method_families()
    ]
    blocks.append(("Methods of other packages and files, of no family here:", list(entries.values())))
    lines = []
    for head, members in blocks:
        if members:
            lines += [head, *(f"  {entry.name:22} {entry.summary}  [{entry.place}]" for entry in members)]
    return lines


@command
def show_command(
    name: Annotated[
        str | None, typer.Argument(help="a method, a task, a resource, or a record's id or folder; left out: see below")
    ] = None,
    runs: Runs = "runs",
    task: Annotated[str | None, typer.Option(help="show how a method renders this task's rows")] = None,
    languages: Languages = "en",
    model: Annotated[str, typer.Option(help="backbone whose tokens are shown")] = "tiny",
    data_root: DataRoot = None,
    plugin: Plugin = None,
) -> None:
    """What a method, task or resource is: settings, citation, licence, languages, example inputs; or one record.

    With --task and --model alone: what each method scores before training, which says whom the model favours.
    """
    registry.load_plugins(plugin or ())
    name, task = (given and registry.task_name(given) for given in (name, task))
    if name is None:
        if task is None:
            raise XlbenchError("show what? give a name, or --task and --model for what methods score before training")
        from xlbench.cli.describe import untrained
        from xlbench.cli.terminal import out, table_of

        out.print(table_of(f"{task} on {model}, untrained", *untrained(task, model, data_root)))
        return
    if name not in {known for kind in LISTED.values() for known in registry.names(kind)}:
        from xlbench.records.lookup import find_record, matching_ids

        if os.path.isdir(name) or matching_ids(name, runs):
            from xlbench.cli.terminal import show_record

            record = find_record(name, runs)
            show_record(record, name if os.path.isdir(name) else f"{runs}/{record.id}")
            return
    from xlbench.cli.describe import describe

    echo(describe(name, task, listed(languages or "en"), model, data_root))


@command
def check_command(
    name: Annotated[str, typer.Argument(help="a method, a task, or a task's file, as my_task.toml")],
    task: Annotated[str, typer.Option(help="the task a method is checked on")] = "logic",
    model: Annotated[str | None, typer.Option(help="the backbone that you will use; tiny if left out")] = None,
    set_: Settings = None,
    data_root: DataRoot = None,
    plugin: Plugin = None,
) -> None:
    """Whether a plug-in keeps the contract, on the CPU, in seconds; of a task also which methods run on it."""
    registry.load_plugins(plugin or ())
    name, task = registry.task_name(name), registry.task_name(task)
    from xlbench.cli.check import check

    findings = check(name, task, data_root, model, words.settings(set_ or []))
    for finding in findings:
        mark = "note" if finding.note else "ok" if finding.ok else "FAILS"
        echo(f"{mark:5} {finding.point}{': ' + finding.why if finding.why else ''}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@command
def new_command(
    what: Annotated[str, typer.Argument(help="task")],
    data: Annotated[Path, typer.Argument(help="a folder with a file a split and language, or such a file")],
    out: Annotated[Path | None, typer.Option(help="the file to write; NAME.toml beside the data if left out")] = None,
) -> None:
    """Look at files of rows, guess what they are, and write a task of them in TOML, each guess with its reason."""
    if what != "task":
        raise XlbenchError(f"cannot make a new {what!r}; `xlbench new task DATA` writes a task for your own rows")
    from xlbench.cli.new_task import write_task

    for line in write_task(Path(os.path.expanduser(data)), out):
        echo(line)


@command
def diff_command(
    run: Annotated[str, typer.Argument(help="a record's id or folder")],
    other: Annotated[str, typer.Argument(help="another's")],
    runs: Runs = "runs",
) -> None:
    """What two records differ in: spec, data, versions, results."""
    from xlbench.cli.terminal import out, table_of
    from xlbench.records.lookup import differences, find_record

    first, second = find_record(run, runs), find_record(other, runs)
    rows = [list(row) for row in differences(first, second)]
    if not rows:
        echo(f"{first.id} and {second.id} differ in nothing but time")
    else:
        out.print(table_of(f"{len(rows)} differences", ["field", first.id, second.id], rows))


@command
def export_command(
    runs: Runs = "runs",
    table: Annotated[
        str | None, typer.Argument(help="a table of the board: scores, intervals, pairs, variance, languages, costs, …")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="csv, json or latex")] = "csv",
) -> None:
    """All results, a row per run and language (latex: means by language), or a table of the board, as text."""
    from xlbench.board.export import export

    text, left_out = export(runs, form, table)
    _say_left_out(left_out)
    echo(text, nl=False)


@command
def cite_command(runs: Runs = "runs", plugin: Plugin = None) -> None:
    """Whom to cite for the methods and tasks of the records."""
    registry.load_plugins(plugin or ())
    from xlbench.board.export import citations
    from xlbench.records.bucket import store_at
    from xlbench.records.vetting import vet

    vetted = vet(store_at(runs))
    _say_left_out(vetted.left_out)
    for line in citations(vetted.records):
        echo(line)


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


def _say_left_out(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        echo(f"left out: {sentence}", err=True)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
