"""From a RunSpec to a run that may start: names, settings, data, draw and contamination, resolved and checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.engine import contamination
from xlbench.engine.tuning import RATES, Configuration, configurations, search_space
from xlbench.errors import NotSupported, XlbenchError
from xlbench.method import Method, MethodConfig
from xlbench.problem import Problem
from xlbench.resources import Resource, Surroundings
from xlbench.sources import DataSource
from xlbench.spec import (
    ALL,
    NONE,
    Lora,
    ResolvedSpec,
    RunSpec,
    Runtime,
    TestDesign,
    Training,
    TrainOn,
    digest,
    digest_of_list,
    parse,
)
from xlbench.task import FewShot, Row, Task, TestRows
from xlbench.translations import NOTHING, Translated, learnt_from, shots_in, tests_in_source

PROTOCOL = "3"  # raised when a change in the harness, or in a default of a spec, changes numbers


@dataclass(frozen=True)
class TestSet:
    """The test rows, a digest of their content, and their sentences for the contamination guard."""

    __test__ = False  # not a test, whatever pytest thinks of the name
    rows: TestRows
    digest: str
    sentences: contamination.TestSentences
    _shares: dict[tuple[str, ...], bool] = field(default_factory=dict, compare=False, repr=False)

    def shares(self, problem: Problem, row: Row) -> bool:
        """Whether a row of a pool shares a sentence with the test; looked up once, for every draw asks of the pool."""
        key = row.language, row.id, *row.texts
        if key not in self._shares:
            self._shares[key] = bool(self.sentences.shared_with(contamination.texts_of(problem, [row])))
        return self._shares[key]


@dataclass(frozen=True)
class LoadedResource:
    """What a resource gave a run, a digest of its code and its texts, and how many of them the guard compared."""

    value: Any
    digest: str
    texts: int


@dataclass(frozen=True)
class Episode:
    """What a comparison holds equal, made once and shared by all methods: task, test rows, draw, contamination.

    `left_out` counts rows that were left out of all labelled ones, for they share a sentence with the test; `compared`
    counts the texts that the guard held against the test.
    """

    task: Task
    languages: tuple[str, ...]
    source: DataSource
    test: TestSet
    shots: FewShot
    left_out: int
    compared: Mapping[str, int]
    in_source: Translated = NOTHING  # the test rows that are read in translation
    notes: tuple[str, ...] = ()
    _resources: dict[tuple[str, str], LoadedResource] = field(default_factory=dict, compare=False, repr=False)

    def resource(self, resource: Resource[Any]) -> LoadedResource:
        """A resource as it is loaded for these shots and languages, once. Raises XlbenchError where it holds a test
        sentence, or cannot be had."""
        key = resource.name, json.dumps(resource.resolved(self.task), sort_keys=True, default=str)
        if key not in self._resources:
            around = Surroundings(self.task, self.languages, self.shots.learnt, self.source)
            value = resource.load(around)
            texts = list(resource.texts(value))
            contamination.check(self.test.sentences, {resource.name: texts})
            seen = digest([registry.code_of(type(resource)), digest_of_list(texts)])
            self._resources[key] = LoadedResource(value, seen, len(texts))
        return self._resources[key]


def episode_of(task: type[Task], spec: RunSpec, source: DataSource) -> Episode:
    """The episode of a run: what it shares with every run of another method. Raises XlbenchError."""
    asked = task(spec.source or ())
    languages = asked.check_languages(spec.languages)
    drawn = spec.shots, spec.draw, spec.split, spec.target_shots, spec.oracle, spec.train_on, spec.untranslated
    episode = _episode(task, asked.sources, languages, source, spec.test_units, spec.test_design, *drawn)  # type: ignore[arg-type]
    if spec.read == "own":
        return episode
    if not task.problem.translates:
        raise XlbenchError(f"--read {spec.read}: the words of task {spec.task} have tags, which no translation keeps")
    tested = tests_in_source(
        asked, episode.test.rows.by_language, spec.read, spec.untranslated, spec.translations, source
    )
    read = tested.note("test rows were read in translation")
    return replace(episode, in_source=tested, notes=(*episode.notes, read))


@lru_cache(maxsize=256)
def _episode(
    task_class: type[Task],
    sources: tuple[str, ...],
    languages: tuple[str, ...],
    source: DataSource,
    test_units: int | None,
    test_design: TestDesign,
    shots: int,
    number: int,
    split: str | None,
    target_shots: int,
    oracle: bool,
    train_on: TrainOn,
    untranslated: str,
) -> Episode:
    if split is not None and number:
        raise XlbenchError(f"--split {split} is one fixed draw, so --draw must be 0, not {number}")
    task = task_class(sources)
    test = _test_set(task_class, languages, source, test_units, test_design)  # type: ignore[arg-type]
    targets = [language for language in languages if language not in sources]
    drawn = task.draw(shots, number, source, split, target_shots, targets, partial(test.shares, task.problem))
    left_out = drawn.left_out
    if shots == ALL:  # those that share no sentence with the test
        train, dev = (
            contamination.without_shared(test.sentences, task.problem, rows) for rows in (drawn.train, drawn.dev)
        )
        if not train or not dev:
            raise XlbenchError(
                f"--shots all leaves no {'dev' if train else 'train'} row of task {task.name}: each shares a sentence "
                "with the test or a unit with the target shots; ask for fewer --target-shots or --test-units"
            )
        left_out = len(drawn.train) + len(drawn.dev) - len(train) - len(dev)
        drawn = replace(drawn, train=train, dev=dev)
    translated = NOTHING
    if train_on != "source":
        translated = shots_in(task, drawn.train, targets, untranslated, source)
        drawn = replace(drawn, train=learnt_from(train_on, drawn.train, translated))
    if oracle and not targets:
        raise XlbenchError("--selection oracle-target-dev needs a test language other than the source language")
    if oracle:
        drawn = replace(drawn, target_dev=drawn.target_dev or task.target_dev(drawn.dev, targets, source))
    learning = {"train": drawn.train, "dev": drawn.dev}
    if drawn.target_train:
        learning["target shots"] = tuple(row for rows in drawn.target_train.values() for row in rows)
    texts = {purpose: contamination.texts_of(task.problem, rows) for purpose, rows in learning.items()}
    compared = contamination.check(test.sentences, texts)
    notes = (
        *(note for language in languages for note in task.reading_notes("test", language, source)),
        *drawn.notes,
        translated.note("shots were translated"),
    )
    return Episode(task, languages, source, test, drawn, left_out, compared, notes=notes)


@cache
def _test_set(
    task: type[Task], languages: tuple[str, ...], source: DataSource, units: int | None, design: TestDesign
) -> TestSet:
    """Read and fingerprinted once a process, for the cells of a suite share it."""
    rows = TestRows.of(task(), languages, source, units, design)
    sentences = contamination.TestSentences.of(
        task.problem, (row for side in rows.by_language.values() for row in side)
    )
    return TestSet(rows, digest([content(side) for side in rows.by_language.values()])[:16], sentences)


def content(rows: Sequence[Row]) -> str:
    """A digest of rows: ids, texts, answers, units, choices."""
    return digest_of_list((row.id, row.texts, row.gold, row.unit, row.choices) for row in rows)


@dataclass(frozen=True)
class Prepared:
    """Everything a run needs, resolved and checked, before anything is trained."""

    spec: ResolvedSpec
    method_class: type[Method]
    config: MethodConfig
    episode: Episode
    backbone: Backbone
    resources: Mapping[str, Any]
    identity: dict[str, str]
    contamination: dict[str, Any]
    device: torch.device
    configurations: tuple[Configuration, ...]  # what is tried, the given one first
    asked: RunSpec  # as it was given: what another process prepares the same run from

    @property
    def task(self) -> Task:
        return self.episode.task

    @property
    def id(self) -> str:
        """First 12 hexadecimal digits of the hash of all that can change a number."""
        return digest({"spec": self.spec.identity, **self.identity})[:12]


def prepare(spec: RunSpec, runtime: Runtime) -> Prepared:
    """Resolve and check a spec: names, settings, data, draw, contamination; load the backbone. Trains nothing.

    Raises XlbenchError for a mistake in what was asked, NotSupported where the method cannot run on the task.
    """
    registry.load_plugins(runtime.plugins)
    task_class: type[Task] = class_of("task", spec.task, Task)
    method_class: type[Method] = class_of("method", spec.method, Method)
    config = parse(method_class.Config, spec.config, f"the config of method {spec.method}")
    _refuse_unsupported(method_class, task_class(spec.source or ()), spec)
    device = torch_device(runtime.device)
    episode = episode_of(task_class, spec, DataSource(runtime.data_root))
    needs = getattr(config, "needs", method_class.needs)  # a setting may make a resource needless
    resources = _resources(needs, episode.task, spec)
    loaded = {name: episode.resource(resource) for name, resource in resources.items()}
    backbone = Backbone.load(spec.model, spec.revision)
    if not backbone.reads_right:
        raise XlbenchError(
            f"the backbone {spec.model} is causal: no token sees those after it, and method {spec.method} reads one "
            "that must see the whole text; choose an encoder, such as XLM-R"
        )
    if method_class.needs_masked_lm and not backbone.has_masked_lm_head:
        raise XlbenchError(
            f"the backbone {spec.model} has {backbone.headless}, which method {spec.method} needs; "
            "choose a masked language model, or --method finetune"
        )
    if spec.shots == NONE and not method_class.scores_untrained:
        raise NotSupported(
            f"method {spec.method} scores with parts that it draws anew, so it says nothing with --shots none; use a "
            "method that scores label words"
        )
    backbone.text(spec.max_length)  # raises where the backbone reads fewer tokens
    task, languages = episode.task, episode.languages
    method = method_class(config, backbone, task, languages, spec.max_length)  # raises for what cannot be scored
    settings = {name: resource.resolved(task) for name, resource in resources.items()}
    resolved = _resolved(spec, task, config, languages, settings, backbone, device)
    shots = episode.shots
    learnt = [*shots.learnt, *shots.dev, *(row for rows in shots.target_dev.values() for row in rows)]
    read = {language: content(rows) for language, rows in episode.in_source.rows.items()}
    identity = {
        "protocol": PROTOCOL,
        "task_version": task.version,
        "problem": digest(task.problem.described())[:16],
        "data": digest([content(learnt), episode.test.digest, [loaded[name].digest for name in sorted(loaded)]])[:16],
        "test_data": episode.test.digest,
        "shots": digest([content(shots.train), content(shots.dev)])[:16],
        "prompts": digest(method.prompts_read())[:16],
        "revision": backbone.revision,
        "method_source": digest(registry.code_of(method_class))[:16],
    }
    if read:
        identity["translations"] = digest(read)[:16]
    if spec.trials > 1:
        rates = RATES if method.learns_by_gradient() else {}
        identity["search"] = digest([rates, search_space(spec.method, method_class.Config)])[:16]
    compared = {**episode.compared, **{name: resource.texts for name, resource in loaded.items()}}
    values = {name: resource.value for name, resource in loaded.items()}
    return Prepared(
        resolved, method_class, config, episode, backbone, values, identity, _finding(episode, compared), device,
        configurations(resolved, config, method.learns_by_gradient()), spec,
    )  # fmt: skip


def _refuse_unsupported(method: type[Method], task: Task, spec: RunSpec) -> None:
    """Raises NotSupported where a method cannot run on a task, or not as it is asked to."""
    reason = method.supports(task)
    if reason:
        raise NotSupported(f"method {spec.method} does not run on task {spec.task}: {reason}")
    if method.reads_beside and spec.read != "both":
        raise NotSupported(
            f"method {spec.method} reads a test row beside its translation to the source language, and --read is "
            f"{spec.read}; use --read both"
        )
    if spec.training.accumulate > 1 and (method.couples_rows or not task.problem.rows_are_apart):
        what = f"method {spec.method} couples rows" if method.couples_rows else f"task {spec.task} is a mean over words"
        raise NotSupported(f"the loss of {what}: no batch goes through in parts (accumulate)")


def _resources(needs: frozenset[str], task: Task, spec: RunSpec) -> dict[str, Resource[Any]]:
    """The resources that a method needs, with the settings of a run. Raises XlbenchError for a name or a setting that
    there is not, among those that the method does not need too."""
    resources: dict[str, Resource[Any]] = {}
    for name in sorted({*needs, *spec.resources}):
        resource: type[Resource[Any]] = class_of("resource", name, Resource)
        settings = parse(resource.Settings, spec.resources.get(name, {}), f"the settings of resource {name}")
        resources[name] = resource(settings)
        if name in spec.resources:
            resources[name].resolved(task)
    return {name: resources[name] for name in sorted(needs)}


def _finding(episode: Episode, compared: Mapping[str, int]) -> dict[str, Any]:
    """What the guard found, for the record: counts and row ids, never text.

    What a method learns from shares nothing with the test, or the run is refused. The oracle's dev rows only choose
    its checkpoint, and short sentences of theirs may be test sentences once translated: those are counted and named.
    """
    sentences = episode.test.sentences
    target_dev = (row for rows in episode.shots.target_dev.values() for row in rows)
    texts = contamination.texts_of(episode.task.problem, target_dev)
    shared = [list(pair) for pair in dict.fromkeys(sentences.shared_with(texts))]
    compared = {**compared, "target dev": len(texts)} if texts else dict(compared)
    finding = {"compared": compared, "test_sentences": len(sentences.rows), "shared": len(shared), "ids": shared}
    return {**finding, "left_out": episode.left_out} if episode.left_out else finding


def class_of(kind: registry.Kind, name: str, base: type) -> Any:
    """The class of a name. Raises XlbenchError where a plug-in registered something else under it."""
    plugin = registry.get(kind, name)
    if not issubclass(plugin, base):
        place = registry.find(kind, name).place
        raise XlbenchError(f"the {kind} {name!r} ({place}): {plugin.__name__} is no {base.__name__}, its base class")
    return plugin


def _resolved(
    spec: RunSpec,
    task: Task,
    config: MethodConfig,
    languages: tuple[str, ...],
    resources: Mapping[str, Any],
    backbone: Backbone,
    device: torch.device,
) -> ResolvedSpec:
    """The spec with every choice made, settings that play no part at their defaults, and nothing in it that only
    this machine knows (a model's folder)."""
    defaults = type(config)().model_dump()
    rate = spec.training.learning_rate or backbone.recommended_learning_rate
    unused = {"epochs": Training().epochs} if spec.training.steps else {}
    fixed = set(spec.config) & set(config.search) if spec.trials > 1 else set()  # not searched, so at no default
    precision = spec.precision
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    changes = {
        "languages": languages,
        "config": {
            name: value for name, value in config.model_dump().items() if value != defaults[name] or name in fixed
        },
        "model": spec.model_name,
        "source": spec.source if spec.source != (type(task).source,) else None,
        "translations": spec.translations and Path(spec.translations).name,
        "revision": None,  # the commit or digest stands in the record's identity
        "resources": resources,
        "precision": precision,
        "training": {**spec.training.model_dump(), **unused, "learning_rate": rate},
        "lora": spec.lora if spec.tune == "lora" else Lora(),
    }
    return ResolvedSpec.model_validate({**spec.model_dump(), **changes})


def torch_device(name: str) -> torch.device:
    """The device of a name; auto takes a GPU where torch sees one. Raises XlbenchError where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= seen:
        raise XlbenchError(f"--device {name}: torch sees {seen} GPUs here; use --device cpu or auto")
    return device
