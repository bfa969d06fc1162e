"""Typer commands about records and results: diff, export, cite, errors, analyse. Parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from xlbench import registry
from xlbench.cli.frame import command, echo, say_left_out
from xlbench.cli.options import DataRoot, Plugin, Runs
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import listed


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


@command
def analyse_command(
    results: Annotated[Path, typer.Argument(help="CSV, TSV, JSON lines or Parquet, a row for each judged answer")],
    columns: Annotated[
        str | None,
        typer.Option(help="which column is method, language, unit, value, draw or seed: method=model,value=acc"),
    ] = None,
    unit: Annotated[str, typer.Option(help="the word for what other tests would have others of")] = "unit",
    chance: Annotated[float, typer.Option(help="what guessing has, which methods must beat to be ranked")] = 0.0,
    margin: Annotated[float, typer.Option(help="differences below it are called the same; a share of 1")] = 0.02,
) -> None:
    """Intervals, places, pairs and the draws needed, of any harness's results: no record of xlbench is needed."""
    from xlbench.analysis.any_results import analyse
    from xlbench.analysis.evidence import points
    from xlbench.board.blocks import Grid
    from xlbench.board.content import evidence_blocks
    from xlbench.cli.terminal import out, show, table_of

    named = [part.partition("=") for part in listed(columns)] if columns else []
    for name, is_, column in named:
        if not (is_ and column):
            raise XlbenchError(f"--columns {columns}: {name!r} names no column; give method=COLUMN,value=COLUMN")
    given = {name: column for name, _, column in named}
    weighed, means = analyse(results, given, unit=unit, chance=chance, margin=margin)
    languages = list(next(iter(means.values())))
    best_first = sorted(means, key=lambda method: -weighed.scores[method].estimate)
    rows = [
        [method, points(weighed.scores[method].estimate), *(points(means[method][name]) for name in languages)]
        for method in best_first
    ]
    out.print(table_of("Means, in percent", ["method", "mean", *languages], rows))
    for block in evidence_blocks(weighed):
        if isinstance(block, Grid):
            out.print(table_of(block.title, list(block.head), [list(row) for row in block.rows]))
        elif isinstance(block, tuple):
            show(*(f"{sentence}." for sentence in block))
    if weighed.power is not None:
        needed = (
            f"{points(by)} points: {draws or 'no number of'} draws" for by, draws in weighed.power.draws_for.items()
        )
        show(f"draws that tell methods apart in four cases of five: {', '.join(needed)}")


@command
def errors_command(
    records: Annotated[
        list[str], typer.Argument(metavar="RUN [RUN]", help="a record's id or folder; or two, of one test")
    ],
    runs: Runs = "runs",
    data_root: DataRoot = None,
    out: Annotated[Path | None, typer.Option(help="the Markdown file to write; none: named after the runs")] = None,
    rows: Annotated[int, typer.Option(min=1, help="the most rows shown of each language")] = 10,
    plugin: Plugin = None,
) -> None:
    """Where a run is wrong, or two runs differ, with the texts: a page for your own eyes, not for publishing."""
    registry.load_plugins(plugin or ())
    from xlbench.comparison.mistakes import write_mistakes
    from xlbench.sources import DataSource

    echo(f"wrote {write_mistakes(records, runs, DataSource(data_root), out, rows)}; it holds texts: not for publishing")
