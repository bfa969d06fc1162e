"""Statistics: numbers worked out by hand, and properties that hold for any design."""

import math
import re
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xlbench.analysis.power import DEFAULT_PARTS, VarianceParts, pooled, pooled_degrees, power, variance_parts
from xlbench.analysis.statistics import (
    OVER_DRAWS,
    OVER_SEEDS,
    OVER_UNITS,
    Interval,
    Pair,
    above_chance,
    compared,
    holm_steps,
    pairwise,
    ranks,
    score,
    shaffer_steps,
)
from xlbench.errors import XlbenchError
from xlbench.problem import Classification
from xlbench.records import predictions as units
from xlbench.records.predictions import UnitScores, stack
from xlbench.records.predictions import unit_scores as unit_scores_of

shapes = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(2, 8))
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)


def difference(first: np.ndarray, second: np.ndarray, **options: float) -> Pair:
    """The pair that two methods make."""
    return pairwise({"first": first, "second": second}, **options)[0]


def unit_scores(source: pa.Table | Path, **options: bool) -> UnitScores:
    """The scores of predictions of a problem with two labels."""
    return unit_scores_of(source, Classification(("yes", "no")), **options)


def design(shape: tuple[int, ...], seed: int, mean: float = 0.5) -> np.ndarray:
    random = np.random.default_rng(seed)
    draws = random.normal(0, 0.03, (shape[0], 1, 1))
    return mean + draws + random.normal(0, 0.1, shape)


def predictions(rows: list[tuple[str, str, str, int, int]]) -> pa.Table:
    """A table of (row id, unit id, language, gold, predicted) with two labels."""
    ids, of_units, languages, gold, predicted = zip(*rows, strict=True)
    return pa.table(
        {
            "row_id": pa.array(ids).dictionary_encode(),
            "unit_id": pa.array(of_units).dictionary_encode(),
            "language": pa.array(languages).dictionary_encode(),
            "gold": pa.array(gold, pa.int8()),
            "log_prob_0": pa.array([math.log(0.9 if one == 0 else 0.1) for one in predicted], pa.float32()),
            "log_prob_1": pa.array([math.log(0.9 if one == 1 else 0.1) for one in predicted], pa.float32()),
        }
    )


ROWS = [
    ("p1-0", "p1", "en", 0, 0), ("p1-1", "p1", "en", 1, 1), ("p2-0", "p2", "en", 0, 0), ("p2-1", "p2", "en", 1, 0),
    ("p1-0", "p1", "sw", 0, 1), ("p1-1", "p1", "sw", 1, 1), ("p2-0", "p2", "sw", 0, 1), ("p2-1", "p2", "sw", 1, 0),
]  # fmt: skip


# Predictions to units


def test_scores_of_units_worked_by_hand():
    found = unit_scores(predictions(ROWS))
    assert found.languages == ("en", "sw")
    assert found.units == ("p1", "p2")
    assert found.by_language == pytest.approx(np.array([[1, 0.5], [0.5, 0]]))
    assert found.values == pytest.approx([0.75, 0.25])
    assert found.summary.chance == pytest.approx([0.5, 0.5])
    assert found.scores["accuracy"] == pytest.approx({"en": 3 / 4, "sw": 1 / 4})


def test_units_of_unequal_size_keep_each_language_s_accuracy():
    rows = [*ROWS, ("p2-2", "p2", "en", 0, 0), ("p2-2", "p2", "sw", 0, 0)]
    found = unit_scores(predictions(rows))
    assert found.by_language.mean(axis=1) == pytest.approx([4 / 5, 2 / 5])
    assert found.summary.chance.mean() == pytest.approx(3 / 5)


def test_languages_count_the_same_whatever_their_number_of_rows():
    rows = [("a", "a", "en", 0, 0), ("b", "b", "en", 0, 0), ("c", "c", "en", 0, 0), ("d", "d", "sw", 0, 1)]
    found = unit_scores(predictions(rows), aligned=False)
    assert found.units == ("a", "b", "c", "d")
    assert found.values.mean() == pytest.approx(0.5)


def test_the_order_of_rows_does_not_matter():
    one, other = unit_scores(predictions(ROWS)), unit_scores(predictions(ROWS[::-1]))
    assert one.test == other.test
    assert np.array_equal(one.by_language, other.by_language)


