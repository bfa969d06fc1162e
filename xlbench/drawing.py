"""What the board's pictures share: their numbers, their colours and markers, their file names, and SVG.

matplotlib draws them (the extra `plots`); it is imported only where a figure is drawn. The colours are those of
Okabe & Ito (2008), which people who are colour-blind can tell apart, and each method has a marker of its own, so
that a print in grey says the same. The same records give the same bytes, and text stays text.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from xlbench.analysis.evidence import evidence_once
from xlbench.analysis.matching import Group, Line, Table, mean_of
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.records.store import Store
from xlbench.spec import digest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito less yellow
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")  # one more than colours and one: pairs come round late
GREY = "#666666"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "xlbench",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
}


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


def svg(draw: Callable[[], "Figure"]) -> bytes:
    """A figure as bytes, whatever the reader's own settings of matplotlib are."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that matplotlib's own font lacks is drawn by the reader's
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        stream = io.BytesIO()
        draw().savefig(stream, format="svg", metadata={"Date": None, "Creator": "xlbench"})
        return stream.getvalue()


def canvas(shown: Shown, kind: str, width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    oracle = " (oracle: a ceiling, not a result)" if shown.oracle else ""
    drawn.suptitle(f"{KINDS[kind]}{oracle}\n{plain(shown.title, 80)}", fontsize=11)
    return drawn


def styles_of(shown: Sequence[Panel]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each method, the same in every figure of a group."""
    names = sorted({point.method for panel in shown for point in panel.points})
    return {name: (COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]) for at, name in enumerate(names)}
