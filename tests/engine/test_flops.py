"""FLOPs: what is counted, that the sum is that of every step to 2 %, and that counting changes nothing."""

import contextlib
from dataclasses import replace

import pytest
import torch
from small_data import plugin, registry_as_it_was
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import xlbench
from xlbench import backbone
from xlbench.batching import collate
from xlbench.engine import flops
from xlbench.engine.flops import FORMULAS, Counter, FlopMeter
from xlbench.prompts import PromptEncoder
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Runtime, Training
from xlbench.task import Row

METHODS = ("finetune", "soft-prompt", "pct", "mpt")
FLOPS = ("before_flops", "training_flops", "evaluation_flops", "test_flops")


class NoModules(contextlib.nullcontext):
    parents = frozenset({"Global"})


def by_torch() -> FlopCounterMode:
    """torch's own counter with our formulas, less its hooks on modules, which fail in inference mode."""
    made = FlopCounterMode(display=False)
    made.flop_registry |= FORMULAS
    made.mod_tracker = NoModules()
    return made


def spec(method: str, **fields) -> RunSpec:
    common = {"task": "logic", "model": "tiny", "shots": 5, "languages": ("en", "fr", "sw"), "test_units": 6}
    training = Training(steps=16, learning_rate=1e-3, checkpoints=2, batch_size=4)
    return RunSpec(method=method, **{**common, "training": training, **fields})


# A whole run


@pytest.fixture
def both_counts(monkeypatch) -> tuple[dict[int, int], dict[int, float]]:
    """FLOPs of each meter in the order of their first steps, while runs go on: of every step, and as it tells them."""
    whole: dict[int, int] = {}
    told: dict[int, float] = {}
    step = FlopMeter.step

    @contextlib.contextmanager
    def twice(meter: FlopMeter, batch):
        with by_torch() as everything, step(meter, batch):
            yield
        whole[id(meter)] = whole.get(id(meter), 0) + everything.get_total_flops()
        told[id(meter)] = meter.total

    monkeypatch.setattr(FlopMeter, "step", twice)
    return whole, told


@pytest.mark.parametrize(
    ("method", "fields", "in_passes"),
    [
        *((name, {}, False) for name in METHODS),
        ("finetune", {}, True),
        ("mpt", {"config": {"translator": "lstm-1", "support": "vocabulary"}}, True),
        ("mpt", {"config": {"translator": "transformer-1"}}, False),
        ("pct", {"config": {"label_words": "target", "multi_token": "mean"}, "tune": "lora"}, True),
        ("soft-prompt", {"tune": "frozen", "selection": "oracle-target-dev"}, False),
    ],
)
def test_a_run_s_flops_are_those_of_a_full_count(method, fields, in_passes, tmp_path, monkeypatch, both_counts):
    """Every step of each stage, counted by torch, against the sum that follows from a few."""
    monkeypatch.setattr(backbone, "WORTHWHILE", 0 if in_passes else 1e18)
    record = xlbench.run(spec(method, **fields), Runtime(runs=tmp_path, device="cpu"))
    whole, told = both_counts
    assert list(told.values()) == pytest.approx(list(whole.values()), rel=0.02)
    assert [record.costs[name] for name in FLOPS if name in record.costs] == [round(total) for total in told.values()]


