"""What others published about the tasks: figures to see beside ours, and leaks; and the families of methods. The tables
ship with the tasks and the methods."""

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import Field

from xlbench.spec import Frozen, RunSpec


class Figure(Frozen):
    """A published mean accuracy, in percent, over all of `languages`."""

    task: str
    method: str
    shots: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=100)
    languages: frozenset[str]
    backbone: str
    source: str  # as a cell of a table names it
    reference: str


class Leak(Frozen):
    """What a source says that some backbones have seen of a task; `models` are patterns of their names."""

    task: str
    models: tuple[str, ...] = Field(min_length=1)
    what: str
    source: str


class MethodFamily(Frozen):
    """Methods that learn from the same: what trains, and what they need beside the shots, in a sentence."""

    name: str
    what: str
    methods: tuple[str, ...]


@cache
def method_families() -> tuple[MethodFamily, ...]:
    """The families of the methods that ship, in their order."""
    table = tomllib.loads((files("xlbench.methods") / "families.toml").read_text(encoding="utf-8"))
    return tuple(MethodFamily.model_validate(fields) for fields in table["family"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((files("xlbench.tasks") / "literature.toml").read_text(encoding="utf-8"))


@cache
def all_figures() -> tuple[Figure, ...]:
    """Every published figure of the table."""
    return tuple(Figure.model_validate(fields) for fields in _table()["figure"])


@cache
def all_leaks() -> tuple[Leak, ...]:
    """Every known leak of the table."""
    return tuple(Leak.model_validate(fields) for fields in _table()["leak"])


def figures(spec: RunSpec) -> list[Figure]:
    """The figures published for a run's method, task, languages and number of shots; the protocol is another."""
    return [
        figure
        for figure in all_figures()
        if (figure.task, figure.method, figure.shots, figure.languages)
        == (spec.task, spec.method, spec.shots, frozenset(spec.languages or ()))
    ]


def known_leaks(spec: RunSpec) -> list[str]:
    """The leaks that a run uses, by its task and its model's name, in sentences without their full stops."""
    name = spec.model.lower()
    return [
        f"Known leak: {leak.what} ({leak.source})"
        for leak in all_leaks()
        if leak.task == spec.task and any(fnmatchcase(name, pattern.lower()) for pattern in leak.models)
    ]
