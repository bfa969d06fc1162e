"""The board's pictures: the metric against shots, a heat map of languages, transfer gap against language distance,
the metric against training time.

matplotlib draws them (the extra `plots`); it is imported only where a figure is drawn. The colours are those of
Okabe & Ito (2008), which people who are colour-blind can tell apart, and each method has a marker of its own, so
that a print in grey says the same. The same records give the same bytes, and text stays text.
"""

import io
import math
import re
import textwrap
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import cycle, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xlbench.analysis.languages import by_family, language
from xlbench.analysis.matching import Group
from xlbench.analysis.transfer_gap import gaps, rank_correlation
from xlbench.board.blocks import Family, HeatMap, percent
from xlbench.board.figures.data import KINDS, Panel, Point, Shown, figure_name, heat_map_name, kinds, shown, titled
from xlbench.board.source_languages import matrices
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.host.whole_files import replace_file
from xlbench.spec import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
WIDEST = 0.04  # how far apart, at most, languages at one distance are drawn
BAND = "#f0f0f0"
DARK = 0.48  # below this share of the scale white letters are read more easily than black ones


class NoFigures(XlbenchError):  # noqa: N818 - as NotSupported: what was found, not what went wrong
    """matplotlib is not there."""


def write_figures(groups: Sequence[Group], out: Path) -> list[Path]:
    """Write `out/figures/*.svg` in place of those that an earlier board left there; the same records, same bytes.

    Returns the files in the order of the groups. Raises NoFigures where matplotlib is missing, and XlbenchError
    where nothing can be written.
    """
    try:
        import matplotlib.backends.backend_svg  # noqa: F401
    except ImportError as fault:
        raise NoFigures(
            "no figures were drawn, for matplotlib is not installed; install xlbench with its extra: xlbench[plots]"
        ) from fault
    drawing = {"shots": _draw_shots, "languages": _draw_languages, "distance": _draw_gaps, "cost": _draw_costs}
    files = []
    for group in groups:
        content = shown(group)
        for kind in kinds(content):
            picture = _svg(partial(drawing[kind], content))
            files.append(replace_file(out / "figures" / figure_name(group, kind), picture))
    for family in matrices(groups):
        picture = _svg(partial(_draw_sources, family))
        files.append(replace_file(out / "figures" / heat_map_name(family), picture))
    remove_figures(out, but=files)
    return files


def remove_figures(out: Path, but: Collection[Path] = ()) -> None:
    """Remove the figures that an earlier board left in `out`, but for some."""
    ours = re.compile(rf"-[0-9a-f]{{8}}-({'|'.join(KINDS)})\.svg$")
    for file in set((out / "figures").glob("*.svg")) - set(but):
        if ours.search(file.name):
            file.unlink(missing_ok=True)


def on_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats: none is as accurate and faster, or as fast and more accurate."""
    timed = [(point.mean, -point.seconds, point) for point in points if point.seconds is not None]
    return [
        point for mean, speed, point in timed if (mean, speed) >= max(other[:2] for other in timed if other[1] >= speed)
    ]


def _svg(draw: Callable[[], "Figure"]) -> bytes:
    """A figure as bytes, whatever the reader's own settings of matplotlib are."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that matplotlib's own font lacks is drawn by the reader's
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        stream = io.BytesIO()
        draw().savefig(stream, format="svg", metadata={"Date": None, "Creator": "xlbench"})
        return stream.getvalue()


