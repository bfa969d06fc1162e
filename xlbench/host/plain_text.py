"""Texts of plug-ins, records and files as they may be shown: on one line, with nothing hidden in them."""

from collections.abc import Callable, Mapping
from typing import Any

FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for a formula

NUMERIC = set("0123456789.,– -%")  # a number, or a range of two


def plain(text: object, longest: int | None = 60) -> str:
    """A text as one line; what cannot be seen, as escape sequences and marks that turn the direction, is spelt."""
    line = str(text)
    if not line.isprintable():
        line = "".join(
            char if char.isprintable() else " " if char.isspace() else char.encode("unicode_escape").decode()
            for char in line
        )
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"


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


def flat(fields: Mapping[str, Any], spell: Callable[[Any], str], prefix: str = "") -> dict[str, str]:
    """Nested fields by dotted names, their values as `spell` puts them."""
    texts: dict[str, str] = {}
    for name, value in fields.items():
        texts |= flat(value, spell, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: spell(value)}
    return texts


def listed(text: str) -> list[str]:
    """The parts of a list with commas; one in brackets or in double quotes separates nothing."""
    parts, depth, quoted, escaped = [""], 0, False, False
    for char in text:
        if char == "," and not depth and not quoted:
            parts.append("")
            continue
        parts[-1] += char
        if char == '"' and not escaped:
            quoted = not quoted
        elif not quoted:
            depth += (char == "(") - (char == ")")
        escaped = char == "\\" and quoted and not escaped
    return [part.strip() for part in parts if part.strip()]
