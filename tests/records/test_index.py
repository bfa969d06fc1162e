"""The index of a store: the same board with it and without it, whatever happened to the records in between."""

import json
import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hand_made import group, record, sound
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xlbench import Record, Store, XlbenchError
from xlbench.analysis.evidence import weigh
from xlbench.analysis.power import VarianceParts, pooled, power
from xlbench.board.figures.draw import write_figures
from xlbench.board.markdown import markdown
from xlbench.board.results import csv_of, results
from xlbench.host import safe_parquet
from xlbench.records import index
from xlbench.records.index import Index, seal_of
from xlbench.records.vetting import kept, result_of, vet

METHODS, DRAWS = ("finetune", "mpt"), 3


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Every record is entered, whenever it was written: here each change leaves its trace."""
    monkeypatch.setattr(index, "WORTH_KEEPING", 1)
    monkeypatch.setattr(index, "SETTLED", -10.0)


def one(method: str, draw: int, accuracy: float = 0.5) -> Record:
    return record(method, {"en": accuracy, "fr": accuracy - 0.1}, {"draw": draw})


def filled(root: Path) -> Store:
    store = Store(root)
    for method in METHODS:
        for draw in range(DRAWS):
            kept_record = one(method, draw)
            store.write(kept_record, sound(kept_record))
    return store


def board(store: Store) -> tuple[str, ...]:
    """All that is made of a store's records."""
    try:
        found = vet(store)
        text = markdown(group(found.results))
    except XlbenchError as fault:
        return (str(fault),)
    return text, csv_of(results(found.records)), *found.left_out


def without(store: Store) -> tuple[str, ...]:
    (store.root / index.FILE).unlink(missing_ok=True)
    said = board(store)
    (store.root / index.FILE).unlink(missing_ok=True)
    return said


# What may happen to a record between two boards. Each leaves a file of another size, time or inode.


def removed(store: Store, run_id: str, _: int) -> None:
    shutil.rmtree(store.path(run_id), ignore_errors=True)


def half_written(store: Store, run_id: str, at: int) -> None:
    file = store.path(run_id) / ("record.json", "predictions.parquet")[at % 2]
    if file.exists():
        file.write_bytes(file.read_bytes()[: at % 400])


def flipped_in_place(store: Store, run_id: str, at: int) -> None:
    """Size and inode as before, and the time of the change put back."""
    file = store.path(run_id) / ("record.json", "predictions.parquet")[at % 2]
    if file.exists():
        before = file.stat()
        content = bytearray(file.read_bytes())
        if content:
            content[at % len(content)] ^= 1 + at % 255
        with file.open("r+b") as stream:
            stream.write(content)
        changed(file, before.st_ctime_ns)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def rescored(store: Store, run_id: str, at: int) -> None:
    """Another record, as sound as the first, under the same name."""
    removed(store, run_id, at)
    for method in METHODS:
        for draw in range(DRAWS):
            whole = one(method, draw, 0.5 + at % 7 / 20).model_copy(update={"id": run_id})
            if one(method, draw).id == run_id:
                store.write(whole, sound(whole))


def nothing(store: Store, run_id: str, at: int) -> None:
    pass


def index_damaged(store: Store, run_id: str, at: int) -> None:
    file = store.root / index.FILE
    if file.exists():
        content = bytearray(file.read_bytes())
        content[at % len(content)] ^= 1 + at % 255
        file.write_bytes(content[: None if at % 3 else at])


def index_removed(store: Store, run_id: str, at: int) -> None:
    (store.root / index.FILE).unlink(missing_ok=True)


def changed(file: Path, before: int) -> None:
    """See that the change shows in the file's times, which go in steps of some milliseconds."""
    while file.stat().st_ctime_ns == before:
        os.chmod(file, 0o644)


EVENTS = (removed, half_written, flipped_in_place, rescored, nothing, index_damaged, index_removed)
IDS = [one(method, draw).id for method in METHODS for draw in range(DRAWS)]


@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(IDS), st.integers(0, 10_000)), max_size=4))
def test_the_board_is_the_same_with_the_index_and_without_it(events):
    with tempfile.TemporaryDirectory() as folder:
        store, bare = filled(Path(folder) / "runs"), Store(Path(folder) / "bare")
        board(store)
        assert (store.root / index.FILE).is_file()
        for event, run_id, at in events:
            event(store, run_id, at)
            shutil.rmtree(bare.root, ignore_errors=True)
            shutil.copytree(store.root, bare.root, ignore=shutil.ignore_patterns(index.FILE))
            expected = tuple(text.replace(str(bare.root), str(store.root)) for text in without(bare))
            assert board(store) == expected
            assert board(store) == expected


def test_what_the_index_knows_is_not_read_again(tmp_path, monkeypatch):
    store = filled(tmp_path)
    first = board(store)
    monkeypatch.setattr("xlbench.records.vetting.unit_scores", lambda *_, **__: pytest.fail("predictions were read"))
    found = Index(tmp_path)
    assert all(kept(store, run_id, pytest.fail, found).record.id == run_id for run_id in IDS)
    monkeypatch.setattr("xlbench.records.vetting.read_record", lambda *_: pytest.fail("a record was read"))
    assert board(store) == first


