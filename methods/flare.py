from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import Resources, Stream
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.switched_rows import encoded_beside, translated_pairs
from xlbench.problem import Classification
from xlbench.prompts import Encoded, on_device
from xlbench.registry import register_method
from xlbench.task import Row, Task

READ = ("query", "value")


@register_method("flare")
class Flare(HeadMethod):
    """FLARE (Borchert et al., ACL 2025): low-rank adapters of target languages that read the source text's states too.

    Published: first an adapter (LoRA, rank 8, α 16, of query and value) and a head on the source language, then merged;
    then for a target language an adapter W x_t + (α / r) B φ(A x_s, A x_t), x_t and x_s the inputs of a layer at one
    position of the text and of its translation into the source language, which is read without that adapter and
    without a gradient; φ = relu(A x_s) + relu(A x_t) in their script, or a sum, or a product. Trained on machine
    translations of the shots, the head too; a test row is read with its translation. XLM-R-base: 2e-5, 10 epochs.

    Chosen: both parts share one budget and all languages one second part, each row with its own adapter; the text is
    `pair`, where theirs says Premise and Hypothesis; states behind the end of the source text count as zeros, else a
    row's score would depend on the others of its batch; adapters train at `fresh_learning_rate`. A language without
    translations is read as the source language's model reads it.
    """

    class Config(HeadConfig):
        rank: int = Field(8, ge=1, description="rank of the adapters, r")
        alpha: float = Field(16, gt=0, description="scale of what they add, divided by the rank")
        fusion: Literal["add-relu", "add", "product"] = Field("add-relu", description="φ of both texts' numbers")
        share: float = Field(0.5, gt=0, lt=1, description="share of the steps on the source language")
        copies: int = Field(10, ge=1, le=100, description="translated copies of the shots; a step draws one")
        search = {"fusion": ("add-relu", "add"), "share": (0.3, 0.5, 0.7)}

    config: "Flare.Config"
    solves = frozenset({Classification})
    needs = frozenset({"translations"})
    reads_beside = freezes = True
    citation = (
        "Borchert et al. (2025), Language Fusion for Parameter-Efficient Cross-lingual Transfer, ACL. arXiv 2501.06892"
    )

    @property
    def phases(self) -> tuple[float, ...]:
        return (self.config.share,)

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        backbone.requires_grad_(False)
        self.head = self.new_head(backbone, task)
        self.targets = [language for language in self.languages if language not in task.sources]
        self.of = tuple(self.targets.index(name) if name in self.targets else -1 for name in task.languages)
        self.beside: list[Tensor] | None = None  # the source texts' inputs by layer, while target texts are read
        self.spoken: Tensor | None = None  # which adapter reads each row of a pass, -1 for none
        self.english, self.own = nn.ModuleDict(), nn.ModuleDict()
        for number, layer in enumerate(backbone.layers):
            inner: Any = getattr(layer, "layer", layer)  # the last one is wrapped
            for name in READ:
                linear = getattr(inner.attention.self, name)
                self.english[f"{number}-{name}"] = LowRank(1, linear, self.config.rank)
                self.own[f"{number}-{name}"] = LowRank(max(1, len(self.targets)), linear, self.config.rank)
                linear.register_forward_hook(partial(self._adapted, number, name))
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head, "source": self.english, "own": self.own})

    def _adapted(self, number: int, name: str, linear: nn.Module, given: Any, output: Tensor) -> Tensor:
        """What a query or value layer gives, with what the adapters add."""
        (states,), scale, key = given, self.config.alpha / self.config.rank, f"{number}-{name}"
        first: Any = self.english[key]
        down, up = first.of(states.new_zeros(len(states), dtype=torch.long))
        held = self.beside is not None or self.spoken is not None  # merged: no gradient goes to it any more
        down, up = (down.detach(), up.detach()) if held else (down, up)
        output = output + scale * (states @ down @ up)
        if self.beside is None or self.spoken is None:
            return output
        adapter: Any = self.own[key]
        down, up = adapter.of(self.spoken.clamp_min(0))
        theirs = self.beside[number][:, : states.shape[1]]  # the last layer asks the first position alone
        fused = fuse(theirs @ down, states @ down, self.config.fusion)
        return output + scale * (fused @ up) * (self.spoken >= 0)[:, None, None]

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        return encoded_beside(self, rows, language)

    def streams(self, resources: Resources) -> dict[str, Stream]:
        return translated_pairs(self, resources, self.config.copies, with_source=False)

    def logits(self, batch: Batch) -> Tensor:
        return self._said(batch, fused=True)

    def _said(self, batch: Batch, fused: bool) -> Tensor:
        """Logits of the rows, (rows, labels), their translations fused in or not."""
        backbone, states, attention = self.backbone, self.backbone.states(batch, 0), batch.attention
        ours, theirs = states[0::2], states[1::2]
        if fused:
            self.spoken = on_device(batch.language.device, self.of)[batch.language[0::2]]
            inputs = []
            with torch.no_grad():
                for number in range(backbone.depth):
                    inputs.append(theirs * attention[1::2, :, None])
                    theirs = backbone.onward(theirs, attention[1::2], number, number + 1)
            self.beside = inputs
        try:
            read = backbone.onward(ours, attention[0::2], 0, None, batch.read_at[0::2])
        finally:
            self.beside = self.spoken = None
        logits: Tensor = self.head(read)
        return logits

    def loss(self, batch: Batch) -> Tensor:
        second = self.progress >= self.config.share and "pairs" in batch.streams
        side = batch.streams["pairs"] if second else batch
        return nn.functional.cross_entropy(self._said(side, fused=second).float(), side.labels)


class LowRank(nn.Module):
    """A and B of several low-rank adapters of a linear layer: A from N(0, 1 / d), B zeros, so that they add nothing."""

    def __init__(self, number: int, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(number, linear.in_features, rank) * linear.in_features**-0.5)
        self.up = nn.Parameter(torch.zeros(number, rank, linear.out_features))

    def of(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """A, (n, d, r), and B, (n, r, out), of rows by the number of their adapter, (n,)."""
        return self.down[which], self.up[which]


def fuse(theirs: Tensor, ours: Tensor, how: str) -> Tensor:
    """φ(A x_s, A x_t), of two alike."""
    if how == "product":
        return theirs * ours
    return theirs + ours if how == "add" else torch.relu(theirs) + torch.relu(ours)
