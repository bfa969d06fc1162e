"""Records for people and other programs: one record found, two compared, all as a table, whom to cite."""

import csv
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import csv_cell
from xlbench.records.record import Record


def results(records: Iterable[Record]) -> pd.DataFrame:
    """One row per method, task, shots, draw, seed and language; `score` is of the metric. No failed record is in it."""
    done = [record for record in records if record.status == "finished"]
    if not done:
        raise XlbenchError("there is no finished record to export; run something first")
    scored = [sorted(record.by_language.items()) for record in done]
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
        "metric": [record.metric for record in done],
        "units": [record.test.get("units") for record in done],
        "training_seconds": [record.costs.get("training_seconds") for record in done],
        "record": [record.id for record in done],
    }
    runs, run = pd.DataFrame(of_runs), np.repeat(np.arange(len(done)), [len(one) for one in scored])
    language = pd.Series([name for one in scored for name, _ in one], dtype="str")
    source = [name == record.source_language for record, one in zip(done, scored, strict=True) for name, _ in one]
    score = np.array([value for one in scored for _, value in one])
    by = ["task", "model", "selection", "trials", "shots", "method", "config", "draw", "seed"]
    first, last = runs.groupby(by, sort=True).ngroup().to_numpy(), runs.record.rank(method="dense").to_numpy()
    order = np.lexsort((last[run], pd.factorize(language, sort=True)[0], first[run]))  # the last of them counts most
    table = runs.iloc[run[order]].reset_index(drop=True)
    table.insert(9, "language", language.iloc[order].to_numpy())
    table.insert(10, "source", np.array(source)[order])
    table.insert(12, "score", score[order])
    return table


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
