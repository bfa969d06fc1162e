"""Methods that train few numbers of a frozen backbone, and low-rank adapters: what trains, and that it takes effect."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModel

import xlbench
from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.batching import Batch, collate
from xlbench.checkpoint_files import Checkpoint
from xlbench.engine.footprint import Footprint
from xlbench.engine.predict import autocast
from xlbench.engine.session import trained_parameters
from xlbench.engine.train import Movement
from xlbench.errors import NotSupported
from xlbench.last_layer import LastLayer, wrap_last_layer
from xlbench.method import Method
from xlbench.spec import Lora, ResolvedTraining, RunSpec, Training
from xlbench.task import Task

FEW = ("bitfit", "ia3", "prefix")
SMALL = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 40, "pad_token_id": 1, "attn_implementation": "sdpa", "initializer_range": 0.5,
}  # fmt: skip
DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "vocab_size": 60, "pad_token_id": 1}
DEBERTA = {
    **{name: value for name, value in SMALL.items() if name != "attn_implementation"},
    "type_vocab_size": 0, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
}  # fmt: skip
FAMILIES = {"bert": SMALL, "xlm-roberta": SMALL, "deberta-v2": DEBERTA, "distilbert": DISTILBERT}


def small(family: str, tokenizer: object, **more: object) -> Backbone:
    """A backbone of a family with random weights, its last layer wrapped where that is done."""
    torch.manual_seed(0)
    encoder = AutoModel.from_config(AutoConfig.for_model(family, **{**FAMILIES[family], **more})).eval()
    wrap_last_layer(encoder)
    return Backbone(Checkpoint(encoder, None, None, "none", True, tokenizer, "none"), f"small {family}").eval()


def made(name: str, backbone: Backbone, task: Task, **config: object) -> Method:
    """A method, built; `module` is what trains."""
    torch.manual_seed(0)
    method_class = registry.get("method", name)
    method: Method = method_class(method_class.Config(**config), backbone, task, ("en", "fr"), 64)
    method.module = method.build(backbone, task).eval()
    return method


def shots(method: Method, count: int = 4) -> Batch:
    rows = [*method.task.test("en", None)[:count], *method.task.test("zh", None)[:count]]
    encoded = method.encode_labelled(rows)
    return collate(encoded, range(len(rows)), method.backbone.tokenizer.pad_token_id, "cpu")


def numbers(lengths=(9, 4, 9, 2)) -> Batch:
    """Rows of random ids, with two segments, read in their middle."""
    longest, random = max(lengths), torch.Generator().manual_seed(1)
    attention = torch.tensor([[1] * length + [0] * (longest - length) for length in lengths])
    ids = torch.randint(5, 60, attention.shape, generator=random) * attention + (1 - attention)
    segments = (torch.arange(longest) >= 3).long() * attention
    zeros = torch.zeros(len(lengths), dtype=torch.long)
    return Batch(ids, attention, torch.tensor([length // 2 for length in lengths]), segments, zeros, zeros)


def shaken(module: nn.Module) -> None:
    """Everything that trains moved away from where it begins."""
    torch.manual_seed(3)
    with torch.no_grad():
        for value in trained_parameters(module).values():
            value.add_(0.3 * torch.randn_like(value))


def step(method: Method, rate: float = 0.1) -> dict[str, torch.Tensor]:
    """The weights before one step on some shots; after it those of the method have moved."""
    before = {name: value.detach().clone() for name, value in method.backbone.named_parameters()}
    optimiser = torch.optim.SGD(trained_parameters(method.module).values(), lr=rate)
    method.loss(shots(method)).backward()
    optimiser.step()
    return before


def spec(method: str, **fields: object) -> RunSpec:
    training = {"steps": 3, "learning_rate": 1e-3, "checkpoints": 1, **fields.pop("training", {})}
    common = {"task": "logic", "model": "tiny", "shots": 4, "languages": ("en", "fr"), "test_units": 6}
    return RunSpec(method=method, training=Training(**training), **{**common, **fields})


# What trains


@pytest.mark.parametrize("name", ["bitfit", "ia3"])
def test_before_training_it_is_fine_tuning_with_the_same_head_to_the_bit(tiny, logic, name):
    ours, theirs = made(name, tiny.fresh(), logic), made("finetune", tiny.fresh(), logic)
    batch = shots(ours)
    with torch.no_grad():
        assert torch.equal(ours.logits(batch), theirs.logits(batch))
        shaken(ours.module["encoder"])
        assert not torch.allclose(ours.logits(batch), theirs.logits(batch), atol=1e-3)


@pytest.mark.parametrize(("name", "tune"), [*((name, "all") for name in FEW), ("ia3", "frozen"), ("prefix", "frozen")])
def test_after_a_step_nothing_of_the_backbone_has_moved_but_what_the_method_trains(tiny, logic, name, tune):
    method = made(name, tiny.fresh(tune), logic)
    before = step(method)
    moved = {name for name, value in method.backbone.named_parameters() if not torch.equal(value, before[name])}
    mark = {"bitfit": "bias", "ia3": "ia3_l", "prefix": "prompt_encoder"}[name]
    assert moved
    assert all(mark in name for name in moved)
    assert all(value.requires_grad for value in method.head.parameters())


def test_bitfit_trains_every_bias_of_the_encoder_and_none_beside_it(tiny, logic):
    method = made("bitfit", tiny.fresh(), logic)
    trained = {name for name in trained_parameters(method.module) if name.startswith("encoder.")}
    assert trained == {f"encoder.{name}" for name, _ in tiny.encoder.named_parameters() if name.endswith(".bias")}
    assert {"encoder.embeddings.LayerNorm.bias", "encoder.encoder.layer.3.layer.output.LayerNorm.bias"} <= trained
    before = step(method)
    still = {name for name in trained if torch.equal(before[name], dict(method.module.named_parameters())[name])}
    assert all("key.bias" in name for name in still)  # attention does not change with a bias of all keys


def test_with_every_weight_in_place_of_the_biases_bitfit_is_fine_tuning(tiny, logic):
    ours, theirs = made("bitfit", tiny.fresh(), logic), made("finetune", tiny.fresh(), logic)
    ours.module.requires_grad_(True)
    steps = []
    for method in (ours, theirs):
        step(method)
        steps.append(dict(method.module.named_parameters()))
    assert steps[0].keys() == steps[1].keys()
    assert all(torch.equal(value, steps[1][name]) for name, value in steps[0].items())


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_ia3_trains_two_d_and_d_ff_numbers_a_layer(tiny, logic, family):
    method = made("ia3", small(family, tiny.tokenizer), logic)
    trained = trained_parameters(method.module["encoder"])
    assert sum(value.numel() for value in trained.values()) == 2 * (2 * 16 + 24)
    assert all(bool((value == 1).all()) for value in trained.values())
    assert not any("attention.output" in name or "out_lin" in name for name in trained)


def test_ia3_scales_keys_values_and_inner_activations(tiny, logic):
    """Vectors k, v, f do what k and v times the rows of key and value, and f times the columns of the output, do."""
    method, by_hand = made("ia3", tiny.fresh(), logic), tiny.fresh().eval()
    shaken(method.module["encoder"])
    vector = {name: value.detach().flatten() for name, value in trained_parameters(method.module["encoder"]).items()}
    with torch.no_grad():
        for name, linear in by_hand.encoder.named_modules():
            (scale,) = [value for key, value in vector.items() if f".{name}.ia3_l" in key] or [None]
            if scale is not None and name.endswith(("key", "value")):
                linear.weight *= scale[:, None]
                linear.bias *= scale
            elif scale is not None:
                linear.weight *= scale
        batch = shots(method)
        assert torch.allclose(method.backbone.hidden(batch), by_hand.hidden(batch), atol=1e-4)
        assert not torch.allclose(by_hand.hidden(batch), tiny.hidden(batch), atol=1e-1)


@settings(max_examples=12, deadline=None)
@given(length=st.integers(1, 40), projection=st.sampled_from([None, 3]))
def test_a_prefix_has_two_vectors_a_layer_and_place(length, projection):
    tiny, logic = Backbone.load("tiny"), registry.get("task", "logic")()
    method = made("prefix", tiny.fresh(), logic, prefix_length=length, projection=projection)
    count = sum(value.numel() for value in trained_parameters(method.module["encoder"]).values())
    inner = length * 128 + 3 * (128 + 1) + 2 * 4 * 128 * (3 + 1)
    assert count == (length * 2 * 4 * 128 if projection is None else inner)
    assert method.logits(shots(method, 1)).shape == (2, 3)


def test_dropout_falls_on_the_prefix_in_training_alone(tiny, logic):
    method = made("prefix", tiny.fresh(), logic, prefix_dropout=0.5, head_dropout=0.0)  # tiny has no dropout itself
    batch = shots(method)
    assert torch.equal(method.logits(batch), method.logits(batch))
    method.module.train()
    assert not torch.equal(method.logits(batch), method.logits(batch))
    still = made("prefix", tiny.fresh(), logic, prefix_dropout=0.0, head_dropout=0.0)
    still.module.train()
    assert torch.equal(still.logits(batch), still.logits(batch))


# The last layer, which is computed at one position


def unwrapped(backbone: Backbone) -> Backbone:
    """The same backbone, its last layer as transformers has it, computed at every position."""
    ours = copy.deepcopy(backbone)
    for module in list(ours.encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LastLayer):
                setattr(module, name, child.layer)
    assert not any(isinstance(module, LastLayer) for module in ours.encoder.modules())
    return ours


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("lengths", [(9, 4, 9, 2), (7, 7)])
def test_the_wrapped_last_layer_gives_what_the_whole_one_gives_and_the_same_gradients(
    tiny, logic, name, family, lengths
):
    method = made(name, small(family, tiny.tokenizer), logic)
    shaken(method.module)
    batch, whole = numbers(lengths), unwrapped(method.backbone)
    states = []
    for backbone in (method.backbone, whole):
        states.append(backbone.answer_states(batch))
        states[-1].pow(3).sum().backward()
    assert torch.allclose(*states, atol=1e-5)
    named = {key.replace("1.layer.", "1."): value for key, value in trained_parameters(method.backbone).items()}
    for key, value in trained_parameters(whole).items():
        if "pooler" in key:  # of the first token's last state, which no method reads
            assert value.grad is None
            continue
        scale = float(value.grad.abs().max())
        assert torch.allclose(named[key].grad, value.grad, atol=1e-4 * scale + 1e-5), key
        assert scale > 1e-6 or "key.bias" in key


@pytest.mark.parametrize("lengths", [(9, 4, 9, 2), (7, 7)])
def test_a_prefix_gives_what_peft_itself_computes(tiny, logic, lengths):
    """XLM-R has one token type; of models with two, peft would drop them."""
    method = made("prefix", small("xlm-roberta", tiny.tokenizer, type_vocab_size=1), logic, prefix_length=5)
    batch, whole = numbers(lengths), unwrapped(method.backbone)
    vectors = whole.encoder.get_input_embeddings()(batch.ids)
    with torch.no_grad():
        theirs = whole.encoder(inputs_embeds=vectors, attention_mask=batch.attention).last_hidden_state
        ours = method.backbone.hidden(batch)
    real = batch.attention.bool()
    assert torch.allclose(ours[real], theirs[real], atol=1e-5)


def test_a_prefix_leaves_token_types_and_positions_as_they_are(tiny, logic):
    """Keys that no query likes, and values that nobody then takes: as without a prefix, token types included."""
    plain = small("bert", tiny.tokenizer)
    method = made("prefix", copy.deepcopy(plain), logic, prefix_length=3)
    prefix = method.module["encoder"].prompt_encoder["default"].embedding.weight
    batch = numbers()
    with torch.no_grad():
        for layer in plain.encoder.encoder.layer:  # all queries are alike, so that one key can be far from all of them
            attention = getattr(layer, "layer", layer).attention.self
            attention.query.weight.zero_()
            attention.query.bias.fill_(1.0)
        method.backbone.encoder.get_base_model().load_state_dict(plain.encoder.state_dict())
        prefix.view(3, 2, 2, 16)[:, :, 0] = -1e3
        assert torch.allclose(method.backbone.answer_states(batch), plain.answer_states(batch), atol=1e-5)
        blind = replace(batch, segments=torch.zeros_like(batch.segments))
        assert not torch.allclose(method.backbone.answer_states(blind), plain.answer_states(batch), atol=1e-2)


@pytest.mark.parametrize("layer", range(4))
@pytest.mark.parametrize("padded", [True, False])
def test_scores_move_with_each_layers_part_of_the_prefix(tiny, logic, layer, padded):
    method = made("prefix", tiny.fresh(), logic, prefix_length=4)
    batch = shots(method)
    if not padded:
        batch = shots(method, 1)
        batch = Batch(*(value[:1, : int(batch.attention[0].sum())] for value in (batch.ids, batch.attention)),
                      batch.read_at[:1], batch.segments[:1, : int(batch.attention[0].sum())], batch.language[:1],
                      batch.labels[:1])  # fmt: skip
        assert batch.padding == 0
    prefix = method.module["encoder"].prompt_encoder["default"].embedding.weight
    for kind in range(2):  # keys, values
        with torch.no_grad():
            before = method.score(batch)
            prefix.view(4, 4, 2, 128)[:, layer, kind] += torch.randn(4, 128)
            assert not torch.allclose(method.score(batch), before, atol=1e-4)


@pytest.mark.parametrize("name", ["ia3", "prefix"])
def test_in_half_precision_it_is_about_the_same(tiny, logic, name):
    method = made(name, tiny.fresh(), logic)
    shaken(method.module["encoder"])
    batch = shots(method)
    with torch.no_grad():
        exact = method.score(batch)
        with autocast(torch.device("cpu"), "bf16"):
            assert torch.allclose(method.score(batch), exact, atol=0.1)


# Rates, parts, memory


@pytest.mark.parametrize(
    ("name", "config", "rate"), [("ia3", {}, 3e-3), ("prefix", {}, 5e-3), ("prefix", {"rate_times": 1}, 1e-3)]
)
def test_what_is_added_is_fresh(tiny, logic, name, config, rate):
    method = made(name, tiny.fresh(), logic, **config)
    groups = method.parameter_groups(method.module, ResolvedTraining(learning_rate=1e-5, decay_biases=False))
    rate_of = {id(value): group["lr"] for group in groups for value in group["params"]}
    assert {rate_of.pop(id(value)) for value in method.head.parameters()} == {1e-3}
    added = trained_parameters(method.module["encoder"]).values()
    assert [rate_of.pop(id(value)) for value in added] == pytest.approx([rate] * len(added))
    assert not rate_of


def test_bitfits_biases_have_a_multiple_of_the_backbones_rate(tiny, logic):
    method = made("bitfit", tiny.fresh(), logic, rate_times=30.0)
    groups = method.parameter_groups(method.module, ResolvedTraining(learning_rate=1e-5, decay_biases=False))
    rate_of = {id(value): group["lr"] for group in groups for value in group["params"]}
    assert {rate_of[id(value)] for value in method.head.parameters()} == {1e-3}
    biases = trained_parameters(method.module["encoder"]).values()
    assert [rate_of[id(value)] for value in biases] == pytest.approx([3e-4] * len(biases))


@pytest.mark.parametrize(
    ("name", "parts"),
    [("bitfit", {"backbone", "head"}), ("ia3", {"adapters", "head"}), ("prefix", {"adapters", "head"})],
)
def test_movement_is_of_what_the_method_trains(tiny, logic, name, parts):
    method = made(name, tiny.fresh(), logic)
    movement = Movement(method, method.module, tiny)
    assert len(movement.untrained()) == len(parts - {"backbone"})
    shaken(method.module)
    assert movement.of_parts().keys() == parts
    assert all(moved > 0.01 for moved in movement.of_parts().values())
    assert movement.untrained() == []


@pytest.mark.parametrize("name", FEW)
def test_a_run_tells_what_moved_and_counts_what_trains(runtime, tiny, name):
    record = xlbench.run(spec(name), runtime)
    assert record.learnt["movement"].keys() == ({"backbone", "head"} if name == "bitfit" else {"adapters", "head"})
    assert record.costs["trainable_parameters"] < 0.1 * record.costs["total_parameters"]
    assert record.spec.tune == "all"


def test_memory_is_reckoned_for_what_trains(tiny, monkeypatch, runtime):
    """As much as a frozen backbone needs, and no more: a GPU that has no room for its moments will do."""
    frozen = Footprint.of(tiny, spec("prefix", tune="frozen"), 0).total
    everything = Footprint.of(tiny, spec("finetune"), 0).total
    assert frozen < 0.5 * everything
    monkeypatch.setattr("xlbench.host.memory.free_bytes", lambda device: 2 * frozen)
    assert xlbench.run(spec("prefix"), runtime).status == "finished"
    with pytest.raises(xlbench.XlbenchError, match="does not fit in the memory"):
        xlbench.run(spec("finetune", seed=77), runtime)


# What is refused


@pytest.mark.parametrize("name", FEW)
def test_with_adapters_already_there_it_is_skipped(tiny, logic, name):
    with pytest.raises(NotSupported, match="use --tune all"):
        made(name, tiny.fresh("lora"), logic)


def test_bitfit_without_a_bias_to_train_is_skipped(tiny, logic):
    with pytest.raises(
        NotSupported, match="finds no bias to train in tiny; use --tune all, and an encoder with biases"
    ):
        made("bitfit", tiny.fresh("frozen"), logic)


@pytest.mark.parametrize("family", ["deberta-v2", "distilbert"])
def test_an_encoder_that_would_compute_without_its_prefix_is_refused(tiny, logic, family):
    with pytest.raises(NotSupported, match=rf"the encoder of small {family} \({family}\) takes no prefix"):
        made("prefix", small(family, tiny.tokenizer), logic)


def test_an_encoder_with_layers_of_other_names_is_refused(tiny, logic):
    backbone = tiny.fresh()
    backbone.encoder = nn.Sequential()  # no layers at all
    backbone.encoder.config = backbone.config
    with pytest.raises(NotSupported, match="has no layers of the names that IA3 adds to; choose another method"):
        made("ia3", backbone, logic)


# Low-rank adapters


@pytest.mark.parametrize(("target", "layers"), [("attention", 2), ("all-linear", 6)])
def test_low_rank_adapters_stand_where_they_are_asked_for(tiny, logic, target, layers):
    ours = tiny.fresh("lora", Lora(rank=4, target=target)).eval()
    trained = trained_parameters(ours)
    assert len(trained) == 4 * layers * 2  # layers of tiny, A and B
    method, theirs = made("finetune", ours, logic), made("finetune", tiny.fresh(), logic)
    batch = shots(method)
    with torch.no_grad():
        assert torch.equal(method.logits(batch), theirs.logits(batch))
        for name, value in trained.items():
            if "lora_B" in name and "layer.3" in name:
                before = method.logits(batch)
                nn.init.normal_(value, std=0.3)
                assert not torch.allclose(method.logits(batch), before, atol=1e-4), name
    assert torch.allclose(ours.answer_states(batch), unwrapped(ours).answer_states(batch), atol=1e-4)


def test_the_target_of_adapters_is_part_of_a_runs_identity_where_they_train(runtime):
    ids = {
        (tune, target): xlbench.run(spec("finetune", tune=tune, lora={"target": target}), runtime).id
        for tune in ("all", "lora")
        for target in ("attention", "all-linear")
    }
    assert len(set(ids.values())) == 3
    assert ids["all", "attention"] == ids["all", "all-linear"]
    assert ids["lora", "attention"] == xlbench.run(spec("finetune", tune="lora"), runtime).id
