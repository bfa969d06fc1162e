"""Any table of the board as CSV, JSON or LaTeX, as the board shows it."""

from pathlib import Path

import pandas as pd

from xlbench.analysis.matching import Group, group
from xlbench.errors import XlbenchError
from xlbench.grids import Grid
from xlbench.leaderboard import blocks
from xlbench.policies import side_by_side
from xlbench.reading import Format, check_format, csv_of, shown
from xlbench.records.bucket import store_at
from xlbench.records.store import Store
from xlbench.records.vetting import vet

TABLES = {  # what a table is asked for by: what the board calls it
    "scores": "Scores",
    "intervals": "Intervals and places",
    "pairs": "Pairwise differences",
    "variance": "Variance parts",
    "languages": "Accuracy by language",
    "phenomena": "Accuracy by phenomenon",
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
    store = store_at(runs)
    found = vet(store)
    groups = group(found.records)
    if name == "policies":
        parts = [_frame(one.grid, {"comparison": one.title}) for one in side_by_side(groups)]
    else:
        parts = [part for one in groups for part in _parts(one, name, store)]
    if not parts:
        raise XlbenchError(f"the board of {runs} has no table {name!r}: no record there has anything for it")
    return _written(pd.concat(parts, ignore_index=True).fillna("–"), form), found.left_out


def _parts(one: Group, name: str, store: Store) -> list[pd.DataFrame]:
    return [
        _frame(block, {"comparison": one.title, "shots": str(table.shots)})
        for table in one.tables
        for block in blocks(table, store)
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
    return table.drop(columns=same).map(shown).rename(columns=shown).to_latex(index=False, escape=True)
