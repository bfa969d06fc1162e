"""What a figure shows, with nothing to look up: the points, intervals and notes of a group, and its file names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from xlbench.analysis.evidence import evidence
from xlbench.analysis.languages import by_family
from xlbench.analysis.matching import Group, Line, Table, mean_of
from xlbench.analysis.transfer_gap import left_out, placed
from xlbench.errors import XlbenchError
from xlbench.spec import digest


@dataclass(frozen=True)
class Point:
    """A method's mean of the metric with its interval, where there is one, in percent, and its training time."""

    method: str
    mean: float
    low: float | None
    high: float | None
    seconds: float | None


@dataclass(frozen=True)
class Panel:
    """What the figures show of a table. `chance` is in percent; `by_language`, by method and language, a share of 1."""

    shots: int
    points: tuple[Point, ...]
    chance: float | None
    scope: str
    by_language: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Shown:
    """All that the figures of a group show, with nothing to look up: the same here is the same picture.

    `distances` are those of the target languages from the `source`; `left_out` says which have none.
    """

    title: str
    metric: str
    oracle: bool
    source: str
    languages: tuple[str, ...]
    panels: tuple[Panel, ...]
    distances: Mapping[str, float]
    left_out: tuple[str, ...]


KINDS = {  # what a figure shows, by the end of its name
    "shots": "Mean {metric} against the number of shots",
    "languages": "{metric} by language and method",
    "distance": "Transfer gap against language distance",
    "cost": "Mean {metric} against training time",
}


def titled(kind: str, metric: str) -> str:
    """What a figure of a kind shows, said of a metric."""
    title = KINDS[kind].format(metric=metric)
    return title[:1].upper() + title[1:]


def figure_name(one: Group, kind: str) -> str:
    """The file of a group's figure: task and model in plain letters, what tells groups apart, and the kind."""
    plain = re.sub(r"[^a-z0-9]+", "-", f"{one.key['task']}-{one.key['model']}".lower()).strip("-")[:60]
    return f"{plain or 'board'}-{digest(one.key)[:8]}-{kind}.svg"


def panels(one: Group) -> list[Panel]:
    """A group's tables as the figures show them. A table without intervals has means alone; an empty one is none."""
    found = []
    for table in one.tables:
        if not table.cells:
            continue
        try:
            shown = None if one.oracle else evidence(table)
        except XlbenchError:
            shown = None
        points = tuple(_point(line, table, shown.scores if shown else {}) for line in table.by_mean)
        chance, scope = None, ""
        if shown is not None:
            name, score = next(iter(shown.scores.items()))
            chance, scope = 100 * (score.estimate - shown.above[name].excess), shown.scope
        found.append(Panel(table.shots, points, chance, scope, table.by_language))
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


def shown(one: Group) -> Shown:
    """What the figures of a group show."""
    tables = [table for table in one.tables if table.cells]
    names = {name for table in tables for line in table.lines for name in line.languages}
    source = tables[0].first.source_language if tables else ""
    distances, notes = ({}, []) if one.oracle or not tables else (placed(one), left_out(one))
    languages = tuple(by_family(names))
    return Shown(one.title, one.metric, one.oracle, source, languages, tuple(panels(one)), distances, tuple(notes))


def kinds(found: Shown) -> list[str]:
    """What can be drawn of a group. The oracle is in no picture that ranks."""
    if not found.panels:
        return []
    timed = any(point.seconds is not None for panel in found.panels for point in panel.points)
    ranked = {"distance": bool(found.distances), "cost": timed and not found.oracle}
    return [kind for kind in KINDS if ranked.get(kind, True)]
