"""One run, from a RunSpec to its record: draw, encode, train, select, score every test row, write."""

import functools
import os
import platform
import subprocess
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from xlbench import contamination, registry
from xlbench.backbone import Backbone
from xlbench.corpora import CORPORA, Pair
from xlbench.costs import Stopwatch, parameters, peak_memory
from xlbench.errors import NotSupported, XlbenchError, unknown
from xlbench.inference import accuracy, predict
from xlbench.method import Method, MethodConfig, Resources
from xlbench.progress import Progress
from xlbench.prompts import Encoded
from xlbench.sources import DataSource
from xlbench.spec import RunSpec, Runtime, digest, parse
from xlbench.store import Record, Store
from xlbench.task import FewShot, Row, Task
from xlbench.training import Fitted, fit, generator
from xlbench.version import __version__

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

    @property
    def id(self) -> str:
        """First 12 hexadecimal digits of the hash of all that can change a number."""
        return digest({"spec": self.spec.model_dump(mode="json"), **self.identity})[:12]


def run(spec: RunSpec, runtime: Runtime | None = None, progress: Progress | None = None) -> Record:
    """Compute a run, or find it among the records, and return its record.

    Raises XlbenchError for a mistake in what was asked (nothing is written), NotSupported where the method
    cannot run on the task. Any other exception leaves a failed record and is raised again.
    """
    runtime, progress = runtime or Runtime(), progress or Progress()
    prepared = prepare(spec, runtime)
    found = Store(runtime.runs).finished(prepared.id)
    if found is not None:
        return found
    return execute(prepared, runtime, progress)


def prepare(spec: RunSpec, runtime: Runtime) -> Prepared:
    """Resolve and check a spec: names, settings, data, draw, contamination; load the backbone. Trains nothing."""
    for plugin in runtime.plugins:
        registry.load_plugin(plugin)
    task: Task = registry.get("task", spec.task)()
    method_class: type[Method] = registry.get("method", spec.method)
    config = parse(method_class.Config, spec.config, f"the config of method {spec.method}")
    languages = task.check_languages(spec.languages)
    reason = method_class.supports(task)
    if reason:
        raise NotSupported(f"method {spec.method} does not run on task {spec.task}: {reason}")
    device = torch_device(runtime.device)
    source = DataSource(runtime.data_root)
    shots = task.draw(spec.shots, spec.draw, source, spec.split)
    test = {language: _test_rows(task, language, runtime.data_root, spec.test_premises) for language in languages}
    targets = [language for language in languages if language != task.source]
    if spec.selection == "oracle-target-dev":
        if not targets:
            raise XlbenchError("oracle-target-dev needs a test language other than the source language")
        shots = FewShot(shots.train, shots.dev, task.target_dev(shots.dev, targets, source))
    pairs: dict[str, Sequence[Pair]] = {}
    parallel = None
    if "parallel" in method_class.needs:
        parallel = spec.parallel or task.parallel
        pairs = _pairs(task, parallel, targets, spec.parallel_size, runtime.data_root)
    backbone = Backbone.load(spec.model, spec.revision)
    if method_class.needs_masked_lm and not backbone.has_masked_lm_head:
        raise XlbenchError(
            f"the backbone {spec.model} has no masked-LM head, which method {spec.method} needs; "
            "choose a masked language model, or --method finetune"
        )
    learned = (*shots.train, *shots.dev, *(row for rows in shots.target_dev.values() for row in rows))
    finding = contamination.check(
        _test_sentences(task, languages, runtime.data_root, spec.test_premises), shots.train, shots.dev, pairs
    )
    resolved = spec.with_(
        languages=languages,
        config={
            name: value for name, value in spec.config.items() if value != method_class.Config().model_dump()[name]
        },
        model=spec.model
        if not Path(spec.model).expanduser().is_dir()
        else Path(spec.model).expanduser().resolve().name,
        revision=None,
        parallel=parallel,
        parallel_size=spec.parallel_size if parallel else RunSpec.model_fields["parallel_size"].default,
        precision=_precision(spec.precision, device),
        training={
            **spec.training.model_dump(),
            "learning_rate": spec.training.learning_rate or backbone.recommended_learning_rate,
        },
    )
    identity = {
        "protocol": PROTOCOL,
        "task_version": task.version,
        "data": digest([_content(learned), _test_digest(task, languages, runtime.data_root, spec.test_premises),
                        [(p.id, p.source, p.target) for side in pairs.values() for p in side]])[:16],
        "test_data": _test_digest(task, languages, runtime.data_root, spec.test_premises),
        "revision": backbone.revision,
        "method_source": digest(registry.source_of(method_class))[:16],
    }  # fmt: skip
    return Prepared(
        resolved, method_class, config, task, backbone, shots, test, pairs, identity, {"compared": finding, "shared": 0}, device
    )  # fmt: skip


