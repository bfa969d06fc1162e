"""Files written whole: what is there before the end, after a fault, and of two writers."""

import os

import pytest

from xlbench import XlbenchError
from xlbench.host.whole_files import replace_file, whole_file


def test_a_file_is_the_old_one_until_it_is_wholly_the_new_one(tmp_path):
    target = tmp_path / "folder" / "file"
    with whole_file(target) as beside:
        beside.write_text("old")
        assert not target.exists()
    with whole_file(target) as beside:
        beside.write_text("ne")
        assert target.read_text() == "old"
        beside.write_text("new")
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["file"]


@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_what_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    (tmp_path / "file").write_text("old")

    def write() -> None:
        with whole_file(tmp_path / "file") as beside:
            beside.write_text("half")
            raise fault

    with pytest.raises(fault):
        write()
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    target = tmp_path / "file"
    with whole_file(target) as first, whole_file(target) as second:
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # whose block ended last


def test_a_board_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "board").write_text("a file where a folder should be")
    with pytest.raises(XlbenchError, match=r"cannot write the board .*README\.md: "):
        replace_file(tmp_path / "board" / "README.md", b"")
