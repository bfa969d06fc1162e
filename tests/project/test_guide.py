"""The pages for users: commands are run or parsed, links lead somewhere, figures stand in their source."""

import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import guide_pages as guide
import pytest
from guide_pages import PAGES, ROOT

from xlbench import Training, registry
from xlbench.analysis.languages import distance
from xlbench.cli.plugins.check import check
from xlbench.version import __version__

pytestmark = pytest.mark.usefixtures("own_registry")
BY_NAME = {str(page.relative_to(ROOT)): page for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_a_page_can_be_followed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Commands exit as they should, options exist, a run's fields are valid, what is shown was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    guide.Follower(monkeypatch).follow(BY_NAME[name])


@pytest.mark.parametrize("name", BY_NAME)
def test_options_within_text_exist(name: str):
    first = {"xlbench", *guide.OPTIONS}
    pieces = [span for span in guide.spans(BY_NAME[name]) if span.startswith("--") or span.split()[0] in first]
    assert {span: wrong for span in pieces if (wrong := guide.wrong_options(span))} == {}
    named = {span.split()[1] for span in pieces if span.startswith("xlbench ")}
    assert named - {"…"} <= set(guide.OPTIONS) | {"--version", "--help"}


@pytest.mark.parametrize("name", BY_NAME)
def test_links_lead_somewhere(name: str):
    for link in guide.links(BY_NAME[name]):
        assert link.file.exists(), f"[{link.text}] leads to {link.file}, which is not there"
        known = guide.anchors(link.file) if link.anchor and link.file.suffix == ".md" else {link.anchor}
        assert link.anchor in known, f"[{link.text}]: no #{link.anchor}"


@pytest.mark.parametrize("name", BY_NAME)
def test_a_figure_that_is_a_link_stands_in_what_it_links_to(name: str):
    """`[67.4 %](file "draws; 2")`: a line of the file holds the number and these words, so that no figure is kept by
    hand in two places."""
    for link in guide.links(BY_NAME[name]):
        if re.match(r"-?\d", link.text):
            assert guide.stands_in(link.text, link.title, link.file.read_text(encoding="utf-8")), link


def test_every_page_is_reached_from_the_readme():
    seen, to_read = set(), [ROOT / "README.md"]
    while to_read:
        page = to_read.pop()
        if page not in seen and page in PAGES:
            seen.add(page)
            to_read += [link.file for link in guide.links(page)]
    assert set(PAGES) - seen == set()


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_readme_s_answer_is_the_board_s_first_sentence():
    verdict = re.search(r"^\*\*(.*)\*\*$", (ROOT / "leaderboard" / "README.md").read_text(encoding="utf-8"), re.M)
    assert verdict is not None
    said = " ".join((ROOT / "README.md").read_text(encoding="utf-8").replace("\n> ", "\n").split())
    assert verdict[1] in said


def test_the_translator_costs_more_as_the_readme_says():
    board = (ROOT / "leaderboard" / "README.md").read_text(encoding="utf-8")
    head, _, *rows = [line.split(" | ") for line in board[board.index("| cost |") :].split("\n\n")[0].splitlines()]
    costs = {row[0].lstrip("| "): dict(zip(head, row, strict=True)) for row in rows}
    for column in ("training s", "training TFLOP"):
        assert float(costs["mpt"][column]) > float(costs["soft-prompt"][column])


def test_the_changelog_and_the_citation_know_the_version():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", changes, flags=re.MULTILINE)
    assert versions[0] == __version__
    assert "## Unreleased" in changes
    assert versions == sorted(versions, key=lambda text: [int(part) for part in text.split(".")], reverse=True)
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["title"], citation["license"]) == (__version__, "xlbench", "MIT")
    assert citation["authors"] == [{"name": "The xlbench developers"}]


def test_issue_forms_ask_for_something():
    yaml = pytest.importorskip("yaml")
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) >= 4
    for form in forms:
        read: dict[str, Any] = yaml.safe_load(form.read_text(encoding="utf-8"))
        if form.stem == "config":
            continue
        assert {"name", "description", "title", "body"} <= set(read), form.name
        assert any(field.get("validations", {}).get("required") for field in read["body"]), form.name
        ids = [field["id"] for field in read["body"] if "id" in field]
        assert len(ids) == len(set(ids)), form.name