def execute(prepared: Prepared, runtime: Runtime, progress: Progress) -> Record:
    """Train, score and write a prepared run. An exception leaves a failed record and is raised again."""
    started, clock = datetime.now(UTC), time.perf_counter()
    common: dict[str, Any] = {
        "id": prepared.id,
        "spec": prepared.spec,
        "identity": prepared.identity,
        "method_config": prepared.config.model_dump(mode="json"),
        "source_language": prepared.task.source,
        "labels": prepared.task.labels,
        "versions": versions(),
        "commit": commit(),
        "environment": environment(prepared.device),
        "contamination": prepared.contamination,
        "started": started.isoformat(timespec="seconds"),
    }
    store = Store(runtime.runs)
    try:
        found, predictions = _compute(prepared, runtime, progress)
    except Exception as fault:
        seconds = time.perf_counter() - clock
        store.write(Record(status="failed", error=_reason(fault), seconds=round(seconds, 2), **common))
        raise
    seconds = time.perf_counter() - clock
    record = Record(status="finished", seconds=round(seconds, 2), **found, **common)
    store.write(record, predictions)
    return record


def _compute(prepared: Prepared, runtime: Runtime, progress: Progress) -> tuple[dict[str, Any], pa.Table]:
    """The run itself: the fields of the record that are measured, and the predictions."""
    spec, task, device = prepared.spec, prepared.task, prepared.device
    assert spec.languages is not None
    watch = Stopwatch()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with watch.stage("setup"):
        torch.manual_seed(spec.seed)
        backbone = prepared.backbone.fresh(spec.tune, spec.lora)
        method = prepared.method_class(prepared.config, backbone, task, spec.languages, spec.max_length)
        module = method.build(backbone, task)
        module.to(device)
        backbone.to(device)
    with watch.stage("encoding"):
        shots = method.encode_labelled(prepared.shots.train, task.source)
        selecting = _selecting_rows(method, prepared.shots, spec)
        streams = method.streams(Resources(prepared.shots.train, prepared.pairs, generator(spec.seed, "resources")))

    def evaluate() -> tuple[float, float]:
        scores = predict(method, selecting, device, spec.precision, runtime.token_budget)
        assert selecting.labels is not None
        chosen = scores[np.arange(len(scores)), selecting.labels]
        return accuracy(scores, selecting.labels), -float(chosen.mean())

    with watch.stage("training"):
        fitted = fit(
            method, module, shots, streams, evaluate, spec.training, spec.selection,
            spec.seed, device, spec.precision, watch, progress,
        )  # fmt: skip
    scores: dict[str, np.ndarray] = {}
    with progress.stage("test", sum(len(rows) for rows in prepared.test.values())):
        for language, rows in prepared.test.items():
            with watch.stage("encoding"):
                encoded = method.encode_labelled(rows, language)
            with watch.stage("evaluation"), watch.stage("test"):
                scores[language] = predict(method, encoded, device, spec.precision, runtime.token_budget, progress)
    rows = [row for language in spec.languages for row in prepared.test[language]]
    table = _predictions(rows, np.concatenate([scores[language] for language in spec.languages]))
    return _measured(prepared, method, module, fitted, scores, watch), table


def _selecting_rows(method: Method, shots: FewShot, spec: RunSpec) -> Encoded:
    """The rows that choose the checkpoint: the source dev rows, or the target's for the oracle policy."""
    if spec.selection != "oracle-target-dev":
        return method.encode_labelled(shots.dev, method.task.source)
    return Encoded.join([method.encode_labelled(rows, language) for language, rows in shots.target_dev.items()])


def _measured(
    prepared: Prepared, method: Method, module: torch.nn.Module, fitted: Fitted, scores: Mapping[str, np.ndarray], watch: Stopwatch
) -> dict[str, Any]:  # fmt: skip
    phenomena: dict[str, dict[str, float]] = {}
    right: dict[str, float] = {}
    for language, rows in prepared.test.items():
        gold = np.array([row.label for row in rows])
        right[language] = accuracy(scores[language], gold)
        kinds = np.array([row.phenomenon for row in rows])
        for kind in sorted(set(kinds.tolist()) - {""}):
            phenomena.setdefault(kind, {})[language] = accuracy(scores[language][kinds == kind], gold[kinds == kind])
    rows_tested = sum(len(rows) for rows in prepared.test.values())
    costs: dict[str, float] = {
        f"{stage}_seconds": round(seconds, 3) for stage, seconds in sorted(watch.seconds.items())
    }
    costs["test_rows_per_second"] = round(rows_tested / max(watch.seconds["test"], 1e-9), 1)
    costs |= parameters(module, method.backbone) | peak_memory(prepared.device)
    premises = {row.premise_id for rows in prepared.test.values() for row in rows}
    return {
        "test": {"rows": rows_tested, "premises": len(premises), "languages": len(prepared.test)},
        "accuracy": right,
        "phenomena": phenomena,
        "selection": {
            "policy": prepared.spec.selection,
            "step": fitted.step,
            "steps": fitted.steps,
            "history": fitted.history,
        },
        "costs": costs,
        "notes": tuple(dict.fromkeys(method.notes)),
    }


