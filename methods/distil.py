from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch, collate
from xlbench.corpora import Pair
from xlbench.method import PROMPT_INIT, Method, MethodConfig, PromptConfig, PromptMethod, Resources, Stream
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.kept_weights import KeptWeights, Reader
from xlbench.problem import Classification
from xlbench.prompts import Encoded, PromptInit
from xlbench.registry import register_method
from xlbench.task import Row, Task

ASKED = 256  # source texts, at most


class DistilConfig(MethodConfig):
    """What both have beside the settings of the method that they stand on."""

    alpha: float = Field(1.0, ge=0, description="weight of the term on parallel text, α")
    temperature: float = Field(1.0, gt=0, description="by which both sides' logits are divided, T")
    exponent: float = Field(0.0, ge=0, description="e of the factor T ^ e before the term; 0: none, as published")
    confidence: float = Field(
        0.0, ge=0, lt=1, description="pairs of whose source text the likeliest label has less give nothing to the mean"
    )
    teacher: Literal["joint", "frozen"] = Field(
        "joint", description="the model as it is, stopped; or as it was at `teacher_at`, before which shots alone train"
    )
    teacher_at: float = Field(0.5, gt=0, lt=1, description="frozen: share of the steps after which the teacher is kept")
    pairs_per_step: int | None = Field(
        None, ge=1, description="translated pairs a step, of all languages; none: as many as shots"
    )
    search = {"alpha": (0.1, 0.3, 1.0), "temperature": (1.0, 2.0, 3.0)}


