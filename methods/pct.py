from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from xlbench.batching import Batch
from xlbench.method import PromptConfig, PromptMethod, Resources, Stream, symmetric_kl
from xlbench.prompts import Encoded
from xlbench.registry import register_method
from xlbench.task import Row, Task


@register_method("pct")
class PCT(PromptMethod):
    """Prompt-learning with cross-lingual templates (Qi et al., ACL 2022).

    Published: input `<s> premise </s></s> question: hypothesis? Answer: <mask> </s>`; each source example is paired
    with the same premise and hypothesis in the template of one other language, drawn once before training; loss =
    CE(original) + CE(augmented) + the mean over rows of KL(P‖Q) + KL(Q‖P), all over the whole vocabulary at `<mask>`;
    one verbalizer (yes, maybe, no) serves all languages; at test time, the test language's template.

    Chosen: no warm-up and decay, which `--protocol pct` has; test scores over the label words, where their released
    evaluation takes the arg max over the whole vocabulary, so that methods compare: `score_over=vocabulary` gives
    theirs, where a most likely word that is no label word scores -inf for all labels, which counts as wrong. A label
    word of several tokens (`multi_token=mean`) has the mean of its pieces' log-probabilities. The Arabic and Urdu
    templates stand in reading order, `<mask>` last; the released ones put it first.
    """

    class Config(PromptConfig):
        consistency: float = Field(1.0, ge=0, description="weight of the two KL terms")
        supervised_over: Literal["vocabulary", "label-words"] = Field(
            "vocabulary", description="what the cross-entropy terms normalise over"
        )
        support: Literal["vocabulary", "label-words"] = Field("vocabulary", description="what the KL terms sum over")
        score_over: Literal["label-words", "vocabulary"] = Field(
            "label-words", description="normalise test scores over the label words, or the whole vocabulary"
        )
        search = {"consistency": (0.1, 0.3, 1.0, 3.0)}

    config: "PCT.Config"
    template = "question"
    citation = "Qi et al. (2022), Enhancing Cross-lingual Natural Language Inference by Prompt-learning from Cross-lingual Templates, ACL"  # noqa: E501

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen = self.config.supervised_over, self.config.support, self.config.score_over
        self.whole_vocabulary = "vocabulary" in chosen  # type: ignore[misc]

    @classmethod
    def supports(cls, task: Task) -> str | None:
        lacking = super().supports(task)
        if lacking is None and len(cls.template_languages(task, task.languages)) < 2:
            return f"task {task.name} has its template in one language only"
        return lacking

    @classmethod
    def template_languages(cls, task: Task, languages: Sequence[str]) -> tuple[str, ...]:
        """All of the task's that have the template in words of their own, tested or not."""
        texts = {name: cls.template_text(task, cls.template, name) for name in task.languages}
        ours = texts.get(task.source)
        return tuple(name for name, text in texts.items() if text and (name == task.source or text != ours))

    def streams(self, resources: Resources) -> dict[str, Stream]:
        return {"augmented": Stream(self._augmented(resources.shots, resources.random), aligned=True)}

    def _augmented(self, shots: Sequence[Row], random: np.random.Generator) -> Encoded:
        """Each shot in the template of another language than its own, drawn once."""
        spoken = sorted(self.template_languages(self.task, self.languages))
        drawn = random.integers(len(spoken) - 1, size=len(shots))
        others = [
            [name for name in spoken if name != shot.language][number]
            for shot, number in zip(shots, drawn, strict=True)
        ]
        return self.encode_labelled([replace(shot, language=name) for shot, name in zip(shots, others, strict=True)])

    def loss(self, batch: Batch) -> Tensor:
        sides = batch, batch.streams["augmented"]
        features = [self.backbone.mask_features(side) for side in sides]
        if "vocabulary" in {self.config.supervised_over, self.config.support}:
            # One product for both, and label words out of it: each product more has a gradient of the decoder's size.
            wholes = self.backbone.vocabulary_logits(torch.cat(features)).float().split([len(side) for side in sides])
            words = [self.label_logits_among(whole, side) for whole, side in zip(wholes, sides, strict=True)]
        else:
            words = [self.label_logits(read, side) for read, side in zip(features, sides, strict=True)]
            wholes = tuple(words)
        over = wholes if self.config.supervised_over == "vocabulary" else words
        compared = wholes if self.config.support == "vocabulary" else words
        return pct_loss(words, over, compared, batch.labels, self.config.consistency)

    def score(self, batch: Batch) -> Tensor:
        if self.config.score_over == "label-words":
            return super().score(batch)
        whole = self.backbone.vocabulary_logits(self.backbone.mask_features(batch)).float()
        words = self.label_logits_among(whole, batch)
        best = whole.argmax(dim=-1)
        chosen = torch.zeros_like(best, dtype=torch.bool)
        for index in batch.languages:
            ids = self.verbalizer(self.task.languages[index]).ids(best.device)
            chosen |= (batch.language == index) & torch.isin(best, ids)
        return (words - whole.logsumexp(dim=-1, keepdim=True)).masked_fill(~chosen[:, None], -torch.inf)


def pct_loss(
    words: Sequence[Tensor], over: Sequence[Tensor], compared: Sequence[Tensor], labels: Tensor, consistency: float
) -> Tensor:
    """CE(ours) + CE(theirs) + consistency · (KL(P‖Q) + KL(Q‖P)), each pair ours and theirs.

    `words`: logits of the label words, (n, labels). `over`: the logits, (n, support), that their cross-entropy is
    normalised over. `compared`: those, (n, support), of P and Q.
    """
    loss = consistency * symmetric_kl(*compared)
    for logits, among in zip(words, over, strict=True):
        right = logits.gather(1, labels[:, None])[:, 0]
        loss = loss + (among.logsumexp(dim=-1) - right).mean()
    return loss
