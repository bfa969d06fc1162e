"""Typer commands about results from others: submit, verify. Parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from xlbench import registry
from xlbench.cli.frame import command, echo
from xlbench.cli.options import DataRoot, Plugin
from xlbench.spec import Runtime


@command
def submit_command(
    runs: Annotated[Path, typer.Argument(help="the folder of the records")],
    out: Annotated[Path, typer.Option(help="the folder to write")] = Path("hand-in"),
    by: Annotated[str, typer.Option(help="who hands them in")] = "",
) -> None:
    """Pack finished records for others: hashes, versions and predictions without texts, in a folder."""
    from xlbench.comparison.hand_in import submit

    echo(f"wrote {submit(runs, out, by)}; `xlbench verify {out}` checks it as whoever takes it in will")


@command
def verify_command(
    folder: Annotated[Path, typer.Argument(help="what `xlbench submit` wrote")],
    cell: Annotated[str | None, typer.Option(help="the record to compute again; none: one drawn at random")] = None,
    seed: Annotated[int | None, typer.Option(help="of that draw; none: another each time")] = None,
    model: Annotated[str | None, typer.Option(help="the backbone's folder, where records have its name alone")] = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="compute nothing again")] = False,
    data_root: DataRoot = None,
    plugin: Plugin = None,
) -> None:
    """Check records that were handed in, and compute one of them again."""
    registry.load_plugins(plugin or ())
    from xlbench.comparison.hand_in import verify

    failed = False
    runtime = Runtime(data_root=None if data_root is None else str(data_root), plugins=tuple(plugin or ()))
    for point in verify(folder, cell, seed, runtime, model, not no_run):
        mark = "note" if point.note else "ok" if point.ok else "FAILS"
        echo(f"{mark:5} {point.point}{': ' + point.why if point.why else ''}")
        failed |= not point.ok
    if failed:
        raise typer.Exit(1)
