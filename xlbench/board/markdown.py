"""The board as Markdown: for repositories, and for reading."""

from collections.abc import Sequence
from pathlib import Path

from xlbench.analysis.matching import Group
from xlbench.board.blocks import Block, Command, Grid
from xlbench.board.content import ORACLE_WORDS, blocks, declared, first_words, leaks, origin, shared
from xlbench.board.families import families
from xlbench.errors import XlbenchError, one_line
from xlbench.host.plain_text import plain
from xlbench.host.whole_files import replace_file
from xlbench.spec import in_words

TITLE = "# Leaderboard\n"


def write(groups: Sequence[Group], out: Path, left_out: Sequence[str] = ()) -> Path:
    """Write `out/README.md` from groups of records; the same records give the same bytes.

    A file `out/ABOUT.md`, where there is one, stands above the tables, and below it which records were `left_out`,
    in sentences without their full stops. Raises XlbenchError.
    """
    words, missing = about(out), "".join(f"- Left out: {escape(sentence, 2000)}.\n" for sentence in left_out)
    first = "".join(f"**{escape(sentence, 2000)}.**\n\n" for group in groups for sentence in first_words(group))
    parts = [TITLE, first, words and f"{words}\n", missing, markdown(groups)]
    return replace_file(out / "README.md", "\n".join(filter(None, parts)).encode())


def about(out: Path) -> str:
    """What `out/ABOUT.md` says, where there is one. Raises XlbenchError for one that cannot be read."""
    file = out / "ABOUT.md"
    try:
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    except (OSError, ValueError) as fault:
        raise XlbenchError(f"cannot read {file}: {one_line(fault)}; save it as text in UTF-8") from fault


def markdown(groups: Sequence[Group]) -> str:
    """The board's tables, group by group."""
    parts = []
    for group in groups:
        parts += [f"## {escape(group.title, 500)}\n", f"{escape(shared(group), 2000)}.\n"]
        parts += [block_text((leak,)) + "\n" for leak in leaks(group)]
        parts += [block_text(block) + "\n" for block in declared(group)]
        parts += [f"**Oracle**: {ORACLE_WORDS}\n"] if group.oracle else []
        for table in group.tables:
            parts.append(f"### {in_words(table.shots, table.per_class)}\n")
            parts += [block_text(block) + "\n" for block in blocks(table)]
        parts += [block_text(block) + "\n" for block in origin(group)]
    for family in families(groups):
        parts.append(f"## {family.kind}: {escape(family.title, 500)}\n")
        parts += [block_text(block) + "\n" for block in family.blocks]
    return "\n".join(parts).rstrip() + "\n"


def block_text(block: Block) -> str:
    """A block as Markdown."""
    if isinstance(block, Grid):
        rows = [[escape(name) for name in block.head], ["--:"] * len(block.head)]
        rows += [[escape(cell, 500) for cell in row] for row in block.rows]
        rows[1][0] = ":--"  # the first column left, the others right
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)
    if isinstance(block, Command):
        return "    " + plain(block.text, None)  # code, in which nothing is markup
    return " ".join(f"{escape(sentence, 2000)}." for sentence in block)


def escape(text: object, longest: int = 200) -> str:
    """A text from a plug-in or record as it may stand in markdown: no markup, no HTML, one line, not endless."""
    return plain(text, longest).translate(MARKUP)


MARKUP = {ord(char): f"&#{ord(char)};" for char in "<>|"} | {ord(char): "\\" + char for char in "\\`*_{}[]#"}
