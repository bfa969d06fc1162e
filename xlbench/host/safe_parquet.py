"""Parquet files that others wrote: read whole and within limits, or refused in one line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    with _in_one_line():
        with pq.ParquetFile(file, page_checksum_verification=True) as stream:
            names, rows = stream.schema_arrow.names, stream.metadata.num_rows
            if len(names) > COLUMNS:
                raise TooMuch(f"{what} has {len(names):,} columns; at most {COLUMNS:,} are read")
            if rows > ROWS:
                raise TooMuch(f"{what} has {rows:,} rows; at most {ROWS:,} are read")
            asked = None if columns is None else [name for name in columns if name in names]
            table = stream.read(columns=asked, use_threads=rows > WORTH_THREADS)
        table.validate(full=True)
        if len(set(table.column_names)) < len(table.column_names):
            raise ValueError("a column's name is there twice")
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            lengths = pc.utf8_length(column)
            longest = pc.max(lengths).as_py() or 0
            if longest > CHARACTERS:
                place = f"{what}, row {pc.index(lengths, longest).as_py()}"
                raise TooMuch(f"{place}: the {name} has {longest:,} characters; at most {CHARACTERS:,} are read")
    return table


def columns_of(file: Path) -> list[str]:
    """The names of a parquet file's columns. Raises OSError or ValueError."""
    with _in_one_line():
        return list(pq.read_schema(file).names)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except (TooMuch, OSError):
        raise
    except ODD as fault:
        raise ValueError((str(fault).splitlines() or [type(fault).__name__])[0]) from fault