CELLS = [(f"p{premise}-{row}", f"p{premise}", name) for premise in (1, 2) for row in (0, 1) for name in ("en", "sw")]


@given(
    st.lists(st.tuples(st.permutations(CELLS), st.lists(st.integers(0, 1), min_size=16, max_size=16), st.booleans()),
             min_size=2, max_size=12)
)  # fmt: skip
def test_scores_are_the_same_whatever_was_read_before(runs):
    """Runs on one test set share its layout; others, and those in another order, have their own."""
    tables = []
    for cells, answers, other in runs:
        rows = [(*cell, answers[at], answers[8 + at]) for at, cell in enumerate(cells)]
        tables.append(predictions([(row, f"{premise}b" if other else premise, *rest) for row, premise, *rest in rows]))
    alone = []
    for table in tables:
        units._layouts.clear()
        alone.append(unit_scores(table))
    for table, expected in zip(tables, alone, strict=True):
        found = unit_scores(table)
        assert (found.languages, found.units, found.test) == (expected.languages, expected.units, expected.test)
        assert np.array_equal(found.by_language, expected.by_language)
        assert np.array_equal(found.constant, expected.constant)


def test_a_row_without_a_finite_score_is_wrong():
    table = predictions(ROWS)
    for column in ("log_prob_0", "log_prob_1"):
        values = table[column].to_numpy().copy()
        values[0] = -np.inf
        table = table.set_column(table.column_names.index(column), column, pa.array(values))
    assert unit_scores(table).values == pytest.approx([0.5, 0.25])


def test_a_record_s_folder_is_read(tmp_path):
    pq.write_table(predictions(ROWS), tmp_path / "predictions.parquet")
    assert unit_scores(tmp_path).values == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (ROWS + ROWS[:1], "row p1-0 in en is there twice"),
        (ROWS[:-1], "lack row p2-1 of unit p2 in sw (1 such gaps)"),
        ([*ROWS[:-1], ("p2-1", "p2", "sw", 7, 0)], "row p2-1 in sw has a gold label outside 0 to 1"),
        ([*ROWS[:-1], ("p2-1", "p1", "sw", 1, 0)], "row p2-1 has more than one unit"),
    ],
)
def test_predictions_that_would_mislead_are_refused_in_one_sentence(rows, sentence):
    with pytest.raises(XlbenchError, match=re.escape(sentence)) as fault:
        unit_scores(predictions(rows))
    assert "\n" not in str(fault.value)


NAMES, ANSWERS = ("row_id", "unit_id", "language"), ("gold", "log_prob_0", "log_prob_1")


@pytest.mark.parametrize(("column", "beside"), [(name, names) for names in (NAMES, ANSWERS) for name in names])
def test_a_missing_column_is_named(column, beside):
    with pytest.raises(XlbenchError, match=f"lack the column {column}; they need {', '.join(beside)}$"):
        unit_scores(predictions(ROWS).drop_columns([column]))


def test_rows_may_be_numbered():
    table = predictions(ROWS)
    ids = pa.array([int(name[1] + name[3]) for name in table["row_id"].to_pylist()])
    found = unit_scores(table.set_column(0, "row_id", ids))
    assert found.values == pytest.approx(unit_scores(table).values)


def test_predictions_of_old_name_units_by_premises_or_rows():
    """Schema 1 had a column premise_id, and rows as units where languages have rows of their own."""
    table = predictions(ROWS)
    old = table.rename_columns(["premise_id" if name == "unit_id" else name for name in table.column_names])
    assert unit_scores(old).values == pytest.approx([0.75, 0.25])
    assert unit_scores(old).test == unit_scores(table).test
    assert unit_scores(old, aligned=False).values == pytest.approx([0.5, 1, 0.5, 0])


def test_languages_with_units_of_their_own_are_taken_only_where_that_is_said():
    rows = [(f"{language}-{row}", f"{language}/{unit}", language, *answers) for row, unit, language, *answers in ROWS]
    found = unit_scores(predictions(rows), aligned=False)
    assert found.units == ("en/p1", "en/p2", "sw/p1", "sw/p2")
    assert found.by_language.mean(axis=1) == pytest.approx([3 / 4, 1 / 4])
    with pytest.raises(XlbenchError, match="lack row en-p1-0 of unit en/p1 in sw"):
        unit_scores(predictions(rows))


