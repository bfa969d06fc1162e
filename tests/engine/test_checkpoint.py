"""A run that is killed in training and started again: the same bytes as one that was left alone."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_data import ASKS, ON_TINY, plugin

import xlbench
from xlbench import RunSpec, Runtime, Store, registry
from xlbench.engine import execute as running
from xlbench.engine.checkpoint import Checkpoint, Spent, folder_of
from xlbench.engine.session import Stopwatch
from xlbench.spec import Training

STEPS, AT = 8, 5
EVERY_STEP = 1e-9  # minutes
LOSS = "return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)"
HEAD = "self.head = nn.Linear(backbone.dimension, len(task.labels))"
DROPOUT = f"{HEAD}\n        self.head = nn.Sequential(nn.Dropout(0.3), self.head)"


pytestmark = pytest.mark.usefixtures("own_registry")


def spec(method: str = "mpt", training: dict | None = None, **fields) -> RunSpec:
    common = {"task": "logic", "model": "tiny", "shots": 3, "languages": ("en", "fr"), "test_units": 5}
    common["resources"] = {name: {"size": 20} for name in ("parallel", "unlabelled")}
    settings = {"steps": STEPS, "learning_rate": 1e-3, "checkpoints": 4, "batch_size": 4, "warmup": 0.5}
    return RunSpec(method=method, **{**common, "training": Training(**{**settings, **(training or {})}), **fields})


def bytes_of(record: xlbench.Record, runs: Path) -> bytes:
    return (runs / record.id / "predictions.parquet").read_bytes()


def interrupted(monkeypatch, asked: RunSpec, runtime: Runtime, at: int = AT) -> None:
    """The run, ended from outside in the loss of a step, as by Ctrl-C; what follows draws other random numbers."""
    method_class, calls = registry.get("method", asked.method), []
    loss = method_class.loss

    def ending(self, batch):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(method_class, "loss", ending)
        with pytest.raises(KeyboardInterrupt):
            xlbench.run(asked, runtime)
    torch.manual_seed(99)


def with_states(runtime: Runtime, folder: Path | None = None) -> Runtime:
    return runtime.model_copy(update={"checkpoint_minutes": EVERY_STEP, "runs": folder or runtime.runs})


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        *((name, {"config": ON_TINY.get(name, {}), **ASKS.get(name, {})}) for name in registry.names("method")),
        *(("soft-prompt", {"selection": policy}) for policy in ("last", "average-last", "oracle-target-dev")),
        ("finetune", {"tune": "lora", "lora": {"dropout": 0.2}}),
        *((name, {"config": {"teacher": "frozen", "teacher_at": 0.25}}) for name in ("distil", "distil-prompt")),
        ("finetune", {"trials": 2}),
        ("dropping", {}),
    ],
)
def test_what_is_interrupted_goes_on_to_the_same_bytes(monkeypatch, runtime, tmp_path, method, fields):
    registry.load_plugin(str(plugin(tmp_path / "dropping.py", "dropping", (HEAD, DROPOUT))))
    asked, others = spec(method, **fields), with_states(runtime, tmp_path / "others")
    at = AT + STEPS * ("trials" in fields)
    alone = xlbench.run(asked, runtime)
    interrupted(monkeypatch, asked, others, at)
    assert [path.name for path in others.runs.iterdir()] == [f".{alone.id}-training"]
    found = xlbench.run(asked, others)
    assert found.id == alone.id
    assert bytes_of(found, others.runs) == bytes_of(alone, runtime.runs)
    assert found.selection["history"] == alone.selection["history"]
    assert found.selection["step"] == alone.selection["step"]
    if "trials" not in fields:
        assert f"training was killed, and resumed after step {AT - 1}; its costs are of all parts" in found.notes
        assert found.costs["training_flops"] == pytest.approx(alone.costs["training_flops"], rel=0.03)
    assert [path.name for path in others.runs.iterdir()] == [found.id]


KILLED = f"""CALLS.append(1)
        flag = Path(__file__).with_suffix(".flag")
        if len(CALLS) == {AT} and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), 9)
        {LOSS}"""


def test_a_process_that_is_killed_in_training_costs_nothing_but_time(runtime, tmp_path):
    """Two fresh processes, the first killed by signal 9; then a run here, left alone, with dropout and all."""
    imports = ("from torch import nn\n", "import os\nfrom pathlib import Path\n\nfrom torch import nn\n\nCALLS = []\n")
    file = plugin(tmp_path / "killed.py", "killed", (HEAD, DROPOUT), (LOSS, KILLED), imports)
    script = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "import xlbench\n"
        f"runtime = xlbench.Runtime(runs=Path(sys.argv[2]), device='cpu', checkpoint_minutes={EVERY_STEP}, "
        "plugins=(sys.argv[3],))\n"
        "print(xlbench.run(xlbench.RunSpec.model_validate_json(sys.argv[1]), runtime).id)"
    )

    def process() -> subprocess.CompletedProcess:
        line = [sys.executable, "-c", script, spec("killed").model_dump_json(), str(tmp_path / "runs"), str(file)]
        return subprocess.run(line, capture_output=True, text=True, timeout=300)

    first, second = process(), process()
    assert first.returncode == -9, first.stderr
    assert second.returncode == 0, second.stderr
    left_alone = runtime.model_copy(update={"runs": tmp_path / "alone", "plugins": (str(file),)})
    undisturbed = xlbench.run(spec("killed"), with_states(left_alone, left_alone.runs))
    (resumed,) = Store(tmp_path / "runs").records()
    assert f"resumed after step {AT - 1}" in " ".join(resumed.notes)
    assert not any("resumed" in note for note in undisturbed.notes)
    assert bytes_of(resumed, tmp_path / "runs") == bytes_of(undisturbed, tmp_path / "alone")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [resumed.id]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE = {
    "a flipped bit": flip,
    "a cut": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "nothing": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("a state"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_left_aside_and_said(monkeypatch, runtime, tmp_path, damage):
    asked, others = spec("finetune"), with_states(runtime, tmp_path / "others")
    alone = xlbench.run(asked, runtime)
    interrupted(monkeypatch, asked, others)
    (file,) = folder_of(others.runs, alone.id).iterdir()
    DAMAGE[damage](file)
    found = xlbench.run(asked, others)
    assert bytes_of(found, others.runs) == bytes_of(alone, runtime.runs)
    assert "the training state that was kept is damaged: training started over" in found.notes


def test_a_state_made_with_other_versions_is_left_aside_and_said(monkeypatch, runtime):
    asked, runtime, ours = spec("finetune"), with_states(runtime), running.versions()
    with monkeypatch.context() as patch:
        patch.setattr(running, "versions", lambda: {**ours, "torch": "1.0"})
        interrupted(monkeypatch, asked, runtime)
    (note,) = [note for note in xlbench.run(asked, runtime).notes if "training state" in note]
    assert f"was made with torch 1.0, not {torch.__version__}" in note
    assert note.endswith("training started over")


def test_no_state_is_kept_of_short_runs_nor_where_nobody_wants_it(monkeypatch, runtime):
    for minutes in (0, 30):
        interrupted(monkeypatch, spec("finetune"), runtime.model_copy(update={"checkpoint_minutes": minutes}))
        assert list(runtime.runs.iterdir()) == []
    monkeypatch.setattr(registry.get("method", "finetune"), "resumable", False)
    interrupted(monkeypatch, spec("finetune"), with_states(runtime))
    assert list(runtime.runs.iterdir()) == []


def test_a_fault_of_the_method_leaves_no_state_behind(runtime, tmp_path):
    """It would fail again: the record says why, and the next attempt starts over."""
    late = "self.steps = getattr(self, 'steps', 0) + 1\n        assert self.steps < 4\n        "
    registry.load_plugin(str(plugin(tmp_path / "fails.py", "fails", (LOSS, late + LOSS))))
    with pytest.raises(AssertionError):
        xlbench.run(spec("fails"), with_states(runtime))
    assert [path.name[0] for path in runtime.runs.iterdir()] != ["."]


def test_a_state_that_cannot_be_written_costs_a_warning_and_nothing_else(tmp_path):
    (tmp_path / "file").touch()
    checkpoint = Checkpoint(tmp_path / "file" / "trial", {}, 1.0, Spent(Stopwatch()))
    with pytest.warns(UserWarning, match="cannot keep the training state .* training goes on"):
        checkpoint.write({"a": torch.zeros(2)}, {"step": 1})
    assert checkpoint.read() is None


def test_tensors_come_back_as_they_were_whatever_their_kind(tmp_path):
    """Views of one storage, numbers without a dimension, half widths and bytes."""
    whole = torch.arange(6.0)
    kept = {"a": whole[:3], "b": whole[3:], "c": torch.tensor(7), "d": torch.ones(2, 3, dtype=torch.bfloat16).T,
            "e": torch.zeros(0), "f": torch.get_rng_state()}  # fmt: skip
    checkpoint = Checkpoint(tmp_path / "trial", {"torch": "2"}, 1.0, Spent(Stopwatch()))
    checkpoint.write(kept, {"step": 3, "rate": 0.1})
    tensors, facts = checkpoint.read()
    assert {name: (value.dtype, value.tolist()) for name, value in tensors.items()} == {
        name: (value.dtype, value.tolist()) for name, value in kept.items()
    }
    assert facts == {"step": 3, "rate": 0.1}
