"""From predictions in a folder to intervals, places and sentences on the board."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_made import LABELS, group, predictions, record

from xlbench import Store, XlbenchError
from xlbench.analysis.evidence import evidence, weigh
from xlbench.board.markdown import write
from xlbench.problem import Classification
from xlbench.records.predictions import Summary, unit_scores

LANGUAGES = ("en", "fr")


Runs = dict[str, dict[tuple[int, int], Summary]]


def tables(accuracies: dict[str, float], draws: int) -> dict[str, dict[tuple[int, int], pa.Table]]:
    """Predictions of methods by draw and seed."""
    return {
        method: {(draw, 0): predictions(accuracy, 100 * number + draw) for draw in range(draws)}
        for number, (method, accuracy) in enumerate(accuracies.items())
    }


def shown(runs: dict[str, dict[tuple[int, int], pa.Table]], aligned: bool = True) -> Runs:
    """What their predictions show."""
    problem = Classification(LABELS)
    return {
        method: {cell: unit_scores(table, problem, aligned=aligned).summary for cell, table in cells.items()}
        for method, cells in runs.items()
    }


def test_a_clear_difference_is_said_and_a_method_at_chance_is_not_ranked():
    found = weigh(shown(tables({"good": 0.8, "fair": 0.6, "coin": 1 / 3}, draws=5)), "premise")
    assert (found.draws, found.seeds, found.units) == (5, 1, 60)
    assert {name: str(place) for name, place in found.places.items()} == {"good": "1", "fair": "2"}
    assert not found.above["coin"].above
    said = " ".join(found.words())
    assert "good is better than fair by" in said
    assert "Not shown to be above chance, and not ranked: coin" in said
    assert "(5 draws, 1 seed, 60 premises)" in said


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


def test_methods_with_other_draws_are_refused():
    found = shown(tables({"good": 0.9, "fair": 0.5}, 2))
    del found["fair"][1, 0]
    with pytest.raises(XlbenchError, match="have different draws and seeds"):
        weigh(found)


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
