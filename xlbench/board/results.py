"""The results as one table, for other programs: as a frame, and as CSV that is safe to open in a spreadsheet."""

from collections.abc import Iterable

import pandas as pd

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import csv_cell
from xlbench.records.record import Record, as_row

ORDER = ("task", "model", "selection", "trials", "shots", "method", "config", "draw", "seed", "language", "record")
COLUMNS = (
    "task", "model", "method", "config", "selection", "trials", "shots", "draw", "seed", "language", "source", "metric",
    "score", "units", "training_seconds", "record",
)  # fmt: skip


def results(records: Iterable[Record]) -> pd.DataFrame:
    """One row per method, task, shots, draw, seed and language; `score` is of the metric. No failed record is in it."""
    done = [record for record in records if record.status == "finished"]
    if not done:
        raise XlbenchError("there is no finished record to export; run something first")
    runs = pd.DataFrame([as_row(record) | {"shots": record.spec.shots} for record in done])
    table = runs.loc[runs.index.repeat([len(record.by_language) for record in done])]
    table = table.assign(
        language=[language for record in done for language in record.by_language],
        source=[language == record.source_language for record in done for language in record.by_language],
        score=[value for record in done for value in record.by_language.values()],
    )
    return table.sort_values([*ORDER], kind="stable", ignore_index=True)[[*COLUMNS]]


def csv_of(table: pd.DataFrame) -> str:
    """Results as CSV, safe to open in a spreadsheet (see `csv_cell`); parquet and JSON have the texts as they are."""
    texts = table.select_dtypes(include=["object", "str"]).columns
    return table.assign(**{name: table[name].map(csv_cell) for name in texts}).to_csv(index=False, lineterminator="\n")
