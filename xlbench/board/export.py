"""Any table of the board as CSV, JSON or LaTeX, as the board shows it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xlbench import registry
from xlbench.analysis.evidence import Evidence, evidence
from xlbench.analysis.matching import Group, Table, group
from xlbench.analysis.statistics import Pair
from xlbench.board.blocks import Grid
from xlbench.board.content import blocks
from xlbench.board.families import families
from xlbench.board.results import csv_of, results
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.records.analyses import kept_analyses
from xlbench.records.bucket import store_at
from xlbench.records.record import Record
from xlbench.records.vetting import vet
from xlbench.spec import digest, written

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
    "sources": "Languages of the shots",
    "over-tasks": "Normalised means",
    "differences-over-tasks": "Differences over tasks",
    "wins": "Wins",
}
OF_FAMILIES = {"policies", "sources", "over-tasks", "differences-over-tasks", "wins"}  # of several groups together


CITE_US = "xlbench: few-shot cross-lingual transfer methods, compared under equal conditions"


def export(runs: Path | str, form: str, name: str | None = None) -> tuple[str, tuple[str, ...]]:
    """All results under `runs`, or one of `TABLES` of their board, as text, and which records were left out and why.

    All results: a row per language of each run; in LaTeX the metric's mean in percent of each method and number of
    shots by language, over draws and seeds. A table of the board: a row for each row on it, after the names of its
    comparison, its group and its shots; in CSV and JSON numbers are numbers: those of intervals and pairs shares of 1
    in columns of their own, those of other tables as the board shows them. LaTeX has the board's texts, and leaves out
    what is the same in all rows. Raises XlbenchError.
    """
    if form not in FORMATS:
        raise XlbenchError(f"cannot export {form!r}; formats are csv, json and latex")
    if name is not None and name not in TABLES:
        raise XlbenchError(f"the board has no table {name!r}; it has {', '.join(TABLES)}")
    store = store_at(runs)
    vetted, (suites, _) = vet(store), kept_analyses(store.root)
    if name is None:
        table = results(vetted.records)
    else:
        table = _table(group(vetted.results, vetted.diverged, suites), name, runs, numbers=form != "latex")
    if form == "csv":
        return csv_of(table), vetted.left_out
    if form == "json":
        return table.to_json(orient="records", indent=1, force_ascii=False, double_precision=15) + "\n", vetted.left_out
    axes = ["comparison", "group", "shots"]
    if name is None:
        axes = ["task", "model", "selection", "trials", "group", "shots", "config"]
        means = table.assign(percent=100 * table.score).groupby([*axes[:-1], "method", "config", "language"])
        table = means.percent.mean().unstack("language").reset_index()
    table = table.drop(columns=[axis for axis in axes if axis in table and table[axis].nunique() == 1])
    texts = table.map(_clean).rename(columns=_clean)
    return texts.to_latex(index=False, escape=True, float_format="%.1f"), vetted.left_out


def _table(groups: Sequence[Group], name: str, runs: Path | str, numbers: bool) -> pd.DataFrame:
    """A table of the board. Raises XlbenchError where no group has it."""
    frames = []
    if name in OF_FAMILIES:
        frames = [
            _frame({"comparison": family.title}, grid)
            for family in families(groups)
            for grid in family.grids
            if grid.title == TABLES[name]
        ]
    for matched in () if name in OF_FAMILIES else groups:
        for table in matched.tables:
            before = {"comparison": matched.title, "group": digest(matched.key)[:8], "shots": str(written(table.shots))}
            if numbers and name in NUMBERS:
                frames += [pd.DataFrame([before | row for row in NUMBERS[name](table)])]
                continue
            grids = (block for block in blocks(table) if isinstance(block, Grid) and block.title == TABLES[name])
            frames += [_frame(before, grid) for grid in grids]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        raise XlbenchError(f"the board of {runs} has no table {name!r}: no record there has anything for it")
    whole = pd.concat(frames, ignore_index=True)
    return whole.apply(_as_numbers) if numbers else whole.fillna("–")


def _frame(before: Mapping[str, str], grid: Grid) -> pd.DataFrame:
    """A table of the board with what tells it from others before each row."""
    return pd.DataFrame([[*before.values(), *row] for row in grid.rows], columns=[*before, *grid.head])


def _as_numbers(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column of texts that all are numbers, percentages or dashes, as numbers; any other as it is."""
    if column.dtype.kind in "if" or column.name in ("shots", "group"):
        return column
    bare = column.map(lambda text: None if text == "–" else text)
    plain_texts = bare.map(lambda text: str(text).removesuffix(" %").replace(",", ""), na_action="ignore")
    found = pd.to_numeric(plain_texts, errors="coerce")
    return found if found.notna().sum() == bare.notna().sum() else column


def _pair_rows(table: Table) -> list[dict[str, Any]]:
    """Pairs in numbers: shares of 1."""
    return [
        {
            "first": pair.first, "second": pair.second, "difference": pair.difference.estimate,
            "low": pair.difference.low, "high": pair.difference.high, "p": pair.p,
            "corrected_low": pair.corrected.low, "corrected_high": pair.corrected.high,
            "corrected_p": pair.corrected_p, "same_within": pair.within, "draws": pair.draws,
        }
        for pair in _weighed_pairs(table)
    ]  # fmt: skip


def _weighed_pairs(table: Table) -> list[Pair]:
    weighed = _weighed(table)
    return weighed.pairs if weighed else []


def _interval_rows(table: Table) -> list[dict[str, Any]]:
    """Scores, places and what they are above chance by, in numbers: shares of 1."""
    weighed = _weighed(table)
    rows = []
    for method, score in weighed.scores.items() if weighed else ():
        place = weighed.places.get(method) if weighed else None
        above = weighed.above[method] if weighed else None
        rows.append(
            {"method": method, "mean": score.estimate, "low": score.low, "high": score.high,
             "best_place": place and place.best, "worst_place": place and place.worst,
             "above_chance_by": above and above.excess, "above_chance_p": above and above.p, "scope": score.scope}
        )  # fmt: skip
    return rows


def _weighed(table: Table) -> Evidence | None:
    """The evidence of a table; None where there is none, as of the oracle's."""
    if table.oracle:
        return None
    try:
        return evidence(table)
    except XlbenchError:
        return None


NUMBERS = {"pairs": _pair_rows, "intervals": _interval_rows}


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
