"""Statistics of any table of judged answers: the board's own, and hand-worked ones; what a table must have."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_made import group, predictions, record, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from xlbench.analysis.any_results import analyse
from xlbench.analysis.evidence import evidence
from xlbench.cli import app
from xlbench.errors import XlbenchError
from xlbench.records.store import Store


def answers(table, method: str, draw: int) -> pd.DataFrame:
    """Predictions as another harness would have them: a row an answer, right or not."""
    frame = table.to_pandas()
    said = frame[[name for name in frame if name.startswith("log_prob_")]].to_numpy().argmax(axis=1)
    right = (said == frame["gold"]).astype(int)
    return pd.DataFrame(
        {"method": method, "draw": draw, "language": frame["language"], "unit": frame["unit_id"], "value": right}
    )


def small(values: dict[str, list[list[float]]]) -> pd.DataFrame:
    """Method → draws → values of units, in one language."""
    return pd.DataFrame(
        {"method": method, "draw": draw, "language": "de", "unit": str(unit), "value": value}
        for method, draws in values.items()
        for draw, units in enumerate(draws)
        for unit, value in enumerate(units)
    )


def test_it_says_what_the_board_says_of_the_same_answers(tmp_path):
    store, tables = Store(tmp_path), []
    for method, accuracy in (("finetune", 0.7), ("mpt", 0.55), ("pct", 0.5)):
        for draw in range(3):
            made = predictions(accuracy, 7 * draw + len(method))
            store.write(scored(record(method, spec={"draw": draw}), made), made)
            tables.append(answers(made, method, draw))
    (matched,) = group(store)
    board = evidence(matched.tables[0])
    found, means = analyse(pd.concat(tables), chance=1 / 3)
    for method, interval in board.scores.items():
        ours = found.scores[method]
        assert (ours.estimate, ours.low, ours.high) == pytest.approx(
            (interval.estimate, interval.low, interval.high), abs=1e-12
        )
        assert means[method] == pytest.approx(matched.tables[0].by_language[method], abs=1e-12)
    assert found.places == board.places
    theirs = {frozenset((pair.first, pair.second)): pair for pair in board.pairs}
    for pair in found.pairs:
        other = theirs[frozenset((pair.first, pair.second))]
        assert pair.corrected_p == pytest.approx(other.corrected_p, abs=1e-12)
        assert abs(pair.difference.estimate) == pytest.approx(abs(other.difference.estimate), abs=1e-12)
    assert found.power.smallest == pytest.approx(board.power.smallest, abs=1e-12)


def test_a_difference_of_one_draw_worked_by_hand():
    """Units differ by 1, 0, 0, 1: mean 0.5, standard error √(1/3)/2, t of 3 degrees 3.1824."""
    found, means = analyse(small({"a": [[1, 1, 0, 1]], "b": [[0, 1, 0, 0]]}))
    (pair,) = found.pairs
    assert pair.difference.estimate == pytest.approx(0.5)
    assert pair.difference.high == pytest.approx(0.5 + 3.18244630528 * np.sqrt(1 / 3) / 2)
    assert means == {"a": {"de": 0.75}, "b": {"de": 0.25}}


def test_a_language_s_mean_is_of_its_rows_where_units_have_unlike_numbers():
    table = pd.DataFrame({"method": "a", "language": "de", "unit": ["p", "p", "p", "q"], "value": [1, 1, 1, 0]})
    found, means = analyse(table)
    assert means["a"]["de"] == 0.75
    assert found.scores["a"].estimate == pytest.approx(0.75)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_names_matter(random):
    table = small({name: [[random.randint(0, 1) for _ in range(6)] for _ in range(2)] for name in "abc"})
    first, _ = analyse(table)
    shuffled = table.sample(frac=1, random_state=random.randint(0, 9)).replace({"method": {"a": "z"}})
    second, _ = analyse(shuffled)
    assert second.scores["z"] == first.scores["a"]
    assert sorted(pair.corrected_p for pair in second.pairs) == pytest.approx(
        sorted(pair.corrected_p for pair in first.pairs)
    )


FINE = small({"a": [[1, 0], [1, 1]], "b": [[0, 0], [1, 0]]})


@pytest.mark.parametrize(
    ("table", "columns", "says"),
    [
        (FINE.drop(columns="unit"), {}, "has no column 'unit'; it has method, draw, language, value; say which is it"),
        (FINE, {"method": "model"}, "has no column 'model'"),
        (FINE, {"metric": "value"}, "'metric' is no column of an analysis; it has method, language"),
        (FINE.assign(value=FINE["value"] * 100), {}, "row 1 of the table: value is 100, not between 0 and 1"),
        (FINE.assign(value="yes"), {}, "row 1 of the table: value is 'yes', no number"),
        (FINE.assign(value=np.nan), {}, "row 1 of the table: value is 'nan', no number"),
        (FINE.assign(draw=0.5), {}, "row 1 of the table: draw is 0.5, no integer"),
        (FINE.assign(language=None), {}, "row 1 of the table has no language"),
        (FINE.iloc[:-1], {}, "b (draw 1, seed 0) has 0 rows of unit '1' in de, and a (draw 0, seed 0) has 1"),
        (FINE.iloc[:0], {}, "the table has no rows"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_analysed_says_why(table, columns, says):
    with pytest.raises(XlbenchError, match=re.escape(says)):
        analyse(table, columns)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_the_command_reads_what_people_have(tmp_path, suffix):
    file = tmp_path / f"results.{suffix}"
    table = FINE.rename(columns={"method": "model", "value": "acc"})
    if suffix == "parquet":
        table.to_parquet(file)
    elif suffix == "jsonl":
        table.to_json(file, orient="records", lines=True)
    else:
        table.to_csv(file, index=False, sep="\t" if suffix == "tsv" else ",")
    done = CliRunner().invoke(app, ["analyse", str(file), "--columns", "method=model,value=acc", "--unit", "question"])
    assert done.exit_code == 0, done.output
    assert "a − b" in done.output
    assert "75.0" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.csv"], "nothing.csv is no file"),
        (["README.md"], "README.md ends in none of .parquet, .csv"),
        (["results.csv", "--columns", "method"], "'method' names no column"),
        (["results.csv", "--chance", "33"], "chance 33.0 is no share of 1"),
    ],
)
def test_the_command_s_mistakes_are_one_sentence(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    FINE.to_csv("results.csv", index=False)
    Path("README.md").touch()
    done = CliRunner().invoke(app, ["analyse", *arguments])
    assert done.exit_code == 2
    assert says in done.output
    assert len(done.output.strip().splitlines()) == 1
