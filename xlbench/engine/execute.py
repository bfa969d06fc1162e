"""One run, from a RunSpec to its record: draw, encode, train, select, score every test row, write."""

import functools
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from xlbench.engine.checkpoint import Checkpoint, Spent, folder_of, forget
from xlbench.engine.costs import Stopwatch, gpu_joules, joules_since, parameters, peak_memory
from xlbench.engine.flops import FlopMeter
from xlbench.engine.footprint import note_if_close, refuse_what_cannot_fit
from xlbench.engine.predict import accuracy, default_token_budget, mean_loss, predict
from xlbench.engine.prepare import Prepared, prepare
from xlbench.engine.token_budget import TokenBudget
from xlbench.engine.trackers import Followed
from xlbench.engine.train import fit, generator
from xlbench.engine.tuning import Choice, Configuration, Trained, best_of
from xlbench.errors import NotSupported, Refused, XlbenchError
from xlbench.host.fault_place import place_of
from xlbench.host.memory import PEAK
from xlbench.host.progress import Progress
from xlbench.host.provenance import commit, environment, versions
from xlbench.literature import known_leaks
from xlbench.method import Method, MethodConfig, Resources, Stream
from xlbench.prompts import Encoded
from xlbench.records.bucket import store_at
from xlbench.records.leftovers import sweep
from xlbench.records.record import Record
from xlbench.records.vetting import kept
from xlbench.spec import RunSpec, Runtime
from xlbench.task import FewShot, Row

Meters = dict[str, list[FlopMeter]]  # what counts the FLOPs of each stage, of each trial by itself


def run(spec: RunSpec, runtime: Runtime | None = None, progress: Progress | None = None) -> Record:
    """Compute a run, or find it among the records, and return its record.

    Raises XlbenchError for a mistake in what was asked (nothing is written), NotSupported where the method
    cannot run on the task. Any other exception leaves a failed record and is raised again.
    """
    runtime, progress = runtime or Runtime(), progress or Progress()
    prepared = prepare(spec, runtime)
    store = store_at(runtime.runs)
    found = kept(store, prepared.id, progress.say)
    if found is not None:
        return found
    sweep(store.root)
    return execute(prepared, runtime, progress)


def execute(prepared: Prepared, runtime: Runtime, progress: Progress) -> Record:
    """Train, score and write a prepared run. An exception leaves a failed record and is raised again."""
    started, clock = datetime.now(UTC), time.perf_counter()
    common = _common(prepared, started)
    store = store_at(runtime.runs)
    store.ready()
    followed = Followed(runtime.tracker, prepared.id, prepared.spec, progress)
    try:
        trims = prepared.method_class.words_beside_batches is not Method.words_beside_batches
        refuse_what_cannot_fit(prepared.backbone, prepared.spec, prepared.device, words=0 if trims else None)
        found, predictions = _compute(prepared, runtime, followed)
    except (NotSupported, Refused):  # nothing broke: what was asked cannot be done
        raise
    except Exception as fault:
        seconds = time.perf_counter() - clock
        place = place_of(fault, prepared.method_class)
        fault.add_note(place)
        error = f"{type(fault).__name__}: {fault} ({place})"
        failed = Record(status="failed", error=error, seconds=round(seconds, 2), **common)
        store.write(failed)
        forget(store.root, prepared.id)
        followed.ended(failed)
        raise
    seconds = time.perf_counter() - clock
    record = Record(status="finished", seconds=round(seconds, 2), **{**common, **found})
    store.write(record, predictions)
    forget(store.root, prepared.id)
    followed.ended(record)
    return record


def record_failure(prepared: Prepared, runtime: Runtime, reason: str, seconds: float, threads: int) -> None:
    """Record as failed a run that another process began, with `threads` torch threads, and could not record itself.

    Raises XlbenchError where the record cannot be written. A finished record stays.
    """
    common = _common(prepared, datetime.now(UTC) - timedelta(seconds=seconds))
    common["environment"] |= {"threads": threads}
    store_at(runtime.runs).write(Record(status="failed", error=reason, seconds=round(seconds, 2), **common))


def _common(prepared: Prepared, started: datetime) -> dict[str, Any]:
    """The fields of a record that are known before anything is trained."""
    return {
        "id": prepared.id,
        "spec": prepared.spec,
        "identity": prepared.identity,
        "method_config": prepared.config.model_dump(mode="json"),
        "source_language": prepared.task.source,
        "labels": prepared.task.labels,
        "unit": prepared.task.unit,
        "versions": versions(),
        "commit": commit(),
        "environment": environment(prepared.device),
        "contamination": prepared.contamination,
        "started": started.isoformat(timespec="seconds"),
    }


