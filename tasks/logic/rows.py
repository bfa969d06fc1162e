"""The task's rows as they ship: read from `rows.json.gz`, which `scripts/deal_logic.py` writes.

Dealing them anew takes some twenty seconds, for most draws of a situation are rejected; a test does
it and compares the bytes.
"""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from . import forms
from .forms import Form

PREMISES = {"train": 2400, "validation": 900, "test": 1000}
PARALLEL = 4000


@dataclass(frozen=True, slots=True)
class Item:
    """One abstract row; three rows with the labels 0, 1, 2 share a premise and its `premise_id`."""

    id: str
    premise_id: str
    phenomenon: str
    premise: tuple[Form, ...]
    hypothesis: tuple[Form, ...]
    label: int


@lru_cache(maxsize=len(PREMISES))
def items(split: str) -> tuple[Item, ...]:
    """All rows of "train", "validation" or "test": three per premise, phenomena in turn.

    Raises ValueError for another split.
    """
    if split not in PREMISES:
        raise ValueError(f"unknown split {split!r} for task logic; it has {', '.join(PREMISES)}")
    rows: list[Item] = []
    for number, (phenomenon, premise, *answers) in enumerate(_table()[split]):
        told, premise_id = tuple(_form(form) for form in premise), f"{split}-{number:05d}"
        for position, (label, asked) in enumerate(answers):
            rows.append(Item(f"{premise_id}-{position}", premise_id, phenomenon, told, (_form(asked),), label))
    return tuple(rows)


def sentences(split: str = "parallel", n: int = PARALLEL) -> tuple[Form, ...]:
    """The first `n` of 4,000 different sentences, none of which is in a row of any split.

    Raises ValueError for another split or an `n` over 4,000.
    """
    if split != "parallel" or not 0 <= n <= PARALLEL:
        raise ValueError(f"no {n} sentences of split {split!r}; split 'parallel' has {PARALLEL}")
    return _parallel()[:n]


def told(splits: Mapping[str, Sequence[Item]], parallel: Iterable[Form]) -> bytes:
    """What the file holds before compression: the same bytes for the same rows."""
    table: dict[str, list[Any]] = {split: _premises(rows) for split, rows in splits.items()}
    table["parallel"] = [_plain(form) for form in parallel]
    return json.dumps(table, separators=(",", ":")).encode()


def shipped() -> bytes:
    """The file's bytes, unpacked."""
    return gzip.decompress(files(__package__).joinpath("rows.json.gz").read_bytes())


def _premises(rows: Sequence[Item]) -> list[Any]:
    threes = (rows[start : start + 3] for start in range(0, len(rows), 3))
    return [
        [three[0].phenomenon, [_plain(form) for form in three[0].premise]]
        + [[row.label, _plain(row.hypothesis[0])] for row in three]
        for three in threes
    ]


def _plain(form: Form) -> list[Any]:
    return [type(form).__name__, *astuple(form)]


def _form(plain: list[Any]) -> Form:
    construction, *parts = plain
    made: Form = getattr(forms, construction)(*(tuple(part) if isinstance(part, list) else part for part in parts))
    return made


@lru_cache(maxsize=1)
def _parallel() -> tuple[Form, ...]:
    return tuple(_form(plain) for plain in _table()["parallel"])


@lru_cache(maxsize=1)
def _table() -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = json.loads(shipped())
    return table
