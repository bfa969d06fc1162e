"""What training did: how far parts moved, what was read, what was there before, and what each run begins with."""

import numpy as np
import pytest
import torch
from torch import nn

import xlbench
from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.engine.train import Movement, generator, rows_seen
from xlbench.method import Stream
from xlbench.prompts import Encoded, PromptEncoder, Template, Verbalizer
from xlbench.spec import ResolvedTraining, RunSpec, Training
from xlbench.task import Task

ARCHITECTURES = ("linear-1", "linear-2", "lstm-1", "lstm-2", "transformer-1", "transformer-2")


def spec(method: str, **fields) -> RunSpec:
    training = {"steps": 20, "checkpoints": 2, "batch_size": 8, **fields.pop("training", {})}
    common = {"task": "logic", "model": "tiny", "shots": 4, "languages": ("en", "fr"), "test_units": 6}
    return RunSpec(method=method, training=Training(**training), **{**common, **fields})


def built(name: str, tiny: Backbone, logic: Task, seed: int = 0, tune: str = "all", **config):
    torch.manual_seed(seed)
    method_class = registry.get("method", name)
    method = method_class(method_class.Config(**config), tiny.fresh(tune), logic, ("en", "fr", "sw"), 64)
    return method, method.build(method.backbone, logic)


# Movement


def test_movement_worked_by_hand(tiny, logic):
    """A part at 3 and 4 (norm 5) that ends at 3 and 9: moved by 5 of the larger norm, √90."""
    method, _ = built("finetune", tiny, logic)
    module = nn.ModuleDict({"head": nn.Linear(1, 1), "other": nn.Linear(1, 1)})
    with torch.no_grad():
        module["head"].weight.fill_(3.0)
        module["head"].bias.fill_(4.0)
    movement = Movement(method, module, tiny)
    with torch.no_grad():
        module["head"].bias.fill_(9.0)
    assert movement.of_parts()["head"] == pytest.approx(5 / 90**0.5, abs=1e-6)
    assert movement.of_parts()["other"] == 0
    (note,) = movement.untrained()
    assert note.startswith("untrained: other moved by 0 % of its norm")


def test_translators_and_prompt_move_at_the_default_rate_and_not_at_a_small_one(runtime):
    moved = xlbench.run(spec("mpt"), runtime)
    still = xlbench.run(spec("mpt", training={"fresh_learning_rate": 1e-8}), runtime)
    assert all(moved.learnt["movement"][part] > 0.01 for part in ("prompt", "translators"))
    assert all(still.learnt["movement"][part] < 1e-4 for part in ("prompt", "translators"))
    assert sum("untrained: " in note for note in still.notes) == 2
    assert not any("untrained: " in note for note in moved.notes)
    assert set(moved.learnt["measures"]) == {"cosine of p_S and p_T, fr"}


def test_what_adapters_move_stands_apart(runtime):
    record = xlbench.run(spec("finetune", tune="lora"), runtime)
    assert set(record.learnt["movement"]) == {"adapters", "head"}


def test_every_record_says_what_the_method_scored_before_training(runtime):
    for method in ("finetune", "soft-prompt", "pct", "mpt"):
        before = xlbench.run(spec(method), runtime).learnt["before training"]
        assert before["rows"] == 18
        assert 0 <= before["en"] <= 1


# Groups and rates


def test_pretrained_and_fresh_weights_have_their_own_rates(tiny, logic):
    training = ResolvedTraining(learning_rate=1e-5, fresh_learning_rate=1e-3, decay_biases=False)
    method, module = built("mpt", tiny, logic)
    groups = method.parameter_groups(module, training)
    rate_of = {id(value): (group["lr"], group.get("weight_decay")) for group in groups for value in group["params"]}
    pretrained = {id(value) for value in method.backbone.parameters()}
    for name, value in module.named_parameters():
        rate, decay = rate_of[id(value)]
        assert rate == (1e-5 if id(value) in pretrained else 1e-3)
        bare = "bias" in name or "LayerNorm" in name or "layer_norm" in name
        assert decay == (0.0 if bare else None), name
    assert len(rate_of) == len(list(module.parameters()))


def test_adapters_are_fresh(tiny, logic):
    method, module = built("finetune", tiny, logic, tune="lora")
    groups = method.parameter_groups(module, ResolvedTraining(learning_rate=1e-5))
    assert {group["lr"] for group in groups} == {1e-3}


# How things begin


@pytest.mark.parametrize("init", ["normal", "uniform", "vocabulary"])
def test_prompt_vectors_differ_at_the_start_and_after_training(tiny, logic, init):
    method, _ = built("soft-prompt", tiny, logic, prompt_init=init)
    embeddings = method.prompt_encoder.embeddings.detach()
    assert len(torch.unique(embeddings, dim=0)) == 4
    if init == "vocabulary":
        words = method.backbone.word_embeddings().detach()
        assert all((words == row).all(dim=1).any() for row in embeddings)
    if init == "uniform":
        assert -0.5 <= embeddings.min() < 0 < embeddings.max() <= 0.5