def _compute(prepared: Prepared, runtime: Runtime, progress: Progress) -> tuple[dict[str, Any], pa.Table]:
    """The run itself: the fields of the record that are measured, and the predictions."""
    spec, device = prepared.spec, prepared.device
    assert spec.languages is not None
    budget = runtime.token_budget or default_token_budget(device)
    watch, drawn = Stopwatch(), gpu_joules(device)
    if device.type == "cuda":
        PEAK.start(device)
    counted = prepared.backbone if runtime.count_flops else None
    meters: Meters = {"training": [], "evaluation": [], "test": [FlopMeter(counted)]}
    train = functools.partial(_train, prepared, runtime, watch, progress, meters)
    choice = best_of(prepared.configurations, train, device, watch, progress)
    method = choice.trained.method
    with watch.stage("encoding"):
        encoded = [method.encode_labelled(rows, language) for language, rows in prepared.test.items()]
    with progress.stage("test", sum(map(len, encoded))), watch.stage("test"):
        every = predict(method, Encoded.join(encoded), device, spec.precision, budget, progress, meters["test"][0])
    scores = dict(zip(prepared.test, np.split(every, np.cumsum([len(part) for part in encoded])[:-1]), strict=True))
    rows = [row for language in spec.languages for row in prepared.test[language]]
    table = _predictions(rows, np.concatenate([scores[language] for language in spec.languages]))
    notes = [*known_leaks(spec), *_shared(prepared.contamination), *choice.notes, *method.notes]
    smaller = TokenBudget(budget, device, method.backbone.name).note
    costs = _costs(prepared, choice, watch, meters) | joules_since(drawn, device)
    told = {"costs": costs, "notes": tuple(dict.fromkeys(filter(None, [*notes, smaller])))}
    return _measured(prepared, choice, scores) | told, table


def _train(
    prepared: Prepared,
    runtime: Runtime,
    watch: Stopwatch,
    progress: Progress,
    meters: Meters,
    configuration: Configuration,
) -> Trained:
    """One configuration, trained from the start: the same numbers whatever was trained before it."""
    spec, device = prepared.spec, prepared.device
    budget = runtime.token_budget or default_token_budget(device)
    counted, trial = prepared.backbone if runtime.count_flops else None, len(meters["training"])
    training, selection = FlopMeter(counted), FlopMeter(counted)
    meters["training"].append(training)
    meters["evaluation"].append(selection)
    checkpoint = _checkpoint(prepared, runtime, trial, Spent(watch, training, selection))
    try:
        method, module, shots, selecting, streams = _ready(prepared, watch, configuration.config)
    except NotSupported:
        raise
    except XlbenchError as fault:
        raise Refused(str(fault)) from fault

    def evaluate() -> tuple[float, float]:
        scores = predict(method, selecting, device, spec.precision, budget, flops=selection)
        assert selecting.labels is not None
        return accuracy(scores, selecting.labels), mean_loss(scores, selecting.labels)

    inputs = [shots, *(stream.encoded for stream in streams.values())]
    read = words_read(method, [*inputs, selecting])
    at_once, words = spec.training.batch_size // spec.training.accumulate, None if read is None else len(read)
    close = note_if_close(prepared.backbone, spec, device, inputs, at_once, words)
    if close:
        progress.say(close)
        method.notes.append(close)
    with watch.stage("training"):
        trimmed = read is not None and method.backbone.trim(read)
        fitted = fit(
            method, module, shots, streams, evaluate, configuration.training, spec.selection,
            spec.seed, device, spec.precision, watch, progress, training, checkpoint,
        )  # fmt: skip
        if trimmed:
            method.backbone.untrim(fitted.kept)
    method.notes.extend(checkpoint.notes if checkpoint else ())
    if spec.trials == 1:
        return Trained(configuration, method, module, fitted, None)
    with watch.stage("evaluation"):
        return Trained(configuration, method, module, fitted, evaluate())


def _checkpoint(prepared: Prepared, runtime: Runtime, trial: int, spent: Spent) -> Checkpoint | None:
    """Where the state of a trial's training is kept; None where it is not."""
    if not runtime.checkpoint_minutes or not prepared.method_class.resumable:
        return None
    here = environment(prepared.device)
    made_with = {**versions(), **{name: str(here[name]) for name in ("device_name", "threads")}}
    file = folder_of(store_at(runtime.runs).root, prepared.id) / f"trial-{trial:04}.safetensors"
    return Checkpoint(file, made_with, runtime.checkpoint_minutes, spent)


