"""MAD-X: what adapters compute, which of them train when, and whose each row is read with."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModel

import xlbench
from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.batching import collate
from xlbench.checkpoint_files import Checkpoint
from xlbench.engine.session import Session
from xlbench.engine.train import fit, generator, training_batches
from xlbench.errors import NotSupported, XlbenchError
from xlbench.last_layer import FAMILIES, wrap_last_layer
from xlbench.method import Resources
from xlbench.parts.bottlenecks import Coupling, Stack
from xlbench.spec import Lora, ResolvedTraining, RunSpec, Training

CPU = torch.device("cpu")
TEXTS = {"en": [("a black cat", "it sleeps")] * 3, "fr": [("un chat noir",)] * 3, "zh": [("一 只 猫",)] * 3}
SMALL = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 140, "pad_token_id": 1, "attn_implementation": "sdpa", "initializer_range": 0.5,
}  # fmt: skip


def small(family, tokenizer):
    """A backbone of a family with random weights and a masked-LM head."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SMALL, "vocab_size": len(tokenizer)})
    encoder = AutoModel.from_config(config).eval()
    wrap_last_layer(encoder)
    transform, decoder = nn.Linear(16, 16), nn.Linear(16, len(tokenizer))
    return Backbone(Checkpoint(encoder, transform, decoder, "none", True, tokenizer, "masked"), family).eval()


def made(backbone, task, languages=("en", "fr", "zh"), name="adapters", **config):
    torch.manual_seed(0)
    method_class = registry.get("method", name)
    method = method_class(method_class.Config(head_dropout=0.0, **config), backbone, task, languages, 64)
    method.module = method.build(backbone, task).eval()
    return method


def given_to(method, texts=TEXTS):
    return Resources(method.task.draw(2, 0, None).train, generator(0, "resources"), {"unlabelled": texts})


def rows_in(method, languages, count=4):
    encoded = method.encode_labelled([row for name in languages for row in method.task.test(name, None)[:count]])
    return collate(encoded, range(len(encoded)), method.backbone.tokenizer.pad_token_id, CPU)


def stacks(method):
    return [part for part in method.module.modules() if isinstance(part, Stack)]


def shaken(method):
    """Every adapter moved away from where it begins, so that each language's has an effect of its own."""
    with torch.no_grad():
        for part in stacks(method):
            for value in part.parameters():
                value.add_(0.2 * torch.randn_like(value))
    return method


# What they compute


def test_a_bottleneck_by_hand():
    part = Stack(2, 2, 1)
    with torch.no_grad():
        part.down.copy_(torch.tensor([[[1.0], [2.0]], [[1.0], [-1.0]]]))
        part.down_bias.copy_(torch.tensor([[[1.0]], [[0.0]]]))
        part.up.copy_(torch.tensor([[[3.0, 4.0]], [[1.0, 0.5]]]))
        part.up_bias.copy_(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]))
    states = torch.tensor([[[1.0, 1.0]], [[1.0, 3.0]], [[3.0, 1.0]]])
    assert part(states, 0).tolist() == [[[12.0, 17.0]], [[24.0, 33.0]], [[18.0, 25.0]]]  # 3 (z1 + 2 z2 + 1), …
    assert part(states, torch.tensor([0, 1, 1])).tolist() == [[[12.0, 17.0]], [[0.0, 0.0]], [[2.0, 1.0]]]


def test_a_coupling_by_hand():
    """F and G of one number each: F(x) = 2 relu(x), G(x) = 3 relu(x)."""
    part = Coupling(1, 2)
    with torch.no_grad():
        for stack, weight in ((part.f, 2.0), (part.g, 3.0)):
            stack.down.fill_(1.0), stack.up.fill_(weight)
    assert part(torch.tensor([[[1.0, 5.0]]]), 0).tolist() == [[[11.0, 38.0]]]  # 1 + 2 · 5, 5 + 3 · 11
    assert part(torch.tensor([[[11.0, 38.0]]]), 0, back=True).tolist() == [[[1.0, 5.0]]]


