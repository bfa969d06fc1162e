"""Texts of plug-ins, records and files as they may be shown: on one line, with nothing hidden in them."""

from typing import Any

FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for a formula

NUMERIC = set("0123456789.,– -%")  # a number, or a range of two


def plain(text: object, longest: int | None = 60) -> str:
    """A text as one line; what cannot be seen, as escape sequences and marks that turn the direction, is spelt."""
    kept = str(text)
    if not kept.isprintable():
        kept = "".join(
            char if char.isprintable() else " " if char.isspace() else char.encode("unicode_escape").decode()
            for char in kept
        )
    return kept if longest is None or len(kept) <= longest else kept[: longest - 1] + "…"


def lines(text: object) -> str:
    """A text of several lines for a terminal: `plain` line by line, none cut."""
    return "\n".join(plain(line, None) for line in str(text).split("\n"))


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: a text is plain, and one that a spreadsheet would compute begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = plain(value, None)
    computed = text.lstrip().startswith(FORMULA) and not set(text) <= NUMERIC
    return f"'{text}" if computed else text
