"""The commands that look at what is there, and keep no record: boards, lists, single records, exports, checks.

As in `xlbench.cli`: parse, call, print; nothing heavy is imported before a command needs it.
"""

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from xlbench import registry
from xlbench.cli.frame import echo
from xlbench.cli.options import DataRoot, Languages, Plugin, Runs, Settings
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import listed
from xlbench.spec.words import settings, shipped_suites


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


def list_command(
    kind: Annotated[str, typer.Argument(help="methods, tasks, suites or records")] = "methods",
    where: Annotated[
        list[str] | None,
        typer.Option(help="of records, only those so: method=mpt,pct, steps!=120, accuracy>0.5; several must all hold"),
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
        for name, file in shipped_suites().items():
            echo(f"{name:24} {tomllib.loads(file.read_text(encoding='utf-8')).get('description', '')}")
    elif kind in ("methods", "tasks"):
        for entry in registry.entries("method" if kind == "methods" else "task"):
            echo(f"{entry.name:24} {entry.summary}  [{entry.place}]")
    else:
        raise XlbenchError(f"cannot list {kind!r}; list methods, tasks, suites or records")


def show_command(
    name: Annotated[str, typer.Argument(help="a method, a task, or a record's id or folder")],
    runs: Runs = "runs",
    task: Annotated[str | None, typer.Option(help="show how a method renders this task's rows")] = None,
    languages: Languages = "en",
    model: Annotated[str, typer.Option(help="backbone whose tokens are shown")] = "tiny",
    data_root: DataRoot = None,
    plugin: Plugin = None,
) -> None:
    """What a method or task is: settings, citation, licence, languages, rendered example inputs; or one record."""
    registry.load_plugins(plugin or ())
    if name not in {*registry.names("method"), *registry.names("task")}:
        from xlbench.records.lookup import find_record, matching_ids

        if os.path.isdir(name) or matching_ids(name, runs):
            from xlbench.cli.terminal import show_record

            record = find_record(name, runs)
            show_record(record, name if os.path.isdir(name) else f"{runs}/{record.id}")
            return
    from xlbench.cli.describe import describe

    echo(describe(name, task, listed(languages or "en"), model, data_root))


def check_command(
    name: Annotated[str, typer.Argument(help="a method or a task")],
    task: Annotated[str, typer.Option(help="the task a method is checked on")] = "logic",
    model: Annotated[str | None, typer.Option(help="the backbone that you will use; tiny if left out")] = None,
    set_: Settings = None,
    data_root: DataRoot = None,
    plugin: Plugin = None,
) -> None:
    """Whether a plug-in keeps the contract, on the CPU, in seconds; of a task also which methods run on it."""
    registry.load_plugins(plugin or ())
    from xlbench.cli.check import check

    findings = check(name, task, data_root, model, settings(set_ or []))
    for finding in findings:
        mark = "note" if finding.note else "ok" if finding.ok else "FAILS"
        echo(f"{mark:5} {finding.point}{': ' + finding.why if finding.why else ''}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


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


def export_command(
    runs: Runs = "runs",
    table: Annotated[
        str | None,
        typer.Argument(help="a table of the board: scores, intervals, pairs, variance, languages, costs, …"),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="csv, json or latex")] = "csv",
) -> None:
    """All results, a row per run and language (latex: means by language), or a table of the board, as text."""
    from xlbench.board.export import export

    text, left_out = export(runs, form, table)
    _say_left_out(left_out)
    echo(text, nl=False)


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


def _say_left_out(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        echo(f"left out: {sentence}", err=True)


COMMANDS = (leaderboard_command, list_command, show_command, check_command, diff_command, export_command, cite_command)