@given(st.integers(0, 99), st.sampled_from([4, 6, 128]), st.floats(0.0, 1.0))
def test_what_is_coupled_comes_back(seed, width, scale):
    torch.manual_seed(seed)
    part, states, which = Coupling(3, width), torch.randn(3, 2, width), torch.tensor([2, 0, 1])
    with torch.no_grad():
        for value in part.parameters():
            value.add_(scale / width**0.5 * torch.randn_like(value))
        coupled = part(states, which)
        assert torch.allclose(part(coupled, which, back=True), states, atol=1e-5 * float(coupled.abs().max() + 1))


@pytest.mark.parametrize("last", [False, True])
def test_a_layer_with_adapters_is_the_one_that_the_paper_writes(tiny, logic, last):
    method = shaken(made(tiny.fresh(), logic))
    number = len(tiny.layers) - 1 if last else 0
    output = getattr(method.backbone.layers[number], "layer", method.backbone.layers[number]).output
    inner, x = torch.randn(2, 3, tiny.config.intermediate_size), torch.randn(2, 3, 128)
    method.spoken = torch.tensor([1, 2])
    with torch.no_grad():
        h, norm = output.dense(inner), nn.LayerNorm(128, eps=output.LayerNorm.eps)
        norm.load_state_dict(output.LayerNorm.state_dict())
        language = method.of_language[number](norm(h + x), torch.tensor([1, 2])) + h
        task = method.of_task[number](norm(language + x), 0) + language
        assert torch.allclose(output(inner, x), norm(task + x), atol=1e-4)
        method.with_task = False
        assert torch.allclose(output(inner, x), norm(language + x), atol=1e-4)
        method.spoken = None
        assert output(inner, x).equal(norm(h + x))


@pytest.mark.parametrize("family", ["tiny", *sorted(FAMILIES)])
@pytest.mark.parametrize("languages", [("en",), ("en", "fr", "zh")])
def test_with_adapters_that_add_nothing_it_is_the_backbone_to_the_bit(tiny, logic, family, languages):
    plain = tiny if family == "tiny" else small(family, tiny.tokenizer)
    ours, theirs = made(plain.fresh(), logic), made(plain.fresh(), logic, name="finetune")
    batch = rows_in(ours, languages)
    with torch.no_grad():
        before = ours.logits(batch)
        for part in stacks(ours):
            part.up.zero_()
        assert ours.logits(batch).equal(theirs.logits(batch))
        assert not torch.allclose(before, theirs.logits(batch), atol=1e-6)


def test_the_last_layer_at_one_position_is_the_last_layer(tiny, logic):
    method = shaken(made(tiny.fresh(), logic))
    batch = rows_in(method, ("en", "fr"))
    with torch.no_grad(), method._speaking(batch, with_task=True):
        whole = method.backbone.hidden(batch)[torch.arange(len(batch)), batch.read_at]
        assert torch.allclose(method.backbone.answer_states(batch), whole, atol=1e-4)


# Languages


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_batch_of_several_languages_is_scored_as_each_alone(tiny, logic, monkeypatch, in_parts):
    method = shaken(made(tiny.fresh(), logic))
    with torch.no_grad():
        alone = torch.cat([method.score(rows_in(method, [name])) for name in ("zh", "en", "fr")])
        if in_parts:  # rows go through a few at a time, in an order of their own
            monkeypatch.setattr("xlbench.backbone.WORTHWHILE", 0)
        mixed = rows_in(method, ("zh", "en", "fr"))
        assert method.backbone._in_parts(mixed) is in_parts
        assert torch.allclose(method.score(mixed), alone, atol=1e-4)
        french = replace(mixed, language=torch.full_like(mixed.language, logic.languages.index("fr")))
        assert not torch.allclose(method.score(french), alone, atol=1e-2)


