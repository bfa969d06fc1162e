from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch, by_token_budget, collate
from xlbench.errors import XlbenchError
from xlbench.method import Resources, Stream
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.problem import Classification
from xlbench.prompts import Encoded
from xlbench.registry import register_method
from xlbench.task import Row, Task

TOKENS = 8192  # of rows that are labelled at once, padding included


@register_method("self-training")
class SelfTraining(HeadMethod):
    """Self-training on target text: rows that the model is surest of train it with its own labels (after UXLA, Bari et
    al., ACL 2021).

    Published: three models label target text, which a masked language model multiplied; they keep of it by confidence,
    by a mixture of two Gaussians over losses and by agreement, in three rounds, and train on it beside labelled rows.
    Their scripts choose the checkpoint on target labels; XNLI's settings are in no source.

    Here one model and one criterion: fine-tuning for a share of the steps, then in each round the model labels the rows
    of the resource `unlabelled`; of each language the surest `top` of them stay, as many of each class as the rarest
    has (else the class that the model prefers would be all), and their cross-entropy, λ times, is added. Labels that
    the rows may have had are not there to be read. With `top` 0 this is fine-tuning, to the bit.
    """

    class Config(HeadConfig):
        warm_up: float = Field(0.5, gt=0, lt=1, description="share of the steps before the first round")
        rounds: int = Field(1, ge=1, le=10, description="how often rows are labelled anew, in equal parts of the rest")
        top: float = Field(0.3, ge=0, le=1, description="share of a language's rows that stay, the surest ones")
        balance: Literal["equal", "none"] = Field(
            "equal", description="as many of each class as of the rarest, or all up to an equal share"
        )
        weight: float = Field(1.0, ge=0, description="weight of the cross-entropy on them, λ")
        rows_per_step: int | None = Field(None, ge=1, description="rows a step; none: as many as shots")
        search = {"top": (0.1, 0.3, 0.6), "weight": (0.3, 1.0)}

    config: "SelfTraining.Config"
    solves = frozenset({Classification})
    needs = frozenset({"unlabelled"})
    couples_rows = True
    citation = (
        "Bari, Mohiuddin & Joty (2021), UXLA: A Robust Unsupervised Data Augmentation Framework for Zero-Resource "
        "Cross-Lingual NLP, ACL. arXiv 2004.13240"
    )

    @property
    def reads_rows(self) -> bool:
        """Whether there is anything to do beside fine-tuning."""
        return self.config.top > 0 and self.config.weight > 0

    @property
    def phases(self) -> tuple[float, ...]:
        start, rounds = self.config.warm_up, self.config.rounds
        return tuple(start + (1 - start) * n / rounds for n in range(rounds)) if self.reads_rows else ()

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.head = self.new_head(backbone, task)
        self.module = nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})
        return self.module

    def streams(self, resources: Resources) -> dict[str, Stream]:
        if not self.reads_rows:
            return {}
        targets = [language for language in self.languages if language not in self.task.sources]
        found = resources["unlabelled"]
        self.notes.extend(f"no text of {name} to label" for name in targets if name not in found)
        rows = [
            Row(f"{name}-{number}", self._texts(texts, name), 0, name, f"{name}-{number}")
            for name in targets
            for number, texts in enumerate(found.get(name, ()))
        ]
        if not rows:
            raise XlbenchError(
                f"method {self.name} has no target text to label; give some with --with resources.unlabelled.folder=DIR"
            )
        self.rows = replace(self.encode_labelled(rows), labels=np.arange(len(rows)))  # so that a batch knows its rows
        device = self.backbone.word_embeddings().device
        self.head.register_buffer("given", torch.full((len(rows),), -1, device=device))
        return {"text": Stream(self.rows, group="text", rows_a_step=self.config.rows_per_step)}

    def _texts(self, texts: tuple[str, ...], language: str) -> tuple[str, ...]:
        if len(texts) != len(self.task.fields):
            raise XlbenchError(
                f"method {self.name} needs rows of {len(self.task.fields)} texts ({', '.join(self.task.fields)}), and "
                f"the text of {language} has one of {len(texts)}; give a line's texts with tabs between"
            )
        return texts

    @property
    def given(self) -> Tensor:
        """The label that each row was given, -1 for none, (rows,)."""
        labels: Tensor = self.head.get_buffer("given")
        return labels

    def begin(self, phase: int) -> None:
        """Label the rows by the model as it is."""
        self.module.eval()
        said = self._said(self.rows)
        self.module.train()
        chosen = surest(said, self.rows.language, self.config.top, self.config.balance == "equal")
        self.given.copy_(torch.from_numpy(chosen))

    def _said(self, rows: Encoded) -> np.ndarray:
        """Probabilities of the labels of all rows, (rows, labels)."""
        pad, device = self.backbone.tokenizer.pad_token_id, self.given.device
        said = np.zeros((len(rows), len(self.task.labels)))
        for part in by_token_budget(rows.lengths, TOKENS):
            with torch.inference_mode():
                said[part] = self.score(collate(rows, part, pad, device)).exp().cpu().numpy()
        return said

    def loss(self, batch: Batch) -> Tensor:
        first = self.phases[0] if self.phases else 1.0
        if "text" not in batch.streams or self.progress < first:
            return super().loss(batch)
        rows = batch.streams["text"]
        labels = self.given[rows.labels]
        total = nn.functional.cross_entropy(self.logits(rows).float(), labels, ignore_index=-1, reduction="sum")
        return super().loss(batch) + self.config.weight * total / (labels >= 0).sum().clamp_min(1)

    def measures(self) -> dict[str, float]:
        """How many rows of each language had each label in the last round."""
        if not self.reads_rows:
            return {}
        given, spoken = self.given.cpu().numpy(), self.rows.language
        return {
            f"{self.task.languages[index]} rows labelled {label}": float(((given == n) & (spoken == index)).sum())
            for index in dict.fromkeys(spoken.tolist())
            for n, label in enumerate(self.task.labels)
        }


def surest(said: np.ndarray, language: np.ndarray, top: float, equal: bool) -> np.ndarray:
    """The likeliest label of the rows that stay, -1 of the others, (rows,), from probabilities (rows, labels).

    Of each language a share of `top`, in equal parts for the labels: those with the highest probability; with `equal`
    no more of any than of the rarest.
    """
    best, chosen = said.argmax(axis=1), np.full(len(said), -1)
    for spoken in np.unique(language):
        own = np.flatnonzero(language == spoken)
        most = int(top * len(own) / said.shape[1])
        there = [own[best[own] == label] for label in range(said.shape[1])]
        if equal:
            most = min(most, *map(len, there))
        for label, rows in enumerate(there):
            kept = rows[np.argsort(-said[rows, label], kind="stable")[:most]]
            chosen[kept] = label
    return chosen
