"""What a suite can show before it is run."""

from hand_made import predictions, record, scored
from typer.testing import CliRunner

from xlbench import Store, Suite
from xlbench.analysis.outlook import ASSUMED, outlook
from xlbench.cli import app


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
    assert four.seconds == sixteen.seconds == 5 * (30 + 60)


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
