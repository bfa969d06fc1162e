"""The board as a web page: the markdown's numbers, nothing run that a record says, and what a reader can do."""

import base64
import hashlib
import html
import json
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from hand_made import group, record, sound
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from xlbench import Store
from xlbench.analysis.evidence import findings
from xlbench.board.markdown import markdown
from xlbench.board.page import write_page
from xlbench.board.publish import publish
from xlbench.cli import app
from xlbench.records.record import Record

NASTY = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">'\u202eabc"


class Page(HTMLParser):
    """A page's tags with the names of their attributes, all attributes, its tables' cells, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: list[list[list[str]]] = []
        self.words = ""
        self.raw = {"script": "", "style": ""}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attributes)))
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        self.inside = tag
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag in {"script", "style", "caption"} else self.inside

    def handle_data(self, text: str) -> None:
        if self.inside in self.raw:
            self.raw[self.inside] += text
            return
        self.words += text
        if self.tables and self.tables[-1] and self.tables[-1][-1] and text.strip() and self.inside == "bdi":
            self.tables[-1][-1][-1] += text


def four() -> list[Record]:
    return [
        record(method, {"en": accuracy, "fr": accuracy}, {"draw": draw, "shots": shots}, phenomena={"a": {"en": 0.5}})
        for method, accuracy in (("finetune", 0.8), ("mpt", 0.5))
        for draw in (0, 1)
        for shots in (4, 16)
    ]


def keep(runs: Path, records: list[Record]) -> Store:
    store = Store(runs)
    for one in records:
        store.write(one, sound(one))
    return store


def page_of(store: Store, out: Path, about: str = "") -> str:
    return write_page(group(store), out, about).read_text(encoding="utf-8")


# What it holds


def test_the_tables_hold_the_numbers_of_the_markdown(tmp_path):
    store = keep(tmp_path / "runs", four())
    found = Page(page_of(store, tmp_path)).tables
    asked: list[list[list[str]]] = []
    for before, line in pairwise(["", *markdown(group(store)).splitlines()]):
        if line.startswith("|"):
            if not before.startswith("|"):
                asked.append([])
            asked[-1].append([html.unescape(cell.strip()) for cell in line.strip("|").split("|")])
    assert found == [[table[0], *table[2:]] for table in asked]
    assert [table[0][0] for table in found] == [
        *[
            "method",
            "evidence",
            "difference",
            "variance of the mean",
            "variance of a difference",
            "accuracy",
            "phenomenon",
            "training",
            "cost",
        ]
        * 2,
        "provenance",
    ]


def test_the_summary_s_sentences_and_what_was_left_out_are_in_words(tmp_path):
    again = record("mpt", started="2026-01-02T00:00:00+00:00", identity={"method_source": "m1"})
    store = keep(tmp_path / "runs", [*four(), again])
    text = page_of(store, tmp_path)
    said = [findings(table) for table in group(store)[0].tables]
    assert all(f"{html.escape(sentence)}." in text for sentences in said for sentence in sentences)
    assert any("2 draws cannot support a ranking" in sentence for sentence in said[0])
    assert f"is superseded by {again.id}" in text


def test_the_oracle_is_named_and_a_reason_for_no_intervals_is_given(tmp_path):
    oracle = record("mpt", spec={"selection": "oracle-target-dev"})
    store = Store(tmp_path / "runs")
    for one in (oracle, record("finetune")):
        store.write(one)
    text = page_of(store, tmp_path)
    assert "<strong>Oracle</strong>: checkpoints were chosen on target-language labels" in text
    assert "No intervals: the predictions of record " in text


def test_words_about_the_board_are_markdown(tmp_path):
    about = (
        "## Why\n\nOne **bold** `a<b` word,\nand [a link](https://example.org/x) or [not](javascript:alert(1)).\n\n"
        "- one\n- two\n  lines\n\n| a | b |\n|---|--:|\n| 1 | <b> |\n\n    xlbench demo --x\n"
    )
    text = " ".join(page_of(keep(tmp_path / "runs", [record()]), tmp_path, about).split())
    for part in (
        "<h3>Why</h3>", "<p>One <strong>bold</strong> <code>a&lt;b</code> word, and", "[not](javascript:alert(1)).</p>",
        '<a href="https://example.org/x">a link</a>', "<ul> <li>one</li> <li>two lines</li> </ul>",
        '<tr> <th scope="col">a</th> <th scope="col">b</th> </tr>', "<tr> <td>1</td> <td>&lt;b&gt;</td> </tr>",
        '<pre tabindex="0"><code>xlbench demo --x </code></pre>',
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("about", "shown"),
    [
        ("<img src=x onerror=alert(1)>\n\n<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("![seen](https://example.org/x.png)", "!seen"),
        ("[a](data:text/html,x) <file:///etc/passwd> [b][c]\n\n[c]: vbscript:x", "[a](data:text/html,x)"),
        ("[a](java&#115;cript:x)", "[a](javascript:x)"),
        ("one &#x202e; two \u202e", "one \\u202e two \\u202e"),
    ],
)
def test_words_about_the_board_bring_no_markup_no_other_link_and_nothing_hidden(tmp_path, about, shown):
    store = keep(tmp_path / "runs", [record()])
    found, ordinary = Page(page_of(store, tmp_path, about)), Page(page_of(store, tmp_path, "ordinary"))
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in ordinary.tags} | {"a"}
    links = [value for tag, name, value in found.attributes if (tag, name) == ("a", "href")]
    assert all(value.startswith(("https://example.org/", "#")) for value in links)
    assert not [one for one in found.attributes if one[1].startswith("on")]
    assert shown in found.words
    assert "\u202e" not in found.words


# Nothing of a record is run


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text("<>&\"'/=ax \u202e\u200f\x00\n`$é", min_size=1, max_size=30)
    | st.sampled_from([NASTY, "</title>", "-->"])
)
def test_a_name_changes_the_text_and_never_the_markup(tmp_path, name):
    def page(called: str) -> Page:
        asked = record(called, {"en": 0.5, called: 0.5}, {"task": called, "model": called, "config": {"word": called}},
                       {"revision": called}, phenomena={called: {"en": 0.5}}, commit=called,
                       environment={"device": called, "device_name": called}, versions={called: called})  # fmt: skip
        return Page(page_of(keep(tmp_path / "runs" / asked.id, [asked]), tmp_path))

    found, ordinary = page(name), page("ordinary")
    assert found.tags == ordinary.tags
    assert found.raw == ordinary.raw
    assert not re.search("[\u202e\u200f\x00]", found.words)


def test_markup_and_marks_of_direction_are_shown(tmp_path):
    asked = record(NASTY, {"en": 0.5}, {"task": NASTY})
    found = Page(page_of(keep(tmp_path / "runs", [asked]), tmp_path))
    shown = NASTY.replace("\u202e", "\\u202e")
    assert found.tables[0][1][0] == shown
    assert f"{shown} on tiny" in found.words


def test_the_policy_lets_the_page_s_own_script_and_style_run_and_no_other(tmp_path):
    found = Page(page_of(keep(tmp_path / "runs", four()), tmp_path, "[x](https://example.org)"))
    policy = next(value for tag, name, value in found.attributes if tag == "meta" and "default-src" in value)
    for kind, text in found.raw.items():
        seal = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{seal}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not [one for one in found.attributes if one[1].startswith("on") or one[1] in {"style", "srcdoc"}]
    loaded = [
        value for _, name, value in found.attributes if name == "src" or (name == "href" and value.startswith("data"))
    ]
    assert all(value.startswith("data:") for value in loaded)
    assert sum(tag == "script" for tag, _ in found.tags) == 1
    assert len(found.raw["script"].splitlines()) < 80


def test_tables_can_be_read_by_ear_and_by_keyboard(tmp_path):
    found = Page(page_of(keep(tmp_path / "runs", four()), tmp_path))
    tables = sum(tag == "table" for tag, _ in found.tags)
    assert tables == sum(tag == "caption" for tag, _ in found.tags)
    assert sum(one == ("div", "class", "scroll") for one in found.attributes) == tables
    assert sum(tag == "button" for tag, _ in found.tags) == sum(len(table[0]) for table in found.tables)
    assert ("label", "for", "filter") in found.attributes
    assert all("alt" in names for tag, names in found.tags if tag == "img")


# All that a board is made of


def test_a_board_is_written_whole_and_again_with_the_same_bytes_from_records_in_any_order(tmp_path):
    pytest.importorskip("matplotlib", reason="figures are drawn by matplotlib, the extra plots")
    found = []
    for number in range(2):
        records = [*four(), record(spec={"model": "other"})]
        random.Random(number).shuffle(records)
        keep(tmp_path / f"runs{number}", records)
        out = tmp_path / f"board{number}"
        board = publish(tmp_path / f"runs{number}", out)
        (several,) = board.notes
        assert several.startswith("the records make 2 groups that may share no table; `xlbench leaderboard --together`")
        assert {*board.files} == {path for path in out.rglob("*") if path.is_file()}
        found.append({str(path.relative_to(out)): path.read_bytes() for path in board.files})
    assert found[0] == found[1]
    names = [name for name in found[0] if not name.startswith("figures/")]
    assert names == ["README.md", "index.html", "results.csv", "results.parquet"]
    figures = [content for name, content in found[0].items() if name.startswith("figures/")]
    assert len(figures) == 8
    assert all(base64.b64encode(content) in found[0]["index.html"] for content in figures)


def test_results_are_a_row_per_language_of_each_run_in_both_forms(tmp_path):
    keep(tmp_path / "runs", four())
    publish(tmp_path / "runs", tmp_path / "board")
    table = pd.read_parquet(tmp_path / "board" / "results.parquet")
    assert len(table) == 16
    read = pd.read_csv(tmp_path / "board" / "results.csv", keep_default_na=False)
    assert read.score.tolist() == table.score.tolist()
    assert read.columns.tolist() == table.columns.tolist()


def test_without_matplotlib_the_board_stands_and_one_sentence_says_what_is_missing(tmp_path, monkeypatch):
    keep(tmp_path / "runs", four())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = CliRunner().invoke(app, ["leaderboard", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "board")])
    assert said.exit_code == 0
    notes = [line for line in said.output.splitlines() if not line.startswith("wrote ")]
    assert len(notes) == 1
    assert notes[0].startswith("note: no figures were drawn, for matplotlib is not installed; install")
    assert "<img" not in (tmp_path / "board" / "index.html").read_text(encoding="utf-8")
    assert not (tmp_path / "board" / "figures").exists()


def test_without_figures_neither_the_words_nor_the_page_speak_of_any(tmp_path):
    pytest.importorskip("matplotlib", reason="figures are drawn by matplotlib, the extra plots")
    keep(tmp_path / "runs", four())
    index = tmp_path / "board" / "index.html"
    publish(tmp_path / "runs", tmp_path / "board")
    assert "<figure" in index.read_text(encoding="utf-8")
    board = publish(tmp_path / "runs", tmp_path / "board", figures=False)
    assert board.notes == ()
    assert {*board.files} == {path for path in (tmp_path / "board").rglob("*") if path.is_file()}
    assert not {"figure", "img"} & {tag for tag, _ in Page(index.read_text(encoding="utf-8")).tags}
    for words in (Page(index.read_text(encoding="utf-8")).words, (tmp_path / "board" / "README.md").read_text("utf-8")):
        assert "figure" not in words.lower()


# In a browser

DRIVER = """
addEventListener("load", () => {
const seen = {title: document.title, scripts: document.scripts.length, images: document.images.length};
const table = document.querySelector("table"), head = table.tHead.rows[0].cells;
const column = at => [...table.tBodies[0].rows].map(row => row.cells[at].textContent);
const buttons = [...head].map(one => one.querySelector("button"));
seen.disabled = document.querySelectorAll("button:disabled").length;
buttons[1].focus();
seen.focused = document.activeElement === buttons[1];
seen.before = column(1);
buttons[1].click(); seen.up = [head[1].getAttribute("aria-sort"), column(1)];
buttons[1].click(); seen.down = [head[1].getAttribute("aria-sort"), column(1)];
buttons[0].click(); seen.named = [head[0].getAttribute("aria-sort"), head[1].getAttribute("aria-sort"), column(0)];
const box = document.getElementById("filter");
const type = text => { box.value = text; box.dispatchEvent(new Event("input")); };
type("MPT");
seen.kept = [...table.tBodies[0].rows].filter(row => row.offsetParent).map(row => row.cells[0].textContent);
seen.count = document.getElementById("left").textContent;
type(""); seen.cleared = document.querySelectorAll("tr[hidden]").length;
seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
seen.drawn = [...document.images].every(one => one.complete && one.naturalWidth > 0);
document.body.innerHTML = ""; document.body.dataset.seen = JSON.stringify(seen);
});
"""


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chrome-headless-shell")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip(f"no browser here: make extras, as root (looked for {', '.join(names)})")


def opened(browser: str, file: Path, profile: Path) -> str:
    """The page's document after its scripts ran; asserts that nothing came to the console."""
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--no-first-run",
         "--enable-logging=stderr", "--window-size=500,900", "--virtual-time-budget=5000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.slow
