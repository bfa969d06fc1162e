"""Memory that runs out: in evaluation smaller batches, in training one sentence, and the other cells go on."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import plugin, registry_as_it_was
from torch import nn

from xlbench import RunSpec, Runtime, Store, Suite, registry, run
from xlbench.comparison.compare import run_suite
from xlbench.engine.predict import FIRST, TokenBudget, predict
from xlbench.engine.session import Session
from xlbench.errors import OutOfMemory
from xlbench.host import memory
from xlbench.host.memory import ran_out
from xlbench.problem import Classification
from xlbench.prompts import Encoded

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
HOST = "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
SHARED = {
    "task": "logic", "model": "tiny", "languages": ("en", "fr"), "test_units": 8,
    "training": {"steps": 2, "checkpoints": 1},
}  # fmt: skip
SCORE = "return self.logits(batch).float().log_softmax(-1)"
LOSS = "return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)"


@pytest.fixture(autouse=True)
def _as_before():
    with registry_as_it_was():
        yield
    TokenBudget.fitting.clear()


def short_of(expression: str, then: str) -> tuple[str, str]:
    """A plug-in's line, with an allocation before it that fails where `expression` is true."""
    line = SCORE if then == SCORE else LOSS
    return line, f"if {expression}:\n            raise RuntimeError({HOST!r})\n        {line}"


@pytest.mark.parametrize(
    ("fault", "means"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError(HOST), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_what_means_that_memory_ran_out(fault, means):
    assert ran_out(fault) is means


@pytest.mark.parametrize("asked", [None, 400])
def test_batches_that_do_not_fit_are_halved_and_the_scores_are_the_same(runtime, tmp_path, asked):
    """Above 150 tokens an allocation fails: the budget is halved until batches fit, and the record says so."""
    limited = short_of("batch.ids.numel() > 150", SCORE)
    registry.load_plugin(str(plugin(tmp_path / "whole.py", "whole")))
    registry.load_plugin(str(plugin(tmp_path / "limited.py", "limited", limited)))
    undisturbed = run(RunSpec(method="whole", shots=2, **SHARED), runtime)
    found = run(RunSpec(method="limited", shots=2, **SHARED), runtime.model_copy(update={"token_budget": asked}))
    ours, theirs = (
        Store(runtime.runs).predictions(one.id).to_pandas().filter(like="log_prob").to_numpy()
        for one in (undisturbed, found)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=2e-6)
    assert found.scores == undisturbed.scores
    (note,) = [note for note in found.notes if "tokens" in note]
    assert f", not {asked or 1024}: no more fit in memory" in note
    assert not [note for note in undisturbed.notes if "tokens" in note]


class Meter:
    """A method that scores by the row's first token, fails above a number of tokens, and keeps what it was given."""

    def __init__(self, fits: int) -> None:
        self.fits, self.held, self.name = fits, [], "meter"
        self.backbone = SimpleNamespace(name="some", tokenizer=SimpleNamespace(pad_token_id=0), encoder=nn.Module())
        self.task = SimpleNamespace(name="some", problem=Classification(("a", "b")))

    def score(self, batch):
        self.held.append(batch.ids.numel())
        if batch.ids.numel() > self.fits:
            raise MemoryError
        return torch.stack([batch.ids[:, 0], batch.attention.sum(1)], dim=1).float()


def rows(lengths: list[int]) -> Encoded:
    zeros = np.zeros(len(lengths), dtype=np.int64)
    return Encoded([np.full(n, i) for i, n in enumerate(lengths)], zeros, zeros, zeros)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 30), max_size=60), st.integers(30, 500), st.integers(1, 2000))
def test_every_row_is_scored_once_in_its_place_whatever_fits(monkeypatch, lengths, fits, asked):
    monkeypatch.setattr(memory, "release", lambda: None)  # it collects garbage, which takes long
    TokenBudget.fitting.clear()
    method = Meter(fits)
    found = predict(method, rows(lengths), Session(CPU, token_budget=asked))
    assert found.tolist() == [[i, n] for i, n in enumerate(lengths)]
    method.held.clear()
    predict(method, rows(lengths), Session(CPU, token_budget=asked))
    assert all(held <= fits for held in method.held)  # what fits is remembered
    assert TokenBudget(asked, CPU, "another").tokens == asked  # of this backbone alone


