"""`xlbench vote`: the rules by hand, what they leave as it is, and what may not vote together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import xlbench
from xlbench.board.publish import publish
from xlbench.board.reproduce import commands
from xlbench.cli import app
from xlbench.comparison.vote import combined, vote
from xlbench.errors import XlbenchError
from xlbench.records.store import Store
from xlbench.records.vetting import vet
from xlbench.spec import RunSpec, Runtime, Training

TWICE_AND_ONCE = np.log([[[0.40, 0.35, 0.25]], [[0.40, 0.35, 0.25]], [[0.05, 0.90, 0.05]]])


@pytest.mark.parametrize(
    ("rule", "said"),
    [("log-mean", (0.242, 0.581, 0.177)), ("mean", (0.283, 0.533, 0.183)), ("majority", (2 / 3, 1 / 3, 0))],
)
def test_the_rules_by_hand(rule, said):
    assert np.exp(combined(TWICE_AND_ONCE, rule))[0] == pytest.approx(said, abs=6e-4)


def test_a_tie_goes_to_the_higher_mean():
    views = np.log([[[0.6, 0.4]], [[0.1, 0.9]]])
    assert combined(views, "majority").argmax() == 1
    assert np.exp(combined(views, "majority"))[0] == pytest.approx((0.5, 0.5), abs=1e-5)


def test_weights_by_hand():
    views = np.log([[[0.8, 0.2]], [[0.2, 0.8]]])
    assert np.exp(combined(views, "mean", [3, 1]))[0] == pytest.approx((0.65, 0.35))
    odds = 4 ** (3 / 4) * 4 ** (-1 / 4)
    assert np.exp(combined(views, "log-mean", [3, 1]))[0, 0] == pytest.approx(odds / (1 + odds))
    assert combined(views, "majority", [3, 1]).argmax() == 0


def test_a_label_without_probability_in_a_view_has_none_by_log_mean_and_some_by_mean():
    with np.errstate(divide="ignore"):
        views = np.log([[[0.0, 1.0]], [[0.6, 0.4]]])
    assert np.isneginf(combined(views, "log-mean")[0, 0])
    assert np.exp(combined(views, "mean"))[0] == pytest.approx((0.3, 0.7))


RULES = st.sampled_from(["log-mean", "mean", "majority"])


@given(RULES, st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_order_plays_no_part_and_probabilities_add_up(rule, count, rows, seed):
    random = np.random.default_rng(seed)
    views = np.log(random.dirichlet([1, 1, 1], (count, rows)))
    found = combined(views, rule)
    assert np.exp(found).sum(axis=1) == pytest.approx(np.ones(rows))
    np.testing.assert_allclose(found, combined(views[random.permutation(count)], rule), atol=1e-9)


@given(st.sampled_from(["log-mean", "mean"]), st.integers(1, 4), st.integers(0, 99))
def test_a_view_given_again_changes_nothing_and_one_alone_is_what_it_was(rule, times, seed):
    one = np.log(np.random.default_rng(seed).dirichlet([1, 1, 1], (1, 4)))
    np.testing.assert_allclose(combined(np.repeat(one, times, axis=0), rule), one[0], atol=1e-9)


# Records


def run(folder, method="finetune", **fields):
    training = Training(steps=3, batch_size=4, checkpoints=1)
    common = {"task": "logic", "model": "tiny", "shots": 2, "languages": ("en", "fr"), "test_units": 6}
    spec = RunSpec(method=method, selection="last", training=training, **{**common, **fields})
    return xlbench.run(spec, Runtime(runs=folder, device="cpu"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voters") / "runs"
    return folder, [run(folder, seed=seed) for seed in (0, 1)]


def test_a_vote_is_a_sound_record_with_the_sum_of_what_its_runs_cost(runs):
    folder, records = runs
    made = vote([record.id for record in records], folder)
    assert made.combined == {"how": "vote", "rule": "log-mean", "runs": sorted(record.id for record in records)}
    for name in ("training_seconds", "test_flops", "trained_bytes"):
        assert made.costs[name] == pytest.approx(sum(record.costs[name] for record in records))
    assert made.selection["steps"] == 6
    tables = [Store(folder).predictions(one) for one in (*made.combined["runs"], made.id)]
    first, second, found = (
        np.array([[dict(zip(zip(t["language"].to_pylist(), t["row_id"].to_pylist(), strict=True),
                            t[f"log_prob_{n}"].to_pylist(), strict=True))[key] for n in range(3)]
                  for key in sorted(zip(t["language"].to_pylist(), t["row_id"].to_pylist(), strict=True))])
        for t in tables
    )  # fmt: skip
    np.testing.assert_allclose(found, combined(np.stack([first, second])), atol=1e-5)
    assert made.id in {record.id for record in vet(Store(folder)).records}
    assert vote([record.id for record in reversed(records)], folder) == made  # and nothing is computed again


def test_a_board_puts_votes_apart_names_them_and_says_how_to_make_them(runs, tmp_path):
    folder, records = runs
    made = vote([record.id for record in records], folder)
    text = publish(folder, tmp_path / "board", figures=False).files[0].read_text(encoding="utf-8")
    assert "each record is made of others (vote of 2 runs), with the sum of their costs" in text
    assert "| finetune (vote of 2 runs, log-mean) |" in text
    (again,) = commands([made])
    assert again.text == f"xlbench vote {' '.join(made.combined['runs'])} --rule log-mean"


def test_methods_and_views_may_vote_together(runs):
    folder, records = runs
    other = run(folder, "discrete-prompt")
    moved = run(folder, read="translation")
    made = vote([records[0].id, other.id, moved.id], folder, "mean", [1, 1, 2])
    assert sorted(made.spec.method.split("+")) == ["discrete-prompt", "finetune"]
    assert made.combined["weights"].count(",") == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [({"test_units": 5}, "differ in test rows"), ({"languages": ("en", "sw")}, "differ in"),
     ({"shots": 1}, "differ in shots"),
     ({"task": "logic-choice"}, "differ in task")],
)  # fmt: skip
def test_runs_of_another_test_are_refused(runs, change, said):
    folder, records = runs
    other = run(folder, **change)
    with pytest.raises(XlbenchError, match=said):
        vote([records[0].id, other.id], folder)


def test_tags_and_choices_do_not_vote(tmp_path):
    ids = [run(tmp_path, task="logic-choice", seed=seed).id for seed in (0, 1)]
    with pytest.raises(XlbenchError, match="a vote is of labels, and task logic-choice is multiple-choice"):
        vote(ids, tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("A",), "a vote is of two runs or more"),
        (("A", "B", "--weights", "1"), "a vote is of two runs or more"),
        (("A", "B", "--weights", "1,x"), "--weights 1,x"),
        (("A", "B", "--rule", "most"), "unknown rule 'most'"),
        (("A", "nothing"), "run nothing in"),
    ],
)
def test_bad_votes_are_one_sentence(runs, words, said):
    folder, records = runs
    known = {"A": records[0].id, "B": records[1].id}
    done = CliRunner().invoke(app, ["vote", *(known.get(word, word) for word in words), "--runs", str(folder)])
    assert done.exit_code == 2
    assert said in done.output