@pytest.mark.parametrize(
    ("value", "sentence"), [(math.nan, "row p1-0 in en has a log-probability that is NaN"), (None, "an empty cell")]
)
def test_missing_scores_are_refused(value, sentence):
    table = predictions(ROWS)
    column = pa.array([value, *table["log_prob_1"].to_pylist()[1:]], pa.float32())
    with pytest.raises(XlbenchError, match=sentence):
        unit_scores(table.set_column(5, "log_prob_1", column))


@pytest.mark.parametrize(("at", "column"), [(3, "gold"), (4, "log_prob_0")])
def test_a_column_of_text_is_refused(at, column):
    table = predictions(ROWS).set_column(at, column, pa.array(["yes"] * len(ROWS)))
    with pytest.raises(XlbenchError, match=f"a column {column} of string, which is no number"):
        unit_scores(table)


def test_no_rows_and_no_file_are_refused(tmp_path):
    with pytest.raises(XlbenchError, match="have no row; run it again"):
        unit_scores(predictions(ROWS).slice(0, 0))
    with pytest.raises(XlbenchError, match="cannot be read"):
        unit_scores(tmp_path)
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(XlbenchError, match="cannot be read"):
        unit_scores(tmp_path)


def test_runs_are_stacked_by_draw_and_seed():
    right = unit_scores(predictions(ROWS))
    wrong = unit_scores(predictions([(*row[:4], 1 - row[3]) for row in ROWS]))
    cells = {(1, 0): wrong, (0, 7): right, (1, 4): right, (0, 2): wrong}
    stacked = stack({"mpt": cells})["mpt"]
    assert stacked.shape == (2, 2, 2)
    assert stacked[:, :, 0] == pytest.approx(np.array([[0, 0.75], [0, 0.75]]))


def test_runs_that_do_not_match_are_not_stacked():
    run = unit_scores(predictions(ROWS))
    other = unit_scores(predictions([(*row[:3], 1 - row[3], row[4]) for row in ROWS]))
    for methods, sentence in (
        ({}, "there is no run"),
        ({"mpt": {(0, 0): run}, "pct": {(1, 0): run}}, "pct and mpt have different draws and seeds"),
        ({"mpt": {(0, 0): run, (0, 1): run, (1, 0): run}}, "some draws have more seeds than others"),
        ({"mpt": {(0, 0): run, (1, 0): other}}, "were not tested on the same rows"),
    ):
        with pytest.raises(XlbenchError, match=sentence):
            stack(methods)


# Intervals


def test_an_interval_worked_by_hand():
    """Draw means 0.4 and 0.6, premises that do not differ: 0.5 ± t(1) x 0.1."""
    values = np.array([[[0.4, 0.4]], [[0.6, 0.6]]])
    found = score(values)
    assert found.estimate == pytest.approx(0.5)
    assert found.high == pytest.approx(0.5 + 12.7062 * 0.1, abs=1e-5)
    assert found.scope == OVER_DRAWS


def test_both_parts_add_as_squares():
    """Additive effects, so no interaction: premises 0.3 and 0.5 in the mean, draws 0.3 and 0.5."""
    values = 0.4 + np.array([-0.1, 0.1])[:, None, None] + np.array([-0.1, 0.1])
    found = score(values)
    assert found.high - found.estimate == pytest.approx(math.hypot(1.27062, 1.27062), abs=1e-5)


def test_one_draw_is_flagged_and_uses_what_there_is():
    values = design((1, 1, 50), 3)
    found = score(values)
    by_t = stats.t.interval(0.95, 49, loc=values.mean(), scale=stats.sem(values[0, 0]))
    assert (found.low, found.high) == pytest.approx(by_t)
    assert found.scope == OVER_UNITS
    assert score(design((1, 2, 50), 3)).scope == OVER_SEEDS


@few
@given(shapes, seeds)
def test_an_interval_holds_its_estimate_and_grows_with_its_level(shape, seed):
    values = design(shape, seed)
    narrow, wide = score(values, level=0.9), score(values, level=0.99)
    assert wide.low <= narrow.low <= narrow.estimate <= narrow.high <= wide.high
    assert narrow.estimate == pytest.approx(values.mean())