def test_a_row_that_does_not_fit_alone_is_said_in_a_sentence():
    with pytest.raises(OutOfMemory, match=r"method meter: one row of 9 tokens does not fit in the memory of cpu \(.* "):
        predict(Meter(8), rows([9, 3]), Session(CPU, token_budget=100))


def test_on_a_gpu_the_first_large_batch_says_how_many_tokens_fit(monkeypatch):
    """Each token takes 1 MiB here, and 10 GiB are free: nine tenths of 10,240 tokens."""
    allocated = {"now": 5, "peak": 5}

    def score(tokens: int) -> None:
        allocated["peak"] = max(allocated["peak"], allocated["now"] + tokens * 2**20)

    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: allocated["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: allocated["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: allocated.update(peak=allocated["now"]))
    monkeypatch.setattr(memory, "free_bytes", lambda _: 10 * memory.GIB)
    memory.PEAK.start(GPU)
    score(9000)  # in training, say
    budget = TokenBudget(32768, GPU, "some")
    assert budget.tokens == FIRST
    with budget.watched(FIRST):
        score(FIRST)
    assert budget.tokens == TokenBudget(32768, GPU, "some").tokens == 9216
    assert TokenBudget(4096, GPU, "some").tokens == 4096  # what was asked for is the most
    assert TokenBudget(4096, GPU, "some").note == ""
    assert budget.note == "evaluation batches held at most 9216 tokens, not 32768: no more fit in memory"
    assert memory.PEAK.bytes(GPU) == 5 + 9000 * 2**20  # measuring a part leaves the run's peak


@pytest.mark.parametrize("executor", ["local", "processes"])
def test_a_training_batch_that_does_not_fit_costs_its_cell_alone(runtime, tmp_path, executor):
    """The failed record says what was tried and what to change; what the cell held is free for the next."""
    file = plugin(
        tmp_path / "short.py", "short", short_of("True", LOSS),
        ("from torch import nn\n", "import weakref\n\nfrom torch import nn\n\nSEEN = []\n"),
        ("return self.in_template", "SEEN.append(weakref.ref(self))\n        return self.in_template"),
    )  # fmt: skip
    more = {"executor": executor, "plugins": (str(file),)} | ({"jobs": 1} if executor == "processes" else {})
    found = run_suite(
        Suite(methods=("short", "finetune"), shots=(2,), run=SHARED),
        Runtime.model_validate(runtime.model_dump() | more),
    )
    assert [record.spec.method for record in found.records] == ["finetune"]
    (sentence,) = found.failed
    assert "method short: a training step of 6 shots, " in sentence
    assert "tokens with padding, in fp32 does not fit in the memory of cpu (" in sentence
    assert "use a smaller --batch-size or --with training.accumulate=2 or more, a shorter --max-length" in sentence
    (failed,) = [record for record in Store(runtime.runs).records() if record.status == "failed"]
    assert "a training step of 6 shots" in failed.error
    if executor == "local":
        held = sys.modules[registry.get("method", "short").__module__].SEEN
        assert held
        assert not any(one() for one in held)


def test_memory_that_really_runs_out_is_heard(tmp_path):
    """A process that may take 2 GiB more, and a method that takes 16 MiB a token: no more than 128 tokens fit."""
    hungry = SCORE, f"torch.empty(batch.ids.numel(), 2**22)\n        {SCORE}"
    file = plugin(
        tmp_path / "hungry.py", "hungry", hungry, ("from torch import nn\n", "import torch\nfrom torch import nn\n")
    )
    script = (
        "import resource, sys, psutil, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from xlbench import RunSpec, Runtime\n"
        "from xlbench.engine.prepare import prepare\n"
        "from xlbench.host.progress import Progress\n"
        "from xlbench.engine.execute import execute\n"
        "runtime = Runtime(runs=Path(sys.argv[2]), device='cpu', plugins=(sys.argv[3],))\n"
        "prepared = prepare(RunSpec.model_validate_json(sys.argv[1]), runtime)\n"
        "most = psutil.Process().memory_info().vms + 2 * 2**30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "print([note for note in execute(prepared, runtime, Progress()).notes if 'tokens' in note])"
    )
    spec = RunSpec(method="hungry", shots=2, **{**SHARED, "test_units": 40})
    line = [sys.executable, "-c", script, spec.model_dump_json(), str(tmp_path / "runs"), str(file)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert re.search(r"evaluation batches held at most (\d\d|1[0-2]\d) tokens, not 1024: no more fit", done.stdout)
