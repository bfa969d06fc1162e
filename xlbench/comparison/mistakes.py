"""`xlbench errors`: the predictions of a run, or of two, beside the texts they are of, for the user's own eyes.

Records hold no texts. They are read again here from the task's data, so that the page stays where the data may be.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xlbench import registry
from xlbench.board.blocks import Block, Grid
from xlbench.board.markdown import block_text
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.host.whole_files import replace_file
from xlbench.problem import Classification, MultipleChoice, problem_of
from xlbench.records.bucket import store_at
from xlbench.records.lookup import find_record
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.sources import DataSource
from xlbench.task import Row

WARNING = (
    "Not for publishing: it holds texts of the data set, whose licence and whose test this may break. Keep it out of "
    "repositories that others read"
)
LONGEST = 300  # letters of a text


class Judged(NamedTuple):
    """What a run says of its test rows: by language and row id the gold answer and log-probabilities, (labels,)."""

    record: Record
    by_language: Mapping[str, Mapping[str, tuple[int, np.ndarray]]]


def write_mistakes(
    runs: Sequence[str], folder: Path | str, source: DataSource, out: Path | None = None, rows: int = 10
) -> Path:
    """Write where a run is wrong, or where two runs differ, as Markdown with the rows' texts; returns the file.

    `out`: named after the runs if left out; `rows`: the most that are shown of each language. Raises XlbenchError for
    more than two runs, runs of other tests, problems without one answer a row, a file that is there already, and data
    that are not those of the test.
    """
    if not 1 <= len(runs) <= 2:
        raise XlbenchError(
            f"the errors of one run are shown, or those of two beside each other; {len(runs)} were named"
        )
    records = [find_record(run, folder) for run in runs]
    out = out or Path(f"errors-{'-'.join(record.id for record in records)}.md")
    if out.exists():
        raise XlbenchError(f"{out} is there already; name another file with --out")
    judged = [_judged(record, store_at(folder)) for record in records]
    record = judged[0].record
    labels = problem_of(record.problem).labels
    for other in judged[1:]:
        if other.record.spec.task != record.spec.task or _gold(other) != _gold(judged[0]):
            raise XlbenchError(f"the runs {record.id} and {other.record.id} are not of the same test rows")
    texts = {
        language: _texts(record, language, list(asked), source) for language, asked in judged[0].by_language.items()
    }
    title = " and ".join(f"{one.record.spec.method} ({one.record.id})" for one in judged)
    parts: list[str] = [f"# Errors of {plain(title)} on {plain(record.spec.task)}\n", f"**{WARNING}.**\n"]
    for language in judged[0].by_language:
        parts.append(f"## {plain(language)}\n")
        for one in judged:
            parts.append(block_text(_confusion(one, language, labels)) + "\n")
        if len(judged) == 2:
            found = _beside(judged[0], judged[1], language, texts, labels, rows)
        else:
            found = _surest(judged[0], language, texts, labels, rows)
        parts += [block_text(block) + "\n" for block in found]
    return replace_file(out, ("\n".join(parts).rstrip() + "\n").encode())


def _judged(record: Record, store: Store) -> Judged:
    problem = problem_of(record.problem)
    if not isinstance(problem, Classification | MultipleChoice):
        raise XlbenchError(
            f"run {record.id} is of {problem.kind}, and errors are shown of tasks with one answer a row; "
            "`xlbench export languages` has its metric by language"
        )
    table = store.predictions(record.id)
    names = sorted(
        (name for name in table.column_names if name.startswith("log_prob_")), key=lambda name: int(name[9:])
    )
    scores = np.column_stack([table[name].to_numpy() for name in names])
    by_language: dict[str, dict[str, tuple[int, np.ndarray]]] = {}
    columns = (table[name].to_pylist() for name in ("language", "row_id", "gold"))
    for language, row, gold, own in zip(*columns, scores, strict=True):
        by_language.setdefault(language, {})[row] = gold, own
    return Judged(record, by_language)


def _gold(judged: Judged) -> dict[str, dict[str, int]]:
    return {name: {row: gold for row, (gold, _) in rows.items()} for name, rows in judged.by_language.items()}


def _texts(record: Record, language: str, asked: Sequence[str], source: DataSource) -> dict[str, Row]:
    """The task's rows by id. Raises XlbenchError where one that was tested is not among them."""
    task = registry.get("task", record.spec.task)()
    rows = {row.id: row for row in task.rows("test", language, source)}
    lacking = [row for row in asked if row not in rows]
    if lacking:
        raise XlbenchError(
            f"the test rows of {record.spec.task} in {language} have no row {plain(lacking[0])!r}, which run "
            f"{record.id} was tested on; give --data-root as then"
        )
    return rows


