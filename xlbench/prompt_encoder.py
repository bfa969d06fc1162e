"""PromptEncoder: the vectors of a soft prompt, as a small network gives them."""

from typing import Literal

import torch
from torch import Tensor, nn

from xlbench.errors import XlbenchError

PromptInit = Literal["normal", "uniform", "vocabulary"]

PROMPT_INIT = (
    "what the prompt's embeddings begin as: normal, N(0, 1), as released; uniform, U(-0.5, 0.5), or vocabulary, words' "
    "embeddings, as SoftMV"
)


class PromptEncoder(nn.Module):
    """The soft prompt's vectors, reparameterised (Zhao & Schütze 2021): embeddings (L, d) → one bidirectional
    LSTM layer (d → 2d) → Linear(2d, d), ReLU, Linear(d, d). `forward` gives (L, d).

    `init` draws the embeddings: from N(0, 1) (`normal`, as released), from U(-0.5, 0.5) (`uniform`, as SoftMV), or as
    copies of the embeddings of words drawn from the backbone's vocabulary, (v, d) (`vocabulary`, as SoftMV's other).
    peft's `PromptEncoder` has two LSTM layers and a three-layer MLP, so it is not used here.
    """

    def __init__(self, length: int, dimension: int, init: PromptInit = "normal", words: Tensor | None = None) -> None:
        super().__init__()
        if init == "vocabulary":
            if words is None:
                raise XlbenchError("prompt_init=vocabulary needs the backbone's word embeddings")
            drawn = words.detach()[torch.randint(len(words), (length,))].clone().float()
        else:
            drawn = torch.randn(length, dimension) if init == "normal" else torch.rand(length, dimension) - 0.5
        self.embeddings = nn.Parameter(drawn)
        self.lstm = nn.LSTM(dimension, dimension, bidirectional=True, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(2 * dimension, dimension), nn.ReLU(), nn.Linear(dimension, dimension))

    def forward(self) -> Tensor:
        states, _ = self.lstm(self.embeddings[None])
        return self.mlp(states[0])
