from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.errors import NotSupported, XlbenchError
from xlbench.method import Resources, Stream
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.masked_text import SHARE, masked_loss, text_stream
from xlbench.parts.sparse_changes import Change, Mask
from xlbench.registry import register_method
from xlbench.spec import ResolvedTraining
from xlbench.task import Task


@register_method("sparse")
class Sparse(HeadMethod):
    """LT-SFT, lottery-ticket sparse fine-tuning (Ansell et al., ACL 2022).

    Published: all weights are fine-tuned from θ0 to θ1; the k that moved furthest, of all of the encoder's but
    LayerNorm's, are the mask; back to θ0, head too, and again, with gradients under the mask: φ = θ2 - θ0. A language
    has a φ of its own, from masked language modelling on its text with the decoder held. The task is learnt at θ0 + φ
    of the source, and tested at θ0 + φ of the task + φ of the row's language. Of XLM-R-base k is 14.2 million for NLI
    and 7.7 million for a language; there is no weight decay.

    Chosen: the task's φ alone is the default (`language_sft=none`), for all phases share one few-shot budget (theirs: 5
    and 5 epochs of MNLI, and 10,000 to 100,000 steps twice for a language); k as a share, and exactly k, where their
    threshold keeps all ties; the mask is of a phase's last state, theirs of its best on dev; one learning rate; no L1
    term for languages, which their current release has not either; rows without a φ of their language are read with
    the weights that the task was learnt with. With `density=1 layer_norms=true` the task's second phase is fine-tuning
    without weight decay, to the bit.
    """

    class Config(HeadConfig):
        density: float = Field(0.05, ge=0, le=1, description="share of what may be masked that the task changes, k")
        full_share: float = Field(0.5, gt=0, lt=1, description="share of a mask's steps in which all weights train")
        layer_norms: bool = Field(False, description="LayerNorm may be masked too; else it is held, as published")
        language_sft: Literal["none", "unlabelled"] = Field(
            "none", description="what languages have a φ from: nothing, the task's stands alone; or unlabelled text"
        )
        language_density: float = Field(0.028, ge=0, le=1, description="share that a language changes, k")
        language_share: float = Field(
            0.5, gt=0, lt=1, description="share of the steps that languages take, one after the other, before the task"
        )
        masked: float = Field(SHARE, gt=0, lt=1, description="share of a text's tokens that are asked for")
        texts_per_step: int | None = Field(None, ge=1, description="texts a step; none: as many as shots")
        search = {"density": (0.02, 0.05, 0.1, 0.3), "head_dropout": (0.0, 0.1, 0.2, 0.3)}

        @property
        def needs(self) -> frozenset[str]:
            """The resources of a run: without `language_sft` no text is loaded."""
            return frozenset() if self.language_sft == "none" else Sparse.needs

    config: "Sparse.Config"
    needs = frozenset({"unlabelled"})
    whole_vocabulary = True  # every embedding may be in a mask
    citation = "Ansell et al. (2022), Composable Sparse Fine-Tuning for Cross-Lingual Transfer, ACL. arXiv 2110.07560"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reads_text = self.config.language_sft == "unlabelled"
        if self.reads_text and self.backbone.transform is None:
            raise self.backbone.no_head()
        self.read: list[str] = []  # the languages with text, whose phases come before the task's
        self.shots, self.found = 0, dict[str, float]()

    @property
    def phases(self) -> tuple[float, ...]:
        """Two for each language with text, in equal parts of their share, and two for the task."""
        turns, share, full = len(self.read), self.config.language_share, self.config.full_share
        lengths = [*[share / max(1, turns)] * turns, 1 - share if turns else 1.0]
        return tuple(accumulate(length * part for length in lengths for part in (full, 1 - full)))[:-1]

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        own = backbone.pretrained()
        for part in backbone.encoder.modules():
            if isinstance(part, nn.LayerNorm) and not self.config.layer_norms:
                part.requires_grad_(False)
        weights = [value for value in backbone.encoder.parameters() if value.requires_grad and id(value) in own]
        if not weights:
            raise NotSupported("method sparse chooses among the backbone's own weights, which are held; use --tune all")
        if self.reads_text and backbone.decoder is not None:  # no longer the word embeddings, which change
            backbone.decoder = cast(nn.Linear, backbone.copied(backbone.decoder).requires_grad_(False))
        self.head, self.mask = self.new_head(backbone, task), Mask(weights)
        spoken = dict.fromkeys((*task.sources, *self.languages)) if self.reads_text else {}
        size = round(self.config.language_density * len(self.mask.open))
        self.changes = nn.ModuleDict({language: Change(size) for language in spoken})
        inside = {"backbone": backbone} if self.reads_text else {"encoder": backbone.encoder}
        module = nn.ModuleDict({**inside, "head": self.head, "mask": self.mask, "changes": self.changes})
        trained = {id(value): value for value in module.parameters() if value.requires_grad}
        heads = [value for key, value in trained.items() if key not in set(map(id, weights))]
        self.heads = [(value, value.detach().clone()) for value in heads]  # and as they were drawn
        return module

    def streams(self, resources: Resources) -> dict[str, Stream]:
        self.shots = len(resources.shots)
        if not self.reads_text:
            return {}
        texts = {name: [text for row in rows for text in row] for name, rows in resources["unlabelled"].items()}
        self.read = [language for language in self.changes if texts.get(language)]
        lacking = [language for language in self.changes if language not in self.read]
        self.notes.extend(f"no text of {name}: it has no weights of its own" for name in lacking)
        if not self.read:
            raise XlbenchError(
                "method sparse has no text in any language; give some (resource unlabelled), or language_sft=none"
            )
        size = self.config.texts_per_step
        return {name: replace(text_stream(self, {name: texts[name]}, size), group=name) for name in self.read}

    def parameter_groups(self, module: nn.Module, training: ResolvedTraining) -> list[dict[str, Any]]:
        """Without weight decay, which would move what is not in the mask. Raises XlbenchError where a phase has no
        step, NotSupported for text in parts of a batch."""
        if self.reads_text and training.accumulate > 1:
            raise NotSupported("method sparse couples rows of text: no batch goes through in parts (accumulate)")
        steps, phases = training.planned_steps(self.shots), 1 + len(self.phases)
        if len({bisect_right(self.phases, step / steps) for step in range(steps)}) < phases:
            raise XlbenchError(
                f"method sparse has {phases} phases, and {steps} steps leave none for one of them; ask for more --steps"
            )
        held = nn.ModuleList(part for name, part in module.named_children() if name != "head")
        groups = [{**group, "weight_decay": 0.0} for group in super().parameter_groups(held, training)]
        return [*groups, *super().parameter_groups(self.head, training)]

    def begin(self, phase: int) -> None:
        turn, under_mask = divmod(phase, 2)
        if under_mask:
            share = self.config.density if turn == len(self.read) else self.config.language_density
            self.mask.choose(self._base(turn), round(share * len(self.mask.open)))
        else:
            self.mask.keep(self._change(self.read[turn - 1]))
            self.mask.open.fill_(True)
        self.mask.put(self._base(turn))
        with torch.no_grad():
            for value, start in self.heads:
                value.copy_(start)

    def _change(self, language: str) -> Change:
        change: Change = self.changes[language]  # type: ignore[assignment]
        return change

    def _base(self, turn: int) -> Tensor:
        """The weights with which phases begin, (entries,): θ0, for the task with φ of the source."""
        of_task, source = turn == len(self.read), self.task.source
        return self.mask.base(self._change(source) if of_task and source in self.read else None)

    def loss(self, batch: Batch) -> Tensor:
        turn = bisect_right(self.phases, self.progress) // 2
        if turn < len(self.read):
            return masked_loss(self, batch.streams[self.read[turn]], self.config.masked)
        return super().loss(batch)

    def logits(self, batch: Batch) -> Tensor:
        """Scored, each row is read with φ of its language; what trains is read as it is."""
        names = {index: self.task.languages[index] for index in sorted(batch.languages)}
        changes = {name: self._change(name) for name in (self.task.source, *names.values()) if name in self.read}
        source = changes.pop(self.task.source, None)
        if torch.is_grad_enabled() or not changes:
            return super().logits(batch)
        parts, order = [], []
        for index, name in names.items():
            rows = (batch.language == index).nonzero()[:, 0]
            sides = {
                side: getattr(batch, side)[rows] for side in ("ids", "attention", "segments", "read_at", "language")
            }
            with self.mask.changed(source if name in changes else None, changes.get(name)):
                parts.append(self.backbone.answer_states(replace(batch, **sides, slots=None)))
            order.append(rows)
        logits: Tensor = self.head(torch.cat(parts)[torch.cat(order).argsort()])
        return logits

    def finish(self, resources: Resources) -> None:
        """What is not in the mask is where it began, to the bit: a mean of states may have rounded it."""
        base, end = self._base(len(self.read)), self.mask.row()
        self.mask.put(torch.where(self.mask.open, end, base))
        added = {"task": (end - base) * self.mask.open, **{name: self._change(name).added for name in self.read}}
        self.found = {f"weights changed, {name}": int(own.count_nonzero()) for name, own in added.items()}
        self.found["weights that may change"] = len(base)

    def measures(self) -> dict[str, float]:
        """How many weights there are to choose from, and how many the task and each language have changed."""
        return self.found
