"""The records of a store as lines of text, those that are asked for."""

import contextlib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import listed, plain
from xlbench.records.record import as_row
from xlbench.records.store import Store
from xlbench.records.vetting import misplaced, stored

Wanted = Callable[[Mapping[str, Any]], bool]

COLUMNS = (
    "record", "status", "task", "model", "method", "config", "shots", "draw", "seed", "score", "seconds", "steps",
    "learning_rate", "precision", "units", "languages",
)  # fmt: skip
FIELDS = (*COLUMNS, "metric", "selection", "trials", "tune", "split", "commit", "started")
NUMBERS = {"shots", "draw", "seed", "score", "seconds", "trials", "steps", "learning_rate", "units"}
DIGITS = {"score": ".4f", "seconds": ".1f", "learning_rate": "g"}
LONGEST = 40  # letters of a column
ORDERED = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
CONDITION = re.compile(r"\s*(\w+)\s*(!=|>=|<=|==?|>|<)(?![=<>])(.*)", re.DOTALL)


def lines_of(store: Store, where: Sequence[str] = ()) -> tuple[list[str], tuple[str, ...]]:
    """A line a record that meets all conditions, below their head, and which records cannot be read and why.

    The predictions are not looked at: a board may leave out what is listed here. Raises XlbenchError where there is
    no folder, and for a condition that is none.
    """
    wanted = [condition(text) for text in where]
    store.expect()
    rows, unreadable = [tuple[str, ...](COLUMNS)], []
    for name, one in stored(store):
        if isinstance(one, XlbenchError):
            unreadable.append(str(one).replace(f"{store.root}/", ""))
            continue
        if name != one.id:
            unreadable.append(f"record {plain(name)} {misplaced(one)}")
            continue
        fields = as_row(one)
        if all(meets(fields) for meets in wanted):
            rows.append(tuple(_shown(fields[name], DIGITS.get(name, "")) for name in COLUMNS))
    return _aligned(rows), tuple(unreadable)


def condition(text: str) -> Wanted:
    """`method=mpt,pct`, `shots!=4`, `score>0.5` → whether a record's fields are so. Raises XlbenchError."""
    found = CONDITION.fullmatch(text)
    if found is None:
        raise XlbenchError(f"--where takes a field and what it is, as method=mpt,pct or score>0.5, not {text!r}")
    name, sign, value = found.group(1), found.group(2), found.group(3).strip()
    if name not in FIELDS:
        raise XlbenchError(f"--where {text}: a record has no field {name!r}; it has {', '.join(FIELDS)}")
    if sign in ORDERED:
        compare, limit = ORDERED[sign], _number(value)
        if name not in NUMBERS:
            raise XlbenchError(f"--where {text}: {name} is no number, and has no order; use = or !=")
        if limit is None:
            raise XlbenchError(f"--where {text}: {sign} takes a number, not {value!r}")
        return lambda fields: (there := _number(fields[name])) is not None and compare(there, limit)
    values = [value, *listed(value)]  # a text may have commas of its own
    wrong = [one for one in values[1:] if name in NUMBERS and _number(one) is None]
    if wrong:
        raise XlbenchError(f"--where {text}: {name} is a number, not {wrong[0]!r}")
    return lambda fields: any(_same(name, fields[name], one) for one in values) == (sign != "!=")


def _number(value: Any) -> float | None:
    """None for what is no number, NaN among it; all shots are more than any number."""
    if value == "all":
        return math.inf
    if isinstance(value, str):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return _number(kind(value))
    return value if isinstance(value, int) or (isinstance(value, float) and not math.isnan(value)) else None


def _same(name: str, there: Any, asked: str) -> bool:
    """Whether a field is what was asked for: a number by its value or as it is shown, nothing by an empty text."""
    if there is None:
        return asked == ""
    shown = format(there, DIGITS.get(name, ""))
    return asked == shown or (name in NUMBERS and _number(asked) == _number(there))


def _shown(value: Any, digits: str) -> str:
    return "–" if value is None or value == "" else plain(format(value, digits), LONGEST)


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines, their columns below each other."""
    kept = list(rows)
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    right = [name in NUMBERS for name in COLUMNS]
    return [
        "  ".join(
            cell.rjust(width) if far else cell.ljust(width) for cell, width, far in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in kept
    ]
