"""Predictions → a metric per unit: all that statistics need to know of a run.

The rows of one unit (a premise, a passage, a sentence), in all languages, stand or fall together; a run of 75,150
predictions becomes 1,670 numbers a language.
"""

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xlbench.errors import XlbenchError
from xlbench.host.safe_parquet import read_parquet
from xlbench.metric import METRICS, Answers, Metric
from xlbench.problem import Problem

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Cell = tuple[int, int]  # draw, seed
NAMES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)


class Unreadable(XlbenchError):  # noqa: N818 - as NotSupported: what was found, not what went wrong
    """Predictions in a file that is damaged: what they say is not known."""


@dataclass(frozen=True, eq=False)
class UnitScores:
    """One run by language and unit.

    `by_language` is (languages, units), and its mean over units is the metric in each language: `Metric.unit_values`.
    `constant` is the same for the one answer that does best when it is always given; `test` tells test sets apart (a
    digest of row ids, units and gold answers); `scores` holds every metric of the problem by language.
    """

    languages: tuple[str, ...]
    units: tuple[str, ...]
    by_language: FloatArray
    constant: FloatArray
    scores: Mapping[str, Mapping[str, float]]
    test: str

    @property
    def values(self) -> FloatArray:
        """(units,): the mean over languages, each with equal weight."""
        return self.by_language.mean(axis=0)

    def dealt(self, first: int = 0) -> FloatArray:
        """(units,) of the sharded design: what the run would have shown, had each unit been in one language alone, the
        first unit in language number `first` and so on in turn. Of rows that all languages share; two units each."""
        number, size = self.by_language.shape
        language = (np.arange(size) + first) % number
        asked = language == np.arange(number)[:, None]
        counts = asked.sum(axis=1, keepdims=True)
        means = (self.by_language * asked).sum(axis=1, keepdims=True) / counts
        apart = np.where(asked, (self.by_language - means) * size / counts, 0.0)
        return np.asarray((means + _stretch(asked) * apart).mean(axis=0))

    @property
    def summary(self) -> "Summary":
        """What statistics need of it, without the rest."""
        return Summary(self.scores, self.values, self.constant.mean(axis=0), self.test)


@dataclass(frozen=True, eq=False)
class Summary:
    """One run as statistics need it: `values`, (units,), the best constant answer's `chance`, (units,), and `test` of
    its UnitScores, and every metric by language."""

    scores: Mapping[str, Mapping[str, float]]
    values: FloatArray
    chance: FloatArray
    test: str


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where predictions stand that name the same rows, units and languages, in the same order.

    `rows`, `languages` and `ids` (of the units) are sorted; `unit`, (rows, languages), is that of each row by its
    number, -1 where a language lacks the row; `number` is each prediction's among languages × units, `order` that of
    predictions by row and language; `named` is a digest of all this, to be gone on with. `constants` are the best
    constant answers found so far, by problem and test set.
    """

    rows: list[str]
    languages: list[str]
    ids: tuple[str, ...]
    unit: IntArray
    number: IntArray
    order: IntArray
    named: Any
    constants: dict[tuple[Problem, str], FloatArray] = field(default_factory=dict)

    @cached_property
    def asked(self) -> NDArray[np.bool_]:
        """(languages, units): whether a language has rows of a unit."""
        size = len(self.languages) * len(self.ids)
        return (np.bincount(self.number, minlength=size) > 0).reshape(len(self.languages), len(self.ids))

    def sums(self, credits: FloatArray) -> FloatArray:
        """Credits of predictions, (n, c), summed over each unit's in each language: (languages, units, c)."""
        size = len(self.languages) * len(self.ids)
        columns = [np.bincount(self.number, weights=column, minlength=size) for column in credits.T]
        return np.stack(columns, axis=1).reshape(len(self.languages), len(self.ids), -1).astype(np.float64)


