"""What the board's pictures share: their numbers, their colours and markers, their file names, and SVG.

matplotlib draws them (the extra `plots`); it is imported only where a figure is drawn. The colours are those of
Okabe & Ito (2008), which people who are colour-blind can tell apart, and each method has a marker of its own, so
that a print in grey says the same. The same records give the same bytes, and text stays text.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from xlbench.board.figures.data import Panel, Shown, titled
from xlbench.host.plain_text import plain

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
    drawn.suptitle(f"{titled(kind, shown.metric)}{oracle}\n{plain(shown.title, 80)}", fontsize=11)
    return drawn


def styles_of(panels: Sequence[Panel]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each method, the same in every figure of a group."""
    names = sorted({point.method for panel in panels for point in panel.points})
    return dict(zip(names, zip(cycle(COLOURS), cycle(MARKERS), strict=True), strict=False))
