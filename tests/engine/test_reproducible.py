"""The same run gives the same numbers, to the bit, whatever ran before it and wherever it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import xlbench
from xlbench import registry
from xlbench.engine.prepare import prepare
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Runtime, Training

METHODS = ("finetune", "soft-prompt", "pct", "mpt")


def spec(method: str = "mpt", **fields) -> RunSpec:
    common = {"task": "logic", "model": "tiny", "shots": 3, "languages": ("en", "fr"), "test_units": 5}
    training = Training(steps=3, learning_rate=1e-3, checkpoints=3, batch_size=4)
    return RunSpec(method=method, **{**common, "training": training, **fields})


def predictions(asked: RunSpec, folder: Path) -> pa.Table:
    """What a run predicts, computed anew in a folder of its own."""
    record = xlbench.run(asked, Runtime(runs=folder, device="cpu"))
    return Store(folder).predictions(record.id)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_predictions_and_another_seed_gives_others(method, tmp_path):
    first = predictions(spec(method), tmp_path / "first")
    assert predictions(spec(method), tmp_path / "again").equals(first)
    other = predictions(spec(method, seed=1), tmp_path / "other")
    assert not other.equals(first)
    assert other.drop_columns(["log_prob_0", "log_prob_1", "log_prob_2"]).equals(
        first.drop_columns(["log_prob_0", "log_prob_1", "log_prob_2"])
    )


@pytest.mark.parametrize("selection", ["last", "average-last", "oracle-target-dev"])
def test_every_selection_policy_is_reproducible(selection, tmp_path):
    asked = spec("soft-prompt", selection=selection)
    assert predictions(asked, tmp_path / "first").equals(predictions(asked, tmp_path / "again"))


def test_lora_and_frozen_runs_are_reproducible(tmp_path):
    for tune in ("lora", "frozen"):
        asked = spec("soft-prompt", tune=tune)
        assert predictions(asked, tmp_path / tune).equals(predictions(asked, tmp_path / f"{tune}-again"))


def test_what_a_process_ran_before_changes_nothing(tmp_path):
    """mpt after other runs in this process, and mpt alone in a fresh one."""
    predictions(spec("finetune", seed=7), tmp_path / "here")
    predictions(spec("soft-prompt", tune="lora"), tmp_path / "here")
    here = predictions(spec("mpt"), tmp_path / "here")
    script = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "import xlbench\n"
        "spec = xlbench.RunSpec.model_validate_json(sys.argv[1])\n"
        "print(xlbench.run(spec, xlbench.Runtime(runs=Path(sys.argv[2]), device='cpu')).id)"
    )
    there = tmp_path / "there"
    command = [sys.executable, "-c", script, spec("mpt").model_dump_json(), str(there)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "5"}
    )
    fresh = Store(there).predictions(done.stdout.strip())
    assert fresh.equals(here)
    assert done.stdout.strip() in {folder.name for folder in (tmp_path / "here").iterdir()}


def test_a_finished_run_is_found_and_not_computed_again(tmp_path):
    runtime = Runtime(runs=tmp_path, device="cpu")
    first = xlbench.run(spec("finetune"), runtime)
    assert xlbench.run(spec("finetune"), runtime) == first


def test_the_token_budget_is_no_part_of_a_run(tmp_path):
    small, large = (Runtime(runs=tmp_path, device="cpu", token_budget=budget) for budget in (64, 8192))
    assert prepare(spec(), small).id == prepare(spec(), large).id


def test_the_draw_depends_on_neither_method_nor_seed(runtime):
    draws = [prepare(spec(method, seed=seed), runtime).episode.shots for method in METHODS for seed in (0, 5)]
    assert all(draw == draws[0] for draw in draws)
    assert prepare(spec(draw=1), runtime).episode.shots != draws[0]
    assert {row.gold for row in draws[0].train} == {0, 1, 2}


def test_the_draw_does_not_follow_the_global_random_state(logic):
    import random

    import numpy as np
    import torch

    first = logic.draw(3, 0, None)
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    assert registry.get("task", "logic")().draw(3, 0, None) == first
