"""What a figure shows, with nothing to look up: the points, intervals and notes of a group, and its file names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from xlbench.analysis.evidence import evidence_once
from xlbench.analysis.languages import by_family
from xlbench.analysis.matching import Group, Line, Table, mean_of
from xlbench.analysis.transfer_gap import left_out, placed
from xlbench.errors import XlbenchError
from xlbench.records.store import Store
from xlbench.spec import digest


@dataclass(frozen=True)
class Point:
    """A method's mean accuracy with its interval, where there is one, and its training time; accuracy in percent."""

    method: str
    mean: float
    low: float | None
    high: float | None
    seconds: float | None


@dataclass(frozen=True)
class Panel:
    """What the figures show of a table. `chance` is in percent; `accuracy`, by method and language, a share of 1."""

    shots: int
    points: tuple[Point, ...]
    chance: float | None
    scope: str
    accuracy: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Shown:
    """All that the figures of a group show, with nothing to look up: the same here is the same picture.

    `distances` are those of the target languages from the `source`; `left_out` says which have none.
    """

    title: str
    oracle: bool
    source: str
    languages: tuple[str, ...]
    panels: tuple[Panel, ...]
    distances: Mapping[str, float]
    left_out: tuple[str, ...]


KINDS = {  # what a figure shows, by the end of its name
    "shots": "Mean accuracy against the number of shots",
    "languages": "Accuracy by language and method",
    "distance": "Transfer gap against language distance",
    "cost": "Mean accuracy against training time",
}


def figure_name(one: Group, kind: str) -> str:
    """The file of a group's figure: task and model in plain letters, what tells groups apart, and the kind."""
    plain = re.sub(r"[^a-z0-9]+", "-", f"{one.key['task']}-{one.key['model']}".lower()).strip("-")[:60]
    return f"{plain or 'board'}-{digest(one.key)[:8]}-{kind}.svg"


def panels(one: Group, store: Store) -> list[Panel]:
    """A group's tables as the figures show them. A table without intervals has means alone; an empty one is none."""
    found = []
    for table in one.tables:
        if not table.cells:
            continue
        try:
            shown = None if one.oracle else evidence_once(table, store)
        except XlbenchError:
            shown = None
        points = tuple(_point(line, table, shown.scores if shown else {}) for line in table.by_mean)
        chance, scope = None, ""
        if shown is not None:
            name, score = next(iter(shown.scores.items()))
            chance, scope = 100 * (score.estimate - shown.above[name].excess), score.scope
        found.append(Panel(table.shots, points, chance, scope, table.accuracy))
    return found


def _point(line: Line, table: Table, scores: Mapping[str, Any]) -> Point:
    records = [line.records[cell] for cell in table.cells]
    score = scores.get(line.method)
    return Point(
        line.method,
        100 * fmean(record.mean for record in records),
        None if score is None else 100 * max(score.low, 0.0),
        None if score is None else 100 * min(score.high, 1.0),
        mean_of(record.costs.get("training_seconds") for record in records),
    )


def shown(one: Group, store: Store) -> Shown:
    """What the figures of a group show; `store` has the records' predictions."""
    tables = [table for table in one.tables if table.cells]
    names = {name for table in tables for line in table.lines for name in line.languages}
    source = tables[0].first.source_language if tables else ""
    distances, notes = ({}, []) if one.oracle or not tables else (placed(one), left_out(one))
    return Shown(
        one.title, one.oracle, source, tuple(by_family(names)), tuple(panels(one, store)), distances, tuple(notes)
    )


def kinds(found: Shown) -> list[str]:
    """What can be drawn of a group. The oracle is in no picture that ranks."""
    if not found.panels:
        return []
    timed = any(point.seconds is not None for panel in found.panels for point in panel.points)
    ranked = {"distance": bool(found.distances), "cost": timed and not found.oracle}
    return [kind for kind in KINDS if ranked.get(kind, True)]
