from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch, by_token_budget, collate
from xlbench.errors import NotSupported, XlbenchError
from xlbench.method import Method, MethodConfig, Resources, Stream
from xlbench.nli import NLITask
from xlbench.parts.sentence_files import SentenceFiles, sentence_files
from xlbench.parts.sentence_vectors import AT_A_TIME, SentenceVectors
from xlbench.prompts import Encoded
from xlbench.registry import register_method
from xlbench.task import Row, Task

HIDDEN = (512, 384)  # of the perceptron


@register_method("sentence-encoder")
class SentenceEncoder(Method):
    """A classifier on frozen sentence vectors, as LASER's (Artetxe & Schwenk, TACL 2019).

    Published: u and v, the premise's and the hypothesis's vectors at length 1; x = [u; v; |u − v|; u ∗ v]; a perceptron
    4d → 512 → 384 → labels with tanh, and dropout 0.3 before each layer, on x too (`head=mlp`); cross-entropy.

    Any sentence encoder in the layout of sentence-transformers will do: its files say how states become vectors, and
    nothing is guessed. Each distinct text goes through it once a run, in fp32; training is seconds. Chosen: a linear
    head, for few shots (4d · 512 weights are for hundreds of thousands of rows); of a single text x = u; the encoder
    stays frozen whatever `--tune` says, unless `encoder=tuned` (SBERT's [u; v; |u − v|] is `features=sbert`).
    """

    class Config(MethodConfig):
        pooling: Literal["cls", "max", "mean", "mean-sqrt", "weighted-mean", "last"] | None = Field(
            None, description="how states become a vector; none: as the model's files say"
        )
        prefix: str | None = Field(None, description="what stands before each text; none: as the model's files say")
        unit: bool | None = Field(
            None, description="whether vectors are of length 1; none: as the model's files say, or yes without any"
        )
        features: Literal["laser", "sbert"] = Field("laser", description="[u; v; |u − v|; u ∗ v], or without u ∗ v")
        head: Literal["linear", "mlp"] = Field("linear", description="a linear layer, or the published perceptron")
        head_dropout: float = Field(0.3, ge=0, lt=1, description="dropout before each layer of the perceptron")
        encoder: Literal["frozen", "tuned"] = Field("frozen", description="frozen, or trained as far as --tune lets it")
        search = {"head": ("linear", "mlp"), "features": ("laser", "sbert")}

    config: "SentenceEncoder.Config"
    citation = (
        "Artetxe and Schwenk (2019), Massively Multilingual Sentence Embeddings for Zero-Shot Cross-Lingual Transfer "
        "and Beyond, TACL. arXiv 1812.10464"
    )

    @classmethod
    def supports(cls, task: Task) -> str | None:
        if type(task.problem) in cls.solves and len(task.fields) > 2:
            return f"task {task.name} has {len(task.fields)} texts a row; the method compares two, or reads one"
        return super().supports(task)

    def __post_init__(self) -> None:
        """Raises NotSupported for a model that does not say how it makes vectors, XlbenchError where that is odd."""
        asked, model = self.config, self.backbone.name
        revision = self.backbone.revision if self.backbone.revision != "unknown" else None
        files = sentence_files(model, revision, self.backbone.dimension)
        if files is None and (asked.pooling is None or asked.prefix is None):
            raise NotSupported(
                f"the model {model} has no modules.json, which would say how it makes a vector of a text, and method "
                "sentence-encoder does not guess; choose a sentence encoder, or say what its card says, as --set "
                "pooling=mean --set 'prefix=query: '"
            )
        files = files or SentenceFiles((), nn.Sequential(), True)
        said = {name: value for name in ("prefix", "unit") if (value := getattr(asked, name)) is not None}
        if asked.pooling is not None and (asked.pooling,) != files.pooling:
            if len(files.layers):
                pooling = " + ".join(files.pooling)
                raise XlbenchError(
                    f"--set pooling={asked.pooling}: the layers of {model} are for {pooling}; leave it out"
                )
            said["pooling"] = (asked.pooling,)
        self.files = replace(files, **said)
        if self.files.prefix is None:
            raise XlbenchError(
                f"the files of {model} name the prompts {dict(files.prompts)!r} and no default; choose what stands "
                "before each text with --set prefix=TEXT, empty for nothing"
            )
        self.frozen = asked.encoder == "frozen"
        self.texts = SentenceVectors(self.backbone, self.files, self.max_length, self.frozen)
        self.known: dict[bytes, Tensor] = {}  # a text's ids → its vector, (d,)
        self.unread: list[Encoded] = []  # encoded before training, so that training finds all it reads

    def prompts_read(self) -> dict[str, Any]:
        """What the encoder's files say, and the settings in their place: a run's identity holds it."""
        files = self.files
        read = {name: getattr(files, name) for name in ("pooling", "prefix", "unit", "max_length", "lower_case")}
        return {"sentences": {**read, "files": dict(files.digests)}}

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        prefix = f"{self.files.prefix!r} before each text" if self.files.prefix else "nothing before a text"
        length = ", at length 1" if self.files.unit else ""
        self.notes.append(f"sentence vectors: {' and '.join(self.files.pooling)} of the states{length}, {prefix}")
        if isinstance(task, NLITask):
            self.notes.append("many sentence encoders, E5 and SBERT models among them, have read English NLI pairs")
        module = nn.ModuleDict({"behind": self.texts.behind})
        if not self.frozen:
            module["encoder"] = backbone.encoder
        elif any(value.requires_grad for value in backbone.parameters()):
            self.notes.append("the encoder was frozen, whatever --tune says; --set encoder=tuned trains it")
            backbone.requires_grad_(False)
        vectors = 1 if len(task.fields) == 1 else {"laser": 4, "sbert": 3}[self.config.features]
        self.head = module["head"] = self._new_head(vectors * self.texts.width, task.problem.outputs)
        return module

    def _new_head(self, width: int, labels: int) -> nn.Module:
        """Features, (n, width), to logits, (n, labels)."""
        if self.config.head == "linear":
            return nn.Linear(width, labels)
        layers: list[nn.Module] = []
        for out in HIDDEN:
            layers += [nn.Dropout(self.config.head_dropout), nn.Linear(width, out), nn.Tanh()]
            width = out
        return nn.Sequential(*layers, nn.Dropout(self.config.head_dropout), nn.Linear(width, labels))

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        """Each text framed alone, those of a row one after the other."""
        sides = [self.texts.ids([row.texts[number] for row in rows]) for number in range(len(self.task.fields))]
        ids, zeros = [np.concatenate(texts) for texts in zip(*sides, strict=True)], np.zeros(len(rows), dtype=np.int64)
        encoded = Encoded(ids, zeros, np.array([len(first) for first in sides[0]], dtype=np.int64), zeros)
        self.unread.append(encoded)
        return encoded

    def streams(self, resources: Resources) -> dict[str, Stream]:
        """None; but here the vectors of all that training and selection read are computed, once."""
        pad, device = self.backbone.tokenizer.pad_token_id, self.backbone.word_embeddings().device
        for encoded in self.unread if self.frozen else ():
            for rows in by_token_budget(encoded.lengths, AT_A_TIME):
                self.vectors(collate(encoded, rows, pad, device))
        self.unread.clear()
        return {}

    def logits(self, batch: Batch) -> Tensor:
        logits: Tensor = self.head(features(self.vectors(batch), self.config.features))
        return logits

    def vectors(self, batch: Batch) -> list[Tensor]:
        """The vectors of the texts of each row, (n, d) a text; those of a frozen encoder are computed once."""
        ids, ends = batch.ids.cpu().numpy(), batch.attention.sum(dim=1).tolist()
        middles = (batch.attention - batch.segments).sum(dim=1).tolist()
        texts = [row[:middle] for row, middle in zip(ids, middles, strict=True)]
        if len(self.task.fields) == 2:
            texts += [row[middle:end] for row, middle, end in zip(ids, middles, ends, strict=True)]
        keys, known = [text.tobytes() for text in texts], self.known if self.frozen else {}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            known.update(zip(new, self.texts.of(list(new.values()), batch.ids.device), strict=True))
        return list(torch.stack([known[key] for key in keys]).split(len(batch)))


def features(vectors: Sequence[Tensor], kind: str) -> Tensor:
    """[u; v; |u − v|; u ∗ v], (n, 4d), or without u ∗ v (`sbert`), (n, 3d), of u and v, (n, d); u alone is itself."""
    if len(vectors) == 1:
        return vectors[0]
    u, v = vectors
    return torch.cat([u, v, (u - v).abs(), *[u * v] * (kind == "laser")], dim=-1)
