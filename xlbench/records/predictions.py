"""Predictions → accuracy per premise: all that statistics need to know of a run.

The rows of one premise, in all languages, stand or fall together, so the premise is the unit; a run of 75,150
predictions becomes 1,670 numbers a language.
"""

import hashlib
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xlbench.errors import XlbenchError
from xlbench.host.safe_parquet import read_parquet

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Cell = tuple[int, int]  # draw, seed
Unit = Literal["premise", "row"]

LARGEST = 2**63 - 1


@dataclass(frozen=True, eq=False)
class PremiseScores:
    """One run, by language and premise; accuracies of 0 to 1.

    `by_language` is (languages, premises), and its mean over premises is each language's accuracy. Where all
    premises have the same number of rows, an entry is the share of the premise's rows that are right; where
    not, it is the linearised share (Särndal et al. 1992, section 5.7), whose spread is that of the accuracy.
    `majority` is the same for the one class that does best when it is always answered; `test` tells test sets
    apart (a digest of row ids and gold labels).
    """

    languages: tuple[str, ...]
    premises: tuple[str, ...]
    by_language: FloatArray
    majority: FloatArray
    test: str

    @property
    def values(self) -> FloatArray:
        """(premises,): the mean over languages, each with equal weight."""
        return self.by_language.mean(axis=0)

    @property
    def chance(self) -> FloatArray:
        """(premises,): `majority`, its mean over languages."""
        return self.majority.mean(axis=0)

    @property
    def summary(self) -> "Summary":
        """What statistics need of it, without the rest."""
        accuracy = dict(zip(self.languages, self.by_language.mean(axis=1).tolist(), strict=True))
        return Summary(accuracy, self.values, self.chance, self.test)


@dataclass(frozen=True, eq=False)
class Summary:
    """One run as statistics need it: `values`, `chance` and `test` of its PremiseScores, and accuracy by language."""

    accuracy: Mapping[str, float]
    values: FloatArray
    chance: FloatArray
    test: str


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where predictions stand that name the same rows, units and languages, in the same order.

    `rows`, `languages` and `ids` (of the units) are sorted; `row` and `language` are those of each prediction;
    `unit` is that of each row, `unit_of` its place among the ids; `present` is (rows, languages), `counts`
    (languages, ids); `named` is a digest of rows, units and languages, to be gone on with.
    """

    rows: list[str]
    languages: list[str]
    ids: tuple[str, ...]
    row: IntArray
    language: IntArray
    unit: list[str]
    unit_of: IntArray
    present: NDArray[np.bool_]
    counts: FloatArray
    named: Any


def premise_scores(source: pa.Table | Path, *, unit: Unit = "premise") -> PremiseScores:
    """Accuracy by language and premise, from predictions or from a record's folder.

    `unit="premise"` wants every row in every language; `unit="row"`, for tasks without shared premises, takes each row
    id as a unit and lets languages have rows of their own. A row counts as in `xlbench.engine.predict.accuracy`.

    Raises XlbenchError for columns, rows, premises or languages that are missing or of another kind, for NaN, and
    for duplicates.
    """
    place = f"the predictions in {source}" if isinstance(source, Path) else "the predictions"
    table = _read(source) if isinstance(source, Path) else source
    scores, gold_of = _answers(table, unit, place)
    found = _layout(table, unit, place)
    if unit == "premise":
        _complete(found, place)
    gold = np.full(found.present.shape, -1)
    gold[found.row, found.language] = gold_of
    right = np.zeros(gold.shape, np.bool_)
    right[found.row, found.language] = (scores.argmax(axis=1) == gold_of) & np.isfinite(scores.max(axis=1))
    classes, tested = range(int(gold.max()) + 1), found.counts.sum(axis=1)
    best = max(classes, key=lambda label: float(((gold == label).sum(axis=0) / tested).mean()))
    digest = found.named.copy()
    digest.update(gold.tobytes())
    return PremiseScores(
        tuple(found.languages),
        found.ids,
        _linearised(_sums(right, found.unit_of, len(found.ids)), found.counts),
        _linearised(_sums(gold == best, found.unit_of, len(found.ids)), found.counts),
        digest.hexdigest()[:12],
    )


def summary(folder: Path, unit: Unit = "premise") -> Summary:
    """What statistics need of a record's predictions, read once a process while the file stays what it is."""
    file, known = seen(folder), _known.get((folder, unit))
    if known is None or known[0] != file:
        found = premise_scores(folder, unit=unit)
        known = file, found.summary
        _known[folder, unit] = known
    return known[1]


