"""Edits of the states between an encoder's layers by each row's language, and the states of sentences to learn them of.

A layer is counted from 1, the one above the embeddings. What is edited is what a layer gives, its residual path and its
last norm included: the next layer's input.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch, by_token_budget, collate
from xlbench.errors import XlbenchError
from xlbench.parts.sentence_vectors import ALONE, pooled
from xlbench.prompts import in_fp32

Positions = Literal["all", "read"]  # every token's state, or those alone where answers are read
Pooling = Literal["mean", "first"]  # a sentence's state: the mean of its tokens' without the frame's, or the first's

TOKENS = 8192  # of a batch of sentences, padding included


@dataclass(frozen=True)
class Edit:
    """What is added to a state h, (d,): h M + b, in fp32. `matrix`: M, (d, d), None for zeros; `bias`: b, (d,)."""

    matrix: Tensor | None
    bias: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """States, (…, d), edited. A matrix and a bias of zeros leave them as they are, to the bit."""
        with in_fp32(states.device):
            exact = states.float()
            added = self.bias if self.matrix is None else exact @ self.matrix + self.bias
            return (exact + added).to(states.dtype)


Edits = Mapping[int, Mapping[int, Edit]]  # layer → index of a language → its edit


def layers_of(backbone: Backbone) -> nn.ModuleList:
    """The encoder's layers, lowest first. Raises XlbenchError where they are not in one list."""
    depth = getattr(backbone.config, "num_hidden_layers", None)
    for module in backbone.encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise XlbenchError(
        f"the backbone {backbone.name} ({backbone.config.model_type}) has no list of its layers, so that nothing can "
        "be edited between them; choose a model of BERT's kind, such as XLM-R"
    )


@contextmanager
def edited(backbone: Backbone, batch: Batch, edits: Edits, positions: Positions = "all") -> Iterator[None]:
    """Within it what layers give is edited, each row of `batch` by its language; a language without an edit is not.

    Passes through the backbone within it must be of this batch.
    """
    layers = layers_of(backbone) if edits else ()
    hooks = [
        layers[layer - 1].register_forward_hook(_hook(backbone, batch, by_language, positions))
        for layer, by_language in edits.items()
        if batch.languages & by_language.keys()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _hook(
    backbone: Backbone, batch: Batch, by_language: Mapping[int, Edit], positions: Positions
) -> Callable[[nn.Module, Any, Any], Any]:
    def edit(layer: nn.Module, given: Any, output: Any) -> Any:
        states = output if isinstance(output, Tensor) else output[0]
        rows = backbone.rows_under_way  # a pass may read some of the rows, in an order of its own
        language, changed = batch.language[rows], states.clone()
        for index in sorted(batch.languages & by_language.keys()):
            own = (language == index).nonzero()[:, 0]
            changed[own] = by_language[index](states[own])
        if positions == "read" and states.shape[1] > 1:  # else the last layer gives the position that is read alone
            read_at = batch.read_at[rows].reshape(len(states), -1, 1)
            read = (torch.arange(states.shape[1], device=states.device) == read_at).any(dim=1)
            changed = torch.where(read[..., None], changed, states)
        return changed if isinstance(output, Tensor) else (changed, *output[1:])

    return edit


def sentence_states(
    backbone: Backbone,
    sentences: Sequence[str],
    layers: Sequence[int],
    pooling: Pooling = "mean",
    max_length: int = 128,
    edits: Mapping[int, Edit] | None = None,
) -> dict[int, np.ndarray]:
    """The states of sentences, each alone in `<s> … </s>`, by layer: (sentences, d), float64.

    `edits`: of layers, through which all sentences go. Call it with a backbone in eval mode.
    """
    text = backbone.text(max_length)
    encoded = text.encode(ALONE, [(sentence,) for sentence in sentences])
    device, by_layer = backbone.word_embeddings().device, {layer: {0: edit} for layer, edit in (edits or {}).items()}
    states = {layer: np.zeros((len(sentences), backbone.dimension)) for layer in layers}
    for rows in by_token_budget(encoded.lengths, TOKENS):
        batch = collate(encoded, rows, text.pad, device)
        with torch.inference_mode(), edited(backbone, batch, by_layer), _kept(backbone, layers) as kept:
            backbone.hidden(batch)
            place = torch.arange(batch.ids.shape[1], device=device)
            ends = batch.attention.sum(dim=1, keepdim=True) - len(text.end)
            inside = (place >= len(text.begin)) & (place < ends)
            for layer, given in kept.items():
                vectors = pooled(given.float(), inside, ("cls" if pooling == "first" else "mean",))
                states[layer][rows] = vectors.double().cpu().numpy()
    return states


@contextmanager
def _kept(backbone: Backbone, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """What some layers give in the latest pass, edits included, by layer: (n, t, d)."""
    kept: dict[int, Tensor] = {}

    def keeps(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, given: Any, output: Any) -> None:
            kept[layer] = output if isinstance(output, Tensor) else output[0]

        return keep

    every = layers_of(backbone)
    hooks = [every[layer - 1].register_forward_hook(keeps(layer)) for layer in layers]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
