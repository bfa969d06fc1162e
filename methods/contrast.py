from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.corpora import Pair
from xlbench.method import Resources, Stream
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.sentence_vectors import pooled
from xlbench.prompts import Encoded, Template, in_fp32
from xlbench.registry import register_method
from xlbench.task import Task

POOLED = {"first": "cls", "mean": "mean"}


@register_method("contrast")
class Contrast(HeadMethod):
    """Fine-tuning with a contrastive loss on parallel text beside it, after InfoXLM (Chi et al., NAACL 2021).

    Published, as pre-training: the first token's state of layer 8 of 12 of a sentence, and that of its translation by a
    momentum copy, through one shared d × d matrix without bias, N(0, 0.02); InfoNCE of their dot products at τ = 0.25
    against 131,072 queued negatives, weight 1, beside two masked-LM losses, in 200,000 steps of 2,048 sentences.

    Here an auxiliary loss: fine-tuning's cross-entropy + β · InfoNCE over the step's pairs, in both directions, with
    the negatives of the batch, in whatever language. Chosen, for there is no queue and no momentum copy here: cosines
    at τ = 0.05 and no matrix (`similarity=dot`, `projection=linear`, `temperature=0.25` have the published form). A
    pair that shares a sentence with an earlier one of its language is left out, and other translations of the same
    text are no negatives. With β = 0 this is fine-tuning, to the bit.
    """

    class Config(HeadConfig):
        beta: float = Field(1.0, ge=0, description="weight of the contrastive loss, β")
        temperature: float = Field(0.05, gt=0, description="by which similarities are divided, τ")
        layer: float = Field(0.67, gt=0, le=1, description="share of the layers behind which states are compared")
        pool: Literal["first", "mean"] = Field("first", description="a text's state: of its first token, or the mean")
        similarity: Literal["cosine", "dot"] = Field("cosine", description="how states are compared")
        projection: Literal["none", "linear", "perceptron"] = Field(
            "none", description="what states go through before: nothing, a d × d matrix, or d → d → 128 with ReLU"
        )
        pairs_per_step: int | None = Field(
            None, ge=2, description="translated pairs a step, of all languages; none: as many as shots"
        )
        search = {"beta": (0.1, 0.3, 1.0)}

    config: "Contrast.Config"
    needs = frozenset({"parallel"})
    couples_rows = True
    citation = (
        "Chi et al. (2021), InfoXLM: An Information-Theoretic Framework for Cross-Lingual Language Model Pre-Training, "
        "NAACL. arXiv 2007.07834"
    )

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.head = self.new_head(backbone, task)
        self.projection = projection(self.config.projection if self.config.beta else "none", backbone.dimension)
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head, "projection": self.projection})

    def streams(self, resources: Resources) -> dict[str, Stream]:
        targets = [language for language in self.languages if language not in self.task.sources]
        lacking = [language for language in targets if not resources.parallel.get(language)]
        self.notes.extend(f"no parallel pairs for {language}: nothing is contrasted in it" for language in lacking)
        pairs = [pair for language in targets for pair in disjoint(resources.parallel.get(language, ()))]
        if not self.config.beta or len(pairs) < 2:
            return {}
        sides = {
            "source": self._encoded([pair.source for pair in pairs], [self.task.source] * len(pairs)),
            "target": self._encoded([pair.target for pair in pairs], [pair.language for pair in pairs]),
        }
        size = self.config.pairs_per_step
        return {name: Stream(side, group="pairs", rows_a_step=size) for name, side in sides.items()}

    def _encoded(self, texts: Sequence[tuple[str, ...]], spoken: Sequence[str]) -> Encoded:
        """One side of the pairs: the texts one after the other, as the template `pair` has them."""
        fields = [f"text{number}" for number in range(len(texts[0]))]
        template = Template("<sep>".join(f"{{{field}}}" for field in fields), fields, "the pairs of method contrast")
        language = np.array([self.task.languages.index(name) for name in spoken])
        return replace(self.text.encode(template, texts), language=language)

    def loss(self, batch: Batch) -> Tensor:
        supervised = super().loss(batch)
        if "source" not in batch.streams:
            return supervised
        source, target = batch.streams["source"], batch.streams["target"]
        same = (source.ids[:, None] == source.ids[None]).all(dim=-1)
        cosine = self.config.similarity == "cosine"
        return supervised + self.config.beta * info_nce(
            self.vectors(source), self.vectors(target), self.config.temperature, cosine, same
        )

    def vectors(self, batch: Batch) -> Tensor:
        """What is compared of each text, (n, d) or (n, 128)."""
        states = self.backbone.states(batch, self.backbone.layer_at(self.config.layer))
        vectors: Tensor = self.projection(pooled(states, batch.attention, (POOLED[self.config.pool],)))
        return vectors


def projection(kind: str, width: int) -> nn.Module:
    """What states, (n, d), go through before they are compared; weights N(0, 0.02), biases 0."""
    if kind == "none":
        return nn.Identity()
    layers = [nn.Linear(width, width, bias=kind != "linear")]
    if kind == "perceptron":
        layers.append(nn.Linear(width, 128))
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers[0] if kind == "linear" else nn.Sequential(layers[0], nn.ReLU(), layers[1])


def disjoint(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that share no source text with one before them: a shared sentence would make a false negative."""
    seen: set[str] = set()
    kept = []
    for pair in pairs:
        if seen.isdisjoint(pair.source):
            kept.append(pair)
            seen.update(pair.source)
    return kept


def info_nce(
    ours: Tensor, theirs: Tensor, temperature: float, cosine: bool = True, same: Tensor | None = None
) -> Tensor:
    """The mean over rows and both directions of -ln softmax of the similarity of a row, (n, d), to its own pair.

    `same`: (n, n), true where two rows are one text, so that neither's pair is a negative of the other.
    """
    with in_fp32(ours.device):
        ours, theirs = ours.float(), theirs.float()
        if cosine:
            ours, theirs = (nn.functional.normalize(side, dim=-1) for side in (ours, theirs))
        similarity = ours @ theirs.T / temperature
    own = torch.arange(len(ours), device=ours.device)
    if same is not None:
        similarity = similarity.masked_fill(
            same & ~torch.eye(len(own), dtype=torch.bool, device=own.device), -torch.inf
        )
    cross_entropy = nn.functional.cross_entropy
    return (cross_entropy(similarity, own) + cross_entropy(similarity.T, own)) / 2
