"""`xlbench errors`: what a run gets wrong, with the texts, against hand-made predictions."""

import numpy as np
import pyarrow as pa
from hand_made import record
from typer.testing import CliRunner

from xlbench import registry
from xlbench.cli import app
from xlbench.records.store import Store
from xlbench.sources import DataSource

TASK = registry.get("task", "logic")


def kept(folder, method: str, wrong: set[int], draw: int = 0):
    """A run on the first six English rows of logic, wrong on those at some places by one label, surest last."""
    rows = list(TASK().rows("test", "en", DataSource()))[:6]
    said = [(row.gold + (place in wrong)) % 3 for place, row in enumerate(rows)]
    scores = np.log(
        [[0.9 - place / 20 if label == at else 0.05 for label in range(3)] for place, at in enumerate(said)]
    )
    table = pa.table(
        {"row_id": [row.id for row in rows], "unit_id": [row.unit for row in rows], "language": ["en"] * 6,
         "gold": [row.gold for row in rows]} | {f"log_prob_{label}": scores[:, label] for label in range(3)}
    )  # fmt: skip
    made = record(method, {"en": 1 - len(wrong) / 6}, {"draw": draw, "languages": ["en"]})
    Store(folder).write(made, table)
    return made.id, rows


def errors(*arguments: object):
    return CliRunner().invoke(app, ["errors", *map(str, arguments)])


def test_one_run_s_errors_stand_with_their_texts_the_surest_first(tmp_path):
    run, rows = kept(tmp_path / "runs", "finetune", {1, 4})
    done = errors(run, "--runs", tmp_path / "runs", "--out", tmp_path / "e.md")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "e.md").read_text(encoding="utf-8")
    assert "Not for publishing" in page
    assert "4 of 6 right" in page
    first, second = page.index(rows[1].texts[0]), page.index(rows[4].id)
    assert first < second  # place 1 is surer than place 4
    assert rows[0].id not in page
    diagonal = [sum(row.gold == label for place, row in enumerate(rows) if place not in {1, 4}) for label in range(3)]
    lines = [line for line in page.splitlines() if line.split(" |")[0].removeprefix("| ") in TASK.labels]
    counts = [[int(cell) for cell in line.strip("| ").split(" | ")[1:]] for line in lines[:3]]
    assert [counts[label][label] for label in range(3)] == diagonal
    assert sum(map(sum, counts)) == 6


def test_two_runs_stand_beside_each_other(tmp_path):
    first, rows = kept(tmp_path / "runs", "finetune", {1, 4})
    second, _ = kept(tmp_path / "runs", "mpt", {4, 5})
    done = errors(first, second, "--runs", tmp_path / "runs", "--out", tmp_path / "e.md")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "e.md").read_text(encoding="utf-8")
    assert f"Both are right on 3 rows, finetune {first} alone on 1, mpt {second} alone on 1, neither on 1" in page
    only_first, only_second = (
        page.split(f"only mpt {second}")[0].split(f"only finetune {first}")[1],
        page.split("only mpt")[1],
    )
    assert rows[5].id in only_first
    assert rows[1].id in only_second


def test_mistakes_are_one_sentence_and_write_nothing(tmp_path):
    run, _ = kept(tmp_path / "runs", "finetune", {1})
    (tmp_path / "there.md").write_text("mine")
    for arguments, says in (
        ([run, "--out", tmp_path / "there.md"], "there.md is there already"),
        ([run, run, run, "--out", tmp_path / "e.md"], "3 were named"),
        (["nothing", "--out", tmp_path / "e.md"], "there is no record 'nothing'"),
    ):
        done = errors(*arguments, "--runs", tmp_path / "runs")
        assert done.exit_code == 2
        assert says in done.output
        assert len(done.output.strip().splitlines()) == 1
    assert (tmp_path / "there.md").read_text() == "mine"
    assert not (tmp_path / "e.md").exists()


def test_data_that_lack_a_tested_row_and_other_problems_are_refused(tmp_path):
    odd = record("finetune", {"en": 1.0}, {"languages": ["en"]})
    table = pa.table({"row_id": ["nix"], "unit_id": ["u"], "language": ["en"], "gold": [0]}
                     | {f"log_prob_{label}": [-float(label)] for label in range(3)})  # fmt: skip
    Store(tmp_path).write(odd, table)
    done = errors(odd.id, "--runs", tmp_path, "--out", tmp_path / "e.md")
    assert done.exit_code == 2
    assert "have no row 'nix'" in done.output
    tags = record(
        "finetune",
        {"en": 1.0},
        {"draw": 1},
        problem={"kind": "token-labelling", "labels": ["O", "B-X"], "metrics": ["accuracy"]},
    )
    Store(tmp_path).write(tags, table)
    done = errors(tags.id, "--runs", tmp_path, "--out", tmp_path / "e.md")
    assert done.exit_code == 2
    assert "is of token-labelling" in done.output