@few
@given(shapes, seeds)
def test_exchanging_the_methods_flips_the_sign(shape, seed):
    one, other = design(shape, seed), design(shape, seed + 1, 0.52)
    there, back = difference(one, other), difference(other, one)
    assert there.p == pytest.approx(back.p)
    assert there.difference.estimate == pytest.approx(-back.difference.estimate)
    assert there.difference.low == pytest.approx(-back.difference.high)


@few
@given(shapes, seeds)
def test_the_order_of_draws_seeds_and_premises_does_not_matter(shape, seed):
    values = design(shape, seed)
    random = np.random.default_rng(seed)
    shuffled = values
    for axis in range(3):
        shuffled = shuffled.take(random.permutation(shape[axis]), axis=axis)
    one, other = score(values), score(shuffled)
    assert (one.low, one.estimate, one.high) == pytest.approx((other.low, other.estimate, other.high))


@few
@given(shapes, seeds, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_p_and_interval_agree(shape, seed, level):
    found = difference(design(shape, seed), design(shape, seed + 1, 0.55), level=level)
    assert found.difference.excludes_zero == (found.p < 1 - level)


def test_a_paired_t_test_where_premises_do_not_matter():
    draws = np.array([0.01, 0.03, 0.02, 0.05, -0.01])
    found = difference(0.5 + np.tile(draws[:, None, None], (1, 2, 4)), np.full((5, 2, 4), 0.5))
    assert found.p == pytest.approx(stats.ttest_1samp(draws, 0).pvalue, rel=1e-6)


def test_equal_methods_do_not_differ_whatever_the_rounding():
    values = design((3, 2, 40), 0)
    for other in (values, values + 1e-16):
        found = difference(values, other)
        assert found.p == 1
        assert not found.difference.excludes_zero


def test_a_constant_difference_is_certain():
    assert difference(np.full((2, 1, 3), 0.7), np.full((2, 1, 3), 0.5)).p == 0


@few
@given(seeds)
def test_a_tiny_p_is_found(seed):
    found = difference(design((5, 2, 30), seed, 40.0), design((5, 2, 30), seed + 1, 0.0))
    assert 0 < found.p < 1e-6


# Many comparisons


def test_shaffers_steps_worked_by_hand():
    """Of 4 methods 6, 3, 2, 1 or 0 pairs may be equal (4 alike, 3, 2 and 2, 2, none); of 5: 10, 6, 4, 3, 2, 1, 0."""
    assert shaffer_steps(2) == [1]
    assert shaffer_steps(3) == [3, 1, 1]
    assert shaffer_steps(4) == [6, 3, 3, 3, 2, 1]
    assert shaffer_steps(5) == [10, 6, 6, 6, 6, 4, 4, 3, 2, 1]


@given(st.integers(1, 9))
def test_shaffers_steps_never_ask_more_than_holms(methods):
    pairs = methods * (methods - 1) // 2
    assert len(shaffer_steps(methods)) == pairs
    assert all(ours <= theirs for ours, theirs in zip(shaffer_steps(methods), holm_steps(pairs), strict=True))


def test_holms_steps_worked_by_hand():
    """p sorted: p1 x 3, p2 x 2 and p3 x 1, none below the one before."""
    designs = {("a", str(n)): design((5, 1, 30), n, 0.02 * n) for n in range(3)}
    found = sorted(compared(designs), key=lambda pair: pair.p)
    by_hand = np.maximum.accumulate([min(1.0, pair.p * factor) for pair, factor in zip(found, (3, 2, 1), strict=True)])
    assert [pair.corrected_p for pair in found] == pytest.approx(by_hand)


def test_the_same_within_is_the_far_end_of_the_90_percent_interval():
    """Three draws of two units, all differences 0.02 ± 0.01 by draw: mean 0.02, s.e. 0.01 / √3, t(2, 0.95) = 2.92."""
    values = np.array([[[0.01, 0.01]], [[0.02, 0.02]], [[0.03, 0.03]]])
    (pair,) = compared({("a", "b"): values})
    assert pair.within == pytest.approx(0.02 + 2.919986 * 0.01 / math.sqrt(3), abs=1e-6)
    assert pair.draws == 3


def test_one_draw_calls_neither_better():
    (pair,) = compared({("a", "b"): np.full((1, 1, 40), 0.3) + np.linspace(-0.01, 0.01, 40)})
    assert pair.corrected.excludes_zero
    assert (pair.better, pair.worse) == (None, None)


def test_above_chance_on_units_needs_no_second_draw():
    """Two draws that agree in little: not shown over draws, clearly above chance on other units."""
    values = np.stack([np.full((1, 60), 0.4), np.full((1, 60), 0.7)]) + np.linspace(-0.02, 0.02, 60)
    assert not above_chance(values, 1 / 3).above
    assert above_chance(values, 1 / 3, over_draws=False).above


@few
@given(st.integers(2, 5), seeds, st.floats(0, 0.2))
def test_corrected_intervals_say_what_corrected_p_values_say(number, seed, apart):
    methods = {f"m{i}": design((4, 2, 10), seed + i, 0.4 + apart * i) for i in range(number)}
    for pair in pairwise(methods):
        assert pair.corrected.excludes_zero == (pair.corrected_p <= 0.05)
        assert pair.corrected.low <= pair.difference.low + 1e-12
        assert pair.p <= pair.corrected_p
        assert {pair.better, pair.worse} in ({None}, {pair.first, pair.second})


def told(first: str, second: str, sign: int) -> Pair:
    """A pair in which the first is better (1), worse (-1), or neither (0)."""
    interval = Interval(0.1 * sign, 0.1 * sign - 0.05, 0.1 * sign + 0.05, OVER_DRAWS)
    return Pair(first, second, interval, 0.5, interval, 0.5)


def test_methods_that_cannot_be_told_apart_share_their_places():
    pairs = [told("a", "b", 0), told("a", "c", 1), told("b", "c", 0)]
    assert {name: str(rank) for name, rank in ranks("abc", pairs).items()} == {"a": "1–2", "b": "1–3", "c": "2–3"}


def test_clear_differences_give_clear_ranks():
    pairs = [told("a", "b", -1), told("a", "c", -1), told("b", "c", 1)]
    assert {name: str(rank) for name, rank in ranks("abc", pairs).items()} == {"a": "3", "b": "1", "c": "2"}


def test_a_method_at_chance_takes_no_place():
    pairs = [told("a", "b", 1), told("a", "c", 1), told("b", "c", 1)]
    assert {name: str(rank) for name, rank in ranks("ac", pairs).items()} == {"a": "1", "c": "2"}


def chained(better: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """All that follows: better than one that is better is better."""
    longer = better | {(a, d) for a, b in better for c, d in better if b == c}
    return better if longer == better else chained(longer)


@few
@given(st.integers(1, 6), st.data())
def test_what_places_say_is_what_pairs_say(number, data):
    truth = data.draw(st.permutations(range(number)))
    names = [f"m{i}" for i in range(number)]
    pairs = [
        told(names[i], names[j], data.draw(st.sampled_from([0, 1])) * (1 if truth[i] < truth[j] else -1))
        for i in range(number)
        for j in range(i + 1, number)
    ]
    found = ranks(names, pairs)
    assert min(rank.best for rank in found.values()) == 1
    assert max(rank.worst for rank in found.values()) == number
    direct = {(pair.better, pair.worse) for pair in pairs}
    for better, worse in direct - {(None, None)}:
        assert found[better].best < found[worse].best
        assert found[better].worst < found[worse].worst
    for one, other in permutations(names, 2):
        if found[one].worst < found[other].best:
            assert (one, other) in chained(direct)
    for one in found.values():
        assert 1 <= one.best <= one.worst <= number


# Chance


def test_chance_is_tested_on_one_side():
    above, below = design((5, 2, 60), 1, 0.45), design((5, 2, 60), 1, 0.2)
    assert above_chance(above, 1 / 3).above
    assert above_chance(above, 1 / 3).p == pytest.approx(difference(above, np.full(above.shape, 1 / 3)).p / 2)
    assert not above_chance(below, 1 / 3).above
    assert above_chance(below, 1 / 3).p > 0.95
    assert not above_chance(np.full((5, 2, 60), 1 / 3), np.full(60, 1 / 3)).above


def test_chance_by_premise_takes_the_test_set_s_own_variation_out():
    majority = np.tile([0.0, 1.0], 30)
    values = majority + np.array([0.04, 0.05, 0.06])[:, None, None]
    assert above_chance(values, majority).p < above_chance(values, majority.mean()).p
    assert above_chance(values, majority).excess == pytest.approx(0.05)


# Variance parts and power


def test_variance_parts_worked_by_hand():
    """2 draws x 2 seeds x 2 units, effects without interaction: draw ±3, seed ±1, unit ±2.

    Mean squares: draws 72, seeds 4 (on 2 degrees), units 32, the others 0. So the seed has 4 / 2 = 2, the draw
    (72 - 4) / 4 = 17, the unit 32 / 4 = 8.
    """
    values = (
        np.array([-3.0, 3.0])[:, None, None] + np.array([[-1.0, 1.0], [-1.0, 1.0]])[:, :, None] + np.array([-2.0, 2.0])
    )
    found = variance_parts(values)
    assert (found.draw, found.seed, found.unit) == pytest.approx((17, 2, 8))
    assert (found.draw_unit, found.rest) == pytest.approx((0, 0))
    assert found.of_mean(2, 2, 2) == pytest.approx({"draw": 8.5, "seed": 0.5, "unit": 4, "rest": 0})
    assert found.shares(2, 2, 2) == pytest.approx({"draw": 8.5 / 13, "seed": 0.5 / 13, "unit": 4 / 13, "rest": 0})


def test_variance_parts_are_found_again():
    random = np.random.default_rng(0)
    sizes = {"draw": 0.3, "seed": 0.2, "unit": 0.4, "draw_unit": 0.5, "rest": 0.6}
    where = {"draw": (300, 1, 1), "seed": (300, 3, 1), "unit": (1, 1, 300), "draw_unit": (300, 1, 300),
             "rest": (300, 3, 300)}  # fmt: skip
    values = np.zeros((300, 3, 300))
    for name, size in sizes.items():
        values = values + random.normal(0, size, where[name])
    found = variance_parts(values)
    for name, size in sizes.items():
        assert getattr(found, name) == pytest.approx(size**2, rel=0.25)


@few
@given(shapes, seeds)
def test_no_part_is_negative_and_shares_add_up(shape, seed):
    found = variance_parts(design(shape, seed))
    shares = [share for share in found.shares(*shape).values() if share is not None]
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) == pytest.approx(1)
    assert (found.draw is None) == (shape[0] == 1)
    assert (found.seed is None) == (shape[1] == 1)
    assert bool(found.notes) == (1 in shape[:2])


def test_nothing_varies():
    assert variance_parts(np.full((2, 2, 4), 0.25)).shares(2, 2, 4) == {"draw": 0, "seed": 0, "unit": 0, "rest": 0}


def test_power_is_what_simulation_finds():
    parts = VarianceParts(0.02**2, 0.01**2, 0.1**2, 0.05**2, 0.1**2)
    smallest = power(parts, 5, 2, 100).smallest
    random, found = np.random.default_rng(0), []
    for _ in range(1500):
        values = (
            smallest
            + random.normal(0, 0.02, (5, 1, 1))
            + random.normal(0, 0.01, (5, 2, 1))
            + random.normal(0, 0.1, 100)
            + random.normal(0, 0.05, (5, 1, 100))
            + random.normal(0, 0.1, (5, 2, 100))
        )
        found.append(score(values).excludes_zero)
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)


