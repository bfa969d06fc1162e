"""`xlbench show` and `xlbench check`: what a plug-in says of itself, and whether it keeps the contract."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.batching import collate
from xlbench.corpora import CORPORA
from xlbench.engine.contamination import TestSentences
from xlbench.engine.costs import trained_parameters
from xlbench.engine.predict import predict
from xlbench.engine.prepare import class_of
from xlbench.engine.session import Session
from xlbench.engine.train import generator, training_batches
from xlbench.engine.tuning import search_space
from xlbench.errors import one_line, unknown
from xlbench.method import Method, Resources
from xlbench.prompts import Encoded, Template, Verbalizer
from xlbench.resources import Resource, Surroundings
from xlbench.sources import DataSource
from xlbench.task import Row, Task

SHOTS = 4  # a class, for a check
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Finding:
    """One point of the contract: whether it holds, and if not, why."""

    what: str
    ok: bool
    why: str = ""


def check(name: str, task_name: str = "logic", data_root: Path | None = None) -> list[Finding]:
    """The contract of a registered method (on a task) or of a task, point by point, on the tiny model.

    Stops at the first point that raises, since the later ones build on it. Raises XlbenchError for an
    unknown name.
    """
    kind = _kind(name)
    plugin, task_class = registry.get(kind, name), registry.get("task", name if kind == "task" else task_name)
    task, source = task_class(), DataSource(data_root)
    points = _method_points(plugin, task, source) if kind == "method" else _task_points(task, source)
    findings: list[Finding] = []
    while True:
        what = "what the next points need"
        try:
            what, hold = next(points)
            why = hold()
        except StopIteration:
            return findings
        except Exception as fault:  # a plug-in may raise anything; the check says what and where
            return [*findings, Finding(what, False, f"{type(fault).__name__}: {one_line(fault)}")]
        findings.append(Finding(what, not why, why))


Point = tuple[str, Callable[[], str]]  # what must hold, and a function that says why it does not


def _method_points(method_class: type[Method], task: Task, source: DataSource) -> Iterator[Point]:
    yield "its class is a Method with a docstring", lambda: _is_documented(method_class, Method)
    yield "every setting has a default and a description", lambda: _settings_described(method_class)
    yield "its search space names settings and values that they take", lambda: _searchable(method_class)
    yield f"it supports the task {task.name}", lambda: method_class.supports(task) or ""
    torch.manual_seed(0)
    languages = (task.source, *[language for language in task.languages if language != task.source][:2])
    backbone = Backbone.load("tiny").fresh()
    method = method_class(method_class.Config(), backbone, task, languages)
    shots = task.draw(SHOTS, 0, source)
    module: list[torch.nn.Module] = []

    def build() -> str:
        module.append(method.build(backbone, task))
        return "" if trained_parameters(module[0]) else "nothing trains"

    yield "build gives a module with parameters that train", build
    rows: list[Encoded] = []

    def encode() -> str:
        rows.append(method.encode_labelled(shots.train))
        return _sound(rows[0], len(shots.train), backbone)

    yield "encode gives ids of the backbone's vocabulary, one row for each", encode
    yield (
        "encode depends on nothing but rows and language",
        lambda: _same_twice(method, shots.train, task.source),
    )
    around = Surroundings(task, languages, shots.train, source)
    loaded = {name: _loaded(name, around) for name in sorted(method_class.needs)}
    streams = method.streams(Resources(shots.train, generator(0, "check"), loaded))
    batch = next(training_batches(method, rows[0], streams, 8, 0, CPU))
    module[0].train()

    def loss() -> str:
        value = method.loss(batch)
        if value.shape != () or not bool(torch.isfinite(value)):
            return f"loss gave {tuple(value.shape)} {value.detach().flatten()[:3].tolist()}, not one finite number"
        value.backward()
        return ""

    yield "loss is one finite number", loss
    yield "gradients reach what trains", lambda: _reached(module[0])
    module[0].eval()
    test = method.encode_labelled(task.test(languages[-1], source)[:12])
    scores: list[np.ndarray] = []

    def score() -> str:
        scores.append(predict(method, test, Session(CPU)))
        return ""

    yield "score gives (rows, labels), and no NaN", score
    yield "scores are log-probabilities", lambda: "some are above 0" if (scores[0] > 1e-5).any() else ""
    yield "scores do not depend on the batch", lambda: _batch_free(method, test, scores[0])
    yield (
        "scoring twice gives the same",
        lambda: _close(predict(method, test, Session(CPU)), scores[0], 0.0),
    )
    yield "scoring leaves the weights alone", lambda: _leaves_weights(method, module[0], test)


def _loaded(name: str, around: Surroundings) -> Any:
    """A resource of a few texts, as a method gets it. Raises XlbenchError for a name that there is not."""
    resource: type[Resource[Any]] = class_of("resource", name, Resource)
    settings = {"corpus": around.task.name, "size": 8} if name == "parallel" and around.task.parallel is None else {}
    return resource(resource.Settings.model_validate(settings)).load(around)


def _task_points(task: Task, source: DataSource) -> Iterator[Point]:
    yield "its class is a Task with a docstring", lambda: _is_documented(type(task), Task)
    yield (
        "it names licence, citation and version",
        lambda: ", ".join(f"no {what}" for what in ("license", "citation", "version") if not getattr(task, what)),
    )
    yield (
        "the source language is one of its languages",
        lambda: "" if task.source in task.languages else task.source,
    )
    yield "every template fills in every language", lambda: _templates(task)
    splits = {split: task.rows(split, task.source, source) for split in ("train", "validation", "test")}
    yield (
        "every split has rows of every label",
        lambda: "; ".join(
            f"{split} has none of {label}"
            for split, rows in splits.items()
            for number, label in enumerate(task.labels)
            if not any(row.gold == number for row in rows)
        ),
    )
    yield (
        "row ids are unique in a split",
        lambda: ", ".join(split for split, rows in splits.items() if len({row.id for row in rows}) < len(rows)),
    )
    yield (
        "every row has the task's texts",
        lambda: ", ".join(row.id for rows in splits.values() for row in rows if len(row.texts) != len(task.fields))[
            :200
        ],
    )
    yield "test rows are aligned over the languages", lambda: _aligned(task, source)
    yield "a draw is balanced, disjoint and always the same", lambda: _drawn(task, source)
    yield "no test sentence is among train, validation or parallel text", lambda: _clean(task, source)
    yield "the tiny model knows the source's label words", lambda: _words(task)


def _kind(name: str) -> registry.Kind:
    for kind in ("method", "task"):
        if name in registry.names(kind):
            return kind
    raise unknown("method or task", name, [*registry.names("method"), *registry.names("task")])


def _is_documented(cls: type, base: type) -> str:
    if not issubclass(cls, base):
        return f"{cls.__name__} is no {base.__name__}"
    return "" if cls.__doc__ and cls.__doc__ != base.__doc__ else "it has no docstring"


def _settings_described(method_class: type[Method]) -> str:
    fields = method_class.Config.model_fields
    lacking = [name for name, field in fields.items() if field.is_required() or not field.description]
    return f"without a default or description: {', '.join(lacking)}" if lacking else ""


def _searchable(method_class: type[Method]) -> str:
    search_space(method_class.name, method_class.Config)
    return ""


def _sound(encoded: Encoded, rows: int, backbone: Backbone) -> str:
    if len(encoded) != rows:
        return f"{len(encoded)} rows for {rows}"
    size = backbone.config.vocab_size
    for index, ids in enumerate(encoded.ids):
        if len(ids) == 0 or ids.max() >= size:
            return f"row {index} has ids outside the vocabulary of {size}"
        if backbone.tokenizer.mask_token_id in ids and ids[encoded.read_at[index]] != backbone.tokenizer.mask_token_id:
            return f"row {index}: read_at does not point at the mask"
    return ""


def _same_twice(method: Method, rows: tuple[Row, ...], language: str) -> str:
    once, again = method.encode(rows, language), method.encode(rows, language)
    same = all(np.array_equal(a, b) for a, b in zip(once.ids, again.ids, strict=True))
    return "" if same else "two calls with the same rows differ"


def _reached(module: torch.nn.Module) -> str:
    trained = trained_parameters(module)
    reached = [name for name, value in trained.items() if value.grad is not None and bool(value.grad.abs().sum() > 0)]
    return "" if reached else "no parameter has a gradient"


def _batch_free(method: Method, encoded: Encoded, scores: np.ndarray) -> str:
    return _close(predict(method, encoded, Session(CPU, token_budget=64)), scores, 1e-4)


def _close(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> str:
    difference = float(np.abs(ours - theirs).max())
    return "" if difference <= tolerance else f"they differ by {difference:.2g}"


def _leaves_weights(method: Method, module: torch.nn.Module, encoded: Encoded) -> str:
    before = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        method.score(collate(encoded, range(len(encoded)), method.backbone.tokenizer.pad_token_id, CPU))
    changed = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    return f"score changed {changed[0]}" if changed else ""


def _templates(task: Task) -> str:
    for name, by_language in task.templates.items():
        for language in task.languages:
            if language not in by_language:
                return f"template {name!r} is missing in {language}"
            Template(by_language[language], task.fields, f"template {name!r}, {language}")
    return ""


def _aligned(task: Task, source: DataSource) -> str:
    ours = task.rows("test", task.source, source)
    for language in task.languages:
        theirs = task.rows("test", language, source)
        if [(row.id, row.gold, row.unit) for row in theirs] != [(row.id, row.gold, row.unit) for row in ours]:
            return f"{language} and {task.source} differ in ids, labels or premises"
    return ""


def _drawn(task: Task, source: DataSource) -> str:
    draw, again = task.draw(SHOTS, 1, source), task.draw(SHOTS, 1, source)
    if draw != again:
        return "two draws with the same number differ"
    for rows in (draw.train, draw.dev):
        if set(Counter(row.gold for row in rows).values()) != {SHOTS}:
            return "a draw does not have the shots of each label"
    shared = {row.texts for row in draw.train} & {row.texts for row in draw.dev}
    return "train and dev share rows" if shared else ""


def _clean(task: Task, source: DataSource) -> str:
    test = TestSentences.of(task.rows("test", task.source, source))
    learning = [
        (row.id, text)
        for split in ("train", "validation")
        for row in task.rows(split, task.source, source)
        for text in row.texts
    ]
    corpus = task.parallel
    if corpus is not None:
        language = next(language for language in task.languages if language != task.source)
        brought = (
            task.parallel_pairs(language, 500, source)
            if corpus == task.name
            else CORPORA[corpus](task.source, language, 500, source)
        )
        learning += [(pair.id, text) for pair in brought for text in pair.source]
    shared = test.shared_with(learning)
    return f"{shared[0][0]} is in test row {shared[0][1]}" if shared else ""


def _words(task: Task) -> str:
    if not task.label_words:
        return ""
    Verbalizer.of(Backbone.load("tiny").tokenizer, task.label_words[task.source])
    return ""
