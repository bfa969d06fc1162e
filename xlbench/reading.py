"""Records for people and other programs: one record found, two compared, all as a table, whom to cite."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from xlbench import registry
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import csv_cell, plain
from xlbench.records.bucket import store_at
from xlbench.records.record import Record
from xlbench.records.vetting import vet

Format = Literal["csv", "json", "latex"]
CITE_US = "xlbench: few-shot cross-lingual transfer methods, compared under equal conditions"


def results(records: Iterable[Record]) -> pd.DataFrame:
    """One row per method, task, shots, draw, seed and language; accuracies 0 to 1. Failed records are left out."""
    done = [record for record in records if record.status == "finished"]
    if not done:
        raise XlbenchError("there is no finished record to export; run something first")
    scored = [sorted(record.accuracy.items()) for record in done]
    of_runs: dict[str, list[Any]] = {
        "task": [record.spec.task for record in done],
        "model": [record.spec.model for record in done],
        "method": [record.spec.method for record in done],
        "config": [record.spec.settings for record in done],
        "selection": [record.spec.selection for record in done],
        "trials": [record.spec.trials for record in done],
        "shots": [record.spec.shots for record in done],
        "draw": [record.spec.draw for record in done],
        "seed": [record.spec.seed for record in done],
        "premises": [record.test.get("premises") for record in done],
        "training_seconds": [record.costs.get("training_seconds") for record in done],
        "record": [record.id for record in done],
    }
    runs, run = pd.DataFrame(of_runs), np.repeat(np.arange(len(done)), [len(one) for one in scored])
    language = pd.Series([name for one in scored for name, _ in one], dtype="str")
    source = [name == record.source_language for record, one in zip(done, scored, strict=True) for name, _ in one]
    accuracy = np.array([value for one in scored for _, value in one])
    by = ["task", "model", "selection", "trials", "shots", "method", "config", "draw", "seed"]
    first, last = runs.groupby(by, sort=True).ngroup().to_numpy(), runs.record.rank(method="dense").to_numpy()
    order = np.lexsort((last[run], pd.factorize(language, sort=True)[0], first[run]))  # the last of them counts most
    table = runs.iloc[run[order]].reset_index(drop=True)
    table.insert(9, "language", language.iloc[order].to_numpy())
    table.insert(10, "source", np.array(source)[order])
    table.insert(11, "accuracy", accuracy[order])
    return table


def check_format(form: str) -> None:
    """Raises XlbenchError for what is no format of an export."""
    if form not in get_args(Format):
        raise XlbenchError(f"cannot export {form!r}; formats are csv, json and latex")


def export(runs: Path | str, form: Format) -> tuple[str, tuple[str, ...]]:
    """All results under `runs` as text, and which records were left out and why, in sentences.

    CSV and JSON: a row per language of each run; LaTeX: the mean accuracy in percent of each method and number of
    shots by language, over draws and seeds. Raises XlbenchError.
    """
    check_format(form)
    found = vet(store_at(runs))
    return _written(results(found.records), form), found.left_out


def shown(value: Any) -> Any:
    """A cell as it may stand in LaTeX's source: a text without what cannot be seen."""
    return plain(value, None) if isinstance(value, str) else value


def csv_of(table: pd.DataFrame) -> str:
    """Results as CSV, safe to open in a spreadsheet (see `csv_cell`); parquet and JSON have the texts as they are."""
    columns = [_csv_column(table[name]) for name in table.columns]
    lines = pc.binary_join_element_wise(*columns, pa.scalar(",", pa.large_string())).to_pylist()
    return "\n".join([",".join(map(_csv_text, table.columns)), *lines, ""])


def _csv_column(column: "pd.Series[Any]") -> pa.Array:
    """The cells of a column as they stand in a CSV file; each value that it has is put into words once."""
    if column.dtype == np.float64:  # by their bits, for 0.0 is not -0.0
        codes, bits = pd.factorize(column.to_numpy().view(np.int64))
        values = bits.view(np.float64).tolist()
    else:
        codes, found = pd.factorize(column, use_na_sentinel=False)
        values = found.tolist()
    texts = ["" if pd.isna(value) else _csv_text(csv_cell(value)) for value in values]
    return pa.array(texts, pa.large_string()).take(pa.array(codes))


def _csv_text(value: Any) -> str:
    """A cell, in quotation marks where it needs them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([value, ""])
    return line.getvalue().removesuffix(",")


def _written(table: pd.DataFrame, form: Format) -> str:
    if form == "csv":
        return csv_of(table)
    if form == "json":
        return table.to_json(orient="records", indent=1) + "\n"
    axes = ["task", "model", "selection", "trials", "shots", "method", "config"]
    means = table.assign(percent=100 * table.accuracy).groupby([*axes, "language"], sort=True).percent.mean()
    wide = means.unstack("language").reset_index().map(shown).rename(columns=shown)
    same = [name for name in axes if wide[name].nunique() == 1 and name != "method"]
    return wide.drop(columns=same).to_latex(index=False, escape=True, float_format="%.1f")


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