def test_in_a_browser_it_renders_sorts_and_filters_and_runs_nothing_of_a_record(tmp_path):
    browser = chromium()
    keep(
        tmp_path / "runs", [*four(), *(record(NASTY, {"en": 0.6, "fr": 0.6}, {"draw": d, "shots": 4}) for d in (0, 1))]
    )
    board = publish(tmp_path / "runs", tmp_path / "board")
    index = tmp_path / "board" / "index.html"
    shown = Page(opened(browser, index, tmp_path / "profile"))
    assert ("div", ("class", "role")) in shown.tags  # the filter, which its script shows by taking `hidden` away
    assert ("button", ("type",)) in shown.tags

    seal = base64.b64encode(hashlib.sha256(DRIVER.encode()).digest()).decode()
    driven = index.read_text(encoding="utf-8").replace("script-src '", f"script-src 'sha256-{seal}' '")
    (tmp_path / "driven.html").write_text(
        driven.replace("</body>", f"<script>{DRIVER}</script></body>"), encoding="utf-8"
    )
    found = Page(opened(browser, tmp_path / "driven.html", tmp_path / "profile"))
    seen = json.loads(next(value for tag, name, value in found.attributes if name == "data-seen"))
    nasty = NASTY.replace("\u202e", "\\u202e")
    assert seen == {
        "title": "Leaderboard – xlbench", "scripts": 2, "images": sum(file.suffix == ".svg" for file in board.files),
        "disabled": 0, "focused": True, "before": ["80.0", "60.0", "50.0"],
        "up": ["ascending", ["50.0", "60.0", "80.0"]], "down": ["descending", ["80.0", "60.0", "50.0"]],
        "named": ["ascending", None, [nasty, "finetune", "mpt"]], "kept": ["mpt"], "count": seen["count"],
        "cleared": 0, "wide": 0, "drawn": True,
    }  # fmt: skip
    assert re.fullmatch(r"\d+ of \d+ rows", seen["count"])