def test_power_with_draws_alone_is_that_of_the_t_test():
    parts = VarianceParts(0.02**2, 0.0, 0.0, 0.0, 0.0)
    smallest = power(parts, 6, 1, 100).smallest
    shift, edge = smallest / (0.02 / math.sqrt(6)), stats.t.ppf(0.975, 5)
    assert stats.nct.sf(edge, 5, shift) + stats.nct.cdf(-edge, 5, shift) == pytest.approx(0.8, abs=0.002)


def test_more_draws_show_less_and_the_draws_named_are_the_fewest():
    found = power(DEFAULT_PARTS, 5, 2, 1670)
    assert found.smallest > power(DEFAULT_PARTS, 10, 2, 1670).smallest
    for wanted, draws in found.draws_for.items():
        assert power(DEFAULT_PARTS, draws, 2, 1670).smallest <= wanted
        assert power(DEFAULT_PARTS, draws - 1, 2, 1670).smallest > wanted
    assert found.notes == DEFAULT_PARTS.notes


def test_powers_interval_is_that_of_the_variances():
    """Of runs alone the smallest difference goes with the root of their variance: by the ends of its chi-square."""
    runs = VarianceParts(0.02**2, None, 0.0, 0.0, None)
    found = power(runs, 5, 1, 100, degrees=pooled_degrees(4, 5, 100))
    assert pooled_degrees(4, 5, 100) == (12, 297)
    assert found.low == pytest.approx(found.smallest * (12 / 23.3367) ** 0.5, rel=1e-4)  # as in any table, 12 degrees
    assert found.high == pytest.approx(found.smallest * (12 / 4.4038) ** 0.5, rel=1e-4)
    of_units = power(VarianceParts(0.02**2, None, 0.1**2, 0.0, None), 5, 1, 100, degrees=(12, 5))
    assert (
        of_units.high - of_units.smallest
        > power(VarianceParts(0.02**2, None, 0.1**2, 0.0, None), 5, 1, 100, degrees=(12, 297)).high - of_units.smallest
    )
    assert power(runs, 5, 1, 100).low is None


