"""What dead writers left in a store goes; what somebody may still write, and training states, stay."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from xlbench import Store
from xlbench.records import leftovers as sweeping
from xlbench.records.leftovers import DAY, hidden_name, sweep


@pytest.fixture
def nobody() -> int:
    """The process id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def in_two_days(monkeypatch):
    """A clock that is two days ahead of the folders' times."""
    now = time.time
    monkeypatch.setattr(sweeping, "time", SimpleNamespace(time=lambda: now() + 2 * DAY))


def folder(root, name: str):
    made = root / name
    made.mkdir(parents=True)
    (made / "record.json").write_text("{")
    return made


def test_only_what_nobody_can_be_writing_is_swept(tmp_path, nobody):
    here, elsewhere = sweeping._here(), "0" * 8
    gone = [folder(tmp_path, f".abc123-{nobody}-{here}11111111")]
    stay = [
        folder(tmp_path, hidden_name("abc123")),
        folder(tmp_path, f".abc123-{nobody}-{elsewhere}66666666"),
        folder(tmp_path, f".abc123-{nobody}-77777777"),  # as older versions named it
        folder(tmp_path, ".abc123-old-88888888"),
        folder(tmp_path, ".abc123-training"),
        folder(tmp_path, "abc123"),
        folder(tmp_path, ".git"),
    ]
    assert sweep(tmp_path) == gone
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stay)
    assert sweep(tmp_path) == []


@pytest.mark.usefixtures("in_two_days")
def test_what_is_a_day_old_is_swept_whoever_wrote_it(tmp_path, nobody):
    gone = [
        folder(tmp_path, f".abc123-{os.getpid()}-{sweeping._here()}22222222"),
        folder(tmp_path, f".abc123-{nobody}-{'0' * 8}33333333"),
        folder(tmp_path, f".abc123-{nobody}-44444444"),
        folder(tmp_path, ".abc123-old-55555555"),  # another stands in its place
    ]
    stay = [folder(tmp_path, name) for name in (".abc123-training", "abc123", ".git")]
    assert sorted(sweep(tmp_path)) == sorted(gone)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stay)


def test_a_folder_is_as_old_as_its_name(tmp_path):
    """A record of last year that a writer has just moved away is no day old."""
    made = folder(tmp_path, "abc123")
    os.utime(made, (1e9, 1e9))
    moved = made.rename(tmp_path / ".abc123-old-55555555")
    assert sweep(tmp_path) == []
    assert moved.exists()


@pytest.mark.usefixtures("in_two_days")
def test_a_record_that_was_moved_away_goes_back_where_no_other_came(tmp_path):
    """Its writer died between the two renames of `Store._place`."""
    old = folder(tmp_path, ".abc123-old-55555555")
    assert sweep(tmp_path) == []
    assert not old.exists()
    assert (tmp_path / "abc123" / "record.json").read_text() == "{"


def test_what_a_zombie_was_writing_is_swept(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout.read() == b""  # it has ended, and nobody has waited for it
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    left = folder(tmp_path, f".abc123-{process.pid}-{sweeping._here()}11111111")
    assert sweep(tmp_path) == [left]
    process.wait()


def test_a_folder_that_is_not_there_is_no_fault(tmp_path):
    assert sweep(tmp_path / "nowhere") == []


def test_a_writer_that_is_killed_leaves_what_the_next_one_sweeps(tmp_path):
    """Killed between the folder and its new name, as by a batch system."""
    script = (
        "import os, sys; sys.path.append('tests')\n"
        "from pathlib import Path\n"
        "from hand_made import record\n"
        "from xlbench import Store\n"
        "Store._place = lambda *_: os.kill(os.getpid(), 9)\n"
        "Store(Path(sys.argv[1])).write(record())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[2], timeout=300)
    assert done.returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    assert list(Store(tmp_path).records()) == []
    assert sweep(tmp_path) == [left]
