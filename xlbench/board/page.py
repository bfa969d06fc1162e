"""The board as one web page: no network, no script but its own, sortable and filterable, the same bytes again.

Every text of a record is escaped; beside that, the page's policy lets no script run but the one whose hash it names.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

from xlbench.analysis.matching import Group
from xlbench.board.blocks import Block, Command, Grid
from xlbench.board.content import ORACLE_WORDS, blocks, leaks, origin, shared
from xlbench.board.figures.data import KINDS, figure_name
from xlbench.board.selection_policies import SideBySide, side_by_side
from xlbench.host.plain_text import plain
from xlbench.host.whole_files import replace_file
from xlbench.spec import in_words
from xlbench.version import __version__

LONGEST = 2000  # letters of a sentence; of a cell, a quarter

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #595959; --line: #ccc; --stripe: #f4f4f4;
  --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --soft: #a8a8a8; --line: #454a50;
  --stripe: #1f2226; --link: #7db7f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.filter { position: sticky; top: 0; z-index: 1; padding: .5rem 0; background: var(--paper); }
.filter input { font: inherit; color: inherit; background: var(--stripe); border: 1px solid var(--soft);
  border-radius: .3rem; padding: .4rem .6rem; width: min(24rem, 100%); }
.scroll { overflow-x: auto; margin: 1rem 0; border: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .5rem .6rem; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; font-weight: 600; }
th:first-child { max-width: 24rem; white-space: normal; min-width: 9rem; }
td { overflow-wrap: normal; }
tbody tr:nth-child(even) { background: var(--stripe); }
th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: .2rem 0;
  min-height: 1.5rem; cursor: pointer; text-align: inherit; }
th button::after { content: " \\2195"; color: var(--soft); }
th[aria-sort=ascending] button::after { content: " \\2191"; color: inherit; }
th[aria-sort=descending] button::after { content: " \\2193"; color: inherit; }
figure { margin: 1.5rem 0; overflow-x: auto; }
pre { overflow-x: auto; padding: .6rem; background: var(--stripe); overflow-wrap: normal; }
figure img { max-width: 100%; min-width: 34rem; height: auto; background: #fff; }
figcaption, footer, .soft { color: var(--soft); }
.oracle { border-left: .3rem solid var(--soft); padding-left: .8rem; }
"""

SCRIPT = """
"use strict";
const number = text => parseFloat(text.replace(/^< /, "").replaceAll(",", ""));
const text = (row, column) => row.cells[column].textContent.trim();

function compare(one, other, column, sign) {
  const left = text(one, column), right = text(other, column);
  const [a, b] = column ? [number(left), number(right)] : [NaN, NaN];
  if (isNaN(a) !== isNaN(b)) return isNaN(a) ? 1 : -1;  // what has no number stays below
  if (a !== b && !isNaN(a)) return sign * (a - b);
  return sign * (left < right ? -1 : left > right ? 1 : 0);
}

function sort(button) {
  const head = button.closest("th"), table = head.closest("table");
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => compare(one, other, head.cellIndex, down ? -1 : 1));
  table.tBodies[0].append(...rows);
}

function filter(input) {
  const words = input.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const rows = [...document.querySelectorAll("tbody tr")];
  for (const row of rows) {
    const found = row.textContent.toLowerCase();
    row.hidden = !words.every(word => found.includes(word));
  }
  const left = rows.filter(row => !row.hidden).length;
  document.getElementById("left").textContent = words.length ? `${left} of ${rows.length} rows` : "";
}

const input = document.getElementById("filter");
input.addEventListener("input", () => filter(input));
input.closest(".filter").hidden = false;
for (const button of document.querySelectorAll("th button")) {
  button.disabled = false;
  button.addEventListener("click", () => sort(button));
}
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Leaderboard – xlbench</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<header>
<h1>Leaderboard</h1>
$about
$contents
</header>
<div class="filter" role="search" hidden>
<label for="filter">Show rows with</label> <input id="filter" type="search" autocomplete="off" spellcheck="false">
<output id="left" for="filter"></output>
</div>
<main>
$groups
</main>
<footer><p>Written by xlbench $version from records alone; <code>xlbench leaderboard --runs RUNS --out FOLDER</code>
writes it again, and the same records give the same bytes.</p></footer>
<script>$script</script>
</body>
</html>
""")