def test_after_a_pass_the_backbone_is_without_adapters(tiny, logic):
    method = shaken(made(tiny.fresh(), logic))
    batch = rows_in(method, ["en"])
    with torch.no_grad():
        method.logits(batch)
        assert method.backbone.hidden(batch).equal(tiny.hidden(batch))


def test_a_language_without_text_is_read_with_the_sources_adapters(tiny, logic):
    method = shaken(made(tiny.fresh(), logic))
    method.streams(given_to(method, {"en": TEXTS["en"], "fr": TEXTS["fr"]}))
    assert method.notes == ["no text of zh: it is read with the adapters of en"]
    batch = rows_in(method, ["zh"])
    english, french = (
        replace(batch, language=torch.full_like(batch.language, logic.languages.index(name))) for name in ("en", "fr")
    )
    with torch.no_grad():
        assert method.score(batch).equal(method.score(english))
        assert not torch.allclose(method.score(batch), method.score(french), atol=1e-3)


def test_a_source_without_text_is_read_without_a_languages_adapters(tiny, logic):
    method = made(tiny.fresh(), logic)
    method.streams(given_to(method, {"fr": TEXTS["fr"]}))
    assert method.notes == [f"no text of {name}: it is read with no language's adapters" for name in ("en", "zh")]
    alone = made(tiny.fresh(), logic, share=0.0)
    alone.head.load_state_dict(method.head.state_dict())
    alone.of_task.load_state_dict(method.of_task.state_dict())
    with torch.no_grad():
        assert method.logits(rows_in(method, ["en"])).equal(alone.logits(rows_in(alone, ["en"])))
        assert not method.logits(rows_in(method, ["fr"])).equal(alone.logits(rows_in(alone, ["fr"])))


def test_text_in_no_language_is_one_sentence(tiny, logic):
    method = made(tiny.fresh(), logic)
    with pytest.raises(XlbenchError, match="adapters has no text to learn from in any language"):
        method.streams(given_to(method, {}))


# What trains


def gradients(method, progress, languages=("en", "fr")):
    """The names with a gradient, of a step on texts of some languages at some progress."""
    given = given_to(method, {name: TEXTS[name] for name in languages})
    shots = method.encode_labelled(given.shots)
    batch = next(training_batches(method, shots, method.streams(given), 12, 0, CPU))
    method.progress = progress
    method.module.zero_grad()
    method.loss(batch).backward()
    return {name for name, value in method.module.named_parameters() if value.grad is not None}


def test_text_trains_languages_and_shots_the_task(tiny, logic):
    method = made(tiny.fresh(), logic)
    assert method.phases == (0.5,)
    names = [name for name, value in method.module.named_parameters() if value.requires_grad]
    language = {name for name in names if name.startswith(("language_adapters", "couplings"))}
    assert gradients(method, 0.49) == language
    assert gradients(method, 0.5) == set(names) - language
    assert {name.partition(".")[0] for name in set(names) - language} == {"task_adapter", "head"}


def test_a_languages_text_reaches_its_own_adapters_alone(tiny, logic):
    method = made(tiny.fresh(), logic)
    gradients(method, 0.0)
    for part in (*method.of_language, method.couplings[0].f, method.couplings[0].g):
        for value in part.parameters():
            english, french, chinese = (bool(side.any()) for side in value.grad)
            assert (english, french, chinese) == (True, True, False)


def test_only_what_each_phase_trains_has_moved(tiny, logic):
    method, fresh = made(tiny.fresh(), logic), made(tiny.fresh(), logic)
    given, after = given_to(method), {}
    shots, streams = method.encode_labelled(given.shots), method.streams(given)
    method.begin = lambda phase: after.update(
        {name: value.detach().clone() for name, value in method.module.named_parameters()}
    )
    training = ResolvedTraining(learning_rate=1e-3, steps=8, batch_size=4, checkpoints=1, weight_decay=0.1)
    fit(method, method.module, shots, streams, lambda: (0.0, 0.0), training, "last", 0, Session(CPU))
    start, end = dict(fresh.module.named_parameters()), dict(method.module.named_parameters())
    moved = [
        {name.partition(".")[0] for name in end if not one[name].equal(other[name])}
        for one, other in ((start, after), (after, end))
    ]
    assert moved == [{"language_adapters", "couplings"}, {"task_adapter", "head"}]


