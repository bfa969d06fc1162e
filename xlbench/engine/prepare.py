"""From a RunSpec to a run that may start: names, settings, data, draw and contamination, resolved and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.corpora import CORPORA, Pair
from xlbench.engine import contamination
from xlbench.engine.tuning import LEARNING_RATES, Configuration, configurations, search_space, source_without_search
from xlbench.errors import NotSupported, XlbenchError, unknown
from xlbench.method import Method, MethodConfig
from xlbench.sources import DataSource
from xlbench.spec import ALL, Lora, RunSpec, Runtime, Training, digest, digest_of_list, parse
from xlbench.task import FewShot, Row, Task

PROTOCOL = "1"  # raised when a change in the harness changes numbers


@dataclass(frozen=True)
class Prepared:
    """Everything a run needs, resolved and checked, before anything is trained."""

    spec: RunSpec  # resolved: no `auto`, no `none` that the harness fills in
    method_class: type[Method]
    config: MethodConfig
    task: Task
    backbone: Backbone
    shots: FewShot
    test: Mapping[str, Sequence[Row]]
    pairs: Mapping[str, Sequence[Pair]]
    identity: dict[str, str]
    contamination: dict[str, Any]
    device: torch.device
    configurations: tuple[Configuration, ...]  # what is tried, the given one first
    asked: RunSpec  # as it was given: what another process prepares the same run from

    @property
    def id(self) -> str:
        """First 12 hexadecimal digits of the hash of all that can change a number."""
        return digest({"spec": self.spec.model_dump(mode="json"), **self.identity})[:12]


def prepare(spec: RunSpec, runtime: Runtime) -> Prepared:
    """Resolve and check a spec: names, settings, data, draw, contamination; load the backbone. Trains nothing.

    Raises XlbenchError for a mistake in what was asked, NotSupported where the method cannot run on the task.
    """
    registry.load_plugins(runtime.plugins)
    task: Task = class_of("task", spec.task, Task)()
    method_class: type[Method] = class_of("method", spec.method, Method)
    config = parse(method_class.Config, spec.config, f"the config of method {spec.method}")
    languages = task.check_languages(spec.languages)
    reason = method_class.supports(task)
    if reason:
        raise NotSupported(f"method {spec.method} does not run on task {spec.task}: {reason}")
    if method_class.couples_rows and spec.training.accumulate > 1:
        raise NotSupported(
            f"the loss of method {spec.method} couples rows: no batch goes through in parts (accumulate)"
        )
    device = torch_device(runtime.device)
    test = _test_set(task.name, languages, runtime.data_root, spec.test_premises)
    shots, left_out = _shots(task, spec, languages, runtime.data_root, test.sentences)
    needs_pairs = "parallel" in method_class.needs
    corpus = (spec.parallel or task.parallel) if needs_pairs else None
    if spec.parallel is not None and not needs_pairs:
        _known_corpus(task, spec.parallel)
    pairs = _pairs(task, corpus, languages, spec.parallel_size, runtime.data_root) if needs_pairs else {}
    compared = contamination.check(test.sentences, shots.train, shots.dev, pairs)
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
    backbone.text(spec.max_length)  # raises where the backbone reads fewer tokens
    method_class(config, backbone, task, languages, spec.max_length)  # raises for label words that cannot be scored
    learned = (*shots.train, *shots.dev, *(row for rows in shots.target_dev.values() for row in rows))
    identity = {
        "protocol": PROTOCOL,
        "task_version": task.version,
        "data": digest([_content(learned), test.digest, [_pair_content(side) for side in pairs.values()]])[:16],
        "test_data": test.digest,
        "shots": digest([_content(shots.train), _content(shots.dev)])[:16],
        "prompts": digest([task.templates, task.label_words])[:16],
        "revision": backbone.revision,
        "method_source": digest(source_without_search(method_class))[:16],
    }
    resolved = _resolved(spec, config, languages, corpus, backbone, device)
    if spec.trials > 1:
        identity["search"] = digest([LEARNING_RATES, search_space(spec.method, method_class.Config)])[:16]
    finding, tried = _finding(compared, test.sentences, shots.target_dev), configurations(resolved, config)
    if left_out:
        finding["left_out"] = left_out
    return Prepared(
        resolved, method_class, config, task, backbone, shots, test.rows, pairs, identity, finding, device, tried, spec
    )


def _finding(
    compared: Mapping[str, int], test: contamination.TestSentences, target_dev: Mapping[str, Sequence[Row]]
) -> dict[str, Any]:
    """What the guard found, for the record: counts and row ids, never text.

    What a method learns from shares nothing with the test, or the run is refused. The oracle's dev rows only choose
    its checkpoint, and short sentences of theirs may be test sentences once translated: those are counted and named.
    """
    texts = [(row.id, text) for rows in target_dev.values() for row in rows for text in row.texts]
    shared = [list(pair) for pair in dict.fromkeys(test.shared_with(texts))]
    return {
        "compared": {**compared, **({"target dev": len(texts)} if texts else {})},
        "test_sentences": len(test.rows),
        "shared": len(shared),
        "ids": shared,
    }


def class_of(kind: registry.Kind, name: str, base: type) -> Any:
    """The class of a name. Raises XlbenchError where a plug-in registered something else under it."""
    found = registry.get(kind, name)
    if not issubclass(found, base):
        place = registry.find(kind, name).place
        raise XlbenchError(f"the {kind} {name!r} ({place}): {found.__name__} is no {base.__name__}, its base class")
    return found


def _resolved(
    spec: RunSpec,
    config: MethodConfig,
    languages: tuple[str, ...],
    corpus: str | None,
    backbone: Backbone,
    device: torch.device,
) -> RunSpec:
    """The spec with every choice made, settings that play no part at their defaults, and nothing in it that only
    this machine knows (a model's folder)."""
    defaults = type(config)().model_dump()
    rate = spec.training.learning_rate or backbone.recommended_learning_rate
    unused = {"epochs": Training().epochs} if spec.training.steps else {}
    fixed = set(spec.config) & set(config.search) if spec.trials > 1 else set()  # not searched, so at no default
    return spec.with_(
        languages=languages,
        config={name: value for name, value in config.model_dump().items() if value != defaults[name] or name in fixed},
        model=spec.model_name,
        revision=None,  # the commit or digest stands in the record's identity
        parallel=corpus,
        parallel_size=spec.parallel_size if corpus else RunSpec.model_fields["parallel_size"].default,
        precision=_precision(spec.precision, device),
        training={**spec.training.model_dump(), **unused, "learning_rate": rate},
        lora=spec.lora if spec.tune == "lora" else Lora(),
    )


def _shots(
    task: Task, spec: RunSpec, languages: tuple[str, ...], root: Path | None, test: contamination.TestSentences
) -> tuple[FewShot, int]:
    """The draw, with the dev rows of the target languages where the oracle policy is asked for.

    Of all rows, those that share a sentence with the test are left out: how many, is told too. A draw of few that
    has such rows is refused later.
    """
    source, left_out = DataSource(root), 0
    if spec.split is not None and spec.draw:
        raise XlbenchError(f"--split {spec.split} is one fixed draw, so --draw must be 0, not {spec.draw}")
    if spec.shots == ALL:
        shots, left_out = _all_rows(task.name, languages, root, spec.test_premises)
    else:
        shots = task.draw(spec.shots, spec.draw, source, spec.split)
    if spec.selection != "oracle-target-dev":
        return shots, left_out
    targets = [language for language in languages if language != task.source]
    if not targets:
        raise XlbenchError("--selection oracle-target-dev needs a test language other than the source language")
    return FewShot(shots.train, shots.dev, shots.target_dev or task.target_dev(shots.dev, targets, source)), left_out


def torch_device(name: str) -> torch.device:
    """The device of a name; auto takes a GPU where torch sees one. Raises XlbenchError where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= seen:
        raise XlbenchError(f"--device {name}: torch sees {seen} GPUs here; use --device cpu or auto")
    return device


def _precision(asked: str, device: torch.device) -> str:
    if asked != "auto":
        return asked
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


@dataclass(frozen=True)
class TestSet:
    """The test rows by language, a digest of their content, and their sentences for the contamination guard."""

    __test__ = False  # not a test, whatever pytest thinks of the name
    rows: Mapping[str, Sequence[Row]]
    digest: str
    sentences: contamination.TestSentences


# Rows are read and fingerprinted once a process, for the cells of a suite share them. A task has no state, so
# its name and a data root name its rows.
@cache
def _test_set(name: str, languages: tuple[str, ...], root: Path | None, premises: int | None) -> TestSet:
    task: Task = registry.get("task", name)()
    rows = {language: task.test(language, DataSource(root), premises) for language in languages}
    sentences = contamination.TestSentences.of(row for side in rows.values() for row in side)
    return TestSet(rows, digest([_content(side) for side in rows.values()])[:16], sentences)


@cache
def _all_rows(name: str, languages: tuple[str, ...], root: Path | None, premises: int | None) -> tuple[FewShot, int]:
    """Every labelled row of the source language that shares no sentence with the test, and how many others are."""
    task: Task = registry.get("task", name)()
    test, whole = _test_set(name, languages, root, premises).sentences, task.draw(ALL, 0, DataSource(root))
    train, dev = (contamination.without_shared(test, rows) for rows in (whole.train, whole.dev))
    return FewShot(train, dev), len(whole.train) + len(whole.dev) - len(train) - len(dev)


@cache
def _pairs_of(name: str, corpus: str, language: str, size: int, root: Path | None) -> tuple[Pair, ...]:
    task: Task = registry.get("task", name)()
    if corpus == name:
        return tuple(task.parallel_pairs(language, size, DataSource(root)))
    return tuple(CORPORA[corpus](task.source, language, size, DataSource(root)))


def _pairs(
    task: Task, corpus: str | None, languages: Sequence[str], size: int, root: Path | None
) -> dict[str, Sequence[Pair]]:
    """Pairs by target language; a language that the corpus lacks is absent. Raises for an unknown corpus."""
    if corpus is None:
        raise XlbenchError(f"task {task.name} has no parallel corpus of its own; name one with --parallel")
    _known_corpus(task, corpus)
    targets = [language for language in languages if language != task.source]
    found = {language: _pairs_of(task.name, corpus, language, size, root) for language in targets}
    return {language: pairs for language, pairs in found.items() if pairs}


def _known_corpus(task: Task, corpus: str) -> None:
    """Raises XlbenchError for a parallel corpus that neither xlbench nor the task brings."""
    own = [task.name] if task.parallel == task.name else []
    if corpus not in CORPORA and corpus not in own:
        raise unknown("parallel corpus", corpus, [*CORPORA, *own])


@cache
def _pair_content(pairs: tuple[Pair, ...]) -> str:
    return digest([(pair.id, pair.source, pair.target) for pair in pairs])


def _content(rows: Sequence[Row]) -> str:
    """A digest of rows: ids, texts and labels."""
    return digest_of_list((row.id, row.texts, row.label, row.premise_id) for row in rows)
