"""Records at a URL: on a file system of folders, and on one as object stores are, which renames nothing."""

import itertools
import json
import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hand_made import record, sound
from hypothesis import given
from hypothesis import strategies as st
from small_data import LINE
from typer.testing import CliRunner

from xlbench import Runtime, Store, XlbenchError
from xlbench.board.publish import publish
from xlbench.cli import app
from xlbench.records.bucket import ObjectStore, store_at

PREDICTIONS = pa.table({"row_id": ["a", "b"], "gold": [0, 1]})
OTHERS = pa.table({"row_id": ["a", "b"], "gold": [1, 1]})
fresh = itertools.count()


class Objects(MemoryFileSystem):
    """Named blobs, whole when they are put, with no folders and no renaming; `between` runs before each is put."""

    protocol = "objects"
    store: dict = {}  # noqa: RUF012 - shared by all, as a service is
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False
    between = staticmethod(lambda name: None)

    def mv(self, *_: object, **__: object) -> None:
        raise NotImplementedError("object stores do not rename")

    rename = move = makedirs = mkdir = mv

    def pipe_file(self, path: str, value: bytes, **fields: object) -> None:
        type(self).between(path)
        super().pipe_file(path, value, **fields)


fsspec.register_implementation("objects", Objects, clobber=True)


@pytest.fixture(params=["objects", "file"])
def url(request, tmp_path):
    return f"objects://bucket/{next(fresh)}" if request.param == "objects" else f"file://{tmp_path}/there"


@pytest.fixture
def store(url, monkeypatch, tmp_path):
    monkeypatch.setenv("XLBENCH_CACHE", str(tmp_path / "cache"))
    return store_at(url)


@pytest.fixture
def between(monkeypatch):
    """Sets what happens once, just before an object of that name is put."""

    def arrange(name: str, act) -> None:
        def once(path: str) -> None:
            if path.endswith(name):
                monkeypatch.undo()
                act()

        monkeypatch.setattr(Objects, "between", staticmethod(once))

    return arrange


def elsewhere(store: ObjectStore, tmp_path: Path) -> ObjectStore:
    """The same place, seen from another machine: with copies of its own."""
    found = ObjectStore(store.url)
    found.root = tmp_path / f"elsewhere-{next(fresh)}"
    return found


def there(store: ObjectStore) -> list[str]:
    return sorted(name.removeprefix(f"{store.place}/") for name in store.system.find(store.place))


def test_what_is_written_is_read_again_from_here_and_elsewhere(store, tmp_path):
    kept = record(notes=("日本語",))
    store.ready()
    store.write(kept, PREDICTIONS)
    assert there(store) == [f"{kept.id}/predictions.parquet", f"{kept.id}/record.json"]
    for one in (store, elsewhere(store, tmp_path)):
        found = one.finished(kept.id)
        assert found.model_copy(update={"predictions_sha256": ""}) == kept
        assert len(found.predictions_sha256) == 64
        assert one.predictions(kept.id) == PREDICTIONS
        assert [folder.name for folder in one.folders()] == [kept.id]


def test_a_copy_of_it_is_a_folder_of_records(store, tmp_path):
    kept = record()
    store.write(kept, sound(kept))
    for name in there(store):
        (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / name).write_bytes(store.system.cat_file(f"{store.place}/{name}"))
    assert Store(tmp_path / "runs").finished(kept.id) == store.finished(kept.id)


def test_a_folder_s_records_have_no_seal(tmp_path):
    kept = record()
    Store(tmp_path).write(kept, PREDICTIONS)
    assert "predictions_sha256" not in json.loads((tmp_path / kept.id / "record.json").read_text())


def test_a_finished_record_is_never_overwritten_and_a_failed_one_is_replaced(store):
    kept = record()
    failed = kept.model_copy(update={"status": "failed", "error": "first"})
    store.write(failed)
    assert (store.find(kept.id).error, store.finished(kept.id)) == ("first", None)
    store.write(failed.model_copy(update={"error": "second"}))
    assert store.find(kept.id).error == "second"
    store.write(kept, PREDICTIONS)
    store.write(failed)
    store.write(record(notes=("another",)).model_copy(update={"id": kept.id}), OTHERS)
    assert store.finished(kept.id).notes == kept.notes
    assert store.predictions(kept.id) == PREDICTIONS
    assert there(store) == [f"{kept.id}/predictions.parquet", f"{kept.id}/record.json"]


@pytest.mark.parametrize("lost", ["predictions.parquet", "record.json"])
def test_half_a_pair_is_never_read_and_is_made_whole(store, tmp_path, lost):
    kept = record()
    store.write(kept, PREDICTIONS)
    assert store.finished(kept.id) is not None
    store.system.rm_file(f"{store.place}/{kept.id}/{lost}")
    for one in (store, elsewhere(store, tmp_path)):
        assert one.finished(kept.id) is None
    store.write(kept, PREDICTIONS)
    assert elsewhere(store, tmp_path).predictions(kept.id) == PREDICTIONS


def test_predictions_that_the_record_does_not_seal_are_not_read(store, tmp_path):
    kept = record()
    store.write(kept, OTHERS)
    there_name = f"{store.place}/{kept.id}/predictions.parquet"
    others = store.system.cat_file(there_name)
    store.system.rm_file(f"{store.place}/{kept.id}/record.json")
    store.write(kept, PREDICTIONS)
    store.system.pipe_file(there_name, others)
    for one in (store, elsewhere(store, tmp_path)):
        assert one.finished(kept.id) is None
        with pytest.raises(XlbenchError, match=r"the predictions .* cannot be read"):
            one.predictions(kept.id)


