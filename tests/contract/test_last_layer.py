"""The last layer at one position of each row: what the whole layer gives there, for fewer multiplications."""

import pytest
import torch
from transformers import AutoConfig, AutoModel

from xlbench.batching import Batch
from xlbench.engine.flops import Counter
from xlbench.last_layer import FAMILIES, LastLayer, wrap_last_layer

SMALL = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 40, "pad_token_id": 1, "attn_implementation": "sdpa",
}  # fmt: skip
LENGTHS = [9, 4, 9, 1]


def small(family: str, **more):
    torch.manual_seed(0)
    encoder = AutoModel.from_config(AutoConfig.for_model(family, **{**SMALL, **more})).eval()
    wrap_last_layer(encoder)
    return encoder


def last_of(encoder) -> LastLayer:
    return next(module for module in encoder.modules() if isinstance(module, LastLayer))


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    attention = torch.tensor([[1] * length + [0] * (max(LENGTHS) - length) for length in LENGTHS])
    position = torch.tensor([length // 2 for length in LENGTHS])
    return torch.randint(5, 50, attention.shape), attention, position


def at_once(encoder, ids, attention, position) -> torch.Tensor:
    return encoder(ids, attention_mask=attention).last_hidden_state[torch.arange(len(ids)), position]


def alone(encoder, ids, attention, position) -> torch.Tensor:
    with last_of(encoder).only(position):
        return encoder(ids, attention_mask=attention).last_hidden_state[:, 0]


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("padded", [True, False])
def test_it_gives_what_the_whole_layer_gives_there_and_the_same_gradients(family, padded):
    encoder, (ids, attention, position) = small(family), inputs()
    if not padded:
        attention = torch.ones_like(attention)
    gradients = []
    outputs = []
    for way in (at_once, alone):
        encoder.zero_grad()
        outputs.append(way(encoder, ids, attention, position))
        outputs[-1].pow(3).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None})
    whole, one = outputs
    assert torch.allclose(whole, one, atol=1e-6)
    assert whole.std() > 1e-2
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-4), name


def test_beyond_it_the_layer_is_whole_again_even_after_a_fault():
    encoder, (ids, attention, position) = small("xlm-roberta"), inputs()
    with pytest.raises(ZeroDivisionError), last_of(encoder).only(position):
        raise ZeroDivisionError
    assert encoder(ids, attention_mask=attention).last_hidden_state.shape[:2] == ids.shape


def test_dropout_is_on_in_training_and_off_without_it():
    encoder, (ids, attention, position) = small("xlm-roberta"), inputs()
    assert torch.equal(alone(encoder, ids, attention, position), alone(encoder, ids, attention, position))
    encoder.train()
    last_of(encoder).layer.attention.output.dropout.p = 0.0
    last_of(encoder).layer.output.dropout.p = 0.0
    for layer in encoder.encoder.layer[:-1]:
        layer.eval()
    encoder.embeddings.eval()
    last_of(encoder).layer.attention.self.dropout.p = 0.5
    drawn = [alone(encoder, ids, attention, position) for _ in range(2)]
    assert not torch.equal(*drawn)  # of the attention itself


def test_it_saves_ten_of_twelve_multiplications_at_the_other_positions():
    """A layer multiplies each state with 12 d² weights, of which 2 d² (keys and values) are left."""
    encoder, (ids, _, position) = small("xlm-roberta", intermediate_size=64), inputs()
    attention = torch.ones_like(ids)
    counted = []
    for way in (at_once, alone):
        with torch.no_grad(), Counter() as counter:
            way(encoder, ids, attention, position)
        counted.append(counter.total)
    rows, tokens, width = *ids.shape, 16
    saved = 2 * rows * (tokens - 1) * 10 * width**2 + 2 * 2 * rows * (tokens - 1) * tokens * width
    assert counted[0] - counted[1] == saved


@pytest.mark.parametrize("family", ["distilbert", "modernbert"])
def test_other_families_stay_as_they_are(family):
    small_of = {"distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}}.get(family, {})
    encoder = AutoModel.from_config(AutoConfig.for_model(family, **{**SMALL, **small_of}))
    wrap_last_layer(encoder)
    assert not any(isinstance(module, LastLayer) for module in encoder.modules())


@pytest.mark.parametrize("tune", ["all", "lora"])
def test_a_backbone_uses_it_with_adapters_too(tiny, tune):
    backbone = tiny.fresh(tune).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in backbone.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    ids, attention, position = inputs()
    zeros = torch.zeros(len(ids), dtype=torch.long)
    batch = Batch(ids, attention, position, torch.zeros_like(ids), zeros, zeros)
    whole = backbone.hidden(batch)[torch.arange(len(ids)), position]
    assert torch.allclose(backbone.transform(whole), backbone.transform(backbone.answer_states(batch)), atol=1e-4)
    assert not torch.allclose(whole, tiny.hidden(batch)[torch.arange(len(ids)), position], atol=1e-4) or tune == "all"
