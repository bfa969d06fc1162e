"""Typer commands about records: diff, export, cite. Parse, call, print."""

from typing import Annotated

import typer

from xlbench import registry
from xlbench.cli.frame import command, echo, say_left_out
from xlbench.cli.options import Plugin, Runs


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
    say_left_out(left_out)
    echo(text, nl=False)


@command
def cite_command(runs: Runs = "runs", plugin: Plugin = None) -> None:
    """Whom to cite for the methods and tasks of the records."""
    registry.load_plugins(plugin or ())
    from xlbench.board.export import citations
    from xlbench.records.bucket import store_at
    from xlbench.records.vetting import vet

    vetted = vet(store_at(runs))
    say_left_out(vetted.left_out)
    for line in citations(vetted.records):
        echo(line)
