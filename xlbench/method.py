"""Method, PromptMethod: the contract that a plug-in fulfils.

A method says how rows become ids, what trains, what is minimised and how rows are scored; the harness draws
the shots, runs the loop, selects a state, scores every test row and writes the record. A method sees the
shots and the resources that it declares in `needs`. It is never handed target labels or test rows.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.corpora import Pair
from xlbench.errors import XlbenchError
from xlbench.prompts import Encoded, TextEncoder, Verbalizer, on_device, template_of
from xlbench.spec import Frozen, Scalar
from xlbench.task import Row, Task


class MethodConfig(Frozen):
    """The base of a method's own settings: frozen, every field with a default and a description.

    `search` is what `--tune N` searches: setting → values. The learning rate is searched for every method.
    """

    search: ClassVar[Mapping[str, Sequence[Scalar]]] = {}


@dataclass(frozen=True)
class Resources:
    """What the harness hands to a method for training.

    `shots`: the labelled rows in the source language. `parallel`: translated pairs by target language, where
    the method needs them; a language that the corpus lacks is absent. `random`: the run's own generator.
    """

    shots: Sequence[Row]
    parallel: Mapping[str, Sequence[Pair]]
    random: np.random.Generator


@dataclass(frozen=True)
class Stream:
    """More rows for a training step, beside the shots.

    With `aligned`, row i goes with shot i and each step takes the rows of its shots; without, a step takes
    the next `batch_size` rows (as many as shots, where none) in an order of their own. Streams of one
    `group` share that order, so that row i of each is taken together.
    """

    encoded: Encoded
    aligned: bool = False
    group: str = ""


@dataclass
class Method:
    """The base of every method: write `build`, `encode` and `logits`; `loss` too, where it is no cross-entropy.

    The harness makes one object a run, with the config, the backbone to train, the task, the test languages
    and the longest input. `notes` are sentences for the record (a language without pairs, say).
    """

    config: MethodConfig
    backbone: Backbone
    task: Task
    languages: tuple[str, ...]
    max_length: int = 128
    notes: list[str] = field(default_factory=list)

    name: ClassVar[str]  # set by @register_method
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    needs: ClassVar[frozenset[str]] = frozenset()  # of "parallel"
    needs_masked_lm: ClassVar[bool] = False
    couples_rows: ClassVar[bool] = False  # True where the loss is no mean over rows, so that no part of a batch has it
    resumable: ClassVar[bool] = True  # False where training changes what stands outside of the module that trains
    citation: ClassVar[str] = ""
    license: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Raises XlbenchError for what cannot work, before anything trains; the base has nothing to refuse."""

    @classmethod
    def supports(cls, task: Task) -> str | None:
        """None where the method can run on a task; else the reason, printed as "skipped"."""
        return None

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        """What trains, as one module: parts of the backbone and what the method adds."""
        raise NotImplementedError

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        """Rows in one language → ids, unlabelled; nothing goes to a device here."""
        raise NotImplementedError

    def logits(self, batch: Batch) -> Tensor:
        """Logits of the labels, (n, labels). A batch holds rows of one language or of several."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to minimise on a batch of shots: cross-entropy, where a method says no other.

        What `streams` gave for the step stands in `batch.streams`.
        """
        return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)

    def score(self, batch: Batch) -> Tensor:
        """Log-probabilities of the labels, (n, labels); the arg max is the prediction."""
        return nn.functional.log_softmax(self.logits(batch).float(), dim=-1)

    def streams(self, resources: Resources) -> dict[str, Stream]:
        """What a step needs beside the shots, encoded once before training; nothing by default."""
        return {}

    def words_beside_batches(self) -> Collection[int] | None:
        """The ids whose word embeddings a step reads beside those that stand in its batches; None: it may be any.

        Where a method says which, the others are left out of the training, which changes no result: they have no
        gradient. A method that says nothing is trained with all of them, and one that says too little is stopped.
        """
        return None

    def parameter_groups(self, module: nn.Module, learning_rate: float) -> list[dict[str, object]]:
        """The optimiser's groups, all parameters that train at one rate by default."""
        return [{"params": [value for value in module.parameters() if value.requires_grad], "lr": learning_rate}]

    @property
    def text(self) -> TextEncoder:
        """The encoder of texts for this run's backbone and length."""
        return self.backbone.text(self.max_length)

    def in_template(self, name: str, rows: Sequence[Row], language: str, vectors: int = 0) -> Encoded:
        """Rows in the task's template of a name and language, with `vectors` prompt vectors at `<prompt>`."""
        return self.text.encode(template_of(self.task, name, language), [row.texts for row in rows], vectors)

    def encode_labelled(self, rows: Sequence[Row], language: str) -> Encoded:
        """`encode` with the language's index and the rows' labels; what the harness trains and scores with."""
        encoded = self.encode(rows, language)
        index = self.task.languages.index(language)
        labels = np.array([row.label for row in rows])
        return Encoded(encoded.ids, encoded.mask_at, encoded.second_at, np.full(len(rows), index), labels)


