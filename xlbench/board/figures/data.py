"""What a figure shows, with nothing to look up: the points, intervals and notes of a group, and its file names."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from xlbench.analysis.evidence import evidence
from xlbench.analysis.languages import by_family
from xlbench.analysis.matching import Group, Line, mean_of
from xlbench.analysis.statistics import Interval
from xlbench.analysis.transfer_gap import left_out, placed
from xlbench.board.blocks import Family
from xlbench.errors import XlbenchError
from xlbench.records.record import Record
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
    per_class: str  # what is said after a number of shots
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
    "sources": "{metric} by the languages of the shots and of the test",
}


def titled(kind: str, metric: str) -> str:
    """What a figure of a kind shows, said of a metric."""
    title = KINDS[kind].format(metric=metric)
    return title[:1].upper() + title[1:]


def figure_name(group: Group, kind: str) -> str:
    """The file of a group's figure: task and model in plain letters, what tells groups apart, and the kind."""
    return _file_name(f"{group.key['task']}-{group.key['model']}", digest(group.key), kind)


def heat_map_name(family: Family) -> str:
    """The file of a family's heat map."""
    return _file_name(family.title.replace(" on ", "-"), family.key, "sources")


def _file_name(title: str, key: str, kind: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]
    return f"{plain or 'board'}-{key[:8]}-{kind}.svg"


def panels(group: Group) -> list[Panel]:
    """A group's tables as the figures show them. A table without intervals has means alone; an empty one is none."""
    made = []
    for table in group.tables:
        scores, chance, scope = {}, None, ""
        with suppress(XlbenchError):
            if not group.oracle:
                weighed = evidence(table)
                scores, scope = weighed.scores, weighed.scope
                method, score = next(iter(scores.items()))
                chance = 100 * (score.estimate - weighed.above[method].excess)
        points = tuple(_point(line, table.runs(line), scores.get(line.method)) for line in table.by_mean)
        made.append(Panel(table.shots, points, chance, scope, table.by_language))
    return made


def _point(line: Line, runs: Sequence[Record], score: Interval | None) -> Point:
    mean, seconds = line.mean(lambda run: run.mean), mean_of(run.costs.get("training_seconds") for run in runs)
    low, high = (None, None) if score is None else (100 * max(score.low, 0.0), 100 * min(score.high, 1.0))
    return Point(line.method, 100 * mean, low, high, seconds)


def shown(group: Group) -> Shown:
    """What the figures of a group show."""
    tables = group.tables
    languages = by_family({name for table in tables for line in table.lines for name in line.languages})
    source = tables[0].first.source_language if tables else ""
    distances, notes = ({}, []) if group.oracle or not tables else (placed(group), left_out(group))
    return Shown(
        group.title, group.metric, group.tables[0].per_class, group.oracle, source, tuple(languages),
        tuple(panels(group)), distances, tuple(notes),
    )  # fmt: skip


def kinds(content: Shown) -> list[str]:
    """What can be drawn of a group. The oracle is in no picture that ranks."""
    if not content.panels:
        return []
    timed = any(point.seconds is not None for panel in content.panels for point in panel.points)
    drawn = {"sources": False, "distance": bool(content.distances), "cost": timed and not content.oracle}
    return [kind for kind in KINDS if drawn.get(kind, True)]
