"""Tables of the board for other programs: the board's rows and cells, and kind refusals."""

import io
import json

import pandas as pd
import pytest
from hand_made import group, record, sound
from typer.testing import CliRunner

from xlbench import Store
from xlbench.board.blocks import Grid
from xlbench.board.content import blocks
from xlbench.board.export import TABLES, export
from xlbench.cli import app
from xlbench.host.plain_text import csv_cell


@pytest.fixture
def runs(tmp_path):
    for method, level in (("finetune", 0.5), ("mpt_x", 0.6)):
        for draw in range(3):
            one = record(method, {"en": level, "fr": level - 0.1 + 0.05 * draw}, {"draw": draw})
            Store(tmp_path / "runs").write(one, sound(one))
    return tmp_path / "runs"


def asked(*words):
    done = CliRunner().invoke(app, [*map(str, words)])
    return done.exit_code, done.output


@pytest.mark.parametrize("name", ["scores", "intervals", "pairs", "variance", "languages", "costs"])
def test_a_table_is_that_of_the_board_in_each_form(runs, name):
    (table,) = [table for one in group(Store(runs)) for table in one.tables]
    (board,) = [block for block in blocks(table) if isinstance(block, Grid) and block.title == TABLES[name]]
    rows = json.loads(export(runs, "json", name)[0])
    assert [list(row.values())[2:] for row in rows] == [list(row) for row in board.rows]
    assert list(rows[0]) == ["comparison", "shots", *board.head]
    assert {row["shots"] for row in rows} == {"4"}
    read = pd.read_csv(io.StringIO(export(runs, "csv", name)[0]), dtype=str)
    assert read.iloc[:, 2:].to_numpy().tolist() == [list(row) for row in board.rows]
    latex = export(runs, "latex", name)[0]
    assert "comparison" not in latex
    assert latex.count(r"\\") == len(board.rows) + 1
    assert r"mpt\_x" in latex


def test_the_command_prints_it_and_says_what_it_cannot(runs, tmp_path):
    code, text = asked("export", "scores", "--runs", runs)
    assert (code, text.splitlines()[0].split(",")[:3]) == (0, ["comparison", "shots", "method"])
    for words, said in (
        (("export", "prices", "--runs", runs), "the board has no table 'prices'; it has scores, intervals,"),
        (("export", "phenomena", "--runs", runs), "has no table 'phenomena': no record there has anything for it"),
        (("export", "scores", "--runs", runs, "--format", "xlsx"), "cannot export 'xlsx'; formats are csv, json"),
        (("export", "scores", "--runs", tmp_path / "none"), "there is no folder of records"),
    ):
        code, text = asked(*words)
        assert code == 2
        assert said in " ".join(text.split())


@pytest.mark.parametrize(
    ("cell", "written"),
    [("-0.1", "-0.1"), ("-12.3 – 4.5", "-12.3 – 4.5"), ("-1+2", "'-1+2"), ("=1", "'=1"), ("-cmd", "'-cmd")],
)
def test_a_number_is_no_formula(cell, written):
    assert csv_cell(cell) == written
