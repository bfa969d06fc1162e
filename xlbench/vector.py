"""SVG as matplotlib writes it, with the size of each text measured once and not in every figure.

Imported only where a figure is drawn, as matplotlib is.
"""

import io
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.figure import Figure

DPI = 72  # of SVG: a point is a unit
MANY = 100_000  # texts that are remembered

_sizes: dict[tuple[str, int, Any], Any] = {}


class Renderer(RendererSVG):
    """matplotlib's own, which asks the font for a text's size again in each figure."""

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        text = s, hash(prop), ismath  # a font's properties can be changed: not what they are, but what they say
        if text not in _sizes:
            if len(_sizes) >= MANY:
                _sizes.clear()
            _sizes[text] = super().get_text_width_height_descent(s, prop, ismath)
        return _sizes[text]


class Canvas(FigureCanvasSVG):
    """What a figure is laid out and drawn by."""

    def __init__(self, figure: Figure, stream: io.StringIO, metadata: dict[str, Any]) -> None:
        super().__init__(figure)
        figure.set_dpi(DPI)
        width, height = figure.get_size_inches()
        self.renderer = Renderer(width * DPI, height * DPI, stream, image_dpi=DPI, metadata=metadata)

    def get_renderer(self) -> Renderer:
        """Whom matplotlib asks for the sizes of texts while it lays the figure out."""
        return self.renderer


def written(figure: Figure, metadata: dict[str, Any]) -> bytes:
    """A figure as SVG. Its artists know each other: it is cleared and its canvas emptied, for who draws many may
    never search for cycles."""
    stream = io.StringIO()
    canvas = Canvas(figure, stream, metadata)
    try:
        figure.draw(canvas.renderer)
        canvas.renderer.finalize()
    finally:
        figure.clear()
        del canvas.renderer
    return stream.getvalue().encode()
