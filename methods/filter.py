from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.errors import XlbenchError
from xlbench.method import Method, MethodConfig, Resources, Stream
from xlbench.parts.switched_rows import encoded_beside, translated_pairs
from xlbench.prompts import Encoded
from xlbench.registry import register_method
from xlbench.task import Row, Task


@register_method("filter")
class Filter(Method):
    """FILTER (Fang et al., AAAI 2021): a text and its translation are read apart, then together, then apart again.

    Published: target text and source text, each `<s> premise </s></s> hypothesis </s>` with positions of its own, go
    through m layers apart, k over both at once, and the rest apart again; one set of weights; a head, dropout,
    Linear(d, d), ReLU, dropout, Linear, on the first token. XNLI: m = 1, k = 1 of XLM-R-large's 24. Trained on a shot's
    machine translation with the shot, and on the shot with itself, by the cross-entropy of both first tokens; a test
    row is read with its translation, English with itself.

    Chosen: m and k in proportion to the depth, one at least; `copies` in which each shot is in a language drawn for it,
    of which each step draws one; the second cross-entropy is at the source text's first token, where their code reads
    the target's second. Self-teaching, their second phase, is left out: its weight and temperature on XNLI are in no
    source. With k = 0 a text is read as fine-tuning reads it, to the bit.
    """

    class Config(MethodConfig):
        local: int | None = Field(None, ge=1, description="layers before the fusion, m; none: a 24th of all")
        fusion: int | None = Field(None, ge=0, description="layers over both texts, k; none: as many as before it")
        both: bool = Field(True, description="train by the source text's first token too")
        head_dropout: float = Field(0.1, ge=0, lt=1, description="dropout before each layer of the head")
        copies: int = Field(10, ge=1, le=100, description="translated copies of the shots; a step draws one")
        search = {"head_dropout": (0.0, 0.1, 0.2)}

    config: "Filter.Config"
    needs = frozenset({"translations"})
    reads_beside = True
    citation = (
        "Fang et al. (2021), FILTER: An Enhanced Fusion Method for Cross-lingual Language Understanding, AAAI. arXiv "
        "2009.05166"
    )

    def __post_init__(self) -> None:
        """Raises XlbenchError for a backbone whose layers cannot be taken apart, or are too few."""
        depth, share = len(self.backbone.layers), max(1, round(self.backbone.depth / 24))
        self.local = share if self.config.local is None else self.config.local
        self.fusion = share if self.config.fusion is None else self.config.fusion
        if self.local + self.fusion >= depth:
            raise XlbenchError(
                f"method filter: {self.local} layers before the fusion and {self.fusion} in it leave none of the "
                f"{depth} of {self.backbone.name} behind it; choose smaller --set local and fusion"
            )

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        width, drop = backbone.dimension, self.config.head_dropout
        first, last = nn.Linear(width, width), nn.Linear(width, task.problem.outputs)
        for layer in (first, last):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.head = nn.Sequential(nn.Dropout(drop), first, nn.ReLU(), nn.Dropout(drop), last)
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        return encoded_beside(self, rows, language)

    def streams(self, resources: Resources) -> dict[str, Stream]:
        return translated_pairs(self, resources, self.config.copies, with_source=True)

    def read(self, batch: Batch, both: bool) -> list[Tensor]:
        """The first tokens' states of the rows' texts, (rows, d), and with `both` of those beside them."""
        backbone, width = self.backbone, batch.ids.shape[1]
        states, attention = backbone.states(batch, self.local), batch.attention
        sides, masks = [states[0::2], states[1::2]], [attention[0::2], attention[1::2]]
        if self.fusion:
            fused = backbone.onward(torch.cat(sides, 1), torch.cat(masks, 1), self.local, self.local + self.fusion)
            sides = list(fused.split(width, dim=1))
        return [
            backbone.onward(side, mask, self.local + self.fusion, None, batch.read_at[start::2])
            for start, side, mask in zip((0, 1)[: 1 + both], sides, masks, strict=False)
        ]

    def logits(self, batch: Batch) -> Tensor:
        logits: Tensor = self.head(self.read(batch, both=False)[0])
        return logits

    def loss(self, batch: Batch) -> Tensor:
        batch = batch.streams.get("pairs", batch)
        errors = [
            nn.functional.cross_entropy(self.head(side).float(), batch.labels)
            for side in self.read(batch, self.config.both)
        ]
        return torch.stack(errors).sum()
