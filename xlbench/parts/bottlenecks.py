"""Bottlenecks in the layers of an encoder, and invertible couplings of its embeddings, one for each of several
languages: the adapters of Pfeiffer et al. (2020)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xlbench.backbone import Backbone

Which = Tensor | int  # of several, which one reads each row, (n,), or all rows


class Stack(nn.Module):
    """Bottlenecks U relu(D z + b) + c, (n, t, d) → (n, t, d): weights from N(0, 0.02), biases 0."""

    def __init__(self, number: int, width: int, units: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(number, width, units) * 0.02)
        self.down_bias = nn.Parameter(torch.zeros(number, 1, units))
        self.up = nn.Parameter(torch.randn(number, units, width) * 0.02)
        self.up_bias = nn.Parameter(torch.zeros(number, 1, width))

    def forward(self, states: Tensor, which: Which, held: bool = False) -> Tensor:
        """`held`: a gradient goes through it, and none to it."""
        weights = (self.down, self.down_bias, self.up, self.up_bias)
        down, inner, up, outer = (value.detach()[which] if held else value[which] for value in weights)
        return torch.relu(states @ down + inner) @ up + outer


class Coupling(nn.Module):
    """NICE (Dinh et al. 2015) of the halves of states, (n, t, d): y1 = x1 + F(x2), y2 = x2 + G(y1), and back."""

    def __init__(self, number: int, width: int) -> None:
        super().__init__()
        self.f, self.g = (Stack(number, width // 2, max(1, width // 4)) for _ in range(2))

    def forward(self, states: Tensor, which: Which, held: bool = False, back: bool = False) -> Tensor:
        first, second = states.chunk(2, dim=-1)
        if back:
            second = second - self.g(first, which, held)
            return torch.cat([first - self.f(second, which, held), second], dim=-1)
        first = first + self.f(second, which, held)
        return torch.cat([first, second + self.g(first, which, held)], dim=-1)


def adapt_layers(backbone: Backbone, adapters: Callable[[int], Iterable[Callable[[Tensor], Tensor]]]) -> None:
    """Have each layer's feed-forward block, that reads x and gives h, followed by adapters, which `adapters` gives for
    a layer's number: h becomes h + adapter(LN(h + x)) by one after the other, then LN(h + x), all by the layer's own
    LayerNorm. Without adapters a layer is what it was, to the bit. Raises XlbenchError for layers that are not known.
    """
    for number, layer in enumerate(backbone.layers):
        inner: Any = getattr(layer, "layer", layer)  # the last one is wrapped
        inner.output.LayerNorm.register_forward_pre_hook(partial(_with_adapters, adapters, number))


def _with_adapters(adapters: Any, number: int, norm: nn.LayerNorm, given: tuple[Tensor]) -> tuple[Tensor]:
    (states,) = given  # h + x
    for adapter in adapters(number):
        normed = nn.functional.layer_norm(states, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        states = states + adapter(normed)
    return (states,)