def _canvas(content: Shown, kind: str, width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    oracle = " (oracle: a ceiling, not a result)" if content.oracle else ""
    drawn.suptitle(f"{titled(kind, content.metric)}{oracle}\n{plain(content.title, 80)}", fontsize=11)
    return drawn


def _styles_of(panels: Sequence[Panel]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each method, the same in every figure of a group."""
    names = sorted({point.method for panel in panels for point in panel.points})
    return dict(zip(names, zip(cycle(COLOURS), cycle(MARKERS), strict=True), strict=False))


def _draw_shots(content: Shown) -> "Figure":
    """Lines with bands over the shots; with one number of shots, dots with bars beside each other."""
    panels, styles = content.panels, _styles_of(content.panels)
    figure = _canvas(content, "shots", 7.2, 4.2 + 0.22 * math.ceil(len(styles) / 2))
    axes = figure.subplots()
    shots = [panel.shots for panel in panels]
    along = {number: math.log2(number) for number in shots if number}
    along |= {number: max(along.values(), default=0.0) + 1 for number in shots if not number}  # all rows
    for place, (name, (colour, marker)) in enumerate(styles.items(), 1):
        aside = place / (len(styles) + 1) - 0.5 if len(panels) == 1 else 0.0
        points = [(along[panel.shots] + aside, p) for panel in panels for p in panel.points if p.method == name]
        means = [point.mean for _, point in points]
        axes.plot([x for x, _ in points], means, color=colour, marker=marker, label=plain(name))
        bands = [(x, point.low, point.high) for x, point in points if point.low is not None]
        if bands:
            x, low, high = (list(column) for column in zip(*bands, strict=True))
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.vlines(x, low, high, color=colour, linewidth=1, alpha=0.7)
    chance = [(along[panel.shots], panel.chance) for panel in panels if panel.chance is not None]
    if len(chance) == 1:
        axes.axhline(chance[0][1], color=GREY, linestyle=":", label="chance")
    elif chance:
        axes.plot(*zip(*chance, strict=True), color=GREY, linestyle=":", label="chance")
    axes.set_xticks(list(along.values()), [str(number) if number else "all" for number in along])
    if len(shots) == 1:
        axes.set_xlim(along[shots[0]] - 0.5, along[shots[0]] + 0.5)
    axes.set_xlabel(f"shots{content.per_class}" + (" (log scale)" if len(shots) > 1 else ""))
    axes.set_ylabel(f"mean {content.metric} over languages, %")
    scopes = sorted({panel.scope for panel in panels if panel.scope})
    if scopes:
        axes.set_title(f"bands: 95 % intervals ({'; '.join(scopes)})", fontsize=9, color=GREY)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _draw_languages(content: Shown) -> "Figure":
    """A cell a language and method, row by row of every table."""
    columns = content.languages
    rows, labels = [], []
    for panel in content.panels:
        for method, means in sorted(panel.by_language.items()):
            rows.append([100 * means.get(name, math.nan) for name in columns])
            labels.append(f"{plain(method, 40)}, {in_words(panel.shots)}")
    figure = _canvas(content, "languages", 3.6 + 0.45 * len(columns), 1.9 + 0.3 * len(rows))
    _draw_cells(figure, np.array(rows), labels, columns, content.metric)
    figure.axes[0].set_xlabel(_families(columns), fontsize=9)
    return figure


def _draw_sources(family: Family) -> "Figure":
    """A cell a language of the test and a row's languages of the shots."""
    from matplotlib.figure import Figure

    heat_map = family.heat_map or HeatMap("", (), (), ())
    rows, columns = heat_map.rows, heat_map.columns
    values = np.array([[math.nan if cell is None else cell for cell in row] for row in heat_map.cells])
    figure = Figure(figsize=(3.6 + 0.45 * len(columns), 1.9 + 0.3 * len(rows)), layout="constrained", facecolor="white")
    figure.suptitle(f"{titled('sources', heat_map.metric)}\n{plain(family.title, 80)}", fontsize=11)
    _draw_cells(figure, values, [plain(name, 60) for name in rows], columns, heat_map.metric)
    return figure


def _draw_cells(
    figure: "Figure", values: np.ndarray, labels: Sequence[str], columns: Sequence[str], metric: str
) -> None:
    """A heat map of cells in percent, NaN for none; the darker, the less."""
    import matplotlib as mpl

    axes = figure.subplots()
    axes.grid(False)
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if not np.isnan(values).all() else (0.0, 100.0)
    map_ = mpl.colormaps["cividis"]
    scale = mpl.colors.Normalize(low, high if high > low else low + 1)
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=map_, norm=scale, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    for (y, x), value in np.ndenumerate(values):
        words = percent(None if math.isnan(value) else value / 100)
        colour = "white" if scale(value) < DARK else "black"  # what is not known is no dark cell
        axes.text(x + 0.5, y + 0.5, words, color=colour, ha="center", va="center", fontsize=8)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [plain(name, 20) for name in columns])
    axes.set_yticks(np.arange(len(labels)) + 0.5, labels)
    axes.tick_params(length=0)
    axes.set_title(f"{metric}, %; the lighter, the higher", fontsize=9, color=GREY)
    axes.spines[:].set_visible(False)


def _families(columns: Sequence[str]) -> str:
    """What stands below the map: its languages by family and branch, as Glottolog has them."""
    placed = [(found.family, found.branch, code) for code in columns if (found := language(code)) is not None]
    families = []
    for family, members in groupby(placed, key=itemgetter(0)):
        branches = groupby(members, key=itemgetter(1))
        named = ", ".join(" ".join([branch, *(code for *_, code in codes)]) for branch, codes in branches)
        families.append(f"{family} ({named})")
    unknown = [plain(code, 20) for code in columns if language(code) is None]
    families += [f"unknown: {' '.join(unknown)}"] if unknown else []
    words = f"families and branches as in Glottolog: {'; '.join(families)}"
    return textwrap.fill(words, max(40, 9 * len(columns)), break_on_hyphens=False)


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


def _draw_gaps(content: Shown) -> "Figure":
    """A panel a number of shots: a column a language, named above it, and a marker a method."""
    styles, rows = _styles_of(content.panels), len(content.panels)
    figure = _canvas(content, "distance", 7.6, 1.7 + rows * max(2.3, 0.7 + 0.2 * len(styles)))
    grid = figure.subplots(rows, 1, squeeze=False, sharex=True)
    for panel, axes in zip(content.panels, grid.flat, strict=True):
        _draw_gaps_of(axes, gaps(panel.by_language, content.source), content.distances, styles)
        axes.set_title(in_words(panel.shots, content.per_class), fontsize=9)
    source = plain(content.source, 20)
    label = f"distance: of the groups that Glottolog puts {source} in, the share that a language is not in"
    figure.supxlabel("\n".join([label, *content.left_out]), fontsize=9)
    figure.supylabel(f"transfer gap: {content.metric} in {source} less that in the language, points", fontsize=9)
    return figure


def _draw_gaps_of(
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


def _draw_costs(content: Shown) -> "Figure":
    """A panel a number of shots: methods on the front filled and joined, those off it hollow."""
    from matplotlib.lines import Line2D

    panels, styles = content.panels, _styles_of(content.panels)
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = _canvas(content, "cost", max(5.0, 3.1 * columns), 1.4 + 2.6 * rows + 0.22 * math.ceil(len(styles) / 2))
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for panel, axes in zip(panels, grid, strict=False):
        front = on_front(panel.points)
        line = sorted((point.seconds or 0.0, point.mean) for point in front)
        axes.plot(*zip(*line, strict=True), color=GREY, drawstyle="steps-post", zorder=1)
        for point in panel.points:
            if point.seconds is not None:
                colour, marker = styles[point.method]
                inside = colour if point in front else "white"
                axes.plot(point.seconds, point.mean, marker, ms=8, mfc=inside, mec=colour, mew=1.6)
        axes.set_title(in_words(panel.shots, content.per_class), fontsize=9)
        axes.set_xlim(0, 1.15 * max(point.seconds or 0.0 for point in panel.points) or 1.0)
        axes.margins(y=0.15)
        axes.set_xlabel("training time of a run, s", fontsize=9)
    figure.supylabel(f"mean {content.metric} over languages, %", fontsize=10)
    marks = [
        *(Line2D([], [], color=c, marker=m, linestyle="none", label=plain(name)) for name, (c, m) in styles.items()),
        Line2D([], [], color=GREY, marker="o", mfc=GREY, label="filled: on the front"),
        Line2D([], [], color=GREY, marker="o", mfc="white", linestyle="none", label="hollow: off the front"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, fontsize=9)
    return figure
