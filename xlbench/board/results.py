"""The results as one table, for other programs: as a frame, and as CSV that is safe to open in a spreadsheet."""

from collections.abc import Hashable, Iterable
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from xlbench.analysis.matching import matched, matched_key
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import csv_cell
from xlbench.records.record import Record, as_row
from xlbench.spec import digest

ORDER = (
    "task", "model", "selection", "trials", "group", "shots", "method", "config", "draw", "seed", "language", "record",
)  # fmt: skip
# `group` is the same for runs that a table may compare, and for no others; the columns after it are what most groups
# differ in.
COLUMNS = (
    "task", "model", "method", "config", "selection", "trials", "shots", "draw", "seed", "language", "source", "metric",
    "score", "group", "protocol", "split", "tune", "precision", "max_length", "test_design", "test_units",
    "target_shots", "epochs", "steps", "batch_size", "learning_rate", "fresh_learning_rate", "units",
    "training_seconds", "record",
)  # fmt: skip


def results(records: Iterable[Record]) -> pd.DataFrame:
    """One row per method, task, shots, draw, seed and language; `score` is of the metric, a share of 1; `steps` are
    those asked for, none where `epochs` say how long. No failed record is in it."""
    done = [record for record in records if record.status == "finished"]
    if not done:
        raise XlbenchError("there is no finished record to export; run something first")
    groups: dict[Hashable, str] = {}
    runs = pd.DataFrame([_row(record, groups) for record in done])
    table = runs.loc[runs.index.repeat([len(record.by_language) for record in done])]
    table = table.assign(
        language=[language for record in done for language in record.by_language],
        source=[language == record.source_language for record in done for language in record.by_language],
        score=[value for record in done for value in record.by_language.values()],
    )
    return table.sort_values([*ORDER], kind="stable", ignore_index=True)[[*COLUMNS]]


def _row(record: Record, groups: dict[Hashable, str]) -> dict[str, Any]:
    """A record's own columns; `groups` are the names of the groups seen so far."""
    spec, training, key = record.spec, record.spec.training, matched(record)
    if key not in groups:
        groups[key] = digest(matched_key(record))[:8]
    names = ("protocol", "max_length", "test_design", "test_units", "target_shots")
    rates = ("epochs", "steps", "batch_size", "fresh_learning_rate")
    own = {"shots": spec.shots, "group": groups[key], **{name: getattr(spec, name) for name in names}}
    return as_row(record) | own | {name: getattr(training, name) for name in rates}


def csv_of(table: pd.DataFrame) -> str:
    """Results as CSV, safe to open in a spreadsheet (see `csv_cell`); parquet and JSON have the texts as they are."""
    texts = [name for name in table.columns if not is_numeric_dtype(table[name])]
    return table.assign(**{name: table[name].map(csv_cell) for name in texts}).to_csv(index=False, lineterminator="\n")
