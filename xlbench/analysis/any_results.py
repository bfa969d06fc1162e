"""The statistics of the boards for results of any harness: a table with a row for each answer that was judged.

Nothing here knows of records. The table becomes what `evidence.weigh` takes, so that the intervals, places, ties and
draws are those that a board of xlbench would say of the same answers.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from xlbench.analysis.evidence import MARGIN, Evidence, Run, draws_of, weigh
from xlbench.errors import XlbenchError
from xlbench.host.data_files import SUFFIXES, columns_in, read_file
from xlbench.metric import METRICS
from xlbench.records.predictions import Summary, by_unit
from xlbench.spec import digest

NEEDED = ("method", "language", "unit", "value")
COLUMNS = (*NEEDED, "draw", "seed")
MEAN = METRICS["accuracy"]  # of a share and a one for each row: their mean


class Analysed(NamedTuple):
    """The evidence of all methods, and by method its mean in each language, shares of 1."""

    evidence: Evidence
    by_language: Mapping[str, Mapping[str, float]]


def analyse(
    results: pd.DataFrame | Path | str, columns: Mapping[str, str] | None = None, *, unit: str = "unit",
    chance: float = 0.0, margin: float = MARGIN,
) -> Analysed:  # fmt: skip
    """What a table of judged answers shows of its methods.

    `results`: a data frame, or a CSV, TSV, JSON lines or Parquet file, whose rows have `method`, `language`, `unit`
    (what other tests would have others of: a question, a premise; its id is the same in all languages where they are
    translations), `value` (a share of 1; for accuracy 0 or 1), and where there are several `draw` (of the shots) and
    `seed`, integers. `columns` says which column of the table is which of these, where it has another name. Several
    rows of a unit in a language are answers that belong together. A method's mean is over languages, each the mean of
    its rows. `chance`: what guessing would have, which a method must beat to be ranked; `margin`: differences below it
    are called the same.

    Raises XlbenchError for columns that are not there, values that are no shares, and runs of unlike rows.
    """
    runs = runs_of(results, columns, chance=chance)
    return Analysed(replace(weigh(runs, unit), margin=margin), {name: _means(cells) for name, cells in runs.items()})


def _means(cells: Mapping[Run, Summary]) -> dict[str, float]:
    """Language → the mean over draws, that of a draw being the mean over its seeds."""
    draws = [list(seeds.values()) for seeds in draws_of(cells).values()]
    languages = draws[0][0].scores[MEAN.name]
    return {name: fmean(fmean(run.scores[MEAN.name][name] for run in seeds) for seeds in draws) for name in languages}


def runs_of(
    results: pd.DataFrame | Path | str, columns: Mapping[str, str] | None = None, *, chance: float = 0.0
) -> dict[str, dict[Run, Summary]]:
    """Method → (draw, seed, "") → what `evidence.weigh` needs of a run; arguments as those of `analyse`."""
    if not 0 <= chance < 1:
        raise XlbenchError(f"chance {chance} is no share of 1; give what guessing would have, as 0.333")
    table = _table(results, dict(columns or {}))
    languages, units = (pd.Index(sorted(set(table[name]))) for name in ("language", "unit"))  # of all runs
    found: dict[str, dict[Run, Summary]] = {}
    first: tuple[str, np.ndarray] | None = None
    runs = cast("Iterable[tuple[tuple[str, int, int], pd.DataFrame]]", table.groupby(["method", "draw", "seed"]))
    for (method, draw, seed), run in sorted(runs, key=itemgetter(0)):
        places = languages.get_indexer(run["language"]), units.get_indexer(run["unit"])
        sums = np.zeros((len(languages), len(units), 2))
        np.add.at(sums, places, np.column_stack([run["value"], np.ones(len(run))]))
        number = sums[:, :, 1]
        name = f"{method} (draw {draw}, seed {seed})"
        first = first or (name, number)
        if not np.array_equal(number, first[1]):
            raise XlbenchError(_unlike(name, number, first, languages, units))
        values = by_unit(MEAN, sums, number > 0)
        means = [MEAN.value(of_language) for of_language in sums]
        scores = {MEAN.name: dict(zip(languages, means, strict=True))}
        test = digest([list(languages), list(units), number.tolist()])
        summary = Summary(scores, values.mean(axis=0), np.full(len(units), chance), test)
        found.setdefault(method, {})[draw, seed, ""] = summary
    return found


def _unlike(name: str, number: np.ndarray, first: tuple[str, np.ndarray], languages: pd.Index, units: pd.Index) -> str:
    """Where the rows of a run are not those of the first."""
    others = np.argwhere(number != first[1])
    language, unit = others[0]
    own, theirs = int(number[language, unit]), int(first[1][language, unit])
    more = f" ({len(others) - 1:,} more such places)" if len(others) > 1 else ""
    return (
        f"{name} has {own} rows of unit {units[unit]!r} in {languages[language]}, and {first[0]} has {theirs}{more}; "
        "methods are compared on the same rows, so leave out of all what one lacks"
    )


def _table(results: pd.DataFrame | Path | str, columns: dict[str, str]) -> pd.DataFrame:
    """The table under its standard names, vetted."""
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise XlbenchError(f"{unknown[0]!r} is no column of an analysis; it has {', '.join(COLUMNS)}")
    names = {name: columns.get(name, name) for name in COLUMNS}
    place = "the table" if isinstance(results, pd.DataFrame) else str(results)
    frame = results if isinstance(results, pd.DataFrame) else _read(Path(results).expanduser(), list(names.values()))
    for name in COLUMNS:
        if names[name] not in frame.columns and (name in NEEDED or name in columns):
            there = ", ".join(map(str, frame.columns))
            raise XlbenchError(
                f"{place} has no column {names[name]!r}; it has {there}; say which is it, as {name}=COLUMN"
            )
    table = pd.DataFrame({name: frame[own].to_numpy() for name, own in names.items() if own in frame.columns})
    if table.empty:
        raise XlbenchError(f"{place} has no rows")
    for name in ("method", "language", "unit"):
        if (lacking := table[name].isna()).any():
            raise XlbenchError(f"row {_row(lacking)} of {place} has no {names[name]}")
    for name in ("draw", "seed"):
        table[name] = _numbers(table[name], names[name], place) if name in table else 0
        if (odd := table[name] % 1 != 0).any():
            raise XlbenchError(f"row {_row(odd)} of {place}: {names[name]} is {table[name][odd].iloc[0]}, no integer")
        table[name] = table[name].astype(int)
    table["value"] = _numbers(table["value"], names["value"], place)
    if (odd := (table["value"] < 0) | (table["value"] > 1)).any():
        value = table["value"][odd].iloc[0]
        raise XlbenchError(
            f"row {_row(odd)} of {place}: {names['value']} is {value:g}, not between 0 and 1; give shares, so divide "
            "what is in percent by 100"
        )
    return table.astype(dict.fromkeys(("method", "language", "unit"), str))


def _read(file: Path, names: list[str]) -> pd.DataFrame:
    if file.suffix not in SUFFIXES or not file.is_file():
        what = "is no file" if file.suffix in SUFFIXES else f"ends in none of {', '.join(SUFFIXES)}"
        raise XlbenchError(f"{file} {what}; give a table of judged answers")
    try:
        there = columns_in(file)
        read = read_file(file, [name for name in names if name in there]).to_pandas()
    except (OSError, ValueError) as fault:
        raise XlbenchError(f"cannot read {file}: {fault}") from fault
    return read if len(read.columns) else pd.DataFrame(columns=there)


def _numbers(values: pd.Series, name: Hashable, place: str) -> pd.Series:
    """Numbers, of texts and booleans too. Raises XlbenchError, naming the row, for what is none."""
    texts = values.replace({"True": 1, "true": 1, "False": 0, "false": 0})
    numbers = pd.to_numeric(texts, errors="coerce").astype(float)
    if (odd := ~numbers.map(np.isfinite)).any():
        raise XlbenchError(f"row {_row(odd)} of {place}: {name} is {str(values[odd].iloc[0])!r}, no number")
    return numbers


def _row(mask: pd.Series) -> int:
    """The number of the first row that is so, the first row of data being 1."""
    return int(np.flatnonzero(mask.to_numpy())[0]) + 1