class Distilled(Method):
    """The term on parallel text; what stands below it says how a text is read."""

    asked: Encoded | None = None  # source texts of which the record says what the teacher holds
    needs = frozenset({"parallel"})
    solves = frozenset({Classification})
    citation = (
        "Xu & Yang (2017), Cross-lingual Distillation for Text Classification, ACL. arXiv 1705.02073; Reimers & "
        "Gurevych (2020), Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation, EMNLP. "
        "arXiv 2004.09813"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        settings: Any = self.config
        self.frozen = settings.teacher == "frozen" and settings.alpha > 0
        if self.frozen:
            self.whole_vocabulary = True  # type: ignore[misc]  # a teacher of trimmed embeddings could not be kept

    @property
    def phases(self) -> tuple[float, ...]:
        settings: Any = self.config
        return (settings.teacher_at,) if self.frozen else ()

    def with_teacher(self, parts: dict[str, nn.Module]) -> nn.Module:
        """What trains, and beside it what the teacher's weights are kept in."""
        if self.frozen:
            self.reader = Reader(self, nn.ModuleDict(parts))
            self.teacher = KeptWeights(self.reader)
            parts = {**parts, "teacher": self.teacher}
        return nn.ModuleDict(parts)

    def begin(self, phase: int) -> None:
        self.teacher.keep(self.reader)

    def streams(self, resources: Resources) -> dict[str, Stream]:
        settings: Any = self.config
        targets = [language for language in self.languages if language not in self.task.sources]
        lacking = [language for language in targets if not resources.parallel.get(language)]
        self.notes.extend(f"no parallel pairs for {language}: nothing is distilled into it" for language in lacking)
        pairs = [pair for language in targets for pair in resources.parallel.get(language, ())]
        if settings.alpha == 0 or not pairs:
            return {}
        sides = {"source": self._side(pairs, source=True), "target": self._side(pairs, source=False)}
        self.asked = sides["source"].taken(np.arange(min(ASKED, len(pairs))))
        size = settings.pairs_per_step
        return {name: Stream(side, group="pairs", rows_a_step=size) for name, side in sides.items()}

    def _side(self, pairs: Sequence[Pair], source: bool) -> Encoded:
        texts, own = len(self.task.fields), self.task.source
        sides = [(pair.source, own) if source else (pair.target, pair.language) for pair in pairs]
        return self.encode_labelled(
            [Row(pair.id, side[:texts], 0, spoken, pair.id) for pair, (side, spoken) in zip(pairs, sides, strict=True)]
        )

    def loss(self, batch: Batch) -> Tensor:
        supervised, settings = super().loss(batch), self.config
        if "source" not in batch.streams or (self.frozen and self.progress < settings.teacher_at):  # type: ignore[attr-defined]
            return supervised
        ours, theirs = (self._distribution(batch.streams[name], name == "source") for name in ("source", "target"))
        return supervised + weighed(ours.detach(), theirs, settings)  # type: ignore[arg-type]

    def measures(self) -> dict[str, float]:
        """What the teacher says of the first source texts: its mean entropy, in nats, and the mean of each label."""
        if self.asked is None:
            return {}
        if self.frozen and not self.teacher.there:
            self.notes.append("nothing was distilled: `teacher_at` leaves no step behind it; ask for more steps")
            return {}
        device, pad = self.backbone.word_embeddings().device, self.backbone.tokenizer.pad_token_id
        parts = np.array_split(np.arange(len(self.asked)), max(1, len(self.asked) // 32))
        said = torch.cat([self._distribution(collate(self.asked, part, pad, device), True) for part in parts])
        shares = dict(zip(self.task.labels, said.exp().mean(dim=0).tolist(), strict=True))
        entropy = float(-(said.exp() * said).sum(dim=-1).mean())
        return {
            "teacher's entropy": entropy,
            **{f"teacher's share of {label}": share for label, share in shares.items()},
        }

    def _distribution(self, batch: Batch, teaches: bool) -> Tensor:
        """Log-probabilities of the labels at the temperature, (n, labels)."""
        settings: Any = self.config
        logits = self.teacher.logits(self.reader, batch) if teaches and self.frozen else self.logits(batch)
        return nn.functional.log_softmax(logits.float() / settings.temperature, dim=-1)


def weighed(ours: Tensor, theirs: Tensor, settings: DistilConfig) -> Tensor:
    """α · T^e · KL(ours ‖ theirs), the mean over pairs, from log-probabilities (n, labels).

    A pair of which the teacher is unsure gives 0: a mean over the others alone would be no mean over a batch's parts.
    """
    each = (ours.exp() * (ours - theirs)).sum(dim=-1)
    sure = ours.exp().amax(dim=-1) >= settings.confidence
    return settings.alpha * settings.temperature**settings.exponent * (each * sure).mean()


@register_method("distil")
class Distil(Distilled, HeadMethod):
    """Distillation on parallel text: a head says of a translation what it says of its source (Xu & Yang, ACL 2017).

    Published: a classifier of the source language labels the source side of parallel text by its distribution at a
    temperature (3 there), and one of the target language learns those on the other side: CE(softmax(z_s / T),
    softmax(z_t / T)), whose gradient is that of KL(stopped p_s ‖ p_t).

    Here: fine-tuning + α · T^e · KL over the step's pairs, one model for all languages, teacher and pupil at once
    (`teacher=joint`) or one after the other (`frozen`, which reads without dropout). Classification alone: pairs have
    neither choices nor words that answer each other. It is MPT's alignment without a translator, for heads: what MPT
    lacks as a control; `distil-prompt` is it for soft prompts. With α = 0 this is fine-tuning, to the bit.
    """

    class Config(HeadConfig, DistilConfig):
        search = DistilConfig.search

    config: "Distil.Config"

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.head = self.new_head(backbone, task)
        return self.with_teacher({"encoder": backbone.encoder, "head": self.head})


@register_method("distil-prompt")
class DistilPrompt(Distilled, PromptMethod):
    """Distillation on parallel text for a soft prompt: one prompt says of both sides the same (as Xu & Yang, ACL 2017).

    As `distil`, with soft prompting's template, vectors and label words in place of the head, and its labels'
    distribution over the label words. At T = 1 and the same α this is MPT with the identity translator, and with α = 0
    soft prompting, both to the bit.
    """

    class Config(PromptConfig, DistilConfig):
        prompt_length: int = Field(4, ge=1, le=64, description="soft prompt vectors, L")
        prompt_init: PromptInit = Field("normal", description=PROMPT_INIT)
        search = {**DistilConfig.search, "prompt_length": (1, 2, 4, 8)}

    config: "DistilPrompt.Config"
    template = "soft"
    published_words = "right-wrong"

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.prompt_encoder = self.new_prompt(self.config.prompt_length, self.config.prompt_init)
        return self.with_teacher({"backbone": backbone, "prompt": self.prompt_encoder})

    def prompt_length(self) -> int:
        return self.config.prompt_length

    def prompt(self, batch: Batch) -> Tensor:
        vectors: Tensor = self.prompt_encoder()
        return vectors
