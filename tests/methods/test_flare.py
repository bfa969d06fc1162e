"""FLARE: adapters that read the source text's states too, by hand, what trains when, and their limits to the bit."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import xlbench
from xlbench import registry
from xlbench.batching import collate
from xlbench.engine.train import generator, training_batches
from xlbench.errors import NotSupported
from xlbench.method import Resources
from xlbench.methods.flare import LowRank, fuse
from xlbench.spec import RunSpec, Runtime, Training

CPU = torch.device("cpu")
Flare = registry.get("method", "flare")


def made(backbone, task, tested=("en", "fr", "zh"), drawn=True, **config):
    """A built method; with `drawn` its adapters add something, as after training."""
    torch.manual_seed(0)
    method = Flare(Flare.Config(**config), backbone, task, tested, 64)
    method.module = method.build(backbone, task).eval()
    if drawn:
        for part in (method.english, method.own):
            for adapter in part.values():
                nn.init.normal_(adapter.up, std=0.05)
    return method


def rows_of(task, language="fr", count=6):
    ours = {row.id: row for row in task.test("en", None)}
    return [replace(row, beside=ours[row.id].texts) for row in task.test(language, None)[:count]]


def batch_of(method, rows):
    encoded = method.encode_labelled(rows)
    return collate(encoded, range(len(rows)), method.backbone.tokenizer.pad_token_id, CPU)


def step(method, task, languages=("fr", "zh")):
    shots = task.draw(4, 0, None).train
    moved = {language: task.translated(shots, language, None) for language in languages}
    found = Resources(shots, generator(0, "resources"), {"translations": moved})
    return next(training_batches(method, method.encode_labelled(shots), method.streams(found), 6, 0, CPU))


def test_the_fusions_by_hand():
    theirs, ours = torch.tensor([1.0, -2.0]), torch.tensor([-3.0, 4.0])
    assert fuse(theirs, ours, "add-relu").tolist() == [1, 4]
    assert fuse(theirs, ours, "add").tolist() == [-2, 2]
    assert fuse(theirs, ours, "product").tolist() == [-3, -8]


def test_adapters_begin_as_nothing_and_are_picked_by_row():
    adapter = LowRank(3, nn.Linear(8, 6), 2)
    assert not adapter.up.any()
    down, up = adapter.of(torch.tensor([2, 0]))
    assert torch.equal(down, adapter.down[[2, 0]])
    assert up.shape == (2, 2, 6)


def test_own_adapters_that_add_nothing_are_the_source_model_to_the_bit(tiny, logic):
    method = made(tiny.fresh(), logic)
    for adapter in method.own.values():
        nn.init.zeros_(adapter.up)
    batch = batch_of(method, rows_of(logic))
    assert torch.equal(method._said(batch, fused=True), method._said(batch, fused=False))


def test_all_adapters_that_add_nothing_are_the_backbone_to_the_bit(tiny, logic):
    method = made(tiny.fresh(), logic, drawn=False)
    finetune = registry.get("method", "finetune")
    base = finetune(finetune.Config(), tiny.fresh(), logic, ("en",), 64)
    row = logic.test("en", None)[0]
    alone = base.backbone.answer_states(collate(base.encode_labelled([row]), [0], tiny.tokenizer.pad_token_id, CPU))
    assert torch.equal(method._said(batch_of(method, [row]), fused=True), method.head(alone))


def by_hand(method, row, fusion):
    """Layer by layer, with weights put together: W x_t + 2 x_t A B of the source, + 2 φ B' of the row's own."""
    backbone, scale = method.backbone, method.config.alpha / method.config.rank
    number = method.targets.index(row.language)
    states = []
    for texts in (row.beside, row.texts):
        ids = torch.from_numpy(method.in_template("pair", [replace(row, texts=texts)], row.language).ids[0])[
            None
        ].long()
        states.append(backbone.encoder.embeddings(input_ids=ids))
    theirs, ours = states
    for place, wrapped in enumerate(backbone.layers):
        layer = getattr(wrapped, "layer", wrapped)
        attention = layer.attention.self

        def projected(name, x, other=None, place=place, attention=attention):
            linear, first, own = (
                getattr(attention, name), method.english[f"{place}-{name}"], method.own[f"{place}-{name}"]
            )  # fmt: skip
            out = nn.functional.linear(x, linear.weight, linear.bias) + scale * (x @ first.down[0] @ first.up[0])
            if other is None:
                return out
            width = min(x.shape[1], other.shape[1])
            beside = torch.zeros_like(x)
            beside[:, :width] = other[:, :width]
            return out + scale * fuse(beside @ own.down[number], x @ own.down[number], fusion) @ own.up[number]

        following = []
        for x, other in ((theirs, None), (ours, theirs)):
            query, key, value = projected("query", x, other), attention.key(x), projected("value", x, other)
            heads = [
                side.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2) for side in (query, key, value)
            ]
            mixed = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
            mixed = layer.attention.output(mixed, x)
            following.append(layer.output(layer.intermediate(mixed), mixed))
        theirs, ours = following
    return method.head(ours[:, 0])


@pytest.mark.parametrize("fusion", ["add-relu", "add", "product"])
def test_a_row_by_hand_layer_by_layer(tiny, logic, fusion):
    method = made(tiny.fresh(), logic, fusion=fusion)
    for row in rows_of(logic, "zh", 2) + rows_of(logic, "fr", 2):
        with torch.no_grad():
            expected = by_hand(method, row, fusion)
            torch.testing.assert_close(method.logits(batch_of(method, [row])), expected, atol=1e-5, rtol=1e-4)


def test_without_source_states_a_sum_is_a_plain_low_rank_adapter(tiny, logic):
    """x_s = 0: W x + 2 x A B' of the row's own, as LoRA adds it."""
    method = made(tiny.fresh(), logic, fusion="add", drawn=False)
    key = "0-query"
    nn.init.normal_(method.own[key].up)
    linear = method.backbone.layers[0].attention.self.query
    states = torch.randn(2, 3, tiny.dimension)
    method.spoken = torch.tensor([1, 1])
    method.beside = [torch.zeros_like(states)] * tiny.depth
    found = linear(states)
    method.spoken = method.beside = None
    own, scale = method.own[key], method.config.alpha / method.config.rank
    torch.testing.assert_close(found, linear(states) + scale * (states @ own.down[1] @ own.up[1]))


def test_other_rows_of_a_batch_and_their_padding_move_nothing(tiny, logic):
    method = made(tiny.fresh(), logic)
    rows = rows_of(logic, "fr", 4) + rows_of(logic, "zh", 4) + rows_of(logic, "en", 2)
    together = method.score(batch_of(method, rows))
    for place, row in enumerate(rows):
        torch.testing.assert_close(method.score(batch_of(method, [row]))[0], together[place], atol=3e-5, rtol=1e-4)


def test_the_source_language_has_no_adapter_of_its_own(tiny, logic):
    method = made(tiny.fresh(), logic)
    batch = batch_of(method, rows_of(logic, "en"))
    torch.testing.assert_close(method._said(batch, fused=True), method._said(batch, fused=False))


def moved_by(method, batch, progress):
    method.module.zero_grad(set_to_none=True)
    method.progress = progress
    method.loss(batch).backward()
    return {name.partition(".")[0] for name, value in method.module.named_parameters() if value.grad is not None}


def test_the_source_s_adapter_trains_first_and_the_languages_own_behind_it_the_backbone_never(tiny, logic):
    method = made(tiny.fresh(), logic, share=0.4)
    batch = step(method, logic)
    assert method.phases == (0.4,)
    assert moved_by(method, batch, 0.3) == {"head", "source"}
    assert moved_by(method, batch, 0.4) == {"head", "own"}
    assert not any(value.requires_grad for value in method.backbone.parameters())


def test_a_language_without_translations_keeps_the_source_model_and_is_named(tiny, logic):
    method = made(tiny.fresh(), logic, drawn=False)
    batch = step(method, logic, ("fr",))
    moved_by(method, batch, 0.9)
    grown = method.own["0-value"].up.grad
    assert grown[0].any()
    assert not grown[1].any()  # zh has no rows
    assert method.notes == ["no translations of the shots in zh"]


def test_a_run_reads_both_and_stores_kilobytes(tmp_path):
    training = Training(steps=6, batch_size=4, checkpoints=2)
    common = {"task": "logic", "model": "tiny", "shots": 4, "languages": ("en", "fr"), "test_units": 6}
    spec = RunSpec(method="flare", selection="last", training=training, read="both", **common)
    record = xlbench.run(spec, Runtime(runs=tmp_path, device="cpu"))
    assert record.costs["trained_bytes"] < 0.1 * 4 * record.costs["total_parameters"]
    with pytest.raises(NotSupported, match="use --read both"):
        xlbench.run(spec.with_(read="own"), Runtime(runs=tmp_path, device="cpu"))
