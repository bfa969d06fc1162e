"""Every sentence about evidence that a board can print stands in docs/sentences.md with what backs it."""

import re
from pathlib import Path

from xlbench.analysis import declared, evidence, over_tasks

PAGE = Path(__file__).parents[2] / "docs" / "sentences.md"


def test_the_page_has_every_sentence_and_no_other():
    listed = set(re.findall(r"^\| `([\w ]+: [\w ]+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    places = {"evidence": evidence, "declared": declared, "over tasks": over_tasks}
    said = {f"{name}: {key}" for name, place in places.items() for key in place.SENTENCES}
    assert listed == said


def test_each_has_something_that_backs_it():
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert all(len(row) == 5 and row[3].strip() for row in rows)
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row[3])}
    files = {file.stem for file in PAGE.parents[1].glob("tests/*/test_*.py")}
    assert named <= files