def test_prompt_vectors_are_not_one_vector_four_times_after_training(tiny, logic, runtime):
    kept = {}
    finish = registry.get("method", "soft-prompt").finish

    def remember(self, resources):
        kept["prompt"] = self.prompt_encoder().detach()
        finish(self, resources)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry.get("method", "soft-prompt"), "finish", remember)
        xlbench.run(spec("soft-prompt"), runtime)
    vectors = kept["prompt"]
    cosines = nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
    assert float(cosines[np.triu_indices(4, 1)].mean()) < 0.9


def test_vocabulary_needs_words():
    with pytest.raises(xlbench.XlbenchError, match="prompt_init=vocabulary needs the backbone's word embeddings"):
        PromptEncoder(4, 8, "vocabulary")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_translator_may_begin_as_the_identity_and_leave_it(tiny, logic, architecture):
    method, _ = built("mpt", tiny, logic, translator=architecture, translator_start="identity")
    source = method.prompt_encoder()
    target = method.translators["fr"](source[None])[0]
    assert torch.equal(source, target)
    (target * torch.randn_like(target)).sum().backward()
    assert method.translators["fr"].last.weight.grad.abs().sum() > 0


def test_draws_and_seeds_begin_with_numbers_of_their_own_that_methods_share():
    seeds = {(draw, seed): spec("mpt", draw=draw, seed=seed).random_seed for draw in range(4) for seed in range(4)}
    assert len(set(seeds.values())) == 16
    assert spec("finetune", draw=2, seed=1).random_seed == seeds[2, 1]
    first = {draw: generator(seeds[draw, 0], "shots").permutation(30).tolist() for draw in range(2)}
    assert first[0] != first[1]


# What is read


def test_rows_seen_are_counted_as_they_are_read():
    zeros = np.zeros(10, dtype=np.int64)
    ten = Encoded([np.array([number]) for number in range(10)], zeros, zeros, zeros)
    streams = {
        "source": Stream(ten, group="pairs", rows_a_step=3), "target": Stream(ten, group="pairs", rows_a_step=3),
        "same": Stream(ten, aligned=True), "more": Stream(ten),
    }  # fmt: skip
    assert rows_seen(streams, size=2, steps=2) == {"pairs": 6, "more": 4}
    assert rows_seen(streams, size=2, steps=9) == {"pairs": 10, "more": 10}


def test_pairs_a_step_are_those_that_a_run_reads(runtime):
    asked = spec("mpt", config={"pairs_per_step": 2}, training={"steps": 3})
    record = xlbench.run(asked, runtime)
    assert record.learnt["rows seen"] == {"pairs": 6}
    assert xlbench.run(spec("mpt", training={"steps": 3}), runtime).learnt["rows seen"] == {"pairs": 24}


# Inputs and logits


def test_parts_of_a_template_have_no_outer_spaces():
    template = Template("{a.} . {b.} ? <prompt> <mask> .", ("a", "b"), "here")
    assert template.parts == ["{a.} . {b.} ?", "<prompt>", "<mask> ."]


def test_label_logits_are_multiplied_in_full_precision():
    """Features that bf16 holds, against weights that it would round: products are those of fp32."""
    features = torch.randn(8, 64).bfloat16()
    weight, words = torch.randn(3, 64), Verbalizer(("a", "b", "c"), ((0,), (1,), (2,)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = words.scores(features, weight, None)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, features.float() @ weight.T)


# Protocols


def test_a_protocol_lies_under_what_is_asked():
    plain = RunSpec(method="soft-prompt", shots=4, protocol="zhao-schuetze")
    assert (plain.split, plain.training.optimiser, plain.training.weight_decay) == ("zhao-schuetze", "adam", 0.01)
    assert (plain.selection, plain.max_length, plain.training.decay_biases) == ("last", 256, False)
    changed = RunSpec(method="soft-prompt", shots=4, protocol="zhao-schuetze", training={"steps": 7}, max_length=64)
    assert (changed.training.steps, changed.max_length, changed.training.optimiser) == (7, 64, "adam")
    tuned = RunSpec(method="finetune", shots=4, protocol="zhao-schuetze")
    assert (tuned.selection, tuned.training.weight_decay, tuned.training.clip) == ("source-dev", 0.0, 0.0)
    assert changed.with_(draw=0) == changed


def test_adam_with_decay_trains_every_word_and_trims_none(runtime):
    fields = {"optimiser": "adam", "weight_decay": 0.01, "steps": 3}
    record = xlbench.run(spec("finetune", training=fields), runtime)
    assert record.status == "finished"
    assert record.spec.training.optimiser == "adam"


def test_an_unknown_set_of_words_names_those_there_are(tiny, logic, monkeypatch):
    monkeypatch.setattr(type(logic), "word_sets", {"yes-no": logic.label_words, "odd": {"en": ("right", "x", "y")}})
    with pytest.raises(xlbench.XlbenchError, match="unknown set 'yesno' for the label words of task logic; did you"):
        built("soft-prompt", tiny, logic, words="yesno")
    with pytest.raises(xlbench.XlbenchError, match=r"or --set words=NAME of yes-no, odd"):
        built("soft-prompt", tiny, logic, words="odd")
