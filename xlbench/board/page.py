"""The board as one web page: no network, no script but its own, sortable and filterable, the same bytes again.

`assets/page.html` says what stands where; jinja2 escapes every text of a record, once `plain` has cleaned it.
Beside that, the page's policy lets no script run but the one whose hash it names.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from xlbench.analysis.matching import Group
from xlbench.board.blocks import Command, Family, Grid
from xlbench.board.content import ORACLE_WORDS, blocks, declared, first_words, leaks, origin, shared
from xlbench.board.families import families
from xlbench.board.figures.data import KINDS, figure_name, heat_map_name, titled
from xlbench.host.plain_text import lines, plain
from xlbench.host.whole_files import replace_file
from xlbench.spec import in_words
from xlbench.version import __version__

LONGEST = 2000  # letters of a text in the page
NOTES = {
    "shots": "The bands are the intervals of the tables below; where there is none, there is no band.",
    "languages": "Mean over the draws and seeds that all methods of a table have. Families and branches are those of "
    "Glottolog.",
    "distance": "The distance is genealogical: of the groups that Glottolog puts the source language in, from its "
    "family down, the share that a language is not in. Languages on one grey band are equally far. Spearman's rank "
    "correlation of gap and distance describes these languages; relatives are not independent, so it is no test.",
    "sources": "Rows are of the same test rows; what the last column is, the words above the table say.",
    "cost": "A hollow method is off the front: another has no lower mean in no more time. The front goes by means; "
    "whether a difference is more than chance, the tables say.",
}


def write_page(groups: Sequence[Group], out: Path, about: str, left_out: Sequence[str] = ()) -> Path:
    """Write `out/index.html`: the board's sentences and tables, and the figures that lie in `out/figures`.

    `about` is what stands above the tables, in Markdown; `left_out` says which records are not in them, in sentences
    without their full stops. Returns the file. Raises XlbenchError where it cannot be written.
    """
    page = files("xlbench.board") / "assets"
    style, script, template = ((page / f"page.{end}").read_text("utf-8") for end in ("css", "js", "html"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else plain(value, LONGEST),
    )  # fmt: skip
    environment.tests |= {
        "grid": lambda block: isinstance(block, Grid),
        "command": lambda block: isinstance(block, Command),
    }
    environment.filters["uncut"] = lambda text: escape(plain(text, None))
    text = environment.from_string(template).render(
        groups=groups, families=families(groups), out=out, about=_about(about), left_out=left_out,
        policy=Markup(policy), style=Markup(style), script=Markup(script), oracle_words=ORACLE_WORDS,
        version=__version__, shared=shared, leaks=leaks, declared=declared, first_words=first_words, figures=_figures,
        picture=_picture, blocks=blocks, origin=origin, in_words=in_words,
    )  # fmt: skip
    return replace_file(out / "index.html", text.encode())


def _hash(text: str) -> str:
    """An inline script or style as the policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _figures(group: Group, out: Path) -> Iterator[dict[str, str]]:
    """A group's figures among those in `out/figures`, each with its caption, its note and its bytes as a URL."""
    for kind in KINDS:
        yield from _shown(out / "figures" / figure_name(group, kind), kind, group.metric)


def _picture(family: Family, out: Path) -> Iterator[dict[str, str]]:
    """A family's heat map, where it is among the figures."""
    if family.heat_map is not None:
        yield from _shown(out / "figures" / heat_map_name(family), "sources", family.heat_map.metric)


def _shown(file: Path, kind: str, metric: str) -> Iterator[dict[str, str]]:
    if file.is_file():
        source = f"data:image/svg+xml;base64,{base64.b64encode(file.read_bytes()).decode()}"
        yield {"caption": titled(kind, metric), "note": NOTES[kind], "source": source}


def _about(text: str) -> Markup:
    """Markdown as HTML: headings below the page's own; no HTML of the text's, no images, no style, and links only to
    the web or to a file beside the page."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    markdown.validateLink = lambda url: re.match(r"https?://|[^:]*$", url) is not None  # type: ignore[method-assign]
    tokens = markdown.parse(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, 1 + int(token.tag[1]))}"
        elif token.type in {"th_open", "td_open"}:
            token.attrs = {"scope": "col"} if token.type == "th_open" else {}  # and no style, which the policy forbids
        elif token.type in {"table_open", "code_block", "fence"}:
            token.attrSet("tabindex", "0")  # so that it can be scrolled by keyboard
    return Markup(lines(markdown.renderer.render(tokens, markdown.options, {})))
