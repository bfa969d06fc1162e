"""The transfer gap of each target language against its distance from the source language, as a figure."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xlbench.analysis.languages import by_family
from xlbench.analysis.transfer_gap import gaps, rank_correlation
from xlbench.board.figures.data import Shown
from xlbench.board.figures.style import GREY, canvas, styles_of
from xlbench.host.plain_text import plain
from xlbench.spec import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST = 0.04  # how far apart, at most, languages at one distance are drawn
BAND = "#f0f0f0"


def spread(distances: Mapping[str, float]) -> dict[str, float]:
    """Where languages are drawn: those at one distance beside each other and around it, in the order of families,
    and nearer to each other than to those at the next distance."""
    members: dict[float, list[str]] = defaultdict(list)
    for name in by_family(set(distances)):
        members[distances[name]].append(name)
    levels = sorted(members)
    steps = [2 * (far - near) / (len(members[near]) + len(members[far]) + 1) for near, far in pairwise(levels)]
    step = min([WIDEST, *steps])
    return {
        name: far + step * (at - (len(names) - 1) / 2)
        for far, names in members.items()
        for at, name in enumerate(names)
    }


def draw_gaps(shown: Shown) -> "Figure":
    """A panel a number of shots: a column a language, named above it, and a marker a method."""
    styles, rows = styles_of(shown.panels), len(shown.panels)
    figure = canvas(shown, "distance", 7.6, 1.7 + rows * max(2.3, 0.7 + 0.2 * len(styles)))
    grid = figure.subplots(rows, 1, squeeze=False, sharex=True)
    for panel, axes in zip(shown.panels, grid.flat, strict=True):
        _draw_panel(axes, gaps(panel.by_language, shown.source), shown.distances, styles)
        axes.set_title(in_words(panel.shots, " per class"), fontsize=9)
    source = plain(shown.source, 20)
    label = f"distance: of the groups that Glottolog puts {source} in, the share that a language is not in"
    figure.supxlabel("\n".join([label, *shown.left_out]), fontsize=9)
    figure.supylabel(f"transfer gap: {shown.metric} in {source} less that in the language, points", fontsize=9)
    return figure


def _draw_panel(
    axes: "Axes",
    values: Mapping[str, Mapping[str, float]],
    distances: Mapping[str, float],
    styles: Mapping[str, tuple[str, str]],
) -> None:
    places = spread(distances)
    step = min(np.diff(sorted(places.values())), default=WIDEST)
    levels = sorted(set(distances.values()))
    for far in levels:
        beside = [places[name] for name in places if distances[name] == far]
        axes.axvspan(min(beside) - step / 2, max(beside) + step / 2, color=BAND, linewidth=0, zorder=0)
    for method, (colour, marker) in styles.items():
        y = {name: gap for name, gap in values.get(method, {}).items() if name in distances}
        rho = rank_correlation([distances[name] for name in y], [*y.values()])
        label = f"{plain(method, 30)}, {'–' if rho is None else f'{round(rho, 2) + 0:.2f}'}"
        x = [places[name] for name in y]
        axes.plot(x, [*y.values()], marker, ms=5, mfc="none", mec=colour, mew=1.3, label=label)
    for name, place in places.items():
        highest = max((gaps[name] for gaps in values.values() if name in gaps), default=None)
        if highest is not None:
            axes.annotate(
                plain(name, 12), (place, highest), (0, 5), textcoords="offset points", ha="center", fontsize=8
            ).set_in_layout(False)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.grid(False, axis="x")
    axes.margins(y=0.18)
    axes.set_xticks(levels, [f"{far:.2f}" for far in levels])
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, title="Spearman's ρ", title_fontsize=8)