def _predictions(rows: Sequence[Row], scores: np.ndarray) -> pa.Table:
    """What statistics are computed from: one line a test row, no text."""
    columns: dict[str, Any] = {
        "row_id": pa.array([row.id for row in rows]).dictionary_encode(),
        "premise_id": pa.array([row.premise_id for row in rows]).dictionary_encode(),
        "language": pa.array([row.language for row in rows]).dictionary_encode(),
        "gold": pa.array([row.label for row in rows], pa.int8()),
    }
    for label in range(scores.shape[1]):
        columns[f"log_prob_{label}"] = pa.array(scores[:, label], pa.float32())
    return pa.table(columns)


def torch_device(name: str) -> torch.device:
    """The device of a name; auto takes a GPU where torch sees one. Raises XlbenchError where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise XlbenchError(f"--device {name}: torch sees {seen} GPUs here; use --device cpu or auto")
    return device


def _precision(asked: str, device: torch.device) -> str:
    if asked != "auto":
        return asked
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def _pairs(
    task: Task, corpus: str | None, targets: Sequence[str], size: int, root: Path | None
) -> dict[str, Sequence[Pair]]:
    """Pairs by target language; a language that the corpus lacks is absent. Raises for an unknown corpus."""
    if corpus is None:
        raise XlbenchError(f"task {task.name} has no parallel corpus of its own; name one with --parallel")
    if corpus != task.name and corpus not in CORPORA:
        raise unknown("parallel corpus", corpus, [*CORPORA, *([task.name] if task.parallel == task.name else [])])
    found = {language: _pairs_of(task, corpus, language, size, root) for language in targets}
    return {language: pairs for language, pairs in found.items() if pairs}


# Rows are read and fingerprinted once a process: the cells of a suite share them. A task has no state, so
# its class and a data root name its rows.
_CACHE: dict[tuple[Any, ...], Any] = {}


def _remember(key: tuple[Any, ...], make: Any) -> Any:
    if key not in _CACHE:
        _CACHE[key] = make()
    return _CACHE[key]


def _test_rows(task: Task, language: str, root: Path | None, premises: int | None) -> Sequence[Row]:
    key = ("test", type(task), language, root, premises)
    rows: Sequence[Row] = _remember(key, lambda: task.test(language, DataSource(root), premises))
    return rows


def _test_digest(task: Task, languages: tuple[str, ...], root: Path | None, premises: int | None) -> str:
    key = ("digest", type(task), languages, root, premises)
    rows = {language: _test_rows(task, language, root, premises) for language in languages}
    found: str = _remember(key, lambda: digest([_content(side) for side in rows.values()])[:16])
    return found


def _test_sentences(
    task: Task, languages: tuple[str, ...], root: Path | None, premises: int | None
) -> contamination.TestSentences:
    key = ("sentences", type(task), languages, root, premises)
    rows = [_test_rows(task, language, root, premises) for language in languages]
    found: contamination.TestSentences = _remember(
        key, lambda: contamination.TestSentences.of(row for side in rows for row in side)
    )
    return found


def _pairs_of(task: Task, corpus: str, language: str, size: int, root: Path | None) -> list[Pair]:
    def make() -> list[Pair]:
        source = DataSource(root)
        if corpus == task.name:
            return task.parallel_pairs(language, size, source)
        return CORPORA[corpus](task.source, language, size, source)

    pairs: list[Pair] = _remember(("pairs", type(task), corpus, language, size, root), make)
    return pairs


def _content(rows: Sequence[Row]) -> str:
    """A digest of rows: ids, texts and labels."""
    return digest([(row.id, row.texts, row.label, row.premise_id) for row in rows])


def _reason(fault: BaseException) -> str:
    """What a failed record says: the exception, and the last line of the code that raised it."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__}: {fault} ({Path(frame.filename).name}:{frame.lineno})"


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what can change a number."""
    packages = ("torch", "transformers", "tokenizers", "peft", "numpy", "datasets")
    return {
        "xlbench": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


@functools.cache
def commit() -> str:
    """The commit of the checkout that xlbench runs from, with `-dirty` where it differs; empty outside one."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def environment(device: torch.device) -> dict[str, Any]:
    """What the run was computed on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
