"""The records of a store as lines of text, those that are asked for."""

import contextlib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import listed, plain
from xlbench.records.record import as_row
from xlbench.records.store import Store
from xlbench.records.vetting import misplaced, stored

Condition = Callable[[Mapping[str, Any]], bool]

COLUMNS: tuple[str, ...] = (
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
    conditions = [condition(text) for text in where]
    store.expect()
    rows, unreadable = [COLUMNS], []
    for name, record in stored(store):
        if isinstance(record, XlbenchError):
            unreadable.append(str(record).replace(f"{store.root}/", ""))
        elif name != record.id:
            unreadable.append(f"record {plain(name)} {misplaced(record)}")
        else:
            fields = as_row(record)
            if all(meets(fields) for meets in conditions):
                rows.append(tuple(_shown(fields[column], DIGITS.get(column, "")) for column in COLUMNS))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (f"{{:{'>' if name in NUMBERS else '<'}{width}}}" for name, width in zip(COLUMNS, widths, strict=True))
    line = "  ".join(cells)
    return [line.format(*row).rstrip() for row in rows], tuple(unreadable)


def condition(text: str) -> Condition:
    """`method=mpt,pct`, `shots!=4`, `score>0.5` → whether a record's fields are so. Raises XlbenchError."""
    parts = CONDITION.fullmatch(text)
    if parts is None:
        raise XlbenchError(f"--where takes a field and what it is, as method=mpt,pct or score>0.5, not {text!r}")
    name, sign, value = parts.group(1), parts.group(2), parts.group(3).strip()
    if name not in FIELDS:
        raise XlbenchError(f"--where {text}: a record has no field {name!r}; it has {', '.join(FIELDS)}")
    if sign in ORDERED:
        compare, limit = ORDERED[sign], _number(value)
        if name not in NUMBERS:
            raise XlbenchError(f"--where {text}: {name} is no number, and has no order; use = or !=")
        if limit is None:
            raise XlbenchError(f"--where {text}: {sign} takes a number, not {value!r}")
        return lambda fields: (number := _number(fields[name])) is not None and compare(number, limit)
    values = [value, *listed(value)]  # a text may have commas of its own
    odd = [asked for asked in values[1:] if name in NUMBERS and _number(asked) is None]
    if odd:
        raise XlbenchError(f"--where {text}: {name} is a number, not {odd[0]!r}")
    return lambda fields: any(_same(name, fields[name], asked) for asked in values) == (sign != "!=")


def _number(value: Any) -> Any:
    """None for what is no number, NaN among it; all shots are more than any number."""
    if not isinstance(value, str):
        return None if isinstance(value, float) and math.isnan(value) else value
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return _number(kind(value))
    return math.inf if value == "all" else None


def _same(name: str, value: Any, asked: str) -> bool:
    """Whether a field is what was asked for: a number by its value or as it is shown, nothing by an empty text."""
    if value is None:
        return asked == ""
    shown = format(value, DIGITS.get(name, ""))
    return asked == shown or (name in NUMBERS and _number(asked) == _number(value))


def _shown(value: Any, digits: str) -> str:
    return "–" if value is None or value == "" else plain(format(value, digits), LONGEST)