def test_so_are_those_of_a_method_that_reads_whole_batches(tmp_path, monkeypatch, both_counts):
    """The shipped methods read in passes where that saves padding; `Backbone.hidden` never does."""
    monkeypatch.setattr(backbone, "WORTHWHILE", 0)
    file = plugin(tmp_path / "mean.py", "mean-of-all")
    with registry_as_it_was():
        xlbench.run(spec("mean-of-all"), Runtime(runs=tmp_path / "runs", device="cpu", plugins=(str(file),)))
    whole, told = both_counts
    assert list(told.values()) == pytest.approx(list(whole.values()), rel=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_counting_changes_no_number_of_a_run(method, tmp_path):
    found = []
    for count in (True, False):
        record = xlbench.run(spec(method), Runtime(runs=tmp_path / str(count), device="cpu", count_flops=count))
        table = Store(tmp_path / str(count)).predictions(record.id)
        found.append((record.id, table, record.by_language, record.selection, torch.get_rng_state().tolist()))
        assert ("training_flops" in record.costs) == count
    assert found[0] == found[1]


def test_few_steps_are_counted(tmp_path, monkeypatch):
    counted = []
    monkeypatch.setattr(flops, "Counter", lambda: counted.append(Counter()) or counted[-1])
    asked = spec("finetune", training=Training(steps=150, learning_rate=1e-3, checkpoints=1, batch_size=4))
    xlbench.run(asked, Runtime(runs=tmp_path, device="cpu"))
    assert 0 < len(counted) < 10


def test_without_checkpoints_to_choose_from_dev_costs_nothing(tmp_path):
    record = xlbench.run(spec("finetune", selection="last"), Runtime(runs=tmp_path, device="cpu"))
    assert not {"evaluation_flops", "evaluation_seconds"} & set(record.costs)


# What is counted


def counted(work, grad: bool = True) -> int:
    with torch.set_grad_enabled(grad), Counter() as counter:
        work()
    return counter.total


def test_a_linear_layer_by_hand():
    """6 rows, 5 → 3: forward 2 · 6 · 5 · 3; backward as much for the weights, and as much again for the input."""
    layer, states = nn.Linear(5, 3), torch.randn(2, 3, 5)
    assert counted(lambda: layer(states), grad=False) == 180
    assert counted(lambda: layer(states)) == 180
    assert counted(lambda: layer(states).sum().backward()) == 360
    assert counted(lambda: layer(states.clone().requires_grad_()).sum().backward()) == 540


def test_attention_on_a_cpu_by_hand():
    """2 · 4 heads of 8 over 6 positions: two products of 2 · 6 · 6 · 8 forward, five backward (one again)."""
    query = torch.randn(2, 4, 6, 8, requires_grad=True)
    product = 2 * 4 * 2 * 6 * 6 * 8

    def attend():
        return nn.functional.scaled_dot_product_attention(query, query, query)

    assert counted(attend, grad=False) == counted(attend) == 2 * product
    assert counted(lambda: attend().sum().backward()) == 7 * product


def test_the_prompt_encoder_s_lstm_counts_as_its_matrices():
    """Of d = 6, L = 3: each direction 2 · 3 · (4d · d + 4d · d); then 2d → d and d → d."""
    encoder = PromptEncoder(3, 6)
    lstm, mlp = 2 * (2 * 3 * 2 * 4 * 36), 2 * 3 * (72 + 36)
    assert counted(encoder, grad=False) == counted(encoder) == lstm + mlp
    with torch.backends.mkldnn.flags(enabled=False):  # the same as plain matrix products
        assert counted(encoder) == lstm + mlp
    assert counted(lambda: encoder().sum().backward()) == 3 * (lstm + mlp)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_counting_leaves_the_bits_of_a_recurrent_layer_alone(kind, tiny, batch):
    """In inference mode some kernels round otherwise where anybody looks on."""
    layer, states = kind(16, 16, bidirectional=True, batch_first=True), torch.randn(2, 5, 16)
    meter = FlopMeter(tiny)
    with torch.inference_mode():
        plain = layer(states)[0]
        with meter.step(batch(2)):
            assert torch.equal(layer(states)[0], plain)
        assert torch.is_inference_mode_enabled()
    matrices = sum(value.numel() for value in layer.parameters() if value.dim() == 2)
    assert meter.total == 2 * 10 * matrices


def test_a_transformer_layer_in_one_kernel_counts_as_in_many():
    layer = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 20, batch_first=True), 2, enable_nested_tensor=False)
    states = torch.randn(3, 5, 8)
    layer.eval()
    assert counted(lambda: layer(states), grad=False) == counted(lambda: layer(states)) > 0


# What follows from it


@pytest.fixture
def batch(tiny, logic):
    """Batches of so many rows, each a few words longer than the last."""

    def make(rows: int):
        texts = [Row(str(n), ("one " * (n + 1), "two"), 0, "en", str(n)) for n in range(rows)]
        method = xlbench.registry.get("method", "finetune")
        encoded = method(method.Config(), tiny, logic, ("en",)).encode_labelled(texts)
        return collate(encoded, range(rows), tiny.tokenizer.pad_token_id, "cpu")

    return make


def product(size: int) -> None:
    torch.ones(size, 4) @ torch.ones(4, 5)


def test_what_is_told_of_steps_goes_by_their_tokens(tiny, batch):
    """Rows of one width, each with a product of 2 · 4 · 5: the first step is counted, and the others follow."""
    meter = FlopMeter(tiny)
    one = batch(1)
    for rows in (2, 3, 5):
        with meter.step(replace(one, **{name: getattr(one, name).repeat(rows, 1) for name in ("ids", "attention")})):
            product(2)
    assert meter.total == pytest.approx(40 * (2 + 3 + 5))


def test_wide_steps_are_counted_apart_from_narrow_ones(tiny, batch):
    """Attention grows with the square of the width, so that a token of a wide batch costs more."""
    meter, narrow, wide = FlopMeter(tiny), batch(1), batch(40)
    for number in range(20):
        with meter.step(wide if number % 2 else narrow):
            product(10 if number % 2 else 1)
    assert meter.total == pytest.approx(10 * (400 + 40))


def test_steps_without_any_product_take_no_flops(tiny, batch):
    meter = FlopMeter(tiny)
    for _ in range(3):
        with meter.step(batch(2)):
            torch.ones(3) + 1
    assert meter.total == 0


def test_a_step_that_fails_leaves_no_counter_behind(tiny, batch):
    meter = FlopMeter(tiny)
    with pytest.raises(ZeroDivisionError), meter.step(batch(2)):
        raise ZeroDivisionError
    with Counter() as after:
        pass
    product(3)
    assert (after.total, meter.total) == (0, 0)


def test_scoring_under_a_meter_leaves_no_gradient(tiny, batch):
    ours = tiny.fresh()
    with torch.inference_mode(), FlopMeter(ours).step(batch(2)):
        ours.hidden(batch(2))
    assert all(value.grad is None for value in ours.parameters())