@pytest.mark.parametrize("place", ["predictions.parquet", "record.json"])
@pytest.mark.parametrize("url", ["objects"], indirect=True)
def test_of_two_writers_whose_halves_mix_one_whole_pair_is_left(store, tmp_path, between, place):
    """The other writes between our look and our predictions, or between our predictions and our record."""
    kept = record()
    between(place, lambda: elsewhere(store, tmp_path).write(kept, OTHERS))
    store.write(kept, PREDICTIONS)
    assert elsewhere(store, tmp_path).finished(kept.id) is not None
    assert elsewhere(store, tmp_path).predictions(kept.id) in (PREDICTIONS, OTHERS)


@pytest.mark.parametrize("url", ["objects"], indirect=True)
def test_a_late_failure_never_takes_a_result_s_place(store, tmp_path, between):
    kept = record()
    between("failed.json", lambda: elsewhere(store, tmp_path).write(kept, PREDICTIONS))
    store.write(kept.model_copy(update={"status": "failed", "error": "late"}))
    assert store.finished(kept.id) is not None


@given(cut=st.integers(0, 3))
def test_a_writer_that_is_killed_at_any_put_leaves_nothing_that_is_read(cut):
    """It is killed before its first, second, third or fourth object is put (it puts two)."""

    class Killed(BaseException):
        pass

    store, kept, puts = ObjectStore(f"objects://bucket/{next(fresh)}"), record(), itertools.count()

    def kill(_: str) -> None:
        if next(puts) == cut:
            raise Killed

    Objects.between = staticmethod(kill)
    try:
        store.write(kept, PREDICTIONS)
    except Killed:
        assert store.find(kept.id) is None
        assert store.folders() == []
    else:
        assert cut >= 2
    finally:
        Objects.between = staticmethod(lambda name: None)
    store.write(kept, PREDICTIONS)
    assert store.finished(kept.id) is not None


def test_a_damaged_record_is_put_aside_and_computed_again(store):
    kept = record()
    store.write(kept, PREDICTIONS)
    store.put_aside(kept.id)
    assert store.find(kept.id) is None
    assert store.folders() == []
    assert all(name.startswith(f".{kept.id}-damaged-") for name in there(store))
    store.write(kept, OTHERS)
    assert store.predictions(kept.id) == OTHERS


def test_a_place_without_records_and_one_that_nothing_reads(store):
    assert store.find("none") is None
    with pytest.raises(XlbenchError, match=rf"there is no folder of records {store.url}; name one with --runs"):
        list(store.records())
    with pytest.raises(XlbenchError, match=r"records at nosuch://x need a package that is not .*; s3:// needs s3fs"):
        store_at("nosuch://x")


def test_a_store_that_cannot_be_reached_is_no_empty_store(store, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("access denied")

    for name in ("find", "pipe_file"):
        monkeypatch.setattr(type(store.system), name, refuse)
    for ask in (lambda: store.find("x"), store.folders, store.ready):
        with pytest.raises(XlbenchError, match=rf"cannot .* {store.url}: PermissionError: access denied"):
            ask()


def test_ids_at_a_url_are_no_paths(store):
    for name in ("..", "a/b", ""):
        with pytest.raises(XlbenchError, match="a record's id is a plain name"):
            store.find(name)


@pytest.mark.parametrize("url", ["objects"], indirect=True)
@pytest.mark.parametrize("name", ["..", ".hidden", "a\\b", "x" * 300])
def test_an_object_whose_name_is_no_record_s_is_none(store, tmp_path, name):
    kept = record()
    store.write(kept, PREDICTIONS)
    store.system.store[f"{store.place}/{name}/record.json"] = store.system.store[f"{store.place}/{kept.id}/record.json"]
    assert [folder.name for folder in store.folders()] == [kept.id]
    assert {path.name for path in store.root.iterdir()} == {kept.id}


def test_a_url_stays_a_url_and_a_folder_a_path():
    assert Runtime(runs="s3://bucket/runs").runs == "s3://bucket/runs"
    assert Runtime(runs="runs").runs == Path("runs")
    assert Runtime.model_validate(Runtime(runs="s3://b/r").model_dump(mode="json")).runs == "s3://b/r"
    for runs in ("s3://b/r", "runs"):
        assert Runtime.model_validate_json(Runtime(runs=runs).model_dump_json()) == Runtime(runs=runs)


@pytest.mark.slow
def test_a_comparison_at_a_url_goes_on_and_gives_the_folder_s_board(tmp_path, monkeypatch):
    """All commands that take --runs, and workers; the board from the URL is the folder's to the byte."""
    monkeypatch.setenv("XLBENCH_CACHE", str(tmp_path / "cache"))
    url, run = f"file://{tmp_path}/there", CliRunner().invoke
    line = [*LINE, "--methods", "finetune,mpt", "--runs"]
    done = run(app, [*line, url, "--executor", "processes", "--jobs", "1"])
    assert done.exit_code == 0, done.output
    assert f"2 runs computed, 2 in the table; records in {url}" in done.stdout
    again = run(app, [*line, url])
    assert "0 runs computed, 2 in the table" in again.stdout, again.output
    shutil.copytree(tmp_path / "there", tmp_path / "folder")
    shutil.rmtree(tmp_path / "cache")
    boards = []
    for place in (url, str(tmp_path / "folder")):
        publish(place, tmp_path / "out")
        boards.append({file.name: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()})
        shutil.rmtree(tmp_path / "out")
    assert boards[0] == boards[1]
    one, other = [folder.name for folder in store_at(url).folders()]
    for words in (
        ["show", one],
        ["diff", one, other],
        ["export"],
        ["cite"],
        ["leaderboard", "--out", str(tmp_path / "b")],
    ):
        done = run(app, [*words, "--runs", url])
        assert done.exit_code == 0, done.output
