"""`xlbench predict`: the model of a run whose weights were kept, on a user's own rows without labels."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xlbench.comparison.average import again, load
from xlbench.engine.checkpoint import read_weights
from xlbench.engine.predict import predict
from xlbench.errors import XlbenchError, one_line
from xlbench.host.data_files import SUFFIXES, columns_in, read_file
from xlbench.host.plain_text import plain
from xlbench.problem import Classification
from xlbench.records.lookup import find_record
from xlbench.spec import Runtime
from xlbench.task import Row, Task

LANGUAGE = "language"


def predicted(
    run: str, file: Path, weights: Path, runtime: Runtime, model: str | None = None, language: str | None = None
) -> str:
    """CSV of a file's rows, in its order: row (from 1), language, label, and each label's probability.

    `file` has a column for each of the task's texts, and one named `language` unless `language` says it for all.
    Raises XlbenchError for a run that did not finish, was not kept or is of no classification, and for rows that lack
    a text or are of a language that the run was not tested in.
    """
    record = find_record(run, runtime.runs)
    if record.status != "finished" or record.combined:
        raise XlbenchError(
            f"run {record.id} is no finished run of its own; name one that `--keep-weights` was given to"
        )
    state = read_weights(weights, record.id)
    prepared, session, method, module, resources = again(record, runtime, model)
    task = prepared.task
    if not isinstance(task.problem, Classification):
        raise XlbenchError(f"run {record.id} is of {task.problem.kind}, and own rows are scored of classification")
    rows = _rows(file, task, prepared.spec.languages or (), language)
    load(module, state)
    method.finish(resources)
    scores = np.exp(predict(method, method.encode_labelled(rows), session, "test"))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", LANGUAGE, "label", *(f"p_{label}" for label in task.problem.labels)])
    for number, (row, own) in enumerate(zip(rows, scores, strict=True), 1):
        label = task.problem.labels[int(own.argmax())]
        table.writerow([number, row.language, label, *(f"{share:.6f}" for share in own)])
    return text.getvalue()


def _rows(file: Path, task: Task, languages: Sequence[str], language: str | None) -> list[Row]:
    """The rows of a file, without labels. Raises XlbenchError, naming the row."""
    if file.suffix not in SUFFIXES or not file.is_file():
        what = "is no file" if file.suffix in SUFFIXES else f"ends in none of {', '.join(SUFFIXES)}"
        raise XlbenchError(f"{file} {what}; give the rows to score")
    needed = [*task.fields, *([] if language else [LANGUAGE])]
    try:
        there = columns_in(file)
        for name in needed:
            if name not in there:
                way = "; or give --language for all rows" if name == LANGUAGE else ""
                raise XlbenchError(f"{file} has no column {name!r}; it has {', '.join(map(plain, there))}{way}")
        columns = [read_file(file, needed)[name].to_pylist() for name in needed]
    except (OSError, ValueError) as fault:
        raise XlbenchError(f"cannot read {file}: {one_line(fault)}") from fault
    rows = []
    for number, values in enumerate(zip(*columns, strict=True), 1):
        texts, own = values[: len(task.fields)], language or values[-1]
        for name, text in zip(task.fields, texts, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise XlbenchError(f"row {number} of {file} has no {name}")
        if own not in languages:
            raise XlbenchError(
                f"row {number} of {file} is of language {plain(own, 40)!r}, and the run reads {', '.join(languages)}"
            )
        rows.append(Row(f"own-{number}", tuple(texts), 0, own, f"own-{number}"))
    if not rows:
        raise XlbenchError(f"{file} has no rows")
    return rows
