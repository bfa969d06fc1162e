"""Hand-ins: a clean one verifies and agrees when computed again; each way to forge one is found out."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from xlbench import RunSpec, Runtime, Training, run
from xlbench.cli import app
from xlbench.comparison.hand_in import MANIFEST, submit, verify
from xlbench.errors import XlbenchError


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("handed")
    spec = RunSpec(
        method="finetune", task="logic", model="tiny", shots=4, languages=("en", "sw"), test_units=12,
        training=Training(steps=2), selection="last",
    )  # fmt: skip
    run(spec, Runtime(runs=str(folder / "runs")))
    return submit(folder / "runs", folder / "hand-in", "a tester")


@pytest.fixture
def hand_in(clean, tmp_path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "hand-in"))


def record_of(folder: Path) -> Path:
    (file,) = folder.glob("records/*/record.json")
    return file


def seal(folder: Path) -> None:
    """A forger writes the hashes again."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))


def edited(folder: Path, **fields: object) -> None:
    file = record_of(folder)
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    seal(folder)


def test_a_clean_hand_in_verifies_and_agrees_to_the_last_digits(hand_in):
    points = list(verify(hand_in, seed=0))
    assert all(point.ok for point in points), points
    assert "computed again: 100.00 % of answers agree, log-probabilities within 0" in points[-1].point
    assert not [
        file for file in hand_in.rglob("*") if file.is_file() and file.parent == hand_in and file.name != MANIFEST
    ]


def test_a_change_without_its_hash_is_named(hand_in):
    record_of(hand_in).write_text(record_of(hand_in).read_text() + " ")
    (point,) = verify(hand_in)
    assert not point.ok
    assert "record.json was changed" in point.why


def test_a_link_out_of_the_folder_is_named_and_not_read(hand_in):
    record_of(hand_in).with_name("predictions.parquet").unlink()
    record_of(hand_in).with_name("predictions.parquet").symlink_to(record_of(hand_in))
    (point,) = verify(hand_in)
    assert "predictions.parquet is a link" in point.why


@pytest.mark.parametrize("what", ["more", "fewer"])
def test_files_more_or_fewer_are_named(hand_in, what):
    if what == "more":
        (hand_in / "extra.txt").write_text("x")
    else:
        record_of(hand_in).unlink()
    (point,) = verify(hand_in)
    assert not point.ok
    assert ("extra.txt is not named" if what == "more" else "record.json is not there") in point.why


def test_scores_that_predictions_do_not_give_are_found(hand_in):
    edited(hand_in, scores={"accuracy": {"en": 0.99, "sw": 0.99}})
    *_, last = verify(hand_in, recompute=False)
    assert not last.ok


def test_another_spec_under_the_same_id_is_found(hand_in):
    spec = json.loads(record_of(hand_in).read_text())["spec"]
    edited(hand_in, spec=spec | {"seed": 7})
    assert not all(point.ok for point in verify(hand_in, seed=0))


def test_texts_in_predictions_are_found(hand_in):
    file = record_of(hand_in).with_name("predictions.parquet")
    table = pq.read_table(file)
    pq.write_table(table.append_column("premise", pa.array(["text"] * len(table))), file)
    seal(hand_in)
    assert [point.ok for point in verify(hand_in, recompute=False)].count(False) >= 1


def test_numbers_that_fit_together_and_were_never_computed_are_found_by_computing(hand_in):
    """Predictions that are all right, scores that say so, hashes that fit: only the run itself tells."""
    file = record_of(hand_in).with_name("predictions.parquet")
    table = pq.read_table(file)
    gold = table["gold"].to_pylist()
    for label in range(3):
        column = pa.array([-0.01 if label == right else -5.3 for right in gold], pa.float32())
        table = table.set_column(table.column_names.index(f"log_prob_{label}"), f"log_prob_{label}", column)
    pq.write_table(table, file)
    kept = json.loads(record_of(hand_in).read_text())
    perfect = {"accuracy": dict.fromkeys(kept["scores"]["accuracy"], 1.0)}
    kinds = {kind: dict.fromkeys(of, 1.0) for kind, of in kept["phenomena"].items()}
    edited(hand_in, scores=perfect, phenomena=kinds)
    assert all(point.ok for point in verify(hand_in, recompute=False))
    *_, last = verify(hand_in, seed=0)
    assert not last.ok
    assert "must be within" in last.why


def test_gold_answers_that_were_made_to_fit_are_found_by_computing(hand_in):
    file = record_of(hand_in).with_name("predictions.parquet")
    table = pq.read_table(file)
    scores = [table[f"log_prob_{label}"].to_numpy() for label in range(3)]
    said = np.argmax(scores, axis=0)
    place = table.column_names.index("gold")
    pq.write_table(table.set_column(place, "gold", pa.array(said, table["gold"].type)), file)
    kept = json.loads(record_of(hand_in).read_text())
    perfect = {"accuracy": dict.fromkeys(kept["scores"]["accuracy"], 1.0)}
    edited(hand_in, scores=perfect, phenomena={kind: dict.fromkeys(of, 1.0) for kind, of in kept["phenomena"].items()})
    *_, last = verify(hand_in, seed=0)
    assert not last.ok
    assert "gold answers are not those" in last.why


def test_what_is_no_hand_in_or_no_cell_is_one_sentence(hand_in, tmp_path):
    with pytest.raises(XlbenchError, match="is no hand-in"):
        list(verify(tmp_path))
    with pytest.raises(XlbenchError, match="names 0 of the 1 records"):
        list(verify(hand_in, cell="nix"))
    (hand_in / MANIFEST).write_text(json.dumps({"files": {"../../etc/passwd": "0"}}))
    with pytest.raises(XlbenchError, match="no file of a record"):
        list(verify(hand_in))
    (hand_in / MANIFEST).write_text("[")
    with pytest.raises(XlbenchError, match="cannot be read"):
        list(verify(hand_in))


def test_the_commands(clean, tmp_path):
    runs = clean.parent / "runs"
    done = CliRunner().invoke(app, ["submit", str(runs), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "out"), "--no-run"])
    assert done.exit_code == 0, done.output
    assert "1 records are sound" in done.output
    again = CliRunner().invoke(app, ["submit", str(runs), "--out", str(tmp_path / "out")])
    assert again.exit_code == 2
    assert "is there already" in again.output
    (tmp_path / "out" / "extra").touch()
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "out")]).exit_code == 1
