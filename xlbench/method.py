"""Method, PromptMethod: the contract that a plug-in fulfils.

A method says how rows become ids, what trains, what is minimised and how rows are scored; the harness draws
the shots, runs the loop, selects a state, scores every test row and writes the record. A method sees the
shots and the resources that it declares in `needs`. It is never handed target labels or test rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.corpora import Pair
from xlbench.errors import XlbenchError, unknown
from xlbench.problem import Classification, MultipleChoice, Problem, TokenLabelling
from xlbench.prompt_encoder import PROMPT_INIT as PROMPT_INIT
from xlbench.prompts import Encoded, MultiToken, PromptEncoder, PromptInit, Template, TextEncoder, Verbalizer, on_device
from xlbench.spec import Frozen, ResolvedTraining, Scalar
from xlbench.task import Row, Task


class MethodConfig(Frozen):
    """The base of a method's own settings: frozen, every field with a default and a description.

    `search` is what `--tune N` searches: setting → values. The learning rate is searched for every method.
    """

    search: ClassVar[Mapping[str, Sequence[Scalar]]] = {}


@dataclass(frozen=True)
class Resources:
    """What the harness hands to a method for training.

    `shots`: the labelled rows, in the source language and, where a run asks for them, in target languages. `random`:
    the run's own generator. What the method declares in `needs` is read as `resources["parallel"]`.
    """

    shots: Sequence[Row]
    random: np.random.Generator
    loaded: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """A resource by its name. Raises XlbenchError for one that the method does not declare."""
        if name not in self.loaded:
            raise XlbenchError(f"the resource {name!r} was not asked for; declare it in the method's `needs`")
        return self.loaded[name]

    @property
    def parallel(self) -> Mapping[str, Sequence[Pair]]:
        """`resources["parallel"]`: translated pairs by target language; one that the corpus lacks is absent."""
        pairs: Mapping[str, Sequence[Pair]] = self["parallel"]
        return pairs


@dataclass(frozen=True)
class Stream:
    """More rows for a training step, beside the shots.

    With `aligned`, row i goes with shot i and each step takes the rows of its shots; without, a step takes the next
    `rows_a_step` rows (none: `batch_size` of them) in an order of their own. Streams of one `group` share that order,
    so that row i of each is taken together. `others`: the same rows again, changed; a step takes one of all, drawn."""

    encoded: Encoded
    others: tuple[Encoded, ...] = field(default=(), kw_only=True)
    aligned: bool = False
    group: str = ""
    rows_a_step: int | None = None


@dataclass
class Method:
    """The base of every method: write `build` and `logits`; `encode` or `loss` too, where they are not the usual ones.

    The harness makes one object a run, with the config, the backbone to train, the task, the test languages
    and the longest input. `notes` are sentences for the record (a language without pairs, say); `progress`, set before
    each step, is the share of the budget that is spent, for a loss that goes through phases.
    """

    config: MethodConfig
    backbone: Backbone
    task: Task
    languages: tuple[str, ...]
    max_length: int = 128
    notes: list[str] = field(default_factory=list)
    progress: float = 0.0

    name: ClassVar[str]  # set by @register_method
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    solves: ClassVar[frozenset[type[Problem]]] = frozenset({Classification})
    needs: ClassVar[frozenset[str]] = frozenset()  # names of resources, as "parallel"
    template: ClassVar[str] = "pair"  # the template that `encode` fills
    also_reads: ClassVar[frozenset[str]] = frozenset()  # other templates that the method fills
    templates: ClassVar[Mapping[str, str | Mapping[str, str]]] = {}  # its own: one text, or by language
    needs_masked_lm: ClassVar[bool] = False
    scores_untrained: ClassVar[bool] = False  # True where nothing that scores is drawn anew, but for a soft prompt
    whole_vocabulary: ClassVar[bool] = False  # True where a step reads words beside its batches' and label words
    couples_rows: ClassVar[bool] = False  # True where the loss is no mean over rows, so that no part of a batch has it
    freezes: ClassVar[bool] = False  # True where `build` freezes the backbone but for few numbers, whatever `tune` is
    reads_beside: ClassVar[bool] = False  # True where a test row is read with its translation, `Row.beside`, at once
    resumable: ClassVar[bool] = True  # False where training changes what stands outside of the module that trains
    citation: ClassVar[str] = ""
    license: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Raises XlbenchError for what cannot work, before anything trains; the base has nothing to refuse."""

    @classmethod
    def supports(cls, task: Task) -> str | None:
        """None where the method can run on a task; else the reason, printed as "skipped"."""
        if type(task.problem) not in cls.solves:
            solved = ", ".join(sorted(kind.kind for kind in cls.solves))
            return f"the method solves {solved}, and task {task.name} is {task.problem.kind}"
        if isinstance(task.problem, TokenLabelling) or cls.template_text(task, cls.template, task.source) is not None:
            return None
        owner = f"method {cls.name}" if cls.template in cls.templates else f"task {task.name}"
        return f"{owner} has no template {cls.template!r} in {task.source!r}"

    @classmethod
    def template_text(cls, task: Task, name: str, language: str) -> str | None:
        """The text of a template in a language, the method's own before the task's; None where there is none."""
        own = cls.templates.get(name)
        text = own if own is None or isinstance(own, str) else own.get(language)
        return task.template(name, language) if text is None else text

    @classmethod
    def template_languages(cls, task: Task, languages: Sequence[str]) -> tuple[str, ...]:
        """The languages whose templates a run may fill: the source and those of the test, by default."""
        return tuple(dict.fromkeys((task.source, *languages)))

    def prompts_read(self) -> dict[str, Any]:
        """The templates that this run may fill, as its identity holds them: name → language → text."""
        task, languages = self.task, self.template_languages(self.task, self.languages)
        names = sorted({self.template, *self.also_reads})
        return {name: {lang: self.template_text(task, name, lang) for lang in languages} for name in names}

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        """What trains, as one module: parts of the backbone and what the method adds."""
        raise NotImplementedError

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        """Rows in one language → ids, unlabelled; nothing goes to a device here."""
        return self.in_template(self.template, rows, language)

    def logits(self, batch: Batch) -> Tensor:
        """Logits where answers are read: (n, labels); (n,) or (n, 1) for choices; (n, words, tags) for words.

        A batch holds rows of one language or of several.
        """
        raise NotImplementedError

    def fit(self, resources: Resources) -> None:
        """Learn without gradients; a method that writes this is trained by nothing else."""
        raise NotImplementedError

    def left_outside(self, module: nn.Module) -> list[str]:
        """Attributes with parameters for gradients to train that are neither in the module nor the backbone's."""
        inside = {id(value) for part in (module, self.backbone) for value in part.parameters()}
        held = vars(self) if self.learns_by_gradient() else {}
        return [name for name, part in held.items() if any(id(value) not in inside for value in _trainable(part))]

    @classmethod
    def learns_by_gradient(cls) -> bool:
        """Whether the harness trains it; else its own `fit` does."""
        return cls.fit is Method.fit

    @property
    def phases(self) -> tuple[float, ...]:
        """The `progress` at which each phase but the first begins, and the optimiser with its schedule anew; none by
        default. States of the last phase alone are selected from."""
        return ()

    def begin(self, phase: int) -> None:
        """What is done before the first step of a phase, of which 1 is the second. What it keeps must be in the module
        that trains, as a parameter or a buffer, for a run that is taken up again does not pass here."""

    def finish(self, resources: Resources) -> None:
        """What is done once, after the selected state is restored and before anything is scored for good."""

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to minimise on a batch of shots: cross-entropy, where a method says no other.

        What `streams` gave for the step stands in `batch.streams`.
        """
        logits = self.arranged_logits(batch)
        return nn.functional.cross_entropy(logits.flatten(0, -2), batch.labels.flatten(), ignore_index=-1)

    def score(self, batch: Batch) -> Tensor:
        """Log-probabilities of the answers: (rows, labels), (rows, choices) or (rows, words, tags)."""
        log_probs = nn.functional.log_softmax(self.arranged_logits(batch), dim=-1)
        return self.task.problem.where_read(log_probs, batch)

    def arranged_logits(self, batch: Batch) -> Tensor:
        """`logits` as one distribution for each answer, in fp32. Raises XlbenchError where they have another shape."""
        logits, problem = self.logits(batch), self.task.problem
        shapes = problem.logit_shapes(batch)
        if tuple(logits.shape) not in shapes:
            raise XlbenchError(
                f"method {self.name}: logits gave {tuple(logits.shape)} for a batch of {batch.rows} rows; for task "
                f"{self.task.name} it must give {' or '.join(map(str, shapes))}"
            )
        return problem.arranged(logits, batch).float()

    def streams(self, resources: Resources) -> dict[str, Stream]:
        """What a step needs beside the shots, encoded once before training; nothing by default."""
        return {}

    def label_ids(self) -> frozenset[int]:
        """The ids of words that are scored beside those in batches; none by default."""
        return frozenset()

    def parameter_groups(self, module: nn.Module, training: ResolvedTraining) -> list[dict[str, Any]]:
        """The optimiser's groups: pretrained weights at `learning_rate`, what was drawn anew at `fresh_learning_rate`;
        each without weight decay on biases and LayerNorm where `decay_biases` is False."""
        pretrained = self.backbone.pretrained()
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for part in module.modules():
            for name, value in part.named_parameters(recurse=False):
                bare = "bias" in name or isinstance(part, nn.LayerNorm)
                if value.requires_grad:
                    groups.setdefault((id(value) in pretrained, training.decay_biases or not bare), []).append(value)
        rates = {True: training.learning_rate, False: training.fresh_learning_rate}
        return [
            {"params": list(dict.fromkeys(values)), "lr": rates[old]} | ({} if decays else {"weight_decay": 0.0})
            for (old, decays), values in sorted(groups.items(), reverse=True)
        ]

    def measures(self) -> dict[str, float]:
        """What the method says in numbers of the state that is tested, for the record; nothing by default."""
        return {}

    @property
    def text(self) -> TextEncoder:
        """The encoder of texts for this run's backbone and length."""
        return self.backbone.text(self.max_length)

    def template_in(self, name: str, language: str) -> Template:
        """A template in a language. Raises XlbenchError where there is none, or the method does not declare it."""
        if name not in {self.template, *self.also_reads}:
            raise XlbenchError(
                f"method {self.name} fills the template {name!r} and declares {self.template!r}; name it in "
                "`also_reads`, so that the identity of a run holds it"
            )
        text, problem = self.template_text(self.task, name, language), self.task.problem
        own = name in self.templates and (text is None or text != self.task.template(name, language))
        owner = f"method {self.name}" if own else f"task {self.task.name}"
        if text is None:
            raise XlbenchError(f"{owner} has no template {name!r} in {language!r}")
        return Template(text, problem.fields(self.task.fields), f"{owner}, template {name!r}, {language}")

    def in_template(self, name: str, rows: Sequence[Row], language: str, vectors: int = 0) -> Encoded:
        """Rows in the template of a name and language, with `vectors` prompt vectors at `<prompt>`.

        A row with choices is an input for each; rows whose words are labelled are their words, without a template.
        """
        if isinstance(self.task.problem, TokenLabelling):
            return self.text.encode_words([row.texts for row in rows])
        template = self.template_in(name, language)
        if not isinstance(self.task.problem, MultipleChoice):
            return self.text.encode(template, [row.texts for row in rows], vectors)
        inputs = [(*row.texts, choice) for row in rows for choice in row.choices]
        number = np.repeat(np.arange(len(rows)), [len(row.choices) for row in rows])
        return replace(self.text.encode(template, inputs, vectors), row=number)

    def encode_labelled(self, rows: Sequence[Row]) -> Encoded:
        """`encode`, each row in its own language, with languages' indices and answers; what is trained and scored."""
        spoken = np.array([self.task.languages.index(row.language) for row in rows])
        parts, order = [], []
        for index in dict.fromkeys(spoken.tolist()):
            places = np.flatnonzero(spoken == index)
            encoded = self.encode([rows[place] for place in places.tolist()], self.task.languages[index])
            parts.append(replace(encoded, language=np.full(len(encoded.ids), index)))
            order.append(places)
        joined = parts[0] if len(parts) == 1 else Encoded.join(parts).taken(np.concatenate(order).argsort())
        width = joined.read_at.shape[1] if joined.read_at.ndim == 2 else 0
        labels = self.task.problem.label_array([row.gold for row in rows], width)
        return replace(joined, labels=np.where(joined.read_at < 0, -1, labels) if width else labels)


