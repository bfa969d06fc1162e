"""Any table of the board as CSV, JSON or LaTeX, as the board shows it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from xlbench import registry
from xlbench.analysis.matching import Group, group
from xlbench.board.blocks import Grid
from xlbench.board.content import blocks
from xlbench.board.results import csv_of, results
from xlbench.board.selection_policies import side_by_side
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.records.bucket import store_at
from xlbench.records.record import Record
from xlbench.records.vetting import vet

Format = Literal["csv", "json", "latex"]
TABLES = {  # what a table is asked for by: what the board calls it
    "scores": "Scores",
    "intervals": "Intervals and places",
    "pairs": "Pairwise differences",
    "variance": "Variance parts",
    "languages": "By language",
    "phenomena": "By phenomenon",
    "costs": "Costs",
    "chosen": "Chosen settings",
    "policies": "Selection policies",
}


def export_table(runs: Path | str, name: str, form: Format) -> tuple[str, tuple[str, ...]]:
    """One of `TABLES` of the board of the records under `runs` as text, and which records were left out and why.

    A row of it stands for each row on the board, after the names of its comparison and its shots; cells are texts, as
    on the board. LaTeX leaves out what is the same in all rows. Raises XlbenchError.
    """
    check_format(form)
    if name not in TABLES:
        raise XlbenchError(f"the board has no table {name!r}; it has {', '.join(TABLES)}")
    found = vet(store_at(runs))
    groups = group(found.results)
    if name == "policies":
        parts = [_frame(one.grid, {"comparison": one.title}) for one in side_by_side(groups)]
    else:
        parts = [part for one in groups for part in _parts(one, name)]
    if not parts:
        raise XlbenchError(f"the board of {runs} has no table {name!r}: no record there has anything for it")
    return _written(pd.concat(parts, ignore_index=True).fillna("–"), form), found.left_out


def _parts(one: Group, name: str) -> list[pd.DataFrame]:
    return [
        _frame(block, {"comparison": one.title, "shots": str(table.shots)})
        for table in one.tables
        for block in blocks(table)
        if isinstance(block, Grid) and block.title == TABLES[name]
    ]


def _frame(grid: Grid, before: dict[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame([list(row) for row in grid.rows], columns=list(grid.head))
    for place, (column, value) in enumerate(before.items()):
        frame.insert(place, column, value)
    return frame


def _written(table: pd.DataFrame, form: Format) -> str:
    if form == "csv":
        return csv_of(table)
    if form == "json":
        return table.to_json(orient="records", indent=1, force_ascii=False) + "\n"
    same = [column for column in ("comparison", "shots") if column in table and table[column].nunique() == 1]
    return _latex(table.drop(columns=same))


CITE_US = "xlbench: few-shot cross-lingual transfer methods, compared under equal conditions"


def check_format(form: str) -> None:
    """Raises XlbenchError for what is no format of an export."""
    if form not in get_args(Format):
        raise XlbenchError(f"cannot export {form!r}; formats are csv, json and latex")


def export(runs: Path | str, form: Format) -> tuple[str, tuple[str, ...]]:
    """All results under `runs` as text, and which records were left out and why, in sentences.

    CSV and JSON: a row per language of each run; LaTeX: the metric's mean in percent of each method and number of
    shots by language, over draws and seeds. Raises XlbenchError.
    """
    check_format(form)
    found = vet(store_at(runs))
    return _results_as(results(found.records), form), found.left_out


def _latex(table: pd.DataFrame) -> str:
    """A table as LaTeX's source: texts without what cannot be seen and escaped, numbers with one decimal."""

    def cleaned(value: Any) -> Any:
        return plain(value, None) if isinstance(value, str) else value

    return table.map(cleaned).rename(columns=cleaned).to_latex(index=False, escape=True, float_format="%.1f")


def _results_as(table: pd.DataFrame, form: Format) -> str:
    if form == "csv":
        return csv_of(table)
    if form == "json":
        return table.to_json(orient="records", indent=1) + "\n"
    axes = ["task", "model", "selection", "trials", "shots", "method", "config"]
    means = table.assign(percent=100 * table.score).groupby([*axes, "language"], sort=True).percent.mean()
    wide = means.unstack("language").reset_index()
    same = [name for name in axes if wide[name].nunique() == 1 and name != "method"]
    return _latex(wide.drop(columns=same))


def citations(records: Iterable[Record]) -> list[str]:
    """Whom to cite for the methods and tasks of these records, and for xlbench; sorted by what they stand for."""
    used: list[tuple[registry.Kind, str]] = []
    for record in records:
        used += [("method", record.spec.method), ("task", record.spec.task)]
    lines = []
    for kind, name in sorted(set(used)):
        try:
            source = getattr(registry.get(kind, name), "citation", "") or "its author gave no citation"
        except XlbenchError:
            source = "not registered here; load its plug-in with --plugin"
        lines.append(f"{kind} {name}: {source}")
    return [*lines, CITE_US]