def unit_scores(source: Any, problem: Problem, *, aligned: bool = True) -> UnitScores:
    """A problem's metrics by language and unit, from predictions (a pyarrow.Table) or from a record's folder.

    `aligned` wants every row in every language; else languages have rows of their own.

    Raises XlbenchError for columns, rows or units that are missing or of another kind, for NaN, and for duplicates;
    Unreadable for a file that is damaged.
    """
    place, table = "the predictions", source
    if isinstance(source, Path):
        place = f"the predictions in {source}"
        try:
            table = read_parquet(source / "predictions.parquet", place)
        except (ValueError, OSError) as fault:
            raise Unreadable(f"{place} cannot be read ({str(fault).splitlines()[0]}); run it again") from fault
    names = _names_of(table, aligned, place)
    gold, given = problem.read(table, place)
    layout = _layout([table[name] for name in names], place)
    if aligned:
        _agree(layout, place)
    metrics = [METRICS[name] for name in problem.metrics]
    sums = [layout.sums(metric.credits(gold, given, problem.labels)) for metric in metrics]
    scores = {
        metric.name: dict(zip(layout.languages, map(metric.value, by_language), strict=True))
        for metric, by_language in zip(metrics, sums, strict=True)
    }
    digest = layout.named.copy()
    digest.update(_ordered(gold, layout.order))
    test = digest.hexdigest()
    if (problem, test) not in layout.constants:
        layout.constants[problem, test] = _best_constant(problem, gold, layout)
    values, constant = by_unit(problem.metric, sums[0], layout.asked), layout.constants[problem, test]
    return UnitScores(tuple(layout.languages), layout.ids, values, constant, scores, test[:12])


def by_unit(metric: Metric, sums: FloatArray, asked: NDArray[np.bool_]) -> FloatArray:
    """(languages, units) values whose means are the metric in each language, from credits summed over each unit,
    (languages, units, c); `asked`, (languages, units): whether a language has rows of a unit."""
    values = np.stack([metric.unit_values(of_language) for of_language in sums])
    if asked.all():
        return values
    means = values.mean(axis=1, keepdims=True)
    return np.asarray(means + _stretch(asked) * (values - means))


def _stretch(asked: NDArray[np.bool_]) -> FloatArray:
    """(languages, 1): by what units are moved away from the mean of their language, where languages have units of their
    own (`asked`: languages × units), so that the spread over all units is that of means of a sample within each
    language, with n - 1 units of n free in each (Cochran 1977, chapter 5); 1 where all languages have all units, and
    where a language has one alone, whose spread cannot be told."""
    counts, size = asked.sum(axis=1, keepdims=True), asked.shape[1]
    return np.where(counts > 1, np.sqrt(counts / np.maximum(counts - 1, 1) * (size - 1) / size), 1.0)


def _best_constant(problem: Problem, gold: Answers, layout: _Layout) -> FloatArray:
    """(languages, units) of the one answer that, always given, has the best metric in the mean over languages."""
    every = (
        by_unit(problem.metric, layout.sums(problem.metric.credits(gold, answers, problem.labels)), layout.asked)
        for answers in problem.constant_answers(gold)
    )
    return max(every, key=np.mean)


def _ordered(gold: Answers, order: IntArray) -> bytes:
    """Gold answers in the order of rows and languages, as bytes."""
    if isinstance(gold, np.ndarray):
        return gold[order].astype(np.int64).tobytes()
    return b"|".join(gold[at].tobytes() for at in order.tolist())


def stack(runs: Mapping[str, Mapping[Cell, UnitScores | Summary]]) -> dict[str, FloatArray]:
    """Methods' runs by draw and seed as arrays (draws, seeds, units), in the order of draws, seeds, units.

    Raises XlbenchError where methods differ in their draws and seeds, where draws differ in their number of
    seeds, or where runs were not tested on the same rows.
    """
    every = [(method, cell, run) for method, cells in runs.items() for cell, run in sorted(cells.items())]
    if not every:
        raise XlbenchError("there is no run to compute statistics of; name at least one")
    first_method, first_cell, first = every[0]
    cells = sorted(runs[first_method])
    by_draw = [list(of_draw) for _, of_draw in groupby(cells, itemgetter(0))]
    for method, cell, run in every:
        if sorted(runs[method]) != cells:
            raise XlbenchError(f"{method} and {first_method} have different draws and seeds; compare those both have")
        if run.test != first.test:
            raise XlbenchError(
                f"{method} (draw {cell[0]}, seed {cell[1]}) and {first_method} (draw {first_cell[0]}, seed "
                f"{first_cell[1]}) were not tested on the same rows; compare only runs that were"
            )
    if len(set(map(len, by_draw))) > 1:
        raise XlbenchError("some draws have more seeds than others; compare the seeds that every draw has")
    return {
        method: np.array([[of_method[cell].values for cell in of_draw] for of_draw in by_draw])
        for method, of_method in runs.items()
    }


