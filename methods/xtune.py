from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import Method, Resources, Stream, kl
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.kept_weights import KeptWeights, Reader
from xlbench.parts.switched_rows import dictionaries_of, switched_rows
from xlbench.problem import Classification
from xlbench.registry import register_method
from xlbench.task import Row, Task


class XTuneConfig(HeadConfig):
    """What both views have."""

    consistency: float = Field(
        5.0, ge=0, description="λ₁, weight of the KL terms; divided by the number of labels, as released"
    )
    stages: Literal[1, 2] = Field(1, description="examples alone, or then the model too, taught by that of stage 1")
    second_at: float = Field(0.5, gt=0, lt=1, description="two stages: share of the steps of the first")
    distillation: float = Field(
        5.0, ge=0, description="two stages: λ₂, weight of the KL to stage 1's model; divided by the number of labels"
    )
    copies: int = Field(10, ge=2, le=100, description="views of the shots, of which each step draws one")


class XTuned(HeadMethod):
    """Both stages; what stands below says what the views are."""

    solves = frozenset({Classification})
    citation = "Zheng et al. (2021), Consistency Regularization for Cross-Lingual Fine-Tuning, ACL. arXiv 2106.08226"
    config: XTuneConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config.stages == 2:
            self.whole_vocabulary = True  # type: ignore[misc]  # weights of trimmed embeddings could not be kept

    @property
    def phases(self) -> tuple[float, ...]:
        return (self.config.second_at,) if self.config.stages == 2 else ()

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.head = self.new_head(backbone, task)
        parts: dict[str, nn.Module] = {"encoder": backbone.encoder, "head": self.head}
        if self.config.stages == 2:
            self.reader = Reader(self, nn.ModuleDict(parts))
            self.start, self.teacher = KeptWeights(self.reader), KeptWeights(self.reader)
            parts |= {"start": self.start, "teacher": self.teacher}
        return nn.ModuleDict(parts)

    def begin(self, phase: int) -> None:
        """The model of stage 1 becomes the teacher, and training starts again from the pretrained one."""
        self.teacher.keep(self.reader)
        self.start.put_back(self.reader)

    def views(self, resources: Resources) -> list[list[Row]]:
        """Copies of the shots; none where there is nothing to make them of."""
        raise NotImplementedError

    def streams(self, resources: Resources) -> dict[str, Stream]:
        if self.config.consistency == 0 and self.config.stages == 1:
            return {}
        views = self.views(resources)
        return {f"view-{n}": Stream(self.encode_labelled(rows), aligned=True) for n, rows in enumerate(views)}

    def loss(self, batch: Batch) -> Tensor:
        views = batch.streams
        if not views:
            return super().loss(batch)
        first, second = torch.randperm(len(views))[:2].tolist() if len(views) > 1 else (0, 0)
        ours, view = self.logits(batch), self.logits(views[f"view-{first}"])
        labels = len(self.task.labels)
        loss = nn.functional.cross_entropy(ours.float(), batch.labels) + self.config.consistency / labels * agreement(
            ours, view
        )
        if self.config.stages == 1 or self.progress < self.config.second_at:
            return loss
        other = self.logits(views[f"view-{second}"])
        loss = loss + nn.functional.cross_entropy(view.float(), batch.labels)
        loss = loss + self.config.consistency / labels * agreement(view, other)
        taught = self.teacher.logits(self.reader, views[f"view-{first}"]).float().log_softmax(-1)
        return loss + self.config.distillation / labels * kl(taught, view.float().log_softmax(-1))


def agreement(ours: Tensor, view: Tensor) -> Tensor:
    """KL(stopped p ‖ q) + KL(stopped q ‖ p), the mean over rows, from logits (n, labels)."""
    p, q = ours.float().log_softmax(-1), view.float().log_softmax(-1)
    return kl(p.detach(), q) + kl(q.detach(), p)


@register_method("xtune")
class XTune(XTuned):
    """xTune (Zheng et al., ACL 2021): a shot and its code-switched copy are to be labelled alike.

    Published: stage 1, CE(shot) + λ₁ · [KL(stopped p ‖ q) + KL(stopped q ‖ p)] of the labels' distributions of a shot
    and of its copy, made anew each epoch, 30 % of the words switched (XNLI); λ₁ = 5 over a mean by rows and classes.
    Stage 2 starts again from the pretrained model, adds the copies with their labels, and λ₂ · KL(stage 1's model ‖
    model) on them. All weights train, with fine-tuning's head.

    Chosen: `copies` are made before training and each step draws; both stages share one budget; in stage 2 the copy is
    held against another copy of the same shot. Subword sampling and noise on embeddings, their other views, are left
    out; `xtune-translated` has their machine translations. With λ₁ = 0 this is fine-tuning, to the bit.
    """

    class Config(XTuneConfig):
        rate: float = Field(0.3, ge=0, le=1, description="chance of a word to be switched")
        search = {"consistency": (1.0, 5.0, 10.0), "rate": (0.3, 0.5)}

    config: "XTune.Config"
    needs = frozenset({"dictionary"})

    def views(self, resources: Resources) -> list[list[Row]]:
        dictionaries = dictionaries_of(self, resources)
        if not dictionaries:
            return []
        rate, random = self.config.rate, resources.random
        return [switched_rows(self, resources.shots, dictionaries, rate, random) for _ in range(self.config.copies)]


@register_method("xtune-translated")
class XTuneTranslated(XTuned):
    """xTune with translations of the shots as views (Zheng et al., ACL 2021, their translate-train).

    As `xtune`; a view has each shot in a target language drawn at random, as the task's train split has it (for XNLI a
    machine's translation, as theirs). Languages without translations are named and left out.
    """

    class Config(XTuneConfig):
        search = {"consistency": (1.0, 5.0, 10.0)}

    config: "XTuneTranslated.Config"
    needs = frozenset({"translations"})

    def views(self, resources: Resources) -> list[list[Row]]:
        found = resources["translations"]
        targets = [language for language in self.languages if language not in self.task.sources]
        self.notes.extend(f"no translations of the shots in {name}" for name in targets if name not in found)
        self.notes.extend([self.translated_by(self)] if found and self.task.machine_translated else [])
        by_id = {language: {row.id: row for row in rows} for language, rows in found.items()}
        return [_drawn(resources.shots, by_id, resources) for _ in range(self.config.copies)] if found else []

    @staticmethod
    def translated_by(method: Method) -> str:
        """Who translated the shots, in a sentence."""
        return f"the shots' translations are by {method.task.machine_translated}"


def _drawn(shots: Sequence[Row], by_id: dict[str, dict[str, Row]], resources: Resources) -> list[Row]:
    """Each shot in one of the languages; as it is where it is no source row."""
    drawn = resources.random.integers(len(by_id), size=len(shots))
    return [list(by_id.values())[number].get(row.id, row) for row, number in zip(shots, drawn, strict=True)]
