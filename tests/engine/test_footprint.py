"""What a run takes of memory, before it starts: the arithmetic, and what was measured."""

import pytest
import torch
from torch import nn

from xlbench import RunSpec, registry
from xlbench.batching import collate
from xlbench.engine import footprint
from xlbench.engine.execute import run
from xlbench.engine.footprint import Footprint, activations, note_if_close, refuse_what_cannot_fit, states
from xlbench.engine.predict import autocast
from xlbench.errors import Refused
from xlbench.host.memory import GIB

CPU = torch.device("cpu")
WITHIN = 1.5  # the factor by which the formula may be off


def spec(**fields) -> RunSpec:
    common = {"method": "finetune", "task": "logic", "model": "tiny", "shots": 2, "languages": ("en",)}
    training = {"steps": 2, "checkpoints": 2, **fields.pop("training", {})}
    return RunSpec(**{**common, "precision": "fp32", "test_units": 2, "training": training, **fields})


class Backbone(nn.Module):
    """A backbone of 2²⁸ parameters, one GiB in fp32, which takes none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2**14, 2**14, device="meta"))
        self.dimension = 2**14

    def word_embeddings(self) -> nn.Parameter:
        return self.weight[: 2**13]


def test_the_parts_of_a_run_by_hand():
    def parts(**fields):
        found = Footprint.of(Backbone(), spec(**fields))
        return [
            size / GIB
            for size in (found.weights, found.gradients, found.moments, found.kept, found.copies, found.total)
        ]

    assert parts() == [1, 1, 2, 1, 0, 5]
    trimmed = Footprint.of(Backbone(), spec(), words=2**12)  # of 2¹³, a quarter of the weights does not train
    assert [trimmed.weights / GIB, trimmed.gradients / GIB, trimmed.total / GIB] == [1, 0.75, 4]
    assert parts(selection="last") == [1, 1, 2, 0, 0, 4]
    assert parts(precision="bf16") == [1, 1, 2, 1, 0.5, 5.5]
    assert parts(tune="frozen") == parts(tune="lora") == [1, 0, 0, 0, 0, 1]
    assert parts(selection="average-last", training={"checkpoints": 8, "average_last": 3}) == [1, 1, 2, 3, 0, 7]
    assert states(spec(selection="average-last", training={"checkpoints": 2, "average_last": 3})) == 2


def test_what_cannot_fit_is_refused_with_the_arithmetic_and_the_ways_out(monkeypatch):
    monkeypatch.setattr(footprint.memory, "free_bytes", lambda _: 4.5 * GIB)
    with pytest.raises(Refused) as refused:
        refuse_what_cannot_fit(Backbone(), spec(), CPU)
    assert str(refused.value) == (
        "method finetune with tiny does not fit in the memory of cpu: 1.0 GiB of weights + 1.0 GiB of gradients + "
        "2.0 GiB of AdamW's moments + 1.0 GiB of states kept by the selection policy = 5.0 GiB, before any batch, and "
        "4.5 GiB are free; use --tune lora or frozen, --selection last (keeps no state), a smaller model, or a device "
        "with more memory"
    )
    refuse_what_cannot_fit(Backbone(), spec(selection="last"), CPU)


def test_a_run_that_cannot_fit_is_refused_before_it_trains_and_leaves_no_record(runtime, monkeypatch):
    monkeypatch.setattr(footprint.memory, "free_bytes", lambda _: 2**20)
    with pytest.raises(Refused, match=r"does not fit in the memory of cpu: .* and 1\.0 MiB are free"):
        run(spec(), runtime)
    assert not list(runtime.runs.iterdir())


def test_a_run_that_may_not_fit_says_so_and_goes_on(runtime, monkeypatch, tiny):
    monkeypatch.setattr(footprint.memory, "free_bytes", lambda _: Footprint.of(tiny, spec()).total)
    monkeypatch.setattr(footprint, "activations", lambda *_: GIB)
    (note,) = [note for note in run(spec(), runtime).notes if note.startswith("memory is close")]
    assert "a step of 6 rows of up to" in note
    assert "use --with training.accumulate=2 or more, a shorter --max-length, or --precision bf16" in note


def test_a_step_counts_the_rows_of_its_streams_and_no_more_than_there_are(tiny, logic, monkeypatch):
    method = registry.get("method", "finetune")(registry.get("method", "finetune").Config(), tiny, logic, ("en",))
    rows = method.encode_labelled(logic.rows("test", "en", None)[:20])
    monkeypatch.setattr(footprint.memory, "free_bytes", lambda _: 0)
    assert "a step of 36 rows" in note_if_close(tiny, spec(), CPU, [rows, rows], 18)
    assert "a step of 40 rows" in note_if_close(tiny, spec(), CPU, [rows, rows], 64)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["finetune", "soft-prompt"])
def test_activations_are_as_the_formula_says_within_its_factor(tiny, logic, name, precision, dropout):
    """Against the bytes that autograd keeps of 64 rows, the weights and autocast's copies of them apart."""
    method_class = registry.get("method", name)
    method = method_class(method_class.Config(), tiny.fresh(), logic, ("en",))
    module = method.build(method.backbone, logic).train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout
    encoded = method.encode_labelled(logic.rows("test", "en", None)[:64])
    batch = collate(encoded, range(64), tiny.tokenizer.pad_token_id, CPU)
    weights = {value.untyped_storage().data_ptr() for value in module.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(CPU, precision):
        method.logits(batch)
    measured = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)
    expected = activations(tiny, 64, int(encoded.lengths.max()), precision)
    assert measured / WITHIN < expected < measured * WITHIN
