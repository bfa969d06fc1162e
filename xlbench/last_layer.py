"""The last layer of an encoder, computed at the one position of each row that is read.

A method reads `<mask>` or the first token alone. What the last layer makes of the other positions reaches nothing:
of its multiplications only keys and values are needed there, a sixth of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

FAMILIES = {"bert", "roberta", "xlm-roberta", "camembert", "electra"}  # layers of BERT's kind, post-norm


class LastLayer(nn.Module):
    """A layer of BERT's kind. Within `only(position)` it gives one position of each row, elsewhere all."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer: Any = layer
        self._position: Tensor | None = None

    @contextmanager
    def only(self, position: Tensor) -> Iterator[None]:
        """Within it a row's output is that at its `position`, (n,): (n, 1, d) in place of (n, t, d)."""
        self._position = position
        try:
            yield
        finally:
            self._position = None

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None, *rest: Any, **named: Any) -> Tensor:
        """`named["past_key_values"]`: a prefix, whose keys and values each position attends to as well."""
        if self._position is None:
            return self.layer(hidden, attention_mask, *rest, **named)
        attention = self.layer.attention
        own = hidden[torch.arange(len(hidden), device=hidden.device), self._position][:, None]
        taken = self._attend(attention.self, own, hidden, attention_mask, named.get("past_key_values"))
        mixed = attention.output(taken, own)
        return self.layer.output(self.layer.intermediate(mixed), mixed)

    @staticmethod
    def _attend(attention: Any, own: Tensor, hidden: Tensor, mask: Tensor | None, prefix: Any = None) -> Tensor:
        """What one position of each row, (n, 1, d), takes from all of them, (n, t, d), and from a prefix."""
        query, key, value = (
            projected.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
            for projected in (attention.query(own), attention.key(hidden), attention.value(hidden))
        )
        if prefix is not None:
            key, value = prefix.update(key, value, attention.layer_idx)
        taken = nn.functional.scaled_dot_product_attention(
            query, key, value,
            attn_mask=None if mask is None else mask[:, :, :1],  # of a bidirectional encoder: alike for each query
            dropout_p=attention.dropout.p if attention.training else 0.0,
        )  # fmt: skip
        return taken.transpose(1, 2).flatten(2)


def wrap_last_layer(encoder: nn.Module) -> None:
    """Make an encoder's last layer a `LastLayer`, where the encoder is of a family whose layers are known."""
    config: Any = encoder.config
    plain = getattr(config, "position_embedding_type", "absolute") in {None, "absolute"}
    if config.model_type in FAMILIES and plain and not getattr(config, "is_decoder", False):
        layers: Any = encoder.get_submodule("encoder.layer")
        layers[-1] = LastLayer(layers[-1])
