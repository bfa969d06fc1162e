"""Records on disk: whole or not at all, never overwritten when finished, and refused when they cannot be read."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_made import record
from hypothesis import given
from hypothesis import strategies as st

from xlbench import Record, Store, XlbenchError
from xlbench.records.record import SCHEMA_VERSION, read_record

PREDICTIONS = pa.table({"row_id": ["a", "b"], "gold": [0, 1]})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def everything(store: Store) -> list[str]:
    """All that stands in the folder, hidden or not."""
    return sorted(path.name for path in store.root.iterdir()) if store.root.exists() else []


def test_what_is_written_is_read_again(store):
    kept = record(accuracy={"en": 0.25, "sw": 0.75}, notes=("日本語 note",), phenomena={"negation": {"en": 0.5}})
    assert store.write(kept, PREDICTIONS) == store.root / kept.id
    assert store.find(kept.id) == store.finished(kept.id) == kept
    assert list(store.records()) == [kept]
    assert store.predictions(kept.id) == PREDICTIONS
    assert everything(store) == [kept.id]


def test_a_record_on_disk_is_plain_json_in_utf_8(store):
    kept = record(notes=("日本語",))
    store.write(kept, PREDICTIONS)
    text = (store.root / kept.id / "record.json").read_text(encoding="utf-8")
    assert json.loads(text)["schema_version"] == SCHEMA_VERSION
    assert "日本語" in text


@given(st.dictionaries(st.sampled_from(["en", "fr", "sw"]), st.floats(0, 1), min_size=1))
def test_accuracies_survive_json_to_the_bit(accuracy):
    kept = record(accuracy=accuracy)
    assert Record.model_validate_json(json.dumps(kept.model_dump(mode="json"))) == kept


def test_means_worked_by_hand():
    kept = record(accuracy={"en": 0.9, "fr": 0.6, "sw": 0.3})
    assert kept.mean == pytest.approx(0.6)
    assert kept.target_mean == pytest.approx(0.45)
    assert kept.transfer_gap == pytest.approx(0.45)


def test_means_where_there_is_no_target_or_no_source():
    alone, without = record(accuracy={"en": 0.9}), record(accuracy={"fr": 0.6, "sw": 0.2})
    assert (alone.mean, alone.target_mean, alone.transfer_gap) == (0.9, None, None)
    assert without.target_mean == pytest.approx(0.4)
    assert without.transfer_gap is None


# Overwriting


def test_a_finished_record_is_never_overwritten(store):
    kept = record()
    store.write(kept, PREDICTIONS)
    store.write(record(notes=("another",)).model_copy(update={"id": kept.id}), PREDICTIONS)
    store.write(kept.model_copy(update={"status": "failed", "error": "late"}))
    assert store.find(kept.id) == kept
    assert everything(store) == [kept.id]


def test_a_failed_record_is_replaced(store):
    kept = record()
    store.write(kept.model_copy(update={"status": "failed", "error": "first"}))
    assert store.finished(kept.id) is None
    store.write(kept.model_copy(update={"status": "failed", "error": "second"}))
    assert store.find(kept.id).error == "second"
    store.write(kept, PREDICTIONS)
    assert store.finished(kept.id) == kept
    assert everything(store) == [kept.id]


def test_a_finished_record_without_its_predictions_is_not_whole_and_is_replaced(store):
    kept = record()
    store.write(kept, PREDICTIONS)
    (store.root / kept.id / "predictions.parquet").unlink()
    assert store.finished(kept.id) is None
    store.write(kept, PREDICTIONS)
    assert store.finished(kept.id) == kept


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"id": 1}', "\x00\x01"])
def test_a_broken_record_counts_as_missing_is_named_and_is_replaced(store, text):
    kept = record()
    (store.root / kept.id).mkdir(parents=True)
    (store.root / kept.id / "record.json").write_text(text)
    assert store.find(kept.id) is None
    with pytest.raises(XlbenchError, match=rf"the record .*{kept.id}/record\.json cannot be read .*; remove it"):
        list(store.records())
    store.write(kept, PREDICTIONS)
    assert store.finished(kept.id) == kept


def test_a_record_with_a_field_nobody_knows_is_refused(store):
    fields = record().model_dump(mode="json") | {"surprise": 1}
    file = store.root / "x" / "record.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(fields))
    with pytest.raises(XlbenchError, match="cannot be read"):
        read_record(file)


def test_a_record_from_a_newer_xlbench_is_refused_and_not_overwritten(store):
    kept = record()
    store.write(kept, PREDICTIONS)
    file = store.root / kept.id / "record.json"
    newer = json.dumps({**json.loads(file.read_text()), "schema_version": SCHEMA_VERSION + 1, "new_field": 1})
    file.write_text(newer)
    for ask in (lambda: read_record(file), lambda: store.finished(kept.id), lambda: store.write(kept, PREDICTIONS)):
        with pytest.raises(XlbenchError, match=f"has schema {SCHEMA_VERSION + 1}; this xlbench reads {SCHEMA_VERSION}"):
            ask()
    assert file.read_text() == newer


def test_a_folder_without_records(store):
    assert store.find("none") is None
    with pytest.raises(XlbenchError, match=r"there is no folder of records .*runs; name one with --runs DIR"):
        list(store.records())


def test_predictions_that_are_not_there_are_named(store):
    with pytest.raises(XlbenchError, match=r"the predictions .*none/predictions\.parquet cannot be read"):
        store.predictions("none")


# Half records


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, OSError])
def test_nothing_is_left_where_writing_stops_half_way(store, monkeypatch, fault):
    def stop(*_, **__):
        raise fault("the disk went away")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", stop)
        with pytest.raises((fault, XlbenchError)):
            store.write(record(), PREDICTIONS)
    assert everything(store) == []


def test_nothing_is_left_where_the_predictions_cannot_be_written(store, monkeypatch):
    monkeypatch.setattr(pq, "write_table", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(XlbenchError, match=r"cannot write the record .*: No space left"):
        store.write(record(), PREDICTIONS)
    assert everything(store) == []


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import pyarrow as pa
from hand_made import record
from xlbench import Store
Path.rename = lambda *_: os._exit(9)  # as a kill would: no clean-up
Store(Path(sys.argv[1])).write(record(), pa.table({"row_id": ["a"]}))
"""


