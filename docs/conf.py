"""The site of these pages: `make docs` builds it offline, and a warning is an error."""

import re
from pathlib import Path

from sphinx.application import Sphinx

from xlbench.version import __version__

project = "xlbench"
author = "The xlbench developers"
release = version = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"xlbench {__version__}"
html_show_sourcelink = False
html_copy_source = False
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # blocks of csv, which has no colours
HERE = Path(__file__).parent


def _within(app: Sphinx, page: str, source: list[str]) -> None:
    """Links to files of the repository that are no pages here become their text and the file's name."""

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        file = (HERE / page).parent.joinpath(target.partition("#")[0]).resolve()
        return found[0] if file.is_relative_to(HERE) else f"{words} (`{file.relative_to(HERE.parent)}`)"

    source[0] = re.sub(r"\[([^\[\]]+)\]\((\.\./[^()\s]+)(?: \"[^\"]*\")?\)", link, source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _within)