def write_page(groups: Sequence[Group], out: Path, about: str, left_out: Sequence[str] = ()) -> Path:
    """Write `out/index.html`: the board's sentences and tables, and the figures that lie in `out/figures`.

    `about` is what stands above the tables, in simple markdown; `left_out` says which records are not in them, in
    sentences without their full stops. Returns the file. Raises XlbenchError where it cannot be written.
    """
    policy = (
        f"default-src 'none'; script-src '{_hash(SCRIPT)}'; style-src '{_hash(STYLE)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    names = [f'<li><a href="#group-{at}">{_text(one.title)}</a></li>' for at, one in enumerate(groups, 1)]
    families = side_by_side(groups)
    names += [
        f'<li><a href="#policies-{at}">Selection policies: {_text(one.title)}</a></li>'
        for at, one in enumerate(families, 1)
    ]
    missing = "".join(f"<li>Left out: {_text(sentence)}.</li>" for sentence in left_out)
    sections = [_group(one, at, out) for at, one in enumerate(groups, 1)]
    sections += [_policies(one, at) for at, one in enumerate(families, 1)]
    contents = f'<nav aria-label="Boards"><ul>{"".join(names)}</ul></nav>' if len(names) > 1 else ""
    text = PAGE.substitute(
        policy=policy,
        style=STYLE,
        about="\n".join(_markdown(about)) + (f"\n<ul>{missing}</ul>" if missing else ""),
        contents=contents,
        groups="\n".join(sections),
        version=_text(__version__),
        script=SCRIPT,
    )
    return replace_file(out / "index.html", text.encode())


def _hash(text: str) -> str:
    """An inline script or style as the policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(text: str, longest: int = LONGEST) -> str:
    """A text of a record as it may stand in the page: one line, nothing hidden in it, no markup."""
    return escape(plain(text, longest), quote=True)


def _group(one: Group, at: int, out: Path) -> str:
    """A group as a section: what its records share, its figures, its tables, and of what it was made."""
    parts = [f'<section id="group-{at}" aria-labelledby="group-{at}-name">']
    parts.append(f'<h2 id="group-{at}-name"><bdi>{_text(one.title)}</bdi></h2>')
    parts.append(f'<p class="soft">{_text(shared(one))}.</p>')
    parts += [f"<p>{_text(leak)}.</p>" for leak in leaks(one)]
    if one.oracle:
        parts.append(f'<p class="oracle"><strong>Oracle</strong>: {_text(ORACLE_WORDS)}</p>')
    parts += _figures(one, out)
    for table in one.tables:
        parts.append(f"<h3>{in_words(table.shots, ' per class')}</h3>")
        parts += [_block(block, in_words(table.shots)) for block in blocks(table)]
    return "\n".join([*parts, *(_block(block, one.title) for block in origin(one)), "</section>"])


def _policies(one: SideBySide, at: int) -> str:
    """The section that sets the selection policies side by side."""
    name = f'<h2 id="policies-{at}-name">Selection policies: <bdi>{_text(one.title)}</bdi></h2>'
    parts = [name, _block(one.words, one.title), _block(one.grid, one.title)]
    return "\n".join([f'<section id="policies-{at}" aria-labelledby="policies-{at}-name">', *parts, "</section>"])


def _figures(one: Group, out: Path) -> Iterator[str]:
    for kind, caption in KINDS.items():
        file = out / "figures" / figure_name(one, kind)
        if file.is_file():
            source = base64.b64encode(file.read_bytes()).decode()
            alt = _text(f"{caption}, {one.title}; the numbers are in the tables below")
            yield (
                f'<figure tabindex="0"><img alt="{alt}" src="data:image/svg+xml;base64,{source}">\n'
                f"<figcaption>{caption}. {NOTES[kind]}</figcaption></figure>"
            )


NOTES = {
    "shots": "The bands are the intervals of the tables below; where there is none, there is no band.",
    "languages": "Mean over the draws and seeds that all methods of a table have. Families and branches are those of "
    "Glottolog.",
    "distance": "The distance is genealogical: of the groups that Glottolog puts the source language in, from its "
    "family down, the share that a language is not in. Languages on one grey band are equally far. Spearman's rank "
    "correlation of gap and distance describes these languages; relatives are not independent, so it is no test.",
    "cost": "A hollow method is off the front: another has no lower mean in no more time. The front goes by means; "
    "whether a difference is more than chance, the tables say.",
}


def _block(block: Block, where: str) -> str:
    if isinstance(block, Command):
        return f'<pre tabindex="0"><code>{escape(plain(block.text, 100_000), quote=True)}</code></pre>'
    if not isinstance(block, Grid):
        return "<p>" + " ".join(f"{_text(sentence)}." for sentence in block) + "</p>"
    grey = ["" if at != block.apart else ' class="soft"' for at in range(len(block.head))]
    head = "".join(
        f'<th scope="col"{soft}><button type="button" disabled>{_cell(name)}</button></th>'
        for name, soft in zip(block.head, grey, strict=True)
    )
    rows = "\n".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>'
        + "".join(f"<td{soft}>{_cell(cell)}</td>" for cell, soft in zip(row[1:], grey[1:], strict=True))
        + "</tr>"
        for row in block.rows
    )
    label = _text(f"{block.title}, {where}", LONGEST // 4)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">\n<table><caption>{block.title}</caption>'
        f"\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """A cell's text; `bdi` keeps a name that runs from right to left from turning what stands beside it."""
    return f"<bdi>{_text(text, LONGEST // 4)}</bdi>"


def _markdown(text: str) -> Iterator[str]:
    """Simple markdown as HTML: headings below the page's own, code, lists, tables, paragraphs; no markup passes."""
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        lines = part.rstrip().splitlines()
        if lines and all(line.startswith("    ") for line in lines):
            code = "\n".join(escape(plain(line[4:], LONGEST)) for line in lines)
            yield f'<pre tabindex="0"><code>{code}</code></pre>'
            continue
        lines = [line.strip() for line in lines if line.strip()]
        if not lines:
            continue
        if heading := re.match(r"(#+)\s+(.*)", lines[0]):
            level = min(6, 1 + len(heading[1]))
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
            lines = lines[1:]
        if lines and all(line.startswith("|") for line in lines):
            yield _table(lines)
        elif lines and re.match(r"[-*] ", lines[0]):
            items = re.split(r"^[-*] ", "\n".join(lines), flags=re.M)[1:]
            yield "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        elif lines:
            yield f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines: Sequence[str]) -> str:
    rows = [[_inline(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in lines]
    kept = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in kept[0]) if kept else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in kept[1:])
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="About">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    """Code, bold words, and links to the web or to a file beside the page."""
    shown = escape(plain(" ".join(text.split()), 100_000), quote=True)
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", shown)
    shown = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", shown)
    return re.sub(r"\[([^\]]+)\]\(((?:https?://|(?![^)]*:))[^)\s]+)\)", r'<a href="\2">\1</a>', shown)
