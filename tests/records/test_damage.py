"""Disks that fill, folders that vanish, bytes that flip: one sentence, nothing else lost, and the next run repairs."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_made import group, record, sound
from small_data import plugin, write_xnli
from typer.testing import CliRunner

from xlbench import RunSpec, Store, Suite, XlbenchError, run
from xlbench.analysis.matching import drift
from xlbench.board.markdown import markdown
from xlbench.board.publish import publish
from xlbench.cli import app
from xlbench.comparison.compare import run_suite
from xlbench.host import safe_reading as limits
from xlbench.host.progress import Progress
from xlbench.host.safe_parquet import read_parquet
from xlbench.host.whole_files import replace_file
from xlbench.records.record import read_record
from xlbench.records.vetting import RefusedData, kept

SHARED = {
    "task": "logic", "model": "tiny", "languages": ("en", "fr"), "test_units": 4,
    "training": {"steps": 1, "checkpoints": 1},
}  # fmt: skip
LOSS = "return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)"


class Said(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


pytestmark = pytest.mark.usefixtures("own_registry")


def suite(*methods: str, **run) -> Suite:
    return Suite(methods=methods, shots=(1, 2), run={**SHARED, **run})


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB; skips where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


# Records


def flipped_score(folder: Path) -> None:
    """Another accuracy, in JSON that is as good as before."""
    file = folder / "record.json"
    fields = json.loads(file.read_text())
    scores = fields["scores"]["accuracy"]
    file.write_text(json.dumps({**fields, "scores": {"accuracy": {**scores, "en": 1 - scores["en"] / 2}}}))


def flipped_prediction(folder: Path) -> None:
    file = folder / "predictions.parquet"
    content = bytearray(file.read_bytes())
    content[8:60] = bytes(byte ^ 0xFF for byte in content[8:60])
    file.write_bytes(content)


def truncated(name: str):
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


DAMAGE = {
    "flipped score": flipped_score, "flipped prediction": flipped_prediction,
    "truncated record": truncated("record.json"), "truncated predictions": truncated("predictions.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_counts_as_missing_and_makes_way_for_another(tmp_path, damage):
    store, one, other = Store(tmp_path), record(), record("mpt")
    for each in (one, other):
        store.write(each, sound(each))
    DAMAGE[damage](store.path(one.id))
    said: list[str] = []
    assert kept(store, one.id, said.append) is None
    assert kept(store, other.id, said.append).record == other
    assert all(f"record {one.id} " in sentence and "\n" not in sentence for sentence in said)
    assert len(said) == (damage != "truncated record")  # which cannot be read, and is replaced
    store.write(one, sound(one))
    assert kept(store, one.id, said.append).record == one
    assert sum("-damaged-" in name for name in os.listdir(tmp_path)) == len(said)


def test_a_comparison_says_what_is_damaged_and_computes_it_alone_again(runtime):
    asked = suite("finetune")
    first = run_suite(asked, runtime).records[0]
    truncated("predictions.parquet")(runtime.runs / first.id)
    said = Said()
    again = run_suite(asked, runtime, said)
    assert (again.computed, again.records[0].scores) == (1, first.scores)
    (sentence,) = [one for one in said.sentences if "computed again" in one]
    assert sentence.startswith(f"record {first.id} cannot be used: the predictions in {first.id} cannot be read (")
    assert "\n" not in sentence


def too_wide(monkeypatch) -> None:
    """From here on predictions of three labels have more columns than are read, as those of a thousand labels do."""
    monkeypatch.setattr("xlbench.host.safe_parquet.COLUMNS", 6)


REFUSED = (
    r"record {id} is there and refused for its data \(the predictions in {id} has 7 columns; at most 6 are read\), and "
    r"would come out the same again; mend the data, or delete {place} to have it computed again"
)


def test_a_run_that_is_refused_for_its_data_is_computed_once_and_said_each_time(runtime, monkeypatch):
    too_wide(monkeypatch)
    asked = RunSpec(method="finetune", shots=1, **SHARED)
    with pytest.raises(RefusedData) as first:
        run(asked, runtime)
    (name,) = os.listdir(runtime.runs)
    assert re.fullmatch(REFUSED.format(id=name, place=re.escape(str(runtime.runs / name))), str(first.value))
    monkeypatch.setattr("xlbench.engine.execute.execute", lambda *_: pytest.fail("it was computed again"))
    with pytest.raises(RefusedData) as second:
        run(asked, runtime)
    assert str(second.value) == str(first.value)
    assert os.listdir(runtime.runs) == [name]


def test_a_comparison_computes_what_is_missing_and_names_what_is_refused_for_its_data(runtime, monkeypatch):
    good = run_suite(suite("finetune"), runtime).records
    with monkeypatch.context() as narrow:
        too_wide(narrow)
        first = run_suite(suite("finetune"), runtime)
        assert (first.computed, first.records, len(first.failed)) == (0, [], 2)
        for kept_record, sentence in zip(good, first.failed, strict=True):
            place = re.escape(str(runtime.runs / kept_record.id))
            assert re.search(f": {REFUSED.format(id=kept_record.id, place=place)}$", sentence)
        shutil.rmtree(runtime.runs / good[0].id)
        said = Said()
        again = run_suite(suite("finetune"), runtime, said)
        assert (again.computed, len(again.failed)) == (1, 2)
        assert "comparison: 2 cells, 0 done already, 1 refused for their data, 1 to compute" in said.sentences
    assert run_suite(suite("finetune"), runtime).computed == 0


def test_no_record_lies_outside_its_store(tmp_path):
    for name in ("../out", "/out", "", "..", "a/b", "a\\b", "a\0b", "x" * 10_000):
        with pytest.raises(XlbenchError, match="a record's id is a plain name, not"):
            Store(tmp_path / "runs").write(record().model_copy(update={"id": name}))
    assert not any(tmp_path.iterdir())


# Disks and folders


def test_a_full_disk_fails_cells_in_a_sentence_each_and_the_next_run_goes_on(runtime, monkeypatch):
    write_table, calls = pq.write_table, []

    def full_once(*given, **named):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        write_table(*given, **named)

    monkeypatch.setattr(pq, "write_table", full_once)
    first = run_suite(suite("finetune"), runtime)
    assert (first.computed, len(first.failed)) == (1, 1)
    assert first.failed[0].endswith("No space left on device")
    again = run_suite(suite("finetune"), runtime)
    assert (again.computed, again.failed, len(again.records)) == (1, [], 2)


def test_a_disk_that_is_really_full_keeps_what_was_there_and_nothing_half_written(small_disk):
    store = Store(small_disk / "runs")
    first = record()
    store.write(first, sound(first))
    replace_file(small_disk / "board.md", b"before")
    (small_disk / "filler").write_bytes(b"0" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize))
    other = record("mpt")
    with pytest.raises(XlbenchError, match=r"cannot write the record .*No space left on device"):
        store.write(other, sound(other))
    with pytest.raises(XlbenchError, match=r"cannot write the board .*: No space left on device"):
        replace_file(small_disk / "board.md", b"1" * 100_000)
    assert os.listdir(store.root) == [first.id]
    assert sorted(os.listdir(small_disk)) == ["board.md", "filler", "runs"]
    assert (small_disk / "board.md").read_bytes() == b"before"
    (small_disk / "filler").unlink()
    store.write(other, sound(other))
    assert {one.id for one in store.records()} == {first.id, other.id}


def test_a_read_only_folder_of_records_is_read_and_said_before_anything_is_trained(small_disk, runtime, monkeypatch):
    there = runtime.model_copy(update={"runs": small_disk / "runs"})
    done = run_suite(suite("finetune"), there)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    monkeypatch.setattr("xlbench.engine.execute._compute", lambda *_: pytest.fail("it was trained"))
    assert run_suite(suite("finetune"), there).records == done.records
    with pytest.raises(XlbenchError, match=r"cannot write records under .*: Read-only file system"):
        run_suite(suite("finetune", "soft-prompt"), there)


def test_data_that_vanish_in_the_middle_of_a_suite_take_no_cell_with_them(runtime, tmp_path):
    data = write_xnli(tmp_path / "data")
    gone = (LOSS, f"import shutil; shutil.rmtree({str(data)!r}, ignore_errors=True)\n        {LOSS}")
    file = plugin(tmp_path / "gone.py", "gone", gone)
    asked = runtime.model_copy(update={"data_root": data, "plugins": (str(file),)})
    found = run_suite(suite("gone", "finetune", task="xnli"), asked)
    assert not data.exists()
    assert (found.computed, found.failed) == (4, [])


# Other versions


def test_other_versions_are_said_before_anything_runs_and_on_the_board(runtime):
    asked = suite("finetune")
    first = run_suite(asked, runtime).records[0]
    file = runtime.runs / first.id / "record.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "versions": {**fields["versions"], "torch": "1.0.0"}}))
    said = Said()
    again = run_suite(asked, runtime, said)
    (sentence,) = [one for one in said.sentences if "other versions" in one]
    assert sentence.startswith("of the 2 records done, 1 were made with other versions: torch 1.0.0 (here ")
    assert again.computed == 0
    board = markdown(group(again.results))
    assert "Mixed" not in board  # one shot number a table, one record in each


def test_a_table_of_runs_with_two_versions_says_which_methods_ran_with_which(tmp_path):
    found = [record(method, versions={"torch": torch}) for method, torch in (("finetune", "2.8"), ("mpt", "2.9"))]
    for one in found:
        Store(tmp_path).write(one, sound(one))
    board = markdown(group(found))
    assert "Mixed: the runs of this table are of 2 versions of torch (2.8: finetune; 2.9: mpt)." in board
    alike = [one.model_copy(update={"versions": {"torch": "2.8", "numpy": one.id}}) for one in found]
    assert "Mixed" not in markdown(group(alike))


def test_records_that_do_not_say_their_versions_are_no_drift():
    assert drift([record()], {"torch": "2"}) is None
    assert drift([record(versions={"torch": "2", "python": "3"})], {"torch": "2", "python": "4"}) is None


# Limits


def test_each_limit_is_named_with_the_place(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "record.json").write_text('{"a":' * 33 + "1" + "}" * 33)
    with pytest.raises(XlbenchError, match=r"the record .*record.json is nested more than 32 deep, the most that is r"):
        read_record(folder / "record.json")
    with (folder / "record.json").open("wb") as stream:
        stream.truncate(limits.RECORD_BYTES + 1)
    with pytest.raises(XlbenchError, match=r"the record .*record.json has more than 16,777,216 bytes"):
        read_record(folder / "record.json")
    for text, words in (
        ("#" * (256 * 1024 + 1), "has more than 262,144 bytes"),
        ("a" + ".a" * 60_000 + " = 1", "has a line with more than 100 dots"),
        ("a = " + "[" * 9000, "is nested more than 32 deep"),
    ):
        (tmp_path / "s.toml").write_text(text)
        with pytest.raises(XlbenchError, match=f"the suite .*s.toml {words}"):
            Suite.read(tmp_path / "s.toml")
    for columns, words in (
        ({f"c{number}": [1] for number in range(1001)}, "rows has 1,001 columns; at most 1,000 are read"),
        ({"premise": ["a", "b" * 100_001]}, "rows, row 1: the premise has 100,001 characters; at most 100,000"),
    ):
        pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
        with pytest.raises(XlbenchError, match=words):
            read_parquet(tmp_path / "rows.parquet", "rows")


# Names

NASTY = "=cmd|' /C calc'!A0 <script>alert(1)</script> ../../out \x1b[31m\u202e\x07|" + "n" * 10_000


def test_a_hostile_record_stays_in_its_folder_and_nothing_of_it_is_markup_or_obeyed(tmp_path):
    whole = record(
        NASTY, {"en": 0.5, NASTY: 0.4}, {"task": NASTY, "model": NASTY, "config": {"a": NASTY}}, {"revision": NASTY},
        commit=NASTY, notes=(NASTY,), environment={"device": NASTY, "device_name": NASTY},
        phenomena={NASTY: {"en": 0.5}}, versions={NASTY: NASTY},
        problem={"kind": "classification", "labels": [NASTY, "b", "c"], "metrics": ["accuracy"]},
    )  # fmt: skip
    Store(tmp_path / "runs").write(whole, sound(whole))
    board = publish(tmp_path / "runs", tmp_path / "board")
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "board"}
    assert {path for path in (tmp_path / "board").rglob("*") if path.is_file()} == set(board.files)
    for file in board.files:
        text = file.read_bytes().decode("utf-8", "replace") if file.suffix != ".parquet" else ""
        assert not set(text) & set("\x1b\u202e\x07"), file
        if file.suffix in {".md", ".html", ".svg"}:
            assert "<script>alert" not in text
    rows = (tmp_path / "board" / "results.csv").read_text(encoding="utf-8")
    assert "'=cmd" in rows
    assert not [cell for line in rows.splitlines() for cell in line.split(",") if cell.startswith(("=", '"='))]
    for words in (("show", whole.id), ("cite",), ("export",), ("export", "--format", "latex"), ("leaderboard",),
                  ("export", "--format", "json")):  # fmt: skip
        out = ("--out", str(tmp_path / "board")) if words == ("leaderboard",) else ()
        done = CliRunner().invoke(app, [*words, "--runs", str(tmp_path / "runs"), *out])
        assert done.exit_code == 0, (words, done.output[:500], done.exception)
        assert not set(done.output) & set("\x1b\u202e\x07"), words
