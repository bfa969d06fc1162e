from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch, by_token_budget, collate
from xlbench.errors import XlbenchError
from xlbench.method import Method, MethodConfig, Resources, Stream
from xlbench.prompts import Encoded, Template, Verbalizer, in_fp32
from xlbench.registry import register_method
from xlbench.task import Task

SHOTS_AT_A_TIME = 2048  # tokens, when the label words begin


@register_method("uniprompt")
class UniPrompt(Method):
    """UniPrompt (Huang et al., EMNLP 2022): one prompt for all languages, read in a tower of its own.

    Published: a copy of the lower k layers reads the prompt, the backbone's own lower layers read the text, each from
    position 0 on; the upper layers read the states of both, the prompt's first; the masked-LM head at the prompt's
    `<mask>` meets a trained vector for each label, which begins, before training, as the mean over the label's shots of
    the encoder's state at `<mask>` (before the head that later stands between them); cross-entropy over the vectors;
    embeddings are shared, all weights train; k = 9 of 12, prompt `It's <mask> .` (reviews, five labels).

    Chosen: the text is `pair`; texts of several fields are asked `Answer: <mask> .`; the label vectors have no bias and
    train at `fresh_learning_rate`, where theirs has one rate. The tower runs once a step, not once a row: with dropout,
    all rows of a step see one state of the prompt. Theirs has linear decay, 1,000 steps of 6 rows (`--set-training`).
    """

    class Config(MethodConfig):
        share: float = Field(0.75, gt=0, lt=1, description="share of the layers that texts and prompt go through apart")
        prompt: str | None = Field(
            None, description="the prompt, with <mask>; none: It's <mask> . for one text, else Answer: <mask> ."
        )
        label_start: Literal["states", "words", "random"] = Field(
            "states", description="label vectors begin as mean states at <mask>, as label words' rows, or N(0, 0.02)"
        )
        search = {"share": (0.5, 0.67, 0.75, 0.92)}

    config: "UniPrompt.Config"
    needs_masked_lm = True
    citation = (
        "Huang et al. (2022), Zero-shot Cross-lingual Transfer of Prompt-based Tuning with a Unified Multilingual "
        "Prompt, EMNLP. arXiv 2202.11451"
    )

    def __post_init__(self) -> None:
        """Raises XlbenchError for a prompt without `<mask>`, and a backbone whose layers cannot be taken apart."""
        backbone = self.backbone
        if len(backbone.layers) < 2 or backbone.embedding_dimension != backbone.dimension:
            raise XlbenchError(
                f"the backbone {backbone.name} has {len(backbone.layers)} layers, embeddings of "
                f"{backbone.embedding_dimension} numbers and states of {backbone.dimension}; method uniprompt needs "
                "two layers, and as many numbers in both: choose another backbone, such as XLM-R"
            )
        if "<mask>" not in self._prompt:
            raise XlbenchError(f"the prompt {self._prompt!r} of method uniprompt has no <mask>; add it to --set prompt")

    @property
    def _prompt(self) -> str:
        asked = self.config.prompt
        return asked or ("It's <mask> ." if len(self.task.fields) == 1 else "Answer: <mask> .")

    def prompts_read(self) -> dict[str, Any]:
        words = {"label words": self.task.words[self.task.source]} if self.config.label_start == "words" else {}
        return {**super().prompts_read(), "prompt": self._prompt, **words}

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.prompt = self.text.encode(Template(self._prompt, (), "the prompt of method uniprompt"), [()])
        self.apart = min(backbone.layer_at(self.config.share), backbone.depth - 1)
        self.tower = backbone.copied(backbone.layers[: self.apart])
        drawn = nn.Parameter(torch.empty(len(task.labels), backbone.dimension).normal_(std=0.02))
        self.labels = nn.ParameterDict({"vectors": drawn})
        return nn.ModuleDict({"backbone": backbone, "tower": self.tower, "labels": self.labels})

    @property
    def label_vectors(self) -> nn.Parameter:
        """What scores each label, (labels, d)."""
        vectors: nn.Parameter = self.labels["vectors"]
        return vectors

    def label_ids(self) -> frozenset[int]:
        """The prompt's: they are read beside those in batches."""
        return frozenset(self.prompt.ids[0].tolist())

    def streams(self, resources: Resources) -> dict[str, Stream]:
        """None; but this is where the label vectors begin, for the shots are there and nothing has been trained."""
        with torch.no_grad():
            if self.config.label_start == "words":
                self.label_vectors.copy_(self._word_rows())
            elif self.config.label_start == "states" and resources.shots:
                self.label_vectors.copy_(self._mean_states(self.encode_labelled(resources.shots)))
        return {}

    def _mean_states(self, shots: Encoded) -> Tensor:
        """The mean of the shots' states at the prompt's `<mask>`, by label, (labels, d), without dropout."""
        for part in (self.backbone, self.tower):
            part.eval()
        pad, device = self.backbone.tokenizer.pad_token_id, self.label_vectors.device
        sums, count = torch.zeros_like(self.label_vectors), torch.zeros(len(self.label_vectors), 1, device=device)
        for rows in by_token_budget(shots.lengths, SHOTS_AT_A_TIME):
            batch = collate(shots, rows, pad, device)
            sums.index_add_(0, batch.labels, self.mask_states(batch))
            count.index_add_(0, batch.labels, torch.ones(len(batch), 1, device=device))
        return torch.where(count > 0, sums / count.clamp_min(1), self.label_vectors)  # a rare label may have no shot

    def _word_rows(self) -> Tensor:
        """The decoder's rows of the source language's label words, (labels, d): of several pieces the mean."""
        words = Verbalizer.of(self.backbone.tokenizer, self.task.words[self.task.source], "mean")
        decoder: Any = self.backbone.decoder
        return torch.stack([decoder.weight[list(pieces)].mean(dim=0) for pieces in words.pieces])

    def prompt_states(self) -> Tensor:
        """What the tower makes of the prompt, (1, m, d): it depends on no row."""
        prompt = collate(self.prompt, [0], self.backbone.tokenizer.pad_token_id, self.label_vectors.device)
        states = self.backbone.states(prompt, 0)
        for layer in self.tower:  # type: ignore[attr-defined]
            states = layer(states)
        return states

    def mask_states(self, batch: Batch) -> Tensor:
        """The encoder's last state at the prompt's `<mask>`, (n, d), beside each text."""
        prompt, texts = self.prompt_states(), self.backbone.states(batch, self.apart)
        both = torch.cat([prompt.expand(len(batch), -1, -1).to(texts.dtype), texts], dim=1)
        attention = nn.functional.pad(batch.attention, (prompt.shape[1], 0), value=1) if batch.padding else None
        at = torch.full_like(batch.read_at, int(self.prompt.read_at[0]))
        return self.backbone.onward(both, attention, self.apart, position=at)

    def logits(self, batch: Batch) -> Tensor:
        transform: Any = self.backbone.transform
        features: Tensor = transform(self.mask_states(batch))
        with in_fp32(features.device):  # in bf16 some rows would be exact ties
            return nn.functional.linear(features.float(), self.label_vectors)