def remember(folder: Path, unit: Unit, found: Summary, file: tuple[int, ...]) -> None:
    """Take a summary for that of a record's predictions, in place of reading them, while they are `seen` as `file`."""
    _known[folder, unit] = file, found


_known: dict[tuple[Path, Unit], tuple[tuple[int, ...], Summary]] = {}  # 13 KB for a run on the whole of XNLI's test


def seen(folder: Path, name: str = "predictions.parquet") -> tuple[int, ...]:
    """What tells a record's file from others that stand, or stood, under the same name; empty where there is none.

    Inode, size, and the times of the last changes of what is in it and of what is said of it, in nanoseconds.
    """
    try:
        file = os.stat(f"{folder}/{name}")
    except (OSError, ValueError):
        return ()
    return file.st_ino & LARGEST, file.st_size, file.st_mtime_ns, file.st_ctime_ns


def stack(runs: Mapping[str, Mapping[Cell, PremiseScores | Summary]]) -> dict[str, FloatArray]:
    """Methods' runs by draw and seed as arrays (draws, seeds, premises), in the order of draws, seeds, premises.

    Raises XlbenchError where methods differ in their draws and seeds, where draws differ in their number of
    seeds, or where runs were not tested on the same rows.
    """
    every = [(method, cell, one) for method, cells in runs.items() for cell, one in sorted(cells.items())]
    if not every:
        raise XlbenchError("there is no run to compute statistics of; name at least one")
    first_method, first_cell, first = every[0]
    cells = sorted(runs[first_method])
    seeds = [[cell for cell in cells if cell[0] == draw] for draw in sorted({draw for draw, _ in cells})]
    for method, cell, one in every:
        if sorted(runs[method]) != cells:
            raise XlbenchError(f"{method} and {first_method} have different draws and seeds; compare those both have")
        if one.test != first.test:
            raise XlbenchError(
                f"{method} (draw {cell[0]}, seed {cell[1]}) and {first_method} (draw {first_cell[0]}, seed "
                f"{first_cell[1]}) were not tested on the same rows; compare only runs that were"
            )
    if len({len(each) for each in seeds}) > 1:
        raise XlbenchError("some draws have more seeds than others; compare the seeds that every draw has")
    return {
        method: np.array([[each[cell].values for cell in of_draw] for of_draw in seeds])
        for method, each in runs.items()
    }


def _read(folder: Path) -> pa.Table:
    """A record's predictions. Raises XlbenchError."""
    try:
        return read_parquet(folder / "predictions.parquet", f"the predictions in {folder}")
    except (ValueError, OSError) as fault:
        reason = str(fault).splitlines()[0]
        raise XlbenchError(f"the predictions in {folder} cannot be read ({reason}); run it again") from fault


def _answers(table: pa.Table, unit: Unit, place: str) -> tuple[NDArray[np.floating[Any]], IntArray]:
    """The log-probabilities, (predictions, classes), and the gold label of each. Raises XlbenchError for odd ones."""
    labels = [name for name in table.column_names if name.startswith("log_prob_")]
    scored = [f"log_prob_{label}" for label in range(max(2, len(labels)))]
    needed = list(dict.fromkeys(["row_id", _unit_column(unit), "language", "gold", *scored]))
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise XlbenchError(f"{place} lack the column {', '.join(missing)}; they need {', '.join(needed)}")
    if table.num_rows == 0:
        raise XlbenchError(f"{place} have no row; run it again")
    empty = [name for name in needed if table[name].null_count]
    if empty:
        raise XlbenchError(f"{place} have an empty cell in the column {empty[0]}; run it again")
    for name in ("row_id", _unit_column(unit), "language"):
        if not _names(table[name].type):
            raise XlbenchError(
                f"{place} have a column {name} of {table[name].type}, neither text nor whole numbers; run it again"
            )
    scored_as = dict.fromkeys(scored, pa.types.is_floating) | {"gold": pa.types.is_integer}
    odd = [name for name, fits in scored_as.items() if not fits(table[name].type)]
    if odd:
        raise XlbenchError(f"{place} have a column {odd[0]} of {table[odd[0]].type}, which is no number; run it again")
    scores = np.stack([table[name].to_numpy() for name in scored], axis=1)
    gold = table["gold"].to_numpy().astype(np.int64)
    for wrong, words in (
        (np.isnan(scores).any(axis=1), "has a log-probability that is NaN"),
        ((gold < 0) | (gold >= len(scored)), f"has a gold label outside 0 to {len(scored) - 1}"),
    ):
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            row, language = table["row_id"][at].as_py(), table["language"][at].as_py()
            raise XlbenchError(f"in {place}, row {row} in {language} {words}; run it again")
    return scores, gold


