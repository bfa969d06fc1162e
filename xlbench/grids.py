"""What the board is made of: tables, commands and sentences, as text, nothing escaped."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table of the board; the first column names a row. The column `apart` is shown, and not to be compared."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    apart: int | None = None


@dataclass(frozen=True)
class Command:
    """A line for a shell."""

    text: str


Block = Grid | Command | tuple[str, ...]  # the last: sentences, without their full stops
