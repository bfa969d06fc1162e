from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.errors import NotSupported
from xlbench.method import Resources, Stream
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.masked_text import SHARE, masked_loss, text_stream
from xlbench.registry import register_method
from xlbench.task import Task


@register_method("continued-mlm")
class ContinuedMLM(HeadMethod):
    """Pretraining goes on with text of the target languages, then fine-tuning (Ebrahimi & Kann, ACL 2021).

    Published: masked language modelling of all weights on target text, 15 % of the tokens asked for, of which 80 % are
    `<mask>` and 10 % a random word; then the task in the source language. Ebrahimi and Kann adapt to one language of
    the Bible at a time; Alabi et al. (2022) to many at once.

    Chosen: one model for all target languages, mixed in proportion to size ^ `smoothing`; both phases share the run's
    budget (`share` of its steps read text), so that it costs what fine-tuning costs; `mode=joint` adds λ times the
    masked-LM loss to every step instead. The papers have a hundred thousand steps and whole corpora, which a few-shot
    budget has not: what is faithful is the order, not the size. Without a share this is fine-tuning, to the bit.
    """

    class Config(HeadConfig):
        share: float = Field(0.5, ge=0, lt=1, description="share of the steps that read text, before the others")
        mode: Literal["phases", "joint"] = Field("phases", description="text first, or beside the shots in every step")
        weight: float = Field(0.1, ge=0, description="joint: weight of the masked-LM loss, λ")
        languages: Literal["targets", "all"] = Field("targets", description="whose text: the source's too, or not")
        smoothing: float = Field(
            0.3, ge=0, le=1, description="languages are read in proportion to size to the power of"
        )
        masked: float = Field(SHARE, gt=0, lt=1, description="share of the tokens that are asked for")
        texts_per_step: int | None = Field(None, ge=1, description="texts a step; none: as many as shots")
        search = {"share": (0.3, 0.5, 0.7)}

    config: "ContinuedMLM.Config"
    needs = frozenset({"unlabelled"})
    needs_masked_lm = True
    couples_rows = True
    citation = (
        "Ebrahimi & Kann (2021), How to Adapt Your Pretrained Multilingual Model to 1600 Languages, ACL. arXiv "
        "2106.02124; Alabi et al. (2022), Adapting Pre-trained Language Models to African Languages via Multilingual "
        "Adaptive Fine-Tuning, COLING. arXiv 2204.06487"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        joint = self.config.mode == "joint"
        self.reads_text = bool(self.config.weight if joint else self.config.share)
        self.whole_vocabulary = self.reads_text  # type: ignore[misc]
        if self.reads_text and not any(value.requires_grad for value in self.backbone.parameters()):
            raise NotSupported("continued-mlm trains the backbone on text, and --tune frozen holds it; use all or lora")

    @property
    def phases(self) -> tuple[float, ...]:
        return (self.config.share,) if self.reads_text and self.config.mode == "phases" else ()

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.head = self.new_head(backbone, task)
        return nn.ModuleDict({"backbone": backbone, "head": self.head})

    def streams(self, resources: Resources) -> dict[str, Stream]:
        if not self.reads_text:
            return {}
        spoken = dict.fromkeys((*self.task.sources, *self.languages))
        wanted = [name for name in spoken if self.config.languages == "all" or name not in self.task.sources]
        rows = resources["unlabelled"]
        self.notes.extend(f"no text of {name} to read" for name in wanted if name not in rows)
        texts = {name: [text for row in rows[name] for text in row] for name in wanted if name in rows}
        return {"text": text_stream(self, mixed(texts, self.config.smoothing), self.config.texts_per_step)}

    def loss(self, batch: Batch) -> Tensor:
        if "text" not in batch.streams:
            return super().loss(batch)
        if self.config.mode == "joint":
            read = masked_loss(self, batch.streams["text"], self.config.masked)
            return super().loss(batch) + self.config.weight * read
        if self.progress < self.config.share:
            return masked_loss(self, batch.streams["text"], self.config.masked)
        return super().loss(batch)


def mixed(texts: dict[str, list[str]], smoothing: float) -> dict[str, Sequence[str]]:
    """As many texts in all, each language's in proportion to size ^ smoothing: some again, or not all."""
    total = sum(map(len, texts.values()))
    shares = {language: len(own) ** smoothing for language, own in texts.items()}
    counts = {language: max(1, round(total * share / sum(shares.values()))) for language, share in shares.items()}
    return {language: [own[place % len(own)] for place in range(counts[language])] for language, own in texts.items()}
