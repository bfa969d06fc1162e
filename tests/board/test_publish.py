"""A board's folder: written again from the same records or more, and never over what is of others."""

import os
import sys
from pathlib import Path

import pandas as pd
import pytest
from hand_made import record, sound
from typer.testing import CliRunner

from xlbench import Store, XlbenchError
from xlbench.board.publish import publish
from xlbench.cli import app

A, B, C = (record("finetune"), record("mpt"), record("pct"))
BOARD = ["README.md", "index.html", "results.csv", "results.parquet"]


def keep(runs: Path, *records) -> Path:
    for one in records:
        Store(runs).write(one, sound(one))
    return runs


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_a_board_grows_with_its_records_and_its_words_stay(tmp_path):
    runs, out = keep(tmp_path / "runs", A), tmp_path / "board"
    out.mkdir()
    (out / "ABOUT.md").write_text("What was run.")
    publish(runs, out)
    first = files(out)
    publish(runs, out)
    assert files(out) == first
    keep(runs, B)
    publish(runs, out)
    assert "| mpt |" in (out / "README.md").read_text()
    assert "What was run." in (out / "index.html").read_text()


def test_words_are_pointed_at_wherever_they_stand_above_records_that_they_were_not_written_over(tmp_path):
    runs, out = keep(tmp_path / "runs", A), tmp_path / "board"
    out.mkdir()
    (out / "ABOUT.md").write_text("One method.")
    assert [note for note in publish(runs, out).notes if "ABOUT.md" in note]  # it stood without a board
    assert not publish(runs, out, figures=False).notes
    keep(runs, B)
    assert [note for note in publish(runs, out).notes if "ABOUT.md" in note]  # over more records
    assert not publish(runs, out, figures=False).notes


def test_a_record_that_was_damaged_since_is_no_other_board(tmp_path):
    runs, out = keep(tmp_path / "runs", A, B), tmp_path / "board"
    publish(runs, out)
    (runs / B.id / "record.json").write_text("{")
    publish(runs, out)
    assert f"Left out: the record {B.id}" in (out / "index.html").read_text()


@pytest.mark.parametrize("others", [(C,), (A,), (A, C)], ids=["others", "fewer", "some others"])
def test_a_board_of_other_records_is_refused_and_stays_as_it_is(tmp_path, others):
    out = tmp_path / "board"
    publish(keep(tmp_path / "runs", A, B), out)
    (out / "ABOUT.md").write_text("Of A and B.")
    before, runs = files(out), keep(tmp_path / "others", *others)
    done = CliRunner().invoke(app, ["leaderboard", "--runs", str(runs), "--out", str(out)])
    assert done.exit_code == 2
    for said in (f"the board in {out} is of other records: of its 2, {runs} lacks {2 - (A in others)}, as ",
                 "; name another folder with --out, or write over it with --replace"):  # fmt: skip
        assert said in done.output
    assert files(out) == before


def test_replacing_it_is_asked_for_and_words_about_the_other_are_pointed_at(tmp_path):
    out, runs = tmp_path / "board", keep(tmp_path / "others", C)
    publish(keep(tmp_path / "runs", A, B), out)
    assert not [note for note in publish(runs, out, replace=True).notes if "ABOUT.md" in note]
    (out / "ABOUT.md").write_text("Of C.")
    done = CliRunner().invoke(app, ["leaderboard", "--runs", str(tmp_path / "runs"), "--out", str(out), "--replace"])
    assert done.exit_code == 0
    assert f"note: {out / 'ABOUT.md'} was there before these records" in done.output
    assert set(pd.read_parquet(out / "results.parquet").record) == {A.id, B.id}


@pytest.mark.parametrize("name", BOARD)
def test_a_file_that_is_no_board_s_is_refused_and_stays(tmp_path, name):
    runs, out = keep(tmp_path / "runs", A), tmp_path / "docs"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(XlbenchError, match=rf"docs/{name} is there already, .* with --out, or .* --replace"):
        publish(runs, out)
    assert files(out) == {name: b"mine"}
    publish(runs, out, replace=True)
    assert sorted(files(out)) == BOARD


def test_a_board_whose_readme_or_table_was_written_by_another_is_refused(tmp_path):
    runs, out = keep(tmp_path / "runs", A), tmp_path / "board"
    publish(runs, out)
    for name, content in (("README.md", b"# My project"), ("results.parquet", b"PAR1"), ("results.parquet", None)):
        whole = (out / name).read_bytes()
        if content is None:
            pd.DataFrame({"other": [1]}).to_parquet(out / name)
        else:
            (out / name).write_bytes(content)
        with pytest.raises(XlbenchError, match="is not of a board that xlbench can read"):
            publish(runs, out)
        (out / name).write_bytes(whole)
    publish(runs, out)


def test_other_files_of_a_folder_are_no_hindrance_and_stay(tmp_path):
    runs, out = keep(tmp_path / "runs", A), tmp_path / "runs"
    (out / "notes.txt").write_text("mine")
    publish(runs, out)
    assert (out / "notes.txt").read_text() == "mine"
    assert {A.id, *BOARD, "notes.txt"} <= {path.name for path in out.iterdir()}


def test_a_board_that_was_broken_off_anywhere_is_finished_by_the_same_command(tmp_path, monkeypatch):
    runs, out = keep(tmp_path / "runs", A, B), tmp_path / "whole"
    publish(runs, out)
    for number in range(len(BOARD)):
        done: list[object] = []

        def place(source, target, done=done, number=number):
            if len(done) == number:
                raise OSError("no space left")
            done.append(target)
            os.rename(source, target)

        with monkeypatch.context() as patched:
            patched.setattr("xlbench.host.whole_files.os.replace", place)
            with pytest.raises(XlbenchError, match="no space left"):
                publish(runs, tmp_path / f"broken{number}")
        publish(runs, tmp_path / f"broken{number}")
        assert files(tmp_path / f"broken{number}") == files(out)


def test_words_that_are_no_text_are_refused_before_anything_is_written(tmp_path):
    out = tmp_path / "board"
    out.mkdir()
    (out / "ABOUT.md").write_bytes(b"\xff\xfe")
    with pytest.raises(XlbenchError, match=r"cannot read .*ABOUT\.md: .*; save it as text in UTF-8"):
        publish(keep(tmp_path / "runs", A), out)
    assert [path.name for path in out.iterdir()] == ["ABOUT.md"]


@pytest.mark.parametrize("there", [True, False])
def test_the_page_is_opened_where_there_is_a_browser(tmp_path, monkeypatch, there):
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url) or there)
    keep(tmp_path / "runs", record())
    given = ["leaderboard", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "board"), "--open"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert asked == [(tmp_path / "board" / "index.html").as_uri()]
    assert ("there is no browser here" in done.output) is not there
