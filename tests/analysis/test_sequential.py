"""Levels of several looks, and of contrasts that share a reference, against published values and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from xlbench.analysis.sequential import dunnett_p, largest_of, levels, spent


def bounds(looks: tuple[int, ...], planned: int) -> list[float]:
    return [-float(special.ndtri(level / 2)) for level in levels(looks, planned, 0.05)]


def test_five_equal_looks_have_the_published_bounds():
    """Lan & DeMets' spending function of O'Brien and Fleming's kind, two-sided 5 %."""
    assert bounds((1, 2, 3, 4, 5), 5) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=0.003)


def test_one_look_at_the_planned_draws_is_the_plain_test():
    assert bounds((13,), 13) == pytest.approx([1.960], abs=0.001)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(2, 19), max_size=3))
def test_no_early_look_costs_more_than_it_may_and_the_last_stays_below_the_whole(early):
    looks = (*sorted(early), 20)
    found = levels(looks, 20, 0.05)
    assert all(
        level <= spent(draws / 20, 0.05) + 1e-4 or draws == 20 for level, draws in zip(found, looks, strict=True)
    )
    assert found[-1] <= 0.05 + 1e-6


def test_looking_at_those_levels_finds_nothing_that_is_not_there_in_19_cases_of_20():
    random = np.random.default_rng(0)
    sums = random.normal(size=(20_000, 12)).cumsum(axis=1)
    looks = (4, 8, 12)
    found = np.zeros(len(sums), dtype=bool)
    for draws, level in zip(looks, levels(looks, 12, 0.05), strict=True):
        found |= np.abs(sums[:, draws - 1]) / draws**0.5 > -special.ndtri(level / 2)
    assert found.mean() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(("degrees", "critical"), [(10, [2.23, 2.57, 2.76, 2.89]), (20, [2.09, 2.38, 2.54, 2.65])])
def test_dunnetts_critical_values_are_those_of_his_tables(degrees, critical):
    found = [
        optimize.brentq(lambda t, m=contrasts: largest_of(t, m, degrees) - 0.05, 1, 6) for contrasts in (1, 2, 3, 4)
    ]
    assert found == pytest.approx(critical, abs=0.01)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=6), st.integers(2, 30))
@settings(max_examples=40, deadline=None)
def test_corrected_p_never_falls_below_the_plain_one_and_keeps_the_order(p, degrees):
    corrected = dunnett_p(p, degrees)
    assert all(after >= before - 0.01 * before - 1e-4 for before, after in zip(p, corrected, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= -1e-12).all()
    assert max(corrected) <= 1
