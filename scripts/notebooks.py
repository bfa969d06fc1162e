"""The tutorials as notebooks: docs/tutorials/NAME.ipynb from NAME.md, so that neither is written twice.

    python scripts/notebooks.py

A block that the tutorial runs (`bash run`, `python run`) is a cell; a file that it writes is one too; what it shows is
left out, for the cells print it. The format is nbformat 4.4, written without a notebook's own tools.
"""

import json
import re
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$\n?", flags=re.DOTALL | re.MULTILINE)


def _cell(kind: str, text: str) -> dict[str, Any]:
    """A cell of text; code has no output yet."""
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text.strip("\n").splitlines(keepends=True)}
    return cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []}


def _of_block(language: str, words: list[str], text: str, folders: set[Path]) -> list[dict[str, Any]]:
    """The cells of one fenced block: none for what was printed, Markdown for what is only read. `folders` are there."""
    if words == ["shown"]:
        return []
    if words[:1] == ["run"]:
        joined = re.sub(r" \\\n +", " ", text)
        return [_cell("code", re.sub(r"^xlbench ", "!xlbench ", joined, flags=re.MULTILINE))]
    if words:
        folder = Path(words[0]).parent
        made = [] if folder in folders else [_cell("code", f"!mkdir -p {folder}")]
        folders.add(folder)
        return [*made, _cell("code", f"%%writefile {words[0]}\n{text}")]
    return [_cell("markdown", f"```{language}\n{text}```")]


def notebook(page: Path) -> str:
    """A tutorial as the text of a notebook."""
    text, at = page.read_text(encoding="utf-8"), 0
    cells, folders = [], {Path()}
    for block in BLOCK.finditer(text):
        if text[at : block.start()].strip():
            cells.append(_cell("markdown", text[at : block.start()]))
        cells += _of_block(block[1], block[2].split(), block[3], folders)
        at = block.end()
    cells += [_cell("markdown", text[at:])] if text[at:].strip() else []
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    """Write each tutorial's notebook beside it."""
    for page in sorted(TUTORIALS.glob("*.md")):
        page.with_suffix(".ipynb").write_text(notebook(page), encoding="utf-8")


if __name__ == "__main__":
    main()
