"""`xlbench average`: the mean of runs' weights, what it scores, and which runs have no mean."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from typer.testing import CliRunner

import xlbench
from xlbench.cli import app
from xlbench.comparison.average import average, mean_of
from xlbench.errors import XlbenchError
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Runtime, Training


def run(folder, method="discrete-prompt", rate=1e-3, **fields):
    training = Training(steps=4, batch_size=4, checkpoints=1, learning_rate=rate)
    common = {"task": "logic", "model": "tiny", "shots": 2, "languages": ("en", "fr"), "test_units": 6}
    spec = RunSpec(method=method, selection="last", training=training, **{**common, **fields})
    return xlbench.run(spec, here(folder))


def here(folder):
    return Runtime(runs=folder / "runs", keep_weights=folder / "weights", device="cpu")


def mean(folder, *records):
    return average([record.id for record in records], folder / "weights", here(folder))


def scores(folder, record):
    table = Store(folder / "runs").predictions(record.id)
    return np.array([table[f"log_prob_{n}"].to_numpy() for n in range(3)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("averages")


def test_the_mean_of_two_runs_scores_as_a_model_with_their_mean_weights(folder, monkeypatch):
    records = [run(folder, seed=seed) for seed in (0, 1)]
    made = mean(folder, *records)
    states = [load_file(folder / "weights" / f"{record.id}.safetensors") for record in records]
    module = {}
    build = xlbench.registry.get("method", "discrete-prompt").build

    def built(self, backbone, task):
        module["it"] = build(self, backbone, task)
        with torch.no_grad():
            for name, value in module["it"].named_parameters():
                value.copy_((states[0][f"weight/{name}"] + states[1][f"weight/{name}"]) / 2)
        return module["it"]

    monkeypatch.setattr(xlbench.registry.get("method", "discrete-prompt"), "build", built)
    other = run(folder / "other", shots="none")  # an untrained run of that model
    np.testing.assert_allclose(scores(folder, made), scores(folder / "other", other), atol=1e-5)
    assert made.combined == {"how": "average", "runs": sorted(record.id for record in records)}


def test_budgets_add_up_and_what_is_stored_is_one_model(folder):
    records = [run(folder, seed=seed) for seed in (0, 1)]
    made = mean(folder, *records)
    assert made.costs["training_flops"] == pytest.approx(sum(record.costs["training_flops"] for record in records))
    assert made.selection["steps"] == 8
    assert made.costs["trained_bytes"] == records[0].costs["trained_bytes"]
    assert made.costs["test_flops"] == pytest.approx(records[0].costs["test_flops"], rel=0.03)
    assert mean(folder, *reversed(records)) == made


def test_the_mean_of_a_run_with_a_copy_of_itself_is_the_run_to_the_bit(folder):
    """The weights of one under the name of another."""
    one, other = run(folder, "finetune"), run(folder, "finetune", rate=2e-3)
    kept = folder / "weights" / f"{other.id}.safetensors"
    before = kept.read_bytes()
    kept.write_bytes((folder / "weights" / f"{one.id}.safetensors").read_bytes())
    made = mean(folder, one, other)
    kept.write_bytes(before)
    assert np.array_equal(scores(folder, made), scores(folder, one))


def test_runs_of_one_seed_that_differ_in_their_training_share_a_head(folder):
    records = [run(folder, "finetune", rate) for rate in (1e-3, 5e-4)]
    made = mean(folder, *records)
    assert made.spec.method == "finetune"
    assert not np.array_equal(scores(folder, made), scores(folder, records[0]))


def test_heads_that_began_apart_have_no_mean(folder):
    with pytest.raises(XlbenchError, match="draws head anew, by seed"):
        mean(folder, *(run(folder, "finetune", seed=seed) for seed in (0, 1)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"draw": 1}, "differ in draw"),
        ({"tune": "lora"}, "differ in tune"),
        ({"method": "pct"}, "differ in method"),
        ({"config": {"question_words": "own"}}, "differ in config"),
        ({"test_units": 5}, "differ in test rows"),
    ],
)
def test_runs_that_differ_in_more_than_seed_and_training_are_refused(folder, change, said):
    with pytest.raises(XlbenchError, match=said):
        mean(folder, run(folder), run(folder, **change))


def test_a_run_without_kept_weights_is_one_sentence(folder):
    records = [run(folder, seed=seed) for seed in (0, 1)]
    with pytest.raises(XlbenchError, match=r"no weights of run .* compute it with --keep-weights"):
        average([record.id for record in records[:1]] + [run(folder, seed=7).id], folder / "nowhere", here(folder))


def test_one_run_and_unknown_ones_are_refused_on_the_command_line(folder):
    record = run(folder)
    for words, said in (([record.id], "of two runs or more"), ([record.id, "nothing"], "run nothing in")):
        done = CliRunner().invoke(
            app, ["average", *words, "--weights", str(folder / "weights"), "--runs", str(folder / "runs")]
        )
        assert done.exit_code == 2
        assert said in done.output


def test_buffers_that_differ_have_no_mean_and_integers_stay():
    states = [{"weight/a": torch.ones(2) * n, "buffer/b": torch.tensor([1, 2])} for n in (1, 3)]
    assert mean_of(states, ["x", "y"])["weight/a"].tolist() == [2, 2]
    states[1]["buffer/b"] = torch.tensor([1, 3])
    with pytest.raises(XlbenchError, match=r"scored with other buffers \(b\)"):
        mean_of(states, ["x", "y"])
    with pytest.raises(XlbenchError, match="other names or shapes"):
        mean_of([{"weight/a": torch.ones(2)}, {"weight/a": torch.ones(3)}], ["x", "y"])


@given(st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=1, max_size=5))
def test_order_plays_no_part_to_a_millionth(values):
    states = [{"weight/a": torch.tensor(row)} for row in values]
    names = [str(number) for number in range(len(states))]
    forth, back = mean_of(states, names)["weight/a"], mean_of(states[::-1], names)["weight/a"]
    torch.testing.assert_close(forth, back, atol=1e-6, rtol=1e-6)
