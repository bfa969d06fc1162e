"""Problems and metrics: numbers worked by hand, units against the bootstrap, answers that are none."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlbench import XlbenchError
from xlbench.metric import METRICS, spans
from xlbench.problem import Classification, MultipleChoice, TokenLabelling, problem_of

THREE = Classification(("a", "b", "c"), ("accuracy", "macro-F1", "weighted-F1", "MCC"))
GOLD = [0, 0, 0, 1, 1, 2]
GIVEN = [0, 0, 1, 1, 2, 2]
counts = st.integers(0, 2)


def scores(given: list[int], labels: int = 3) -> np.ndarray:
    """Log-probabilities whose arg max is what is given; all -inf where that is none."""
    table = np.full((len(given), labels), -3.0, dtype=np.float32)
    for row, label in enumerate(given):
        table[row] = -np.inf if label < 0 else table[row]
        if label >= 0:
            table[row, label] = -0.1
    return table


def test_metrics_worked_by_hand():
    """a: 2 right of 2 given and 3 gold, F1 4/5; b: 1 of 2 and 2, F1 1/2; c: 1 of 2 and 1, F1 2/3.

    MCC: 4 right of 6; given 2 2 2, gold 3 2 1: (24 - 12) / sqrt((36 - 12)(36 - 14)).
    """
    found = THREE.scores(GOLD, scores(GIVEN))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["macro-F1"] == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert found["weighted-F1"] == pytest.approx((3 * 4 / 5 + 2 * 1 / 2 + 1 * 2 / 3) / 6)
    assert found["MCC"] == pytest.approx(12 / math.sqrt(24 * 22))


def test_a_label_that_nobody_has_or_gives_counts_for_nothing_and_one_that_is_given_counts_as_0():
    four = Classification(("a", "b", "c", "d"), ("macro-F1",))
    assert four.scores([0, 1], scores([0, 1], 4))["macro-F1"] == 1.0
    assert four.scores([0, 1], scores([0, 3], 4))["macro-F1"] == pytest.approx((1 + 0 + 0) / 3)


def test_a_row_whose_labels_all_score_minus_infinity_is_wrong_whatever_the_metric():
    assert THREE.scores([0, 0], scores([0, -1]))["accuracy"] == 0.5
    assert THREE.answers(scores([-1, 2])).tolist() == [-1, 2]


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=40))
def test_metrics_stay_in_their_range_and_are_best_where_all_is_right(pairs):
    gold, given_ = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    for name, value in THREE.scores(gold, scores(given_)).items():
        assert METRICS[name].low - 1e-12 <= value <= METRICS[name].high + 1e-12
    perfect = THREE.scores(gold, scores(gold))
    assert perfect["accuracy"] == perfect["weighted-F1"] == 1.0
    assert perfect["macro-F1"] == 1.0
    assert perfect["MCC"] == pytest.approx(1.0 if len(set(gold)) > 1 else 0.0)


# Values by unit


@given(st.lists(st.tuples(counts, counts, st.integers(0, 5)), min_size=2, max_size=60), st.sampled_from(THREE.metrics))
def test_unit_values_have_the_metric_as_their_mean(rows, name):
    gold, given_ = (np.array([row[at] for row in rows]) for at in (0, 1))
    unit = np.unique([row[2] for row in rows], return_inverse=True)[1]
    metric = METRICS[name]
    credits = metric.credits(gold, given_, THREE.labels)
    sums = np.stack([np.bincount(unit, column) for column in credits.T], axis=1)
    assert metric.unit_values(sums).mean() == pytest.approx(metric.value(credits), abs=1e-9)


def test_accuracy_by_unit_is_the_share_of_each_unit_s_rows_where_all_have_as_many():
    metric = METRICS["accuracy"]
    sums = np.array([[2.0, 3.0], [3.0, 3.0], [0.0, 3.0]])
    assert metric.unit_values(sums) == pytest.approx([2 / 3, 1.0, 0.0])


@pytest.mark.parametrize("name", ["accuracy", "macro-F1", "weighted-F1", "MCC"])
def test_the_standard_error_by_units_is_the_bootstrap_s(name):
    """Within 2 %: 400 units of three rows of uneven classes, of which some units are hard, resampled 20,000 times."""
    random = np.random.default_rng(1)
    units, metric = 400, METRICS[name]
    gold = random.choice(3, size=(units, 3), p=[0.6, 0.3, 0.1])
    right = random.random((units, 3)) < (0.4 + 0.4 * random.random((units, 1)))
    given_ = np.where(right, gold, (gold + random.integers(1, 3, size=gold.shape)) % 3)
    credits = metric.credits(gold.reshape(-1), given_.reshape(-1), THREE.labels)
    sums = credits.reshape(units, 3, -1).sum(axis=1)
    ours = metric.unit_values(sums).std(ddof=1) / math.sqrt(units)
    drawn = random.multinomial(units, np.full(units, 1 / units), size=20_000) @ sums
    resampled = np.std([float(np.real(metric.of(one))) for one in drawn], ddof=1)
    assert ours == pytest.approx(resampled, rel=0.02)


def test_the_standard_error_of_span_f1_is_the_bootstrap_s():
    random = np.random.default_rng(2)
    metric, units = METRICS["span-F1"], 400
    gold, given_ = random.poisson(2.0, units) + 1, random.poisson(2.0, units) + 1
    sums = np.stack([gold, given_, gold], axis=1).astype(float)
    sums[:, 0] = np.minimum(sums[:, 1], random.binomial(sums[:, 2].astype(int), 0.6))
    ours = metric.unit_values(sums).std(ddof=1) / math.sqrt(units)
    drawn = random.multinomial(units, np.full(units, 1 / units), size=20_000) @ sums
    assert ours == pytest.approx(np.std([float(np.real(metric.of(one))) for one in drawn], ddof=1), rel=0.02)


# Spans


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("I-PER I-PER O", [(0, 2, "PER")]),  # IOB1, which conlleval reads too
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("O O", []),
    ],
)
def test_spans_as_conlleval_reads_them(tags, found):
    assert spans(tags.split()) == found


def test_span_f1_worked_by_hand():
    """Gold: PER 0-2, LOC 3-4, PER 0-1. Given: PER 0-2, nothing, LOC 0-1 and PER 2-3: 1 right of 3 given and 3 gold."""
    names = TokenLabelling(("O", "B-PER", "I-PER", "B-LOC"))
    assert names.metrics == ("span-F1",)
    gold = [(1, 2, 0, 3), (1, 0, 0)]
    given_ = np.full((2, 4, 4), -3.0)
    for row, tags in enumerate([(1, 2, 0, 0), (3, 0, 1, 0)]):
        for at, tag in enumerate(tags):
            given_[row, at, tag] = -0.1
    assert names.scores(gold, given_)["span-F1"] == pytest.approx(2 * 1 / (3 + 3))


def test_words_that_were_not_read_are_outside_and_wrong():
    tags = TokenLabelling(("NOUN", "VERB"))
    assert tags.metrics == ("accuracy",)
    read = np.full((1, 2, 2), -np.inf)
    read[0, 0] = [-0.1, -3.0]
    assert tags.scores([(0, 1, 1)], read)["accuracy"] == pytest.approx(1 / 3)
    assert tags.columns([(0, 1, 1)], read)["answer"].to_pylist() == [[0, -1, -1]]


# What is wrong with a row


@pytest.mark.parametrize(
    ("problem", "row", "sentence"),
    [
        (THREE, (("t",), 3, ()), "unknown label 3; known: 0 a, 1 b, 2 c"),
        (THREE, (("t",), "a", ()), "unknown label 'a'"),
        (THREE, (("t",), True, ()), "unknown label True"),
        (MultipleChoice(), (("t",), 0, ("one",)), "1 choices; a row has two or more"),
        (MultipleChoice(), (("t",), 2, ("one", "two")), "the right choice is 2, not one of 0 to 1"),
        (MultipleChoice(), (("t",), 0, ("one", " ")), "a choice is empty"),
        (TokenLabelling(("O",)), (("a", "b"), (0,), ()), "2 words and 1 tags"),
        (TokenLabelling(("O",)), (("a",), (1,), ()), "unknown tag 1"),
    ],
)
def test_an_odd_answer_is_named(problem, row, sentence):
    assert sentence in problem.fault(*row)


def test_an_unknown_metric_or_kind_is_refused():
    with pytest.raises(XlbenchError, match=r"unknown metric 'acuracy'.*did you mean 'accuracy'"):
        Classification(("a",), ("acuracy",))
    with pytest.raises(XlbenchError, match="unknown kind of problem 'ranking'"):
        problem_of({"kind": "ranking"})


def test_a_label_that_is_no_text_is_refused():
    with pytest.raises(XlbenchError, match="a problem of classification has the label 0, which is no text; name it"):
        Classification((0, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", [THREE, MultipleChoice(most=4), TokenLabelling(("O", "B-X"))])
def test_a_problem_comes_back_from_its_description(problem):
    assert problem_of(problem.described()) == problem


@pytest.mark.parametrize("gold", [None, 1, {0: 1}])
def test_tags_that_are_no_sequence_are_said(gold):
    assert TokenLabelling(("O", "B-X")).fault(("a", "b"), gold, ()) == f"its tags are {gold!r}, not one for each word"
