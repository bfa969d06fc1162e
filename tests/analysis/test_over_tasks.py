"""What several tasks show together, worked out by hand, and what may not be put together."""

import numpy as np
import pytest
from hand_made import group, record
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xlbench.analysis.over_tasks import over, summaries
from xlbench.analysis.statistics import of_samples
from xlbench.errors import XlbenchError
from xlbench.records.index import Result
from xlbench.records.predictions import Summary


def result(method, task, accuracy, chance=0.5, draw=0, units=4, **spec):
    """A run of a task whose best constant answer scores `chance`."""
    kept = record(
        method, {"en": accuracy, "fr": accuracy}, {"task": task, "draw": draw, "shots": 4, **spec},
        {"test_data": task, "task_version": task},
    )  # fmt: skip
    values = np.full(units, accuracy)
    return Result(kept, Summary(kept.scores, values, np.full(units, chance), task))


def found(*results):
    return summaries(group(results))


THREE = [
    *(result("a", task, value) for task, value in (("one", 0.7), ("two", 0.8), ("three", 0.9))),
    *(result("b", task, value) for task, value in (("one", 0.7), ("two", 0.7), ("three", 0.6))),
]


def test_a_task_counts_once_by_what_is_above_its_chance():
    """At chance .5 the values are .4, .6, .8 and .4, .4, .2, task by task in the order of their names."""
    ((first, summary),) = found(*THREE)
    assert first.key["model"] == "tiny"
    assert summary.tasks == ("one", "three", "two")
    assert summary.values["a"] == pytest.approx((0.4, 0.8, 0.6))
    assert summary.values["b"] == pytest.approx((0.4, 0.2, 0.4))
    assert summary.wins == {("a", "b"): 2.5, ("b", "a"): 0.5}
    half = stats.t.ppf(0.975, 2) * 0.2 / np.sqrt(3)  # .4, .6, .8 deviate by .2
    assert (summary.scores["a"].low, summary.scores["a"].high) == pytest.approx((0.6 - half, 0.6 + half))
    (pair,) = summary.pairs
    assert (pair.first, pair.second, pair.draws) == ("a", "b", 3)
    assert pair.difference.estimate == pytest.approx(0.8 / 3)
    assert pair.p == pytest.approx(stats.ttest_1samp([0.0, 0.6, 0.2], 0).pvalue, rel=1e-6)
    assert {str(place) for place in summary.places.values()} == {"1–2"}
    assert summary.words() == [
        "Over other tasks no two methods can be told apart",
        "3 tasks cannot support a ranking of close methods over others",
    ]


def test_what_is_better_on_every_task_by_as_much_is_first():
    values = {"a": [0.5, 0.61, 0.7, 0.8, 0.9], "b": [0.4, 0.5, 0.61, 0.7, 0.79]}
    summary = over(["1", "2", "3", "4", "5"], values)
    assert {name: str(place) for name, place in summary.places.items()} == {"a": "1", "b": "2"}
    (words,) = summary.words()
    assert words.startswith("Over tasks a is better than b by 10.2 points of the normalised metric")
    assert summary.wins["a", "b"] == 5


def test_numbers_of_shots_are_averaged_within_a_task():
    ((_, summary),) = found(*THREE, result("a", "one", 0.9, shots=16), result("b", "one", 0.5, shots=16))
    assert summary.values["a"][0] == pytest.approx(0.6)  # of .4 and .8
    assert summary.values["b"][0] == pytest.approx(0.2)


def test_draws_are_averaged_within_a_table():
    ((_, summary),) = found(*THREE, result("a", "one", 0.9, draw=1))
    assert summary.values["a"][0] == pytest.approx(0.6)


def test_each_task_has_its_own_chance():
    ((_, summary),) = found(*(result(m, t, 0.75, chance) for m in "ab" for t, chance in (("one", 0.5), ("two", 0.25))))
    assert summary.values["a"] == pytest.approx((0.5, 2 / 3))


def test_a_method_that_lacks_a_task_is_left_out():
    ((_, summary),) = found(*THREE, result("c", "one", 0.9))
    assert set(summary.values) == {"a", "b"}


@pytest.mark.parametrize("change", [{"model": "other"}, {"max_length": 64}, {"selection": "last"}])
def test_what_differs_in_more_than_the_task_is_not_put_together(change):
    assert found(*(result(m, "one", 0.7) for m in "ab"), *(result(m, "two", 0.7, **change) for m in "ab")) == []


@pytest.mark.parametrize("asked", [{}, {"languages": ["en"]}, {"test_units": 3}, {"target_shots": 2}])
def test_languages_and_test_rows_are_the_tasks_own(asked):
    assert len(found(*(result(m, "one", 0.7) for m in "ab"), *(result(m, "two", 0.7, **asked) for m in "ab"))) == 1


def test_one_task_one_method_or_the_oracle_make_no_summary():
    assert found(*(result(m, "one", 0.7) for m in "ab")) == []
    assert found(result("a", "one", 0.7), result("a", "two", 0.7)) == []
    oracle = {"selection": "oracle-target-dev"}
    assert found(*(result(m, t, 0.7, **oracle) for m in "ab" for t in ("one", "two"))) == []


def test_predictions_that_were_not_read_make_no_summary():
    assert summaries(group([kept.record for kept in THREE])) == []


@pytest.mark.parametrize("values", [[0.5], [], [0.5, float("nan")], [[0.5, 0.6]]])
def test_an_interval_over_tasks_needs_two(values):
    with pytest.raises(XlbenchError, match="needs numbers of two at least"):
        of_samples(values)


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=2, max_size=6))
def test_wins_of_a_pair_make_up_the_tasks_and_places_go_with_better(rows):
    values = dict(zip("abc", zip(*rows, strict=True), strict=True))
    summary = over([str(number) for number in range(len(rows))], values)
    assert all(summary.wins[a, b] + summary.wins[b, a] == len(rows) for a, b in summary.wins)
    for pair in summary.pairs:
        if pair.better is not None:
            assert summary.places[pair.better].best < summary.places[pair.worse].worst
