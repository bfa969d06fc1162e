"""What a suite can show before it is run."""

import pytest
from hand_made import predictions, record, scored
from typer.testing import CliRunner

from xlbench import Store, Suite, XlbenchError
from xlbench.analysis.evidence import weigh
from xlbench.analysis.outlook import ASSUMED, best_design, outlook
from xlbench.cli import app
from xlbench.records.vetting import result_of


def suite(**axes) -> Suite:
    run = {"task": "logic", "model": "tiny", "test_units": 60}
    return Suite.model_validate({"methods": ["finetune", "mpt"], "shots": [4], "draws": 5, "run": run, **axes})


def kept(tmp_path, draws: int) -> Store:
    store = Store(tmp_path / "runs")
    for number, method in enumerate(("finetune", "mpt")):
        for draw in range(draws):
            one = record(method, {"en": 0.6, "fr": 0.6}, {"draw": draw}, seconds=30.0 * (1 + number))
            told = predictions(0.6 + 0.02 * draw, 10 * number + draw)
            store.write(scored(one, told), told)
    return store


def test_without_records_the_variances_are_assumed_and_the_time_is_not_known(tmp_path):
    (one,) = outlook(suite(), Store(tmp_path / "none"))
    assert (one.basis, one.seconds) == (ASSUMED, None)
    assert 0 < one.power.smallest < 0.2


def test_with_records_variances_and_time_are_theirs(tmp_path):
    four, sixteen = outlook(suite(shots=[4, 16]), kept(tmp_path, 3))
    assert four.basis == "from 6 runs"
    assert sixteen.basis == ASSUMED
    # A run took 27 or 57 s beside 2 s for two steps of its 12 rows and 1 s for 12 test rows, three a premise and
    # language. Of 4 shots 400 steps are of 12 rows, of 16 shots of 16; the test is 60 premises in 15 languages.
    test, of_12, of_16 = 60 * 3 * 15 / 12, 400, 400 * 16 / 12
    assert four.seconds == pytest.approx(5 * (27 + 57 + 2 * (of_12 + test)))
    assert sixteen.seconds == pytest.approx(5 * (27 + 57 + 2 * (of_16 + test)))


def test_hours_grow_with_what_is_asked(tmp_path):
    store = kept(tmp_path, 3)
    asked = suite(shots=[64]).run

    def seconds(**fields) -> float:
        (one,) = outlook(suite(shots=[64], run={**asked, **fields}), store)
        return one.seconds

    assert seconds(test_units=600) - seconds(test_units=60) == pytest.approx(5 * 2 * 540 * 3 * 15 / 12)
    longer = seconds(training={"steps": 2000}) - seconds(training={"steps": 1000})
    assert longer == pytest.approx(5 * 2 * 1000 * 16 / 12)
    assert seconds(languages=["en", "fr"]) < seconds() == seconds(languages=None)
    assert seconds(test_design="sharded") == pytest.approx(seconds() - 5 * 2 * 60 * 3 * 14 / 12)


def test_one_run_beside_others_on_a_machine_does_not_make_the_hours(tmp_path):
    store = kept(tmp_path, 3)
    (before,) = outlook(suite(), store)
    slow = record("mpt", {"en": 0.6, "fr": 0.6}, {"draw": 3}, seconds=9000.0)
    told = predictions(0.6, 99)
    store.write(scored(slow, told), told)
    (after,) = outlook(suite(), store)
    assert after.seconds == pytest.approx(before.seconds)


def test_all_shots_by_epochs_have_no_hours_for_their_rows_are_not_known(tmp_path):
    store = kept(tmp_path, 3)
    (epochs,) = outlook(suite(shots=["all"], draws=1), store)
    (steps,) = outlook(suite(shots=["all"], draws=1, run={**suite().run, "training": {"steps": 100}}), store)
    assert epochs.seconds is None
    assert steps.seconds > 0
    with pytest.raises(XlbenchError, match="--hours chooses a number of draws, and of all rows there is one"):
        best_design(suite(shots=["all"], draws=1), store, 8)


def test_board_and_plan_say_one_smallest_difference_of_one_design(tmp_path):
    store = kept(tmp_path, 4)
    (planned,) = outlook(suite(draws=4), store)
    runs = {
        method: {(one.spec.draw, 0, ""): result_of(one, store).summary for one in store.records()
                 if one.spec.method == method}
        for method in ("finetune", "mpt")
    }  # fmt: skip
    shown = weigh(runs).power
    assert planned.power.smallest == pytest.approx(shown.smallest)
    assert (planned.power.low, planned.power.high) == pytest.approx((shown.low, shown.high))
    assert planned.power.low < planned.power.smallest < planned.power.high


def test_parallel_runs_tell_what_a_sharded_test_would_show(tmp_path):
    """On as many units in all, two languages a unit tell more than one; and the cheaper design has the hours' draws."""
    store = kept(tmp_path, 4)
    parallel, sharded = (
        outlook(suite(run={**suite().run, "test_design": design}), store)[0] for design in ("parallel", "sharded")
    )
    assert (parallel.basis, sharded.basis) == ("from 8 runs", "from 8 runs, dealt out")
    assert parallel.power.smallest < sharded.power.smallest
    (chosen,) = best_design(suite(), store, 3)
    assert chosen.test_design == "sharded"


def test_hours_are_shared_by_the_numbers_of_shots(tmp_path):
    store = kept(tmp_path, 4)
    both = best_design(suite(shots=[4, 16]), store, 8)
    assert sum(design.hours for design in both) <= 8
    assert both[0] == best_design(suite(), store, 4)[0] or len({*both}) == 2


def test_a_design_is_chosen_that_fits_the_hours_and_shows_most(tmp_path):
    store = kept(tmp_path, 4)
    hours = [best_design(suite(), store, hours)[0] for hours in (2, 4, 8)]
    assert all(design.hours <= limit for design, limit in zip(hours, (2, 4, 8), strict=True))
    assert hours[0].smallest >= hours[1].smallest >= hours[2].smallest
    with pytest.raises(XlbenchError, match=r"0.01 hours hold no two draws of 4 shots"):
        best_design(suite(), store, 0.01)
    with pytest.raises(XlbenchError, match=r"--hours needs a finished run of pct on this task"):
        best_design(suite(methods=["finetune", "pct"]), store, 8)


def test_a_short_budget_is_warned_of(tmp_path):
    asked = suite(shots=[64]).run
    (one,) = outlook(suite(shots=[64], run={**asked, "training": {"steps": 20}}), Store(tmp_path))
    assert one.warning.startswith("20 steps of 16 pass 192 rows 1.7 times")


def test_more_draws_show_smaller_differences_and_one_draw_none(tmp_path):
    store = kept(tmp_path, 4)
    shown = [outlook(suite(draws=draws), store)[0].power.smallest for draws in (1, 2, 5, 20)]
    assert shown[0] is None
    assert shown[1] > shown[2] > shown[3]


def test_one_draw_on_record_tells_nothing_of_draws(tmp_path):
    assert outlook(suite(), kept(tmp_path, 1))[0].basis == ASSUMED


def test_both_commands_print_the_plan_and_run_nothing(tmp_path):
    runs = tmp_path / "runs"
    for asked in (["plan", "--suite", "demo"], ["compare", "--methods", "finetune,pct", "--task", "logic", "--plan"]):
        done = CliRunner().invoke(app, [*asked, "--runs", str(runs)])
        assert done.exit_code == 0, done.output
        assert "draws for" in done.output
        assert "assumed: no records" in done.output
    assert not runs.exists()
