"""Tables of the board for other programs: the board's rows and cells, and kind refusals."""

import io
import json

import pandas as pd
import pytest
from hand_made import group, record, sound
from typer.testing import CliRunner

from xlbench import Store
from xlbench.analysis.evidence import evidence
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
    assert list(rows[0])[:3] == ["comparison", "group", "shots"]
    assert {row["shots"] for row in rows} == {"4"}
    read = pd.read_csv(io.StringIO(export(runs, "csv", name)[0]))
    assert len(read) == len(rows) == len(board.rows)
    if name not in ("pairs", "intervals"):  # those are in numbers of their own
        assert list(rows[0])[3:] == list(board.head)
        for row, shown in zip(rows, board.rows, strict=True):
            for value, text in zip(list(row.values())[3:], shown, strict=True):
                bare = text.removesuffix(" %").replace(",", "")
                assert value == text or (value is None and text == "–") or value == pytest.approx(float(bare))
    latex = export(runs, "latex", name)[0]
    assert "comparison" not in latex
    assert latex.count(r"\\") == len(board.rows) + 1
    assert r"mpt\_x" in latex


def test_pairs_and_intervals_are_numbers_as_shares_of_1(runs):
    (table,) = [table for one in group(Store(runs)) for table in one.tables]
    weighed = evidence(table)
    (row,) = json.loads(export(runs, "json", "pairs")[0])
    (pair,) = weighed.pairs
    assert (row["first"], row["second"], row["draws"]) == (pair.first, pair.second, pair.draws)
    for name, value in (("difference", pair.difference.estimate), ("low", pair.difference.low), ("p", pair.p),
                        ("corrected_high", pair.corrected.high), ("same_within", pair.within)):  # fmt: skip
        assert row[name] == pytest.approx(value)
    for row in json.loads(export(runs, "json", "intervals")[0]):
        score = weighed.scores[row["method"]]
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((score.estimate, score.low, score.high))


def test_latex_of_all_results_keeps_groups_apart(tmp_path):
    store = Store(tmp_path / "runs")
    for steps, accuracy in ((5, 0.5), (60, 0.75)):
        one = record(accuracy={"en": accuracy, "fr": accuracy}, spec={"training": {"steps": steps}})
        store.write(one, sound(one))
    latex = export(tmp_path / "runs", "latex")[0]
    assert latex.count("finetune") == 2
    assert "62.5" not in latex
    table = pd.read_csv(io.StringIO(export(tmp_path / "runs", "csv")[0]))
    assert table.groupby("steps")["group"].nunique().tolist() == [1, 1]
    assert table["group"].nunique() == 2


def test_the_command_prints_it_and_says_what_it_cannot(runs, tmp_path):
    code, text = asked("export", "scores", "--runs", runs)
    assert (code, text.splitlines()[0].split(",")[:3]) == (0, ["comparison", "group", "shots"])
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