def test_adapters_have_a_multiple_of_the_fresh_rate(tiny, logic):
    method = made(tiny.fresh(), logic, rate_times=0.1)
    groups = method.parameter_groups(method.module, ResolvedTraining(learning_rate=1e-5, decay_biases=False))
    rate_of = {id(value): group["lr"] for group in groups for value in group["params"]}
    assert {rate_of.pop(id(value)) for value in method.head.parameters()} == {1e-3}
    assert {rate_of.pop(id(value)) for part in stacks(method) for value in part.parameters()} == {1e-4}
    assert not rate_of


def test_without_a_share_there_is_the_tasks_adapter_alone(tiny, logic):
    method = made(tiny.fresh(), logic, share=0.0)
    assert method.phases == ()
    assert method.streams(given_to(method, {})) == {}
    assert len(stacks(method)) == len(tiny.layers)
    assert method.of_task[0].down.shape == (1, 128, 8)
    with torch.no_grad():
        assert method.logits(rows_in(method, ("en", "fr"))).shape == (8, 3)


def test_embeddings_are_coupled_and_the_decoder_reads_them_back(tiny, logic):
    """With bottlenecks that add nothing, and an encoder and a head that pass on what they read, words come back."""
    method, seen = shaken(made(tiny.fresh(), logic)), []
    batch = rows_in(method, ("en", "fr"))
    method.backbone.transform = nn.Identity()
    method.backbone.transform.register_forward_hook(lambda *passed: method._coupled(*passed, back=True))
    method.backbone.encoder.embeddings.register_forward_hook(lambda part, given, states: seen.append(states))
    with torch.no_grad(), method._speaking(batch, with_task=False):
        method.backbone.states(batch, 0)
        assert not torch.allclose(seen[0], tiny.states(batch, 0), atol=0.1)
        assert torch.allclose(method.backbone.transform(seen[0]), tiny.states(batch, 0), atol=1e-4)


def test_the_masked_words_are_read_behind_the_way_back(tiny, logic):
    method = shaken(made(tiny.fresh(), logic))
    features = torch.randn(2, 3, 128)
    method.spoken, method.with_task = torch.tensor([0, 1]), False
    with torch.no_grad():
        found = method.backbone.transform(features)
        expected = method.couplings[0](tiny.transform(features), method.spoken, back=True)
    assert torch.allclose(found, expected, atol=1e-4)


# What is refused, and a run


def test_layers_that_are_not_known_and_other_adapters_are_refused(tiny, logic):
    config = AutoConfig.for_model("distilbert", dim=16, n_layers=2, n_heads=2, hidden_dim=24, vocab_size=60)
    encoder = AutoModel.from_config(config)
    other = Backbone(Checkpoint(encoder, nn.Identity(), None, "none", True, tiny.tokenizer, "none"), "distilbert")
    with pytest.raises(XlbenchError, match=r"the layers of distilbert .* are not known one by one; choose an encoder"):
        made(other, logic)
    with pytest.raises(NotSupported, match="use --tune all or frozen"):
        made(tiny.fresh("lora", Lora()), logic)


@pytest.mark.parametrize("tune", ["all", "frozen"])
def test_a_run_tells_what_moved_and_what_was_read(runtime, tune):
    spec = RunSpec(
        method="adapters", task="logic", model="tiny", shots=3, languages=("en", "fr"), test_units=6, tune=tune,
        training=Training(steps=8, batch_size=4, checkpoints=2),
    )  # fmt: skip
    record = xlbench.run(spec, runtime)
    assert record.learnt["movement"].keys() == {"head", "task_adapter", "language_adapters", "couplings"}
    assert record.learnt["rows seen"] == {"text": 32}
    assert record.costs["trainable_parameters"] < 0.25 * record.costs["total_parameters"]
