"""Any table of the board as CSV, JSON or LaTeX, as the board shows it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xlbench import registry
from xlbench.analysis.matching import Group, group
from xlbench.board.blocks import Grid
from xlbench.board.content import blocks
from xlbench.board.results import csv_of, results
from xlbench.board.selection_policies import side_by_side
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.records.analyses import kept_analyses
from xlbench.records.bucket import store_at
from xlbench.records.record import Record
from xlbench.records.vetting import vet

FORMATS = ("csv", "json", "latex")
TABLES = {  # what a table is asked for by: what the board calls it
    "scores": "Scores",
    "intervals": "Intervals and places",
    "pairs": "Pairwise differences",
    "variance": "Variance parts",
    "differences": "Variance parts of differences",
    "training": "Training",
    "languages": "By language",
    "phenomena": "By phenomenon",
    "costs": "Costs",
    "chosen": "Chosen settings",
    "policies": "Selection policies",
}


CITE_US = "xlbench: few-shot cross-lingual transfer methods, compared under equal conditions"


def export(runs: Path | str, form: str, name: str | None = None) -> tuple[str, tuple[str, ...]]:
    """All results under `runs`, or one of `TABLES` of their board, as text, and which records were left out and why.

    All results: a row per language of each run; in LaTeX the metric's mean in percent of each method and number of
    shots by language, over draws and seeds. A table of the board: a row for each row on it, after the names of its
    comparison and its shots; cells are texts, as on the board. LaTeX leaves out what is the same in all rows. Raises
    XlbenchError.
    """
    if form not in FORMATS:
        raise XlbenchError(f"cannot export {form!r}; formats are csv, json and latex")
    if name is not None and name not in TABLES:
        raise XlbenchError(f"the board has no table {name!r}; it has {', '.join(TABLES)}")
    store = store_at(runs)
    vetted, (suites, _) = vet(store), kept_analyses(store.root)
    table = (
        results(vetted.records) if name is None else _table(group(vetted.results, vetted.diverged, suites), name, runs)
    )
    if form == "csv":
        return csv_of(table), vetted.left_out
    if form == "json":
        return table.to_json(orient="records", indent=1, force_ascii=False) + "\n", vetted.left_out
    axes = ["comparison", "shots"]
    if name is None:
        axes = ["task", "model", "selection", "trials", "shots", "config"]
        means = table.assign(percent=100 * table.score).groupby([*axes[:-1], "method", "config", "language"])
        table = means.percent.mean().unstack("language").reset_index()
    table = table.drop(columns=[axis for axis in axes if axis in table and table[axis].nunique() == 1])
    texts = table.map(_clean).rename(columns=_clean)
    return texts.to_latex(index=False, escape=True, float_format="%.1f"), vetted.left_out


def _table(groups: Sequence[Group], name: str, runs: Path | str) -> pd.DataFrame:
    """A table of the board. Raises XlbenchError where no group has it."""
    if name == "policies":
        parts = [({"comparison": family.title}, family.grid) for family in side_by_side(groups)]
    else:
        tables = [(matched.title, table) for matched in groups for table in matched.tables]
        parts = [
            ({"comparison": title, "shots": str(table.shots)}, block)
            for title, table in tables
            for block in blocks(table)
            if isinstance(block, Grid) and block.title == TABLES[name]
        ]
    if not parts:
        raise XlbenchError(f"the board of {runs} has no table {name!r}: no record there has anything for it")
    frames = [
        pd.DataFrame([[*before.values(), *row] for row in grid.rows], columns=[*before, *grid.head])
        for before, grid in parts
    ]
    return pd.concat(frames, ignore_index=True).fillna("–")


def _clean(value: Any) -> Any:
    """A text without what cannot be seen; a number as it is."""
    return plain(value, None) if isinstance(value, str) else value


def citations(records: Iterable[Record]) -> list[str]:
    """Whom to cite for the methods and tasks of these records, and for xlbench; sorted by what they stand for."""
    used: set[tuple[registry.Kind, str]] = set()
    for record in records:
        used |= {("method", record.spec.method), ("task", record.spec.task)}
    lines = []
    for kind, name in sorted(used):
        try:
            source = getattr(registry.get(kind, name), "citation", "") or "its author gave no citation"
        except XlbenchError:
            source = "not registered here; load its plug-in with --plugin"
        lines.append(f"{kind} {name}: {source}")
    return [*lines, CITE_US]