def _ready(
    prepared: Prepared, watch: Stopwatch, config: MethodConfig
) -> tuple[Method, torch.nn.Module, Encoded, Encoded, dict[str, Stream]]:
    """A method built on a fresh backbone; its module, the shots, the rows that select, and what else a step needs."""
    spec, task = prepared.spec, prepared.task
    assert spec.languages is not None
    with watch.stage("setup"):
        torch.manual_seed(spec.seed)
        backbone = prepared.backbone.fresh(spec.tune, spec.lora)
        method = prepared.method_class(config, backbone, task, spec.languages, spec.max_length)
        module = method.build(backbone, task)
        module.to(prepared.device)
        backbone.to(prepared.device)
    with watch.stage("encoding"):
        shots = method.encode_labelled(prepared.shots.train, task.source)
        selecting = _selecting_rows(method, prepared.shots, spec)
        streams = method.streams(Resources(prepared.shots.train, prepared.pairs, generator(spec.seed, "resources")))
    return method, module, shots, selecting, streams


def words_read(method: Method, encoded: Sequence[Encoded]) -> np.ndarray | None:
    """The ids whose word embeddings a method's training can read, (u,) sorted; None where that is not known."""
    beside = method.words_beside_batches()
    if beside is None:
        return None
    read = np.zeros(len(method.backbone.word_embeddings()), dtype=bool)
    read[[method.backbone.tokenizer.pad_token_id, 0, *beside]] = True  # 0 stands for a prompt vector until it is put in
    for part in encoded:
        for ids in part.ids:
            read[ids[ids >= 0]] = True
    return np.flatnonzero(read)


def _selecting_rows(method: Method, shots: FewShot, spec: RunSpec) -> Encoded:
    """The rows that choose the checkpoint: the source dev rows, or the target's for the oracle policy."""
    if spec.selection != "oracle-target-dev":
        return method.encode_labelled(shots.dev, method.task.source)
    return Encoded.join([method.encode_labelled(rows, language) for language, rows in shots.target_dev.items()])


def _costs(prepared: Prepared, choice: Choice, watch: Stopwatch, meters: Meters) -> dict[str, float]:
    """Seconds and FLOPs by stage, test rows per second, parameters and memory; what was not there has no key."""
    costs: dict[str, float] = {
        f"{stage}_seconds": round(seconds, 3) for stage, seconds in sorted(watch.seconds.items())
    }
    rows = sum(len(rows) for rows in prepared.test.values())
    costs |= {f"{stage}_flops": total for stage, its in meters.items() if (total := round(sum(m.total for m in its)))}
    costs["test_rows_per_second"] = round(rows / max(watch.seconds["test"], 1e-9), 1)
    trained = choice.trained
    return costs | choice.costs | parameters(trained.module, trained.method.backbone) | peak_memory(prepared.device)


def _measured(prepared: Prepared, choice: Choice, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a record says beside what was asked and what it cost: accuracies, and the selected step."""
    fitted = choice.trained.fitted
    phenomena: dict[str, dict[str, float]] = {}
    right: dict[str, float] = {}
    for language, rows in prepared.test.items():
        gold = np.array([row.label for row in rows])
        right[language] = accuracy(scores[language], gold)
        kinds = np.array([row.phenomenon for row in rows])
        for kind in sorted(set(kinds.tolist()) - {""}):
            phenomena.setdefault(kind, {})[language] = accuracy(scores[language][kinds == kind], gold[kinds == kind])
    rows_tested = sum(len(rows) for rows in prepared.test.values())
    premises = {row.premise_id for rows in prepared.test.values() for row in rows}
    return {
        "method_config": choice.trained.configuration.config.model_dump(mode="json"),
        "test": {"rows": rows_tested, "premises": len(premises), "languages": len(prepared.test)},
        "accuracy": right,
        "phenomena": phenomena,
        "selection": {
            "policy": prepared.spec.selection,
            "step": fitted.step,
            "steps": fitted.steps,
            "history": fitted.history,
            **choice.found,
        },
    }


def _shared(contamination: Mapping[str, Any]) -> list[str]:
    """Notes on the oracle's dev rows that are test sentences, and on rows left out for that, where there are any."""
    number, left_out = contamination["shared"], contamination.get("left_out", 0)
    said = f"sentences of the oracle's dev rows that are test sentences too: {number}; the ids are in the record"
    fewer = f"rows left out of all labelled ones, for they share a sentence with the test: {left_out}"
    return [said] * bool(number) + [fewer] * bool(left_out)


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