# What the pages say of defaults, beside the defaults.


def test_defaults_are_as_the_pages_say():
    training, page = Training(), guide.prose(ROOT / "docs" / "explanation" / "matched.md")
    assert f"{training.epochs} epochs" in page
    assert f"{training.least_steps} steps at least" in page
    assert f"`training.patience` ({training.patience}" in page
    assert f"trains at a rate of its own, {training.fresh_learning_rate:g} " in page


def test_distances_are_as_the_page_says():
    page = guide.prose(ROOT / "docs" / "explanation" / "limits.md")
    assert f"{distance('en', 'de'):.2f} to German" in page
    assert f"{distance('en', 'fr'):.2f} to other" in page
    assert distance("en", "sw") == 1


# The examples, beyond running.


def example(page: str, file: str) -> str:
    """The text of a file that a page holds."""
    (found,) = [block.text for block in guide.blocks(ROOT / page) if block.file == file]
    return found


def test_the_example_task_keeps_the_contract(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    file = tmp_path / "my_task.py"
    file.write_text(example("docs/how-to/task-in-python.md", "my_task.py"), encoding="utf-8")
    for language, visited in (("en", "visited"), ("fr", "a visité")):
        for split in ("train", "validation", "test"):
            rows = [
                {
                    "premise": f"{split} {number} {visited} Oslo",
                    "hypothesis": f"{split} {number}{label} Oslo",
                    "label": label,
                }
                for number in range(8)
                for label in range(3)
            ]
            target = tmp_path / "me" / "my-nli" / language / f"{split}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            pandas.DataFrame(rows).to_parquet(target)
    registry.load_plugin(str(file))
    assert [finding for finding in check("my-nli", data_root=tmp_path) if not finding.ok] == []


def test_the_notebooks_are_the_tutorials():
    """`python scripts/notebooks.py` writes what is committed: the same commands in the same order."""
    notebooks: Any = runpy.run_path(str(ROOT / "scripts" / "notebooks.py"))
    pages = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    assert {page.stem for page in pages} == {file.stem for file in (ROOT / "docs" / "tutorials").glob("*.ipynb")}
    for page in pages:
        written = page.with_suffix(".ipynb").read_text(encoding="utf-8")
        assert notebooks["notebook"](page) == written, f"run `python scripts/notebooks.py`: {page.name} has changed"
        cells = ["".join(cell["source"]) for cell in json.loads(written)["cells"] if cell["cell_type"] == "code"]
        told = [line.removeprefix("!") for cell in cells for line in cell.splitlines() if line.startswith("!xlbench ")]
        run = [block for block in guide.blocks(page) if block.words[:1] == ("run",)]
        assert [shlex.split(line) for line in told] == [words for block in run for words in block.commands()]


# The pages' own machinery.


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("bash\nxlbench run --method mpt --shots 4 --shot-count 3", "shot-count"),
        ("bash\nxlbench run --method mtp --shots 4", "mtp"),
        ("bash\nxlbench run --method mpt --shots 4 --selection best", "selection"),
        ("bash\nxlbench compare --methods finetune,mtp --shots 4", "mtp"),
        ("bash\nxlbench walk", "walk"),
        ("bash\nrm -r runs", "rm"),
        ("bash rnu\nxlbench list", "rnu"),
        ("bash run\nxlbench list metods", "metods"),
        ("bash run\nxlbench list tasks\n```\n```text shown\nno-such-task", "no-such-task"),
    ],
)
def test_a_page_s_mistake_is_found(block: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    page.write_text(f"```{block}\n```\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=fault):
        guide.Follower(monkeypatch).follow(page)


@pytest.mark.parametrize("span", ["xlbench run --shotz 4", "compare --suites x", "--no-such", "xlbench list --draws 2"])
def test_a_wrong_option_within_text_is_found(span: str):
    assert guide.wrong_options(span) != []


def test_a_figure_is_looked_for_in_one_line():
    written = "| a | 2 | 95.7 |\n| b | 3 | 67.4 |\n"
    assert guide.stands_in("95.7", "a; 2", written)
    assert not guide.stands_in("95.7", "b", written)
    assert not guide.stands_in("5.7", "", written)
    assert not guide.stands_in("95", "", written)
