"""Parquet files that others wrote: read whole and within limits, or refused in one line."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xlbench.host.safe_reading import CHARACTERS, COLUMNS, ROWS, TooMuch

WORTH_THREADS = 1_000_000  # rows; fewer are read sooner than threads are woken
# what a damaged file raises
ODD = (pa.ArrowException, ValueError, TypeError, IndexError, KeyError, MemoryError)


def read_parquet(file: Path, what: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A parquet file's rows; of `columns` those that it has, or all. What has checksums is held against them.

    Raises TooMuch for too many columns or rows, or a text that is too long; OSError; ValueError, in one line, for
    anything else that cannot be read.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as stream:
            there, rows = stream.schema_arrow.names, stream.metadata.num_rows
            if len(there) > COLUMNS:
                raise TooMuch(f"{what} has {len(there):,} columns; at most {COLUMNS:,} are read")
            if rows > ROWS:
                raise TooMuch(f"{what} has {rows:,} rows; at most {ROWS:,} are read")
            wanted = None if columns is None else [name for name in columns if name in there]
            table = stream.read(columns=wanted, use_threads=rows > WORTH_THREADS)
        table.validate(full=True)
        if len(set(table.column_names)) < len(table.column_names):
            raise ValueError("a column's name is there twice")
    except (TooMuch, OSError):
        raise
    except ODD as fault:
        raise _one_line(fault) from fault
    for name in table.column_names:
        _short_texts(table[name], name, what)
    return table


def columns_of(file: Path) -> list[str]:
    """The names of a parquet file's columns. Raises OSError or ValueError."""
    try:
        names: list[str] = pq.read_schema(file).names
    except OSError:
        raise
    except ODD as fault:
        raise _one_line(fault) from fault
    return names


def _one_line(fault: BaseException) -> ValueError:
    return ValueError((str(fault).splitlines() or [type(fault).__name__])[0])


def _short_texts(column: pa.ChunkedArray, name: str, what: str) -> None:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return
    lengths = pc.utf8_length(column)
    longest = pc.max(lengths).as_py() or 0
    if longest > CHARACTERS:
        row = pc.index(lengths, longest).as_py()
        raise TooMuch(f"{what}, row {row}: the {name} has {longest:,} characters; at most {CHARACTERS:,} are read")
