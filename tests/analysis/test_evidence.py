"""From predictions in a folder to intervals, places and sentences on the board."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_made import LABELS, group, predictions, record
from hypothesis import given, settings
from hypothesis import strategies as st

from xlbench import Store, XlbenchError
from xlbench.analysis import matching
from xlbench.analysis.evidence import evidence, weigh
from xlbench.board.markdown import write
from xlbench.problem import Classification
from xlbench.records.index import Result
from xlbench.records.predictions import Summary, unit_scores

LANGUAGES = ("en", "fr")


Runs = dict[str, dict[tuple[int, int, str], Summary]]


def tables(accuracies: dict[str, float], draws: int) -> dict[str, dict[tuple[int, int, str], pa.Table]]:
    """Predictions of methods by draw, seed and shots."""
    return {
        method: {(draw, 0, ""): predictions(accuracy, 100 * number + draw) for draw in range(draws)}
        for number, (method, accuracy) in enumerate(accuracies.items())
    }


def shown(runs: dict[str, dict[tuple[int, int, str], pa.Table]], aligned: bool = True) -> Runs:
    """What their predictions show."""
    problem = Classification(LABELS)
    return {
        method: {cell: unit_scores(table, problem, aligned=aligned).summary for cell, table in cells.items()}
        for method, cells in runs.items()
    }


def test_a_clear_difference_is_said_and_a_method_at_chance_is_not_ranked():
    found = weigh(shown(tables({"good": 0.8, "fair": 0.6, "coin": 1 / 3}, draws=5)), "premise")
    assert (found.draws, found.units, found.runs["good"]) == (5, 60, (5, 5))
    assert {name: str(place) for name, place in found.places.items()} == {"good": "1", "fair": "2"}
    assert not found.above["coin"].above
    said = " ".join(found.words())
    assert "good is better than fair by" in said
    assert "Not shown to be above chance on other premises, and not ranked: coin" in said
    assert "(5 draws, 60 premises)" in said


def test_equal_methods_share_their_places_and_the_words_say_so():
    found = weigh(shown(tables({"one": 0.6, "other": 0.6}, draws=4)))
    assert {str(place) for place in found.places.values()} == {"1–2"}
    assert "No two methods above chance can be told apart" in found.words()


@pytest.mark.parametrize(("draws", "words"), [(1, "1 draw cannot support"), (2, "2 draws cannot support")])
def test_few_draws_are_warned_about(draws, words):
    found = weigh(shown(tables({"good": 0.9, "fair": 0.5}, draws)))
    assert any(words in sentence for sentence in found.words())
    assert (found.power is None) == (draws == 1)


def test_the_board_shows_intervals_pairs_and_variance_parts(tmp_path):
    store = Store(tmp_path / "runs")
    for number, (method, accuracy) in enumerate({"finetune": 0.8, "mpt": 0.5}.items()):
        for draw in range(3):
            one = record(method, {"en": accuracy, "fr": accuracy}, {"draw": draw})
            store.write(one, predictions(accuracy, 10 * number + draw))
    text = write(group(store), tmp_path / "board").read_text(encoding="utf-8")
    assert "finetune is better than mpt by" in text
    for head in ("| evidence | 95 % interval (other draws, seeds and premises)", "| difference |", "| variance of"):
        assert head in text
    (table,) = group(store)[0].tables
    assert evidence(table).scores.keys() == {"finetune", "mpt"}


def test_predictions_that_cannot_be_read_are_named_and_the_rest_of_the_board_stands(tmp_path):
    store = Store(tmp_path / "runs")
    store.write(record(), pa.table({"row_id": ["a"]}))
    text = write(group(store), tmp_path / "board").read_text(encoding="utf-8")
    assert f"No intervals: the predictions of record {record().id} were not read" in text
    assert "| finetune | 45.0 |" in text


def test_methods_with_other_draws_are_compared_on_those_they_have_in_common():
    runs = shown(tables({"good": 0.9, "fair": 0.5}, 3))
    del runs["fair"][1, 0, ""]
    found = weigh(runs)
    assert [pair.draws for pair in found.pairs] == [2]
    assert found.runs == {"good": (3, 3), "fair": (2, 2)}
    assert found.words()[0].startswith("Methods have different runs")
    del runs["fair"][0, 0, ""], runs["fair"][2, 0, ""]
    runs["fair"][7, 0, ""] = runs["good"][0, 0, ""]
    assert weigh(runs).pairs == []


def own_by_language(table: pa.Table) -> pa.Table:
    """Predictions whose languages have rows and units of their own."""
    for at, name in enumerate(("row_id", "unit_id")):
        sides = zip(table[name].to_pylist(), table["language"].to_pylist(), strict=True)
        table = table.set_column(at, name, pa.array([f"{language}/{value}" for value, language in sides]))
    return table


def test_a_task_whose_languages_have_rows_of_their_own_is_weighed_by_the_units_of_each():
    runs = tables({"good": 0.9, "fair": 0.5}, 2)
    own = {method: {cell: own_by_language(table) for cell, table in cells.items()} for method, cells in runs.items()}
    with pytest.raises(XlbenchError, match="lack row en/0-0 of unit en/0 in fr"):
        shown(own)
    found, together = weigh(shown(own, aligned=False)), weigh(shown(runs))
    assert found.units == len(LANGUAGES) * together.units
    for method, score in together.scores.items():
        assert found.scores[method].estimate == pytest.approx(score.estimate)


def test_predictions_that_were_computed_again_are_weighed_again(tmp_path):
    store = Store(tmp_path / "runs")
    folder = store.write(record(), predictions(0.9, 0))
    (table,) = group(store)[0].tables
    before = evidence(table)
    assert evidence(table) is before
    pq.write_table(predictions(0.5, 1), folder / "predictions.parquet")
    (table,) = group(store)[0].tables
    assert evidence(table).scores["finetune"].estimate < before.scores["finetune"].estimate - 0.2


# Unbalanced designs


def random_runs(random: np.random.Generator, methods: int, units: int = 12) -> Runs:
    """Methods with some of six draws each, and one to three seeds a draw."""
    hard = random.normal(0, 0.1, units)
    runs: Runs = {}
    for number in range(methods):
        cells = {}
        for draw in random.choice(6, size=random.integers(1, 7), replace=False):
            for seed in range(random.integers(1, 4)):
                values = 0.5 + 0.05 * number + hard + random.normal(0, 0.05) + random.normal(0, 0.1, units)
                cells[int(draw), int(seed), ""] = Summary({}, values, np.full(units, 1 / 3), "t")
        runs[f"m{number}"] = cells
    return runs


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_another_method_takes_no_pairs_data_or_interval_away(seed, methods):
    runs = random_runs(np.random.default_rng(seed), methods + 1)
    fewer = {name: cells for name, cells in runs.items() if name != f"m{methods}"}
    more = {(pair.first, pair.second): pair for pair in weigh(runs).pairs}
    for pair in weigh(fewer).pairs:
        same = more[pair.first, pair.second]
        assert (same.difference, same.p, same.within, same.draws) == (pair.difference, pair.p, pair.within, pair.draws)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_another_run_of_a_method_takes_no_draw_away_from_any_pair(seed):
    random = np.random.default_rng(seed)
    runs = random_runs(random, 3)
    before = {(pair.first, pair.second): pair.draws for pair in weigh(runs).pairs}
    cell = (int(random.integers(6)), int(random.integers(3)), "")
    one = next(iter(runs["m0"].values()))
    runs["m0"].setdefault(cell, Summary({}, one.values + 0.01, one.chance, one.test))
    after = {(pair.first, pair.second): pair.draws for pair in weigh(runs).pairs}
    assert all(after[pair] >= draws for pair, draws in before.items())
    assert all(after[pair] == draws for pair, draws in before.items() if "m0" not in pair)


def test_seeds_are_averaged_within_a_draw_first():
    """Draw 0 with seeds at 0.2 and 0.4 and draw 1 with one at 0.6: 0.45, not 0.4."""
    cells = {(0, 0, ""): 0.2, (0, 1, ""): 0.4, (1, 0, ""): 0.6}
    ramp = np.linspace(-0.01, 0.01, 10)
    run = {cell: Summary({}, value + ramp, np.zeros(10), "t") for cell, value in cells.items()}
    found = weigh({"a": run})
    assert found.scores["a"].estimate == pytest.approx(0.45)
    assert found.runs["a"] == (3, 2)


def test_one_draw_gives_an_interval_in_words_and_no_place():
    found = weigh(shown(tables({"good": 0.9, "fair": 0.5}, draws=1)), "premise")
    assert found.places == {}
    said = " ".join(found.words())
    assert "On these test items the run of good and fair differ by" in said
    assert "neither is called better" in said
    assert "is better than" not in said


def test_methods_within_the_margin_are_said_to_be_the_same():
    ramp = np.linspace(-0.1, 0.1, 40)
    runs = {
        name: {(draw, 0, ""): Summary({}, 0.6 + shift + 0.001 * draw * (-1) ** number + ramp, np.full(40, 0.3), "t")
               for draw in range(5)}
        for number, (name, shift) in enumerate({"one": 0.0, "other": 0.004}.items())
    }  # fmt: skip
    assert any(sentence.startswith("one and other are the same within 2.0 points") for sentence in weigh(runs).words())


def entry(step: int, score: float, loss: float) -> dict[str, float]:
    return {"step": step, "dev_score": score, "dev_loss": loss}


def test_a_table_of_runs_that_had_not_converged_is_headed_so_and_not_ranked():
    history = [entry(1, 0.4, 1.0), entry(2, 0.5, 0.9)]
    late = {"policy": "source-dev", "step": 2, "steps": 2, "history": history}
    results = []
    for method, accuracy, selection in (("finetune", 0.9, late), ("mpt", 0.5, {**late, "step": 1})):
        for draw in range(3):
            one = record(method, {"en": accuracy, "fr": accuracy}, {"draw": draw}, selection=selection)
            results.append(Result(one, unit_scores(predictions(accuracy, draw), Classification(LABELS)).summary))
    (table,) = group(results)[0].tables
    assert table.not_converged == {"finetune": (3, 3)}
    found = evidence(table)
    assert found.places == {}
    assert found.words()[0].startswith("Not converged, not ranked")
    assert "finetune in 3 of 3 runs" in " ".join(found.words())
    assert not any("is better than" in sentence for sentence in found.words())


def test_a_run_that_diverged_counts_as_the_best_constant_answer():
    results = []
    for method, accuracy in (("finetune", 0.9), ("mpt", 0.6)):
        for draw in range(3):
            one = record(method, {"en": accuracy, "fr": accuracy}, {"draw": draw})
            results.append(Result(one, unit_scores(predictions(accuracy, draw), Classification(LABELS)).summary))
    lost = results.pop()
    failed = lost.record.model_copy(
        update={"status": "failed", "error": "Diverged: the loss is nan", "scores": {}, "test": {}}
    )
    crashed = failed.model_copy(update={"error": "OutOfMemory: no"})
    assert (failed.diverged, crashed.diverged) == (True, False)
    (table,) = matching.group(results, [failed])[0].tables
    assert table.diverged == ["mpt diverged in 1 of 3 runs, which count as the best constant answer"]
    (pair,) = evidence(table).pairs
    assert pair.draws == 3
    (line,) = [line for line in table.lines if line.method == "mpt"]
    assert line.records[2, 0, ""].mean == pytest.approx(1 / 3, abs=0.05)