class PromptConfig(MethodConfig):
    """Settings of every method that scores label words at `<mask>`."""

    label_words: Literal["source", "target"] = Field(
        "source",
        description="label words: the source language's for all (as published), or each language's own",
    )
    multi_token: Literal["error", "mean"] = Field(
        "error", description="a label word of several tokens: refuse, or score the mean of its pieces' logits"
    )


class PromptMethod(Method):
    """A method that reads the label off `<mask>`: cross-entropy over label words, scored the same way.

    A subclass names its `template` and may give the prompt's vectors in `prompt`; the base trains the whole
    backbone (as far as the run's `tune` lets it) and what the subclass adds in `build`.
    """

    Config: ClassVar[type[MethodConfig]] = PromptConfig
    needs_masked_lm: ClassVar[bool] = True
    template: ClassVar[str]

    def __post_init__(self) -> None:
        for language in (self.task.source, *self.languages):
            self.verbalizer(language)
        read, width = self.backbone.embedding_dimension, self.backbone.dimension
        if self.prompt_length() and read != width:
            raise XlbenchError(
                f"the backbone {self.backbone.name} reads embeddings of {read} numbers and has states of {width}, so "
                f"prompt vectors of method {self.name} do not fit; choose another backbone, or a method without any"
            )

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        return nn.ModuleDict({"backbone": backbone})

    @classmethod
    def supports(cls, task: Task) -> str | None:
        if cls.template not in task.templates:
            return f"task {task.name} has no template {cls.template!r}"
        if not task.label_words.get(task.source):
            return f"task {task.name} has no label words in {task.source}"
        return None

    def prompt_length(self) -> int:
        """Number of prompt vectors that the template's `<prompt>` stands for."""
        return 0

    def prompt(self, batch: Batch) -> Tensor | None:
        """The prompt's vectors for a batch: (L, d), (n, L, d), or None."""
        return None

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        return self.in_template(self.template, rows, language, self.prompt_length())

    def verbalizer(self, language: str) -> Verbalizer:
        """The label words scored for rows of a language."""
        config = self.config
        assert isinstance(config, PromptConfig)
        chosen = language if config.label_words == "target" else self.task.source
        if chosen not in self.task.label_words:
            raise XlbenchError(f"task {self.task.name} has no label words in {chosen!r}")
        cache = self.__dict__.setdefault("_verbalizers", {})
        if chosen not in cache:
            cache[chosen] = Verbalizer.of(self.backbone.tokenizer, self.task.label_words[chosen], config.multi_token)
        found: Verbalizer = cache[chosen]
        return found

    def label_ids(self) -> frozenset[int]:
        """The ids of all label words that may be scored."""
        spoken = (self.verbalizer(language) for language in (self.task.source, *self.languages))
        return frozenset(piece for words in spoken for pieces in words.pieces for piece in pieces)

    def label_logits(self, features: Tensor, batch: Batch) -> Tensor:
        """Logits of the label words, (n, labels), each row with the words of its language."""
        return self._of_language(batch, partial(self.backbone.label_logits, features))

    def label_logits_among(self, whole: Tensor, batch: Batch) -> Tensor:
        """As `label_logits`, from the logits of the whole vocabulary, (n, vocabulary), where those are there."""
        return self._of_language(batch, lambda words: words.picked(whole))

    def _of_language(self, batch: Batch, scored: Callable[[Verbalizer], Tensor]) -> Tensor:
        """What is `scored` of words, (n, words), for those of each row's language: (n, labels)."""
        config = self.config
        assert isinstance(config, PromptConfig)
        if config.label_words == "source":
            return scored(self.verbalizer(self.task.source))
        spoken = tuple(sorted(batch.languages))  # every row is scored in all of them: to pick rows is to wait for them
        words = Verbalizer.all_of([self.verbalizer(self.task.languages[index]) for index in spoken])
        logits = scored(words).unflatten(1, (len(spoken), -1))
        chosen = torch.searchsorted(on_device(logits.device, spoken), batch.language)
        return logits[torch.arange(len(batch), device=logits.device), chosen]

    def logits(self, batch: Batch) -> Tensor:
        """Logits of the label words at `<mask>`, (n, labels), under the batch's prompt."""
        return self.label_logits(self.backbone.mask_features(batch, self.prompt(batch)), batch)


def symmetric_kl(ours: Tensor, theirs: Tensor) -> Tensor:
    """KL(P‖Q) + KL(Q‖P), the mean over rows, from logits (n, k) of P and Q."""
    log_p, log_q = nn.functional.log_softmax(ours.float(), -1), nn.functional.log_softmax(theirs.float(), -1)
    return kl(log_p, log_q) + kl(log_q, log_p)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(P‖Q), the mean over rows, from log-probabilities (n, k)."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean()