def _names_of(table: pa.Table, aligned: bool, place: str) -> tuple[str, str, str]:
    """The columns that name a prediction's row, unit and language. Raises XlbenchError where one is odd.

    In predictions of schema 1 the unit was the premise, or the row where languages have rows of their own.
    """
    old = "premise_id" if aligned else "row_id"
    names = "row_id", old if "premise_id" in table.column_names else "unit_id", "language"
    missing = [name for name in dict.fromkeys(names) if name not in table.column_names]
    if missing:
        raise XlbenchError(f"{place} lack the column {', '.join(missing)}; they need {', '.join(names)}")
    if table.num_rows == 0:
        raise XlbenchError(f"{place} have no row; run it again")
    for name in names:
        if table[name].null_count:
            raise XlbenchError(f"{place} have an empty cell in the column {name}; run it again")
        kind = table[name].type
        values = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not any(fits(values) for fits in NAMES):
            raise XlbenchError(f"{place} have a column {name} of {kind}, neither text nor whole numbers; run it again")
    return names


def _layout(columns: Sequence[pa.ChunkedArray], place: str) -> _Layout:
    """The layout of predictions; runs on the same test set share it. Raises XlbenchError for what has none."""
    for others, layout in tuple(_layouts):
        if all(column.equals(other) for column, other in zip(columns, others, strict=True)):
            return layout
    (rows, row), (units, unit), (languages, language) = map(_codes, columns)
    keys = row * len(languages) + language
    twice = np.flatnonzero(np.bincount(keys)[keys] > 1)
    if len(twice):
        at = int(twice[0])
        raise XlbenchError(f"in {place}, row {rows[row[at]]} in {languages[language[at]]} is there twice; run it again")
    unit_of = np.full((len(rows), len(languages)), -1)
    unit_of[row, language] = unit
    number, order = language * len(units) + unit, np.argsort(keys, kind="stable")
    named = hashlib.sha256("\n".join([*rows, "", *units, "", *languages]).encode() + number[order].tobytes())
    layout = _Layout(rows, languages, tuple(units), unit_of, number, order, named)
    _layouts.append((columns, layout))
    return layout


_layouts: deque[tuple[Sequence[pa.ChunkedArray], _Layout]] = deque(maxlen=8)  # the last that were made


def _codes(column: pa.ChunkedArray) -> tuple[list[str], IntArray]:
    """The sorted values of a column of text, and each row's place among them."""
    encoded = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = np.array([str(value) for value in encoded.chunk(0).dictionary.to_pylist()])
    indices = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    used, codes = np.unique(values, return_inverse=True)
    seen, place = np.unique(codes[indices], return_inverse=True)
    return used[seen].tolist(), place.astype(np.int64)


def _agree(layout: _Layout, place: str) -> None:
    """Raise XlbenchError where a row is not in every language, or of another unit in one than in another."""
    gaps = np.argwhere(layout.unit < 0)
    if len(gaps):
        row, language = gaps[0]
        unit = layout.ids[layout.unit[row].max()]
        raise XlbenchError(
            f"{place} lack row {layout.rows[row]} of unit {unit} in {layout.languages[language]} "
            f"({len(gaps)} such gaps); run it again"
        )
    unlike = np.flatnonzero((layout.unit != layout.unit[:, :1]).any(axis=1))
    if len(unlike):
        raise XlbenchError(f"in {place}, row {layout.rows[unlike[0]]} has more than one unit; its languages must agree")
