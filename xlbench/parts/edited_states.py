"""EditedStates: the base of methods that fine-tune, and then edit target languages' states by maps in closed form."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.corpora import Pair
from xlbench.errors import XlbenchError
from xlbench.method import Resources
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.layer_edits import Edit, Pooling, Positions, edited, layers_of, sentence_states
from xlbench.task import Task

Layers = Literal["middle", "last", "all"] | Annotated[int, Field(ge=1)]


class EditConfig(HeadConfig):
    """Settings of both methods: where states are edited, how much, and on which states that is learnt."""

    layers: Layers = Field("middle", description="the layer whose states are edited, by number, or all of them")
    positions: Positions = Field("all", description="edit the states of all tokens, or where the answer is read")
    alpha: float = Field(1.0, description="strength of the edit; 0: fine-tuning")
    pooling: Pooling = Field("mean", description="a sentence's state: the mean of its tokens', or the first token's")
    fit_on: Literal["unedited", "edited"] = Field(
        "unedited", description="with several layers, learn a layer's map with the layers below it unedited, or edited"
    )
    held_out: float = Field(0.1, ge=0, lt=1, description="share of the pairs that only measures look at")
    search: ClassVar = {"head_dropout": (0.0, 0.1, 0.2, 0.3)}  # source dev sees no edit


class EditedStates(HeadMethod):
    """Fine-tuning as `finetune`'s, then an affine map of target states at a layer, learnt of parallel text.

    A subclass gives the `matrix` A of states X of the target's sentences and Y of their translations, (m, d) each. A
    state h of a row in that language becomes h + α ((h - μ_t) A + μ_s - h), the means of X and Y as long as it is
    `centred`, else zeros. States of the source language are never edited, so that the head and the selection on source
    dev are fine-tuning's; nor are those of a language without pairs. Edits begin after training: a selection by
    target dev (oracle) looks at states without them.
    """

    config: EditConfig
    needs = frozenset({"parallel"})
    centred: bool = True
    adds: bool = False  # whether h is kept: h + α ((h - μ_t) A + μ_s)

    def __post_init__(self) -> None:
        """Raises XlbenchError for a layer that the backbone does not have."""
        depth, asked = len(layers_of(self.backbone)), self.config.layers
        named = {"middle": [max(1, depth // 2)], "last": [depth], "all": [*range(1, depth + 1)]}
        self.layers = named[asked] if isinstance(asked, str) else [asked]
        if self.layers[-1] > depth:
            raise XlbenchError(
                f"layers = {asked} of method {self.name}: the backbone {self.backbone.name} has {depth} layers; name "
                f"one of 1 to {depth}, or {', '.join(named)}"
            )

    def matrix(self, target: np.ndarray, source: np.ndarray) -> np.ndarray | None:
        """A, (d, d), of states (m, d), float64, less their means where it is centred; None for the identity."""
        raise NotImplementedError

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.edits: dict[int, dict[int, Edit]] = {}  # layer → index of a language → its edit
        self.found: dict[str, float] = {}
        self.head = self.new_head(backbone, task)
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})

    def logits(self, batch: Batch) -> Tensor:
        with edited(self.backbone, batch, self.edits, self.config.positions):
            return super().logits(batch)

    def finish(self, resources: Resources) -> None:
        self.edits, self.found = {layer: {} for layer in self.layers}, {}
        for language in self.languages:
            if language not in self.task.sources:
                self._learn(language, sentence_pairs(resources.parallel.get(language, ())))

    def _learn(self, language: str, pairs: Sequence[tuple[str, str]]) -> None:
        """The edits of one language, and what they do to the pairs that are held out."""
        fitted = len(pairs) - int(self.config.held_out * len(pairs))
        if not fitted:
            self.notes.append(f"no parallel pairs for {language}: its states are not edited")
            return
        source, target = zip(*pairs, strict=True)
        ours, theirs = self._states(source, self.layers), self._states(target, self.layers)
        made: dict[int, Edit] = {}
        ratios = []
        for layer in self.layers:
            if made and self.config.fit_on == "edited":
                theirs |= self._states(target, [layer], made)
            x, y = theirs[layer], ours[layer]
            made[layer] = edit = self._edit(x[:fitted], y[:fitted])
            self.edits[layer][self.task.languages.index(language)] = edit
            if fitted < len(pairs):
                before, wanted = x[fitted:], y[fitted:]
                after = edit(self._put(before)).double().cpu().numpy()
                ratios.append((_length(after) / _length(before), _length(after - wanted) / _length(before - wanted)))
        self.found[f"pairs, {language}"] = fitted
        for name, value in zip(RATIOS, np.mean(ratios, axis=0) if ratios else (), strict=False):
            self.found[f"{name}, {language}"] = float(value)

    def _edit(self, target: np.ndarray, source: np.ndarray) -> Edit:
        """α ((h - μ_t) A + μ_s - h) as what is added to h, from states (m, d)."""
        ours, theirs = (side.mean(axis=0) * self.centred for side in (source, target))
        matrix = self.matrix(target - theirs, source - ours)
        bias = self._put(self.config.alpha * (ours - (theirs if matrix is None else theirs @ matrix)))
        if matrix is None:
            return Edit(None, bias)
        kept = 0.0 if self.adds else np.eye(len(matrix))
        return Edit(self._put(self.config.alpha * (matrix - kept)), bias)

    def _states(
        self, texts: Sequence[str], layers: Sequence[int], edits: Mapping[int, Edit] | None = None
    ) -> dict[int, np.ndarray]:
        return sentence_states(self.backbone, texts, layers, self.config.pooling, self.max_length, edits)

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).float().to(self.backbone.word_embeddings().device)

    def measures(self) -> dict[str, float]:
        """By language: pairs learnt of; of those held out, what edits make of lengths and distances, over layers."""
        return self.found


RATIOS = "length after the edit / before", "distance from the source after / before"  # of pairs that are held out


def sentence_pairs(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """The sentences of pairs, source and target, each once: a corpus may have one in several pairs."""
    both = (texts for pair in pairs for texts in zip(pair.source, pair.target, strict=True))
    return list(dict.fromkeys(texts for texts in both if all(text.strip() for text in texts)))


def _length(vectors: np.ndarray) -> float:
    """The mean length of vectors, (m, d)."""
    return float(np.linalg.norm(vectors, axis=1).mean().clip(1e-12))