def _names(kind: pa.DataType) -> bool:
    """Whether a column may name rows, premises or languages."""
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    return any(fits(values) for fits in texts)


def _unit_column(unit: Unit) -> str:
    column = {"premise": "premise_id", "row": "row_id"}.get(unit)
    if column is None:
        raise XlbenchError(f"unknown unit {unit!r}; it is 'premise' or 'row'")
    return column


def _layout(table: pa.Table, unit: Unit, place: str) -> _Layout:
    """The layout of predictions; runs on the same test set share it. Raises XlbenchError for what has none."""
    columns = [table[name] for name in ("row_id", _unit_column(unit), "language")]
    for others, layout in tuple(_layouts):
        if all(column.equals(other) for column, other in zip(columns, others, strict=True)):
            return layout
    layout = _laid_out(columns, place)
    _layouts.append((columns, layout))
    return layout


_layouts: deque[tuple[list[pa.ChunkedArray], _Layout]] = deque(maxlen=8)  # the last that were made


def _laid_out(columns: Sequence[pa.ChunkedArray], place: str) -> _Layout:
    (rows, row), (units, of), (languages, language) = (_codes(column) for column in columns)
    keys = row * len(languages) + language
    twice = np.flatnonzero(np.bincount(keys)[keys] > 1)
    if len(twice):
        at = int(twice[0])
        raise XlbenchError(f"in {place}, row {rows[row[at]]} in {languages[language[at]]} is there twice; run it again")
    unit_of = np.zeros(len(rows), np.int64)
    unit_of[row] = of
    if (unit_of[row] != of).any():
        at = int(np.flatnonzero(unit_of[row] != of)[0])
        raise XlbenchError(f"in {place}, row {rows[row[at]]} has more than one premise; its languages must agree")
    present = np.zeros((len(rows), len(languages)), np.bool_)
    present[row, language] = True
    unit = [units[one] for one in unit_of]
    named = hashlib.sha256("\n".join([*rows, "", *unit, "", *languages]).encode())
    counts = _sums(present, unit_of, len(units))
    return _Layout(rows, languages, tuple(units), row, language, unit, unit_of, present, counts, named)


def _codes(column: pa.ChunkedArray) -> tuple[list[str], IntArray]:
    """The sorted values of a column of text, and each row's place among them."""
    encoded = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = np.array([str(value) for value in encoded.chunk(0).dictionary.to_pylist()])
    indices = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    used, codes = np.unique(values, return_inverse=True)
    seen, place = np.unique(codes[indices], return_inverse=True)
    return used[seen].tolist(), place.astype(np.int64)


def _complete(found: _Layout, place: str) -> None:
    """Raise XlbenchError where a row, and so a part of its premise, is not in every language."""
    gaps = np.argwhere(~found.present)
    if len(gaps):
        row, language = gaps[0]
        raise XlbenchError(
            f"{place} lack row {found.rows[row]} of premise {found.unit[row]} in {found.languages[language]} "
            f"({len(gaps)} such gaps); run it again, or take rows as units if languages have rows of their own"
        )


def _sums(cells: NDArray[np.bool_], unit_of: IntArray, units: int) -> FloatArray:
    """(rows, languages) summed over each unit's rows: (languages, units)."""
    return np.array([np.bincount(unit_of, weights=column, minlength=units) for column in cells.T.astype(float)])


def _linearised(right: FloatArray, counts: FloatArray) -> FloatArray:
    """Scores whose mean over units is the accuracy, and whose spread is the accuracy's; (languages, units)."""
    rows = counts.sum(axis=1, keepdims=True)
    accuracy = right.sum(axis=1, keepdims=True) / rows
    return np.asarray(accuracy + counts.shape[1] * (right - accuracy * counts) / rows)