def _confusion(judged: Judged, language: str, labels: Sequence[str]) -> Block:
    """Rows by gold and given answer; of choices, whose places mean nothing, the share that is right."""
    rows = judged.by_language[language].values()
    right = sum(int(scores.argmax()) == gold for gold, scores in rows)
    head = f"{judged.record.spec.method}: {right} of {len(rows)} right"
    if not labels:
        return (head,)
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for gold, scores in rows:
        counts[gold, scores.argmax()] += 1
    named = [[label, *map(str, row)] for label, row in zip(labels, counts, strict=True)]
    return Grid("Confusions", [f"{head}; gold below, given beside", *labels], named)


def _surest(
    judged: Judged, language: str, texts: Mapping[str, Mapping[str, Row]], labels: Sequence[str], most: int
) -> list[Block]:
    """The rows that a run is most sure of and wrong about."""
    margins = {
        row: float(scores.max() - scores[gold])
        for row, (gold, scores) in judged.by_language[language].items()
        if int(scores.argmax()) != gold
    }
    surest = sorted(margins, key=lambda row: (-margins[row], row))[:most]
    if not surest:
        return [("No row is wrong",)]
    rows = [
        [
            row,
            _answer(gold, labels),
            _answer(int(scores.argmax()), labels),
            f"{margins[row]:.2f}",
            _shown(texts[language][row]),
        ]
        for row, (gold, scores) in ((row, judged.by_language[language][row]) for row in surest)
    ]
    return [Grid("Surest errors", ["wrong, surest first", "gold", "given", "nats above gold", "text"], rows)]


def _beside(
    first: Judged, second: Judged, language: str, texts: Mapping[str, Mapping[str, Row]], labels: Sequence[str],
    most: int,
) -> list[Block]:  # fmt: skip
    """How many rows both runs get, one alone, or neither; and rows of which one run is right and the other wrong."""
    names = [f"{one.record.spec.method} {one.record.id}" for one in (first, second)]
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    lines: dict[bool, list[list[str]]] = {True: [], False: []}
    for row, (gold, scores) in first.by_language[language].items():
        given = int(scores.argmax()), int(second.by_language[language][row][1].argmax())
        right = given[0] == gold, given[1] == gold
        counts[right] += 1
        if right[0] != right[1]:
            wrong = given[1] if right[0] else given[0]
            lines[right[0]].append([row, _answer(gold, labels), _answer(wrong, labels), _shown(texts[language][row])])
    told = (
        f"Both are right on {counts[True, True]} rows, {names[0]} alone on {counts[True, False]}, {names[1]} alone on "
        f"{counts[False, True]}, neither on {counts[False, False]}"
    )
    grids = [
        Grid("Differences", [f"only {name} is right", "gold", "the other says", "text"], lines[which][:most])
        for name, which in zip(names, (True, False), strict=True)
        if lines[which]
    ]
    return [(told,), *grids]


def _answer(number: int, labels: Sequence[str]) -> str:
    return labels[number] if labels else f"choice {number + 1}"


def _shown(row: Row) -> str:
    return " / ".join(plain(text, LONGEST) for text in (*row.texts, *row.choices))
