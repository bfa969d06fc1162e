"""The sharded test design: each unit in one language, dealt out alike for all, and what is said where it cannot be."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import xlbench
from xlbench.cli import app
from xlbench.problem import Classification
from xlbench.records.predictions import unit_scores
from xlbench.records.vetting import vet
from xlbench.sources import DataSource
from xlbench.spec import RunSpec, Suite, Training
from xlbench.task import TestRows

HERE = DataSource(None)
LANGUAGES = ("en", "fr", "sw")


@pytest.mark.parametrize("units", [6, 7, 30, None])
def test_each_unit_is_in_one_language_and_languages_have_as_many_to_one(logic, units):
    rows = TestRows.of(logic, LANGUAGES, HERE, units, "sharded")
    of = {name: {row.unit.partition("/")[2] for row in side} for name, side in rows.by_language.items()}
    every = [unit for units_ in of.values() for unit in units_]
    assert len(every) == len(set(every)) == (units or logic.units)
    assert max(map(len, of.values())) - min(map(len, of.values())) <= 1
    assert (rows.aligned, rows.note) == (False, "")
    for name, side in rows.by_language.items():
        assert {row.language for row in side} == {name}
        assert set(Counter(row.unit for row in side).values()) == {3}  # units are whole


def test_more_units_hold_the_fewer_and_each_stays_in_its_language(logic):
    few, many = (TestRows.of(logic, LANGUAGES, HERE, number, "sharded").by_language for number in (9, 30))
    for name in LANGUAGES:
        assert {row.id for row in few[name]} <= {row.id for row in many[name]}


def test_it_is_the_same_units_that_the_parallel_design_has(logic):
    sharded = TestRows.of(logic, LANGUAGES, HERE, 12, "sharded").by_language
    parallel = TestRows.of(logic, LANGUAGES, HERE, 12).by_language["en"]
    assert {row.unit.partition("/")[2] for side in sharded.values() for row in side} == {row.unit for row in parallel}


def test_too_few_units_are_one_sentence(logic):
    with pytest.raises(xlbench.XlbenchError, match="sharded has 5 test units for 3 languages, and each needs two; ask"):
        TestRows.of(logic, LANGUAGES, HERE, 5, "sharded")


def test_rows_that_are_not_aligned_have_nothing_to_deal_out(logic, monkeypatch):
    monkeypatch.setattr(type(logic), "aligned", False)
    with pytest.raises(xlbench.XlbenchError, match="the test rows of task logic are not aligned; leave it out: each"):
        TestRows.of(logic, LANGUAGES, HERE, 12, "sharded")


def test_a_run_is_scored_boarded_and_not_computed_twice(runtime, tmp_path):
    training = Training(steps=2, checkpoints=1)
    asked = [
        RunSpec(method=method, task="logic", model="tiny", shots=2, draw=draw, languages=LANGUAGES, test_units=12,
                test_design="sharded", training=training)
        for method in ("finetune", "soft-prompt") for draw in range(2)
    ]  # fmt: skip
    records = [xlbench.run(spec, runtime) for spec in asked]
    assert records[0].test == {"rows": 36, "units": 12, "languages": 3}
    assert xlbench.run(asked[0], runtime) == records[0]
    (first, *_) = vet(xlbench.Store(runtime.runs)).results
    assert first.summary.values.mean() == pytest.approx(first.record.mean)
    done = CliRunner().invoke(app, ["leaderboard", "--runs", str(runtime.runs), "--out", str(tmp_path / "board")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "board" / "README.md").read_text()
    assert "each test unit in one language alone, so that a gap compares different units" in text
    assert "| finetune − soft-prompt |" in text or "| soft-prompt − finetune |" in text


def told(units_of: dict[str, list[str]], right: dict[tuple[str, str, int], bool]) -> pa.Table:
    """Predictions of three rows a unit, the units of each language as named, right where it says so."""
    columns: dict[str, list] = {name: [] for name in ("row_id", "unit_id", "language", "gold")}
    said = []
    for language, units in units_of.items():
        for unit in units:
            for row in range(3):
                columns["row_id"].append(f"{unit}-{row}")
                columns["unit_id"].append(unit)
                columns["language"].append(language)
                columns["gold"].append(row)
                said.append(row if right[language, unit, row] else (row + 1) % 3)
    scores = {f"log_prob_{label}": np.where(np.array(said) == label, -0.1, -3.0) for label in range(3)}
    return pa.table({**columns, **scores})


CHANCES = {"en": 0.9, "fr": 0.5, "sw": 0.3}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(2, 40)] * 3))
def test_the_standard_error_is_that_of_a_sample_within_each_language(seed, numbers):
    """Units dealt out over languages of unlike means: what a unit shows stands for the mean over languages, and its
    spread for s1²/n1 + s2²/n2 + s3²/n3 over nine, however few units a language has."""
    random = np.random.default_rng(seed)
    units_of = {
        name: [f"{name}/{unit}" for unit in range(number)] for name, number in zip(CHANCES, numbers, strict=True)
    }
    right = {(name, unit, row): random.random() < CHANCES[name] for name in CHANCES for unit in units_of[name]
             for row in range(3)}  # fmt: skip
    found = unit_scores(told(units_of, right), Classification(("a", "b", "c")), aligned=False)
    by_unit = [np.array([[right[name, unit, row] for row in range(3)] for unit in units_of[name]]).mean(axis=1)
               for name in CHANCES]  # fmt: skip
    assert found.values.mean() == pytest.approx(np.mean([units.mean() for units in by_unit]))
    ours = float(np.var(found.values, ddof=1) / len(found.values))
    assert ours == pytest.approx(sum(units.var(ddof=1) / len(units) for units in by_unit) / 9, abs=1e-12)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_parallel_run_dealt_out_is_what_the_sharded_one_shows(first):
    random = np.random.default_rng(first)
    units = [f"{number:02}" for number in range(13)]
    right = {
        (name, unit, row): random.random() < CHANCES[name] for name in CHANCES for unit in units for row in range(3)
    }
    problem = Classification(("a", "b", "c"))
    parallel = unit_scores(told(dict.fromkeys(CHANCES, units), right), problem)
    of = {name: units[(number - first) % 3 :: 3] for number, name in enumerate(CHANCES)}
    own = {(name, f"{name}/{unit}", row): good for (name, unit, row), good in right.items()}
    sharded = unit_scores(
        told({name: [f"{name}/{unit}" for unit in side] for name, side in of.items()}, own), problem, aligned=False
    )
    assert sorted(parallel.dealt(first)) == pytest.approx(sorted(sharded.values))


def test_a_suite_may_begin_with_another_draw_and_run_few_shots_with_other_selections():
    run = {"task": "logic", "model": "tiny"}
    suite = Suite(methods=("mpt",), shots=(4, 64), draws=2, first_draw=5, beside=("last", "source-dev"), run=run)
    assert [(cell.draw, cell.shots, cell.selection) for cell in suite.cells()] == [
        (5, 4, "source-dev"), (5, 4, "last"), (5, 64, "source-dev"),
        (6, 4, "source-dev"), (6, 4, "last"), (6, 64, "source-dev"),
    ]  # fmt: skip


def test_compare_runs_few_shots_by_the_last_state_too_where_no_selection_is_asked_for(tmp_path):
    line = ["compare", "--task", "logic", "--model", "tiny", "--methods", "finetune", "--shots", "1", "--draws", "1",
            "--seeds", "1", "--languages", "en,fr", "--test-units", "4", "--steps", "1", "--checkpoints", "1",
            "--runs", str(tmp_path), "--quiet"]  # fmt: skip
    done = CliRunner().invoke(app, line)
    assert "2 runs computed" in done.output
    assert {one.spec.selection for one in xlbench.Store(tmp_path).records()} == {"source-dev", "last"}
    assert "0 runs computed" in CliRunner().invoke(app, [*line, "--selection", "last"]).output
