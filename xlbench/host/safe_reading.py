"""How much is read of what others wrote, and the reading: text of a bounded size, data no deeper than it need be.

The limits are far above what records, suites and data sets have. Who meets one is told which, and where.
"""

import json
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from xlbench.errors import XlbenchError

RECORD_BYTES = 16 * 2**20  # of a record.json; those of the shipped board have 4 KiB
SUITE_BYTES = 256 * 2**10  # of a suite's file; those that ship have 1 KiB
NESTING = 32  # lists and tables within one another
DOTS = 100  # in a line of a suite: the parser's memory grows with their square
COLUMNS = 1_000  # of a parquet file
ROWS = 100_000_000  # of a parquet file
CHARACTERS = 100_000  # of one text in a row


class TooMuch(XlbenchError):  # noqa: N818 - what was found, not what went wrong
    """Something to be read is larger, deeper, wider or longer than is read."""


def read_text(file: Path, most: int, what: str) -> str:
    """A file's text. Raises TooMuch for one of more than `most` bytes, OSError, and ValueError for no UTF-8."""
    with file.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise TooMuch(f"{what} has more than {most:,} bytes, the most that is read of one")
    return content.decode("utf-8")


def from_json(text: str, what: str) -> Any:
    """What a JSON text holds. Raises ValueError for what is no JSON, TooMuch for one that is nested too deep."""
    return _shallow(json.loads, text, what)


def from_toml(text: str, what: str) -> dict[str, Any]:
    """What a TOML text holds. Raises ValueError for what is no TOML, TooMuch for one that is nested too deep."""
    if any(line.count(".") > DOTS for line in text.splitlines()):
        raise TooMuch(f"{what} has a line with more than {DOTS} dots, the most that are read")
    return dict(_shallow(tomllib.loads, text, what))


def read_toml(file: Path, most: int, what: str) -> dict[str, Any]:
    """What a TOML file holds. Raises XlbenchError for one that is missing, of more than `most` bytes, or no TOML."""
    try:
        return from_toml(read_text(file, most, what), what)
    except (OSError, UnicodeDecodeError) as fault:
        raise XlbenchError(f"cannot read {what}: {fault}") from fault
    except ValueError as fault:
        raise XlbenchError(f"{what} is not valid TOML: {fault}") from fault


def _shallow(parse: Callable[[str], Any], text: str, what: str) -> Any:
    """What a text holds. Raises TooMuch where lists and tables are nested too deep."""
    with suppress(RecursionError):
        value = parse(text)
        layer = [value]
        for _ in range(NESTING + 1):
            nested = [part for part in layer if isinstance(part, dict | list)]
            layer = [inner for part in nested for inner in (part.values() if isinstance(part, dict) else part)]
            if not layer:
                return value
    raise TooMuch(f"{what} is nested more than {NESTING} deep, the most that is read")