@pytest.mark.parametrize(("draws", "deviation"), [(3, 0.02), (5, 0.02), (5, 0.005), (10, 0.005)])
def test_the_pooled_power_of_a_table_is_the_true_one_in_the_middle(draws, deviation):
    """What the pairs of four methods say together, against the variances that they were drawn with: within a tenth."""
    random, said, held = np.random.default_rng(draws), [], []
    true = power(VarianceParts(2 * deviation**2, None, 0.02, 0.02, None), draws, 1, 100).smallest
    for _ in range(40):
        sides = [
            deviation * random.standard_normal((draws, 1, 1)) + 0.1 * random.standard_normal((1, 1, 100))
            + 0.1 * random.standard_normal((draws, 1, 100)) for _ in range(4)
        ]  # fmt: skip
        parts = pooled([variance_parts(one - other) for one, other in combinations(sides, 2)])
        found = power(parts, draws, 1, 100, degrees=pooled_degrees(4, draws, 100))
        said.append(found.smallest)
        held.append(found.low <= true <= found.high)
    assert np.median(said) == pytest.approx(true, rel=0.1)
    assert np.mean(held) > 0.8


def test_power_says_what_cannot_be_had():
    assert power(DEFAULT_PARTS, 1, 2, 1670).smallest is None
    assert power(VarianceParts(0.0, 0.0, 0.3**2, 0.0, 0.0), 5, 2, 100).draws_for[0.01] is None
    assert power(VarianceParts(0.0, 0.0, 0.0, 0.0, 0.0), 5, 2, 100).smallest == 0
    with pytest.raises(XlbenchError, match="one draw tells nothing of the power"):
        power(variance_parts(design((1, 2, 9), 0)), 5, 2, 100)
    with pytest.raises(XlbenchError, match="not 0 x 2 x 100"):
        power(DEFAULT_PARTS, 0, 2, 100)


# Bad input


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: score(np.zeros(4)), "an array of draws, seeds and units, not one of 1 axes"),
        (lambda: score(np.zeros((2, 0, 3))), "two units at least, not 2 x 0 x 3"),
        (lambda: score(np.full((2, 2, 3), np.nan)), "missing or NaN"),
        (lambda: score(np.zeros((2, 2, 3)), level=95), "the level must lie between 0 and 1, not at 95"),
        (lambda: difference(np.zeros((2, 2, 3)), np.zeros((2, 1, 3))), "not 2 x 2 x 3 and 2 x 1 x 3"),
        (lambda: above_chance(np.zeros((2, 2, 3)), [0.5, 0.5]), "one number, or one for each unit"),
        (lambda: variance_parts(np.zeros((2, 2, 1))), "two units at least"),
    ],
)
def test_errors_are_one_sentence(call, sentence):
    with pytest.raises(XlbenchError, match=re.escape(sentence)) as fault:
        call()
    assert "\n" not in str(fault.value)