class PromptConfig(MethodConfig):
    """Settings of every method that scores label words at `<mask>`."""

    words: str | None = Field(
        None, description="a named set of label words, as yes-no; none: the method's published one, or the task's own"
    )
    label_words: Literal["source", "target"] = Field(
        "source", description="label words: the source language's for all (as published), or each language's own"
    )
    multi_token: MultiToken = Field(
        "error",
        description="a label word of several tokens: refuse, or score the mean of its pieces' logits or the last",
    )


class PromptMethod(Method):
    """A method that reads the label off `<mask>`: cross-entropy over label words, scored the same way.

    A subclass names its `template`, the set of label words of its source in `published_words`, and may give the
    prompt's vectors in `prompt`; the base trains the whole backbone (as far as the run's `tune` lets it) and what the
    subclass adds in `build`.
    """

    Config: ClassVar[type[MethodConfig]] = PromptConfig
    needs_masked_lm: ClassVar[bool] = True
    scores_untrained: ClassVar[bool] = True
    published_words: ClassVar[str] = ""  # a name in the task's `word_sets`, if it has that set

    def __post_init__(self) -> None:
        """Raises XlbenchError for a template without `<mask>`, or without `<prompt>` where there are prompt vectors,
        and for label words that are too few or cannot be scored."""
        for language in self._spoken:
            template = self.template_in(self.template, language)
            for special, needed in (("<mask>", True), ("<prompt>", self.prompt_length() > 0)):
                if needed and special not in template.text:
                    raise XlbenchError(
                        f"{template.place}: {template.text!r} has no {special}, which method {self.name} reads; add it"
                    )
        for language in self._spoken:
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
        lacking = super().supports(task)
        wordless = lacking is None and not task.words.get(task.source)
        return f"task {task.name} has no label words in {task.source}" if wordless else lacking

    @property
    def _spoken(self) -> tuple[str, ...]:
        """The languages whose templates and words a run may read: those of `template_languages`, and of the test."""
        return tuple(dict.fromkeys((*self.template_languages(self.task, self.languages), *self.languages)))

    def prompts_read(self) -> dict[str, Any]:
        spoken = self.template_languages(self.task, self.languages)
        words = {language: self.verbalizer(language).words for language in spoken}
        return {**super().prompts_read(), "label words": words}

    def new_prompt(self, length: int, init: PromptInit) -> PromptEncoder:
        """A prompt encoder of this backbone's size, as it is drawn."""
        return PromptEncoder(length, self.backbone.dimension, init, self.backbone.word_embeddings())

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
        config: Any = self.config
        return self.words_in(language if config.label_words == "target" else self.task.source)

    def words_in(self, language: str) -> Verbalizer:
        """The label words in a language. Raises XlbenchError where they are too few or cannot be scored."""
        config: Any = self.config
        cache = self.__dict__.setdefault("_verbalizers", {})
        if language not in cache:
            words, labels = self._word_set().get(language, ()), self.task.labels
            if len(words) != len(labels):
                place = f"task {self.task.name} has {len(words)} label words in {language!r}"
                told = f"({', '.join(words) or 'none'}) for {len(labels)} labels ({', '.join(labels)})"
                raise XlbenchError(f"{place} {told}; give one for each")
            several = config.multi_token
            if not self.task.label_words and several == "error":  # nobody chose these words
                several = "mean"
            try:
                cache[language] = Verbalizer.of(self.backbone.tokenizer, words, several)
            except XlbenchError as fault:
                others = ", ".join(self.task.word_sets)
                raise XlbenchError(f"{fault}{f', or --set words=NAME of {others}' if others else ''}") from fault
        return cache[language]

    def _word_set(self) -> Mapping[str, tuple[str, ...]]:
        """The label words by language: of the set that was asked for, else of the method's source, else the task's."""
        config: Any = self.config
        if config.words is not None and config.words not in self.task.word_sets:
            place = f"the label words of task {self.task.name}"
            raise unknown("set", config.words, self.task.word_sets, place)
        chosen = self.task.word_sets.get(config.words or self.published_words, self.task.words)
        return chosen if config.words is not None or self.task.source in chosen else self.task.words

    def label_ids(self) -> frozenset[int]:
        """The ids of all label words that may be scored."""
        spoken = map(self.verbalizer, self._spoken)
        return frozenset(piece for words in spoken for pieces in words.pieces for piece in pieces)

    def label_logits(self, features: Tensor, batch: Batch) -> Tensor:
        """Logits of the label words, (n, labels), each row with the words of its language."""
        return self._of_language(batch, partial(self.backbone.label_logits, features))

    def label_logits_among(self, logits: Tensor, batch: Batch) -> Tensor:
        """As `label_logits`, from the logits of the whole vocabulary, (n, vocabulary), where those are there."""
        return self._of_language(batch, lambda words: words.picked(logits))

    def _of_language(self, batch: Batch, scored: Callable[[Verbalizer], Tensor]) -> Tensor:
        """What is `scored` of words, (n, words), for those of each row's language: (n, labels)."""
        config: Any = self.config
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


def _trainable(part: Any) -> Iterator[Tensor]:
    """The parameters, and the bare tensors with gradients, of a module, a tensor, or a list, tuple or dict of them."""
    if isinstance(part, nn.Module):
        yield from (value for value in part.parameters() if value.requires_grad)
    elif isinstance(part, Tensor) and part.requires_grad and part.is_leaf:
        yield part
    elif isinstance(part, list | tuple | dict):
        for value in part.values() if isinstance(part, dict) else part:
            yield from _trainable(value)


def symmetric_kl(ours: Tensor, theirs: Tensor) -> Tensor:
    """KL(P‖Q) + KL(Q‖P), the mean over rows, from logits (n, k) of P and Q."""
    log_p, log_q = nn.functional.log_softmax(ours.float(), -1), nn.functional.log_softmax(theirs.float(), -1)
    return kl(log_p, log_q) + kl(log_q, log_p)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(P‖Q), the mean over rows, from log-probabilities (n, k)."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean()
