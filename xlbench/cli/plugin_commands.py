"""Typer commands about plug-ins: list, show, check, new. Parse, call, print."""

import os
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from xlbench import registry
from xlbench.cli.frame import command, echo, say_left_out
from xlbench.cli.options import DataRoot, Languages, Plugin, Runs, Settings
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import listed
from xlbench.spec import words

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
        say_left_out(unreadable)
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
        from xlbench.cli.plugins.describe import untrained
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
    from xlbench.cli.plugins.describe import describe

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
    from xlbench.cli.plugins.check import check

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
    from xlbench.cli.plugins.new_task import write_task

    for line in write_task(Path(os.path.expanduser(data)), out):
        echo(line)
