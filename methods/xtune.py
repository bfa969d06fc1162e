from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import Resources, Stream, kl
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.kept_weights import KeptWeights, Reader
from xlbench.parts.switched_rows import dictionaries_of, drawn_rows, switched_rows, translations_of
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
            self.start.keep(self.reader)
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
        views = [self.encode_labelled(rows) for rows in self.views(resources)]
        if not views:
            return {}
        two = 1 if self.config.stages == 1 else 2
        return {
            f"view-{n}": Stream(views[n], aligned=True, others=tuple(views[:n] + views[n + 1 :])) for n in range(two)
        }

    def loss(self, batch: Batch) -> Tensor:
        if not batch.streams:
            return super().loss(batch)
        ours, view, share = self.logits(batch), self.logits(batch.streams["view-0"]), 1 / len(self.task.labels)
        loss = nn.functional.cross_entropy(ours.float(), batch.labels)
        loss = loss + self.config.consistency * share * agreement(ours, view)
        if self.config.stages == 1 or self.progress < self.config.second_at:
            return loss
        other = self.logits(batch.streams["view-1"])
        loss = loss + nn.functional.cross_entropy(view.float(), batch.labels)
        loss = loss + self.config.consistency * share * agreement(view, other)
        taught = self.teacher.logits(self.reader, batch.streams["view-0"]).float().log_softmax(-1)
        return loss + self.config.distillation * share * kl(taught, view.float().log_softmax(-1))


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
        by_id = translations_of(self, resources)
        return (
            [drawn_rows(resources.shots, by_id, resources.random) for _ in range(self.config.copies)] if by_id else []
        )