def test_a_process_that_is_killed_half_way_leaves_nothing_that_a_reader_sees(store):
    command = [sys.executable, "-c", KILLED, str(store.root), str(Path(__file__).parents[1])]
    assert subprocess.run(command, timeout=60, check=False).returncode == 9
    kept = record()
    assert store.find(kept.id) is None
    assert list(store.records()) == []
    store.write(kept, PREDICTIONS)
    assert list(store.records()) == [kept]


def test_a_root_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(XlbenchError, match="cannot write the record"):
        Store(tmp_path / "runs").write(record(), PREDICTIONS)


def test_a_folder_is_made_ready_and_left_empty(store):
    store.ready()
    store.ready()
    assert everything(store) == []


# Races


def test_of_many_writers_one_wins_and_no_one_sees_half(store):
    kept = record()
    store.write(kept.model_copy(update={"status": "failed", "error": "before"}))
    writers, start, seen = 12, threading.Barrier(13), []

    def write(number: int) -> None:
        start.wait()
        store.write(kept.model_copy(update={"notes": (str(number),)}), PREDICTIONS)

    def look() -> None:
        start.wait()
        for _ in range(50):
            if (found := store.finished(kept.id)) is not None:
                seen.append(found.notes)

    with ThreadPoolExecutor(writers + 1) as pool:
        for done in [*(pool.submit(write, number) for number in range(writers)), pool.submit(look)]:
            done.result()
    assert everything(store) == [kept.id]
    winner = store.finished(kept.id)
    assert winner is not None
    assert set(seen) <= {winner.notes}


def test_a_failed_writer_never_takes_away_what_another_just_finished(store, monkeypatch):
    """The other finishes between the failed writer's look and its move."""
    kept = record()
    failed = kept.model_copy(update={"status": "failed", "error": "e"})
    store.write(failed)
    elsewhere = Store(store.root.with_name("elsewhere"))
    elsewhere.write(kept, PREDICTIONS)
    look, looks = Store.finished, []

    def finish_after_the_first_look(self: Store, run_id: str):
        found = look(self, run_id)
        if not looks:
            looks.append(run_id)
            shutil.rmtree(store.root / kept.id)
            (elsewhere.root / kept.id).rename(store.root / kept.id)  # as one would that has no locks
        return found

    monkeypatch.setattr(Store, "finished", finish_after_the_first_look)
    store.write(failed)
    monkeypatch.undo()
    assert store.finished(kept.id) == kept
    assert everything(store) == [kept.id]