def test_one_record_more_reads_one_record_more(tmp_path, monkeypatch):
    store = filled(tmp_path)
    board(store)
    new = one("pct", 0)
    store.write(new, sound(new))
    read: list[Path] = []
    look = safe_parquet.read_parquet
    monkeypatch.setattr(
        "xlbench.records.predictions.read_parquet", lambda file, *rest: read.append(file) or look(file, *rest)
    )
    board(store)
    assert read == [store.path(new.id) / "predictions.parquet"]


def test_the_index_gives_back_to_the_bit_what_it_was_given(tmp_path):
    store = filled(tmp_path)
    found, again = vet(store), Index(tmp_path)
    assert len(found.results) == len(IDS)
    for expected in found.results:
        entry = again.find(expected.record.id, seal_of(tmp_path / expected.record.id))
        assert entry is not None
        assert entry is not expected
        assert entry.record == expected.record
        assert entry.summary.scores == expected.summary.scores
        assert entry.summary.test == expected.summary.test
        assert entry.summary.values.tobytes() == expected.summary.values.tobytes()
        assert entry.summary.chance.tobytes() == expected.summary.chance.tobytes()


def test_a_file_that_was_changed_a_moment_ago_is_not_relied_on(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "SETTLED", 60.0)
    board(filled(tmp_path))
    assert not (tmp_path / index.FILE).exists()


def test_a_record_that_json_does_not_hold_is_left_out_of_the_index_alone(tmp_path):
    store = filled(tmp_path)
    odd = record("pct", {"en": 0.5, "fr": 0.4}, {}, environment={"x": "?"})
    store.write(odd, sound(odd))
    file = store.path(odd.id) / "record.json"
    file.write_text(file.read_text().replace('"x": "?"', '"x": "\\ud800"'))
    assert odd.id in {one_.id for one_ in vet(store).records}
    assert Index(tmp_path).find(odd.id, seal_of(tmp_path / odd.id)) is None
    assert Index(tmp_path).find(IDS[0], seal_of(tmp_path / IDS[0])) is not None


def test_few_records_get_no_index(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "WORTH_KEEPING", len(IDS) + 1)
    board(filled(tmp_path))
    assert not (tmp_path / index.FILE).exists()


def test_an_index_of_another_version_is_as_good_as_none(tmp_path, monkeypatch):
    store = filled(tmp_path)
    first = board(store)
    monkeypatch.setattr(index, "_made_by", lambda: b"another version")
    assert Index(tmp_path).find(IDS[0], seal_of(tmp_path / IDS[0])) is None
    assert board(store) == first


def test_a_folder_that_cannot_be_written_costs_the_index_and_nothing_else(tmp_path, monkeypatch):
    store = filled(tmp_path)
    expected = without(store)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index.pq, "write_table", full)
    assert board(store) == expected
    monkeypatch.undo()
    assert [file.name for file in tmp_path.rglob(".*.part")] == []


def test_many_who_write_it_at_once_leave_a_whole_one(tmp_path):
    """Each reads what the others are writing; all get the same."""
    store = filled(tmp_path)
    expected, said = [record_.id for record_ in vet(store).records], []
    threads = [threading.Thread(target=lambda: said.append([one_.id for one_ in vet(store).records])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [expected] * 6
    assert all(Index(tmp_path).find(run_id, seal_of(tmp_path / run_id)) for run_id in IDS)
    assert list(tmp_path.glob(".*.part")) == []


def test_what_a_dead_writer_of_the_index_left_is_swept_after_a_day(tmp_path):
    store = filled(tmp_path)
    board(store)
    old, new = (tmp_path / f".{name}.part" for name in ("old", "new"))
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    shutil.rmtree(tmp_path / IDS[0])
    changed_record = json.loads((tmp_path / IDS[1] / "record.json").read_text())
    (tmp_path / IDS[1] / "record.json").write_text(json.dumps(changed_record))
    board(store)
    assert (old.exists(), new.exists()) == (False, True)


# Figures


def figures(store: Store, out: Path) -> dict[str, bytes]:
    pytest.importorskip("matplotlib")
    write_figures(group(vet(store).results), out)
    return {file.name: file.read_bytes() for file in sorted((out / "figures").iterdir())}


# The pairs of a table together

SHARE = st.floats(0, 0.2)
PARTS = st.builds(VarianceParts, SHARE, SHARE, SHARE, SHARE, SHARE)


@settings(deadline=None, max_examples=40)
@given(st.lists(PARTS, min_size=1, max_size=12), st.integers(2, 12), st.integers(2, 2000))
def test_what_all_pairs_show_lies_between_the_steadiest_and_the_widest(every, draws, premises):
    each = [power(parts, draws, 1, premises, level=0.99).smallest for parts in every]
    together = power(pooled(every), draws, 1, premises, level=0.99, degrees=(10, 90))
    assert min(each) - 1e-9 <= together.smallest <= max(each) + 1e-9
    assert together.low <= together.smallest + 1e-9
    assert together.high >= together.smallest - 1e-9


def test_one_draw_tells_nothing_of_pairs(tmp_path):
    assert pooled([VarianceParts(None, None, 0.1, None, None)]) is None
    store = filled(tmp_path)
    cells = {method: {(0, 0, ""): result_of(one(method, 0), store).summary} for method in METHODS}
    assert weigh(cells).power is None
