"""Files of rows as people have them: Parquet (one file or the hub's shards), CSV, TSV, JSON lines."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from xlbench.host.safe_parquet import ODD, columns_of, read_parquet
from xlbench.host.safe_reading import read_text

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
JSON_BYTES = 2**30

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.parquet$")


def files_of(folder: Path, split: str) -> list[Path]:
    """The files of a split in a folder: `split.parquet`, the hub's shards `split-00000-of-00002.parquet`, or a CSV, TSV
    or JSON lines file of that name; none where there is none. Raises ValueError for several, or shards that lack one.
    """
    found = [[folder / f"{split}{suffix}"] for suffix in SUFFIXES if (folder / f"{split}{suffix}").is_file()]
    shards = sorted(path for path in folder.glob(f"{_bare(split)}-*-of-*.parquet") if _SHARD.search(path.name))
    if shards:
        of = {int(match[2]) for path in shards if (match := _SHARD.search(path.name))}
        if of != {len(shards)}:
            raise ValueError(f"{folder} has {len(shards)} shards of {split}, which say that they are of {sorted(of)}")
        found.append(shards)
    if len(found) > 1:
        raise ValueError(f"{folder} has {' and '.join(files[0].name for files in found)}; keep one of them")
    return found[0] if found else []


def _bare(name: str) -> str:
    """A name as glob reads it letter by letter."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def columns_in(file: Path) -> list[str]:
    """The names of a file's columns. Raises OSError or ValueError."""
    if file.suffix == ".parquet":
        return columns_of(file)
    if file.suffix in (".csv", ".tsv"):
        return _header(file)
    return list(dict.fromkeys(name for row in _json_rows(file)[:100] for name in row))


def read_file(file: Path, columns: Sequence[str]) -> pa.Table:
    """Rows of a file, those of `columns` that it has. CSV and TSV give texts. Raises OSError, ValueError in one line,
    and TooMuch for what is larger than is read."""
    if file.suffix == ".parquet":
        return read_parquet(file, str(file), columns)
    if file.suffix in (".csv", ".tsv"):
        return _separated(file, columns)
    rows = _json_rows(file)
    there = {name for row in rows for name in row}
    return pa.table({name: _column([row.get(name) for row in rows]) for name in columns if name in there})


def _column(values: list[Any]) -> Any:
    """Values as an Arrow array, as texts where they are of several kinds."""
    try:
        return pa.array(values)
    except ODD:
        return pa.array([value if value is None else str(value) for value in values])


def _delimiter(file: Path) -> str:
    """A tab in a TSV; in a CSV what its first line has most of, for spreadsheets in half of Europe write semicolons."""
    if file.suffix == ".tsv":
        return "\t"
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline()
    return max((",", ";", "\t"), key=first.count)


def _header(file: Path) -> list[str]:
    try:
        with arrow_csv.open_csv(file, parse_options=_parsing(file)) as stream:
            return list(stream.schema.names)
    except ODD as fault:
        raise ValueError(_first_line(fault)) from fault


def _parsing(file: Path) -> arrow_csv.ParseOptions:
    quote = False if file.suffix == ".tsv" else '"'  # a TSV's quotes are text: there nothing needs any
    return arrow_csv.ParseOptions(delimiter=_delimiter(file), quote_char=quote, newlines_in_values=bool(quote))


def _separated(file: Path, columns: Sequence[str]) -> pa.Table:
    there = _header(file)
    asked = [name for name in columns if name in there]
    kinds = dict.fromkeys(there, pa.string())
    try:
        options = arrow_csv.ConvertOptions(column_types=kinds, include_columns=asked, strings_can_be_null=False)
        return arrow_csv.read_csv(file, parse_options=_parsing(file), convert_options=options)
    except ODD as fault:
        raise ValueError(_first_line(fault)) from fault


def _json_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file with an object a line, or with one list of objects."""
    text = read_text(file, JSON_BYTES, str(file)).removeprefix("\ufeff")
    if text.lstrip().startswith("["):
        rows = json.loads(text)
        places = [f"row {number}" for number in range(len(rows))]
    else:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        rows, places = [], []
        for number, line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError as fault:
                raise ValueError(f"line {number} is no JSON: {fault}") from fault
            places.append(f"line {number}")
    for place, row in zip(places, rows, strict=True):
        if not isinstance(row, dict):
            raise ValueError(f"{place} is no object with the columns by name")
    return rows


def _first_line(fault: BaseException) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0]
