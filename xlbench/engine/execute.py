"""One run, from a RunSpec to its record: draw, encode, train, select, score every test row, write."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from xlbench.engine.checkpoint import Checkpoint, Spent, folder_of, forget, write_weights
from xlbench.engine.footprint import note_if_close, refuse_what_cannot_fit
from xlbench.engine.predict import TokenBudget, predict
from xlbench.engine.prepare import Prepared, prepare
from xlbench.engine.session import Session, gpu_joules, joules_since, parameters, peak_memory
from xlbench.engine.trackers import Followed
from xlbench.engine.train import Fitted, Movement, fit, generator, rows_seen
from xlbench.engine.tuning import Choice, Configuration, Trained, best_of
from xlbench.errors import NotSupported, Refused, XlbenchError
from xlbench.host.fault_place import place_of
from xlbench.host.memory import PEAK
from xlbench.host.progress import Progress
from xlbench.host.provenance import commit, environment, versions
from xlbench.literature import known_leaks
from xlbench.method import Method, MethodConfig, Resources
from xlbench.prompts import Encoded
from xlbench.records.bucket import store_at
from xlbench.records.leftovers import sweep
from xlbench.records.record import Record
from xlbench.records.vetting import kept, result_of
from xlbench.spec import NONE, ResolvedSpec, RunSpec, Runtime
from xlbench.task import Row
from xlbench.translations import beside

UNTRAINED_ROWS = 300  # by which it is told what a method scores before training


def run(spec: RunSpec, runtime: Runtime | None = None, progress: Progress | None = None) -> Record:
    """Compute a run, or find it among the records, and return its record.

    Raises XlbenchError for a mistake in what was asked (nothing is written), NotSupported where the method
    cannot run on the task, RefusedData for a record that no board takes for its data: it is kept, and not computed
    again. Any other exception leaves a failed record and is raised again.
    """
    runtime, progress = runtime or Runtime(), progress or Progress()
    prepared = prepare(spec, runtime)
    store = store_at(runtime.runs)
    result = kept(store, prepared.id, progress.say)
    if result is not None:
        record = result.record
        progress.say(f"the record {record.id} is there already, from {record.started}: nothing was computed")
        return record
    sweep(store.root)
    return result_of(execute(prepared, runtime, progress), store).record


def execute(prepared: Prepared, runtime: Runtime, progress: Progress) -> Record:
    """Train, score and write a prepared run. An exception leaves a failed record and is raised again."""
    clock = time.perf_counter()
    common = _common(prepared, datetime.now(UTC))
    store = store_at(runtime.runs)
    store.ready()
    followed = Followed(runtime.tracker, prepared.id, prepared.spec, progress)

    def seconds() -> float:
        return round(time.perf_counter() - clock, 2)

    def ended(record: Record, predictions: pa.Table | None = None) -> Record:
        store.write(record, predictions)
        forget(store.root, prepared.id)
        followed.ended(record)
        return record

    try:
        words = None if prepared.method_class.whole_vocabulary else 0
        refuse_what_cannot_fit(prepared.backbone, _as_it_trains(prepared), prepared.device, words)
        session = Session(prepared.device, prepared.spec.precision, runtime.token_budget or 0, followed)
        measured, predictions = _compute(prepared, runtime, session)
    except (NotSupported, Refused):  # nothing broke: what was asked cannot be done
        raise
    except Exception as fault:
        place = place_of(fault, prepared.method_class)
        fault.add_note(place)
        error = f"{type(fault).__name__}: {fault} ({place})"
        ended(Record(status="failed", error=error, seconds=seconds(), **common))
        raise
    return ended(Record(status="finished", seconds=seconds(), **{**common, **measured}), predictions)


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
        "problem": prepared.task.problem.described(),
        "metric": prepared.task.problem.metric.name,
        "unit": prepared.task.unit,
        "aligned": prepared.episode.test.rows.aligned,
        "versions": versions(),
        "commit": commit(),
        "environment": environment(prepared.device),
        "contamination": prepared.contamination,
        "started": started.isoformat(timespec="seconds"),
    }


def _compute(prepared: Prepared, runtime: Runtime, session: Session) -> tuple[dict[str, Any], pa.Table]:
    """The run itself: the fields of the record that are measured, and the predictions."""
    device, test = prepared.device, prepared.episode.test.rows
    joules = gpu_joules(device)
    if device.type == "cuda":
        PEAK.start(device)
    trials = iter(range(len(prepared.configurations)))
    choice = best_of(
        prepared.configurations,
        lambda chosen: _train(prepared, runtime, session, chosen, next(trials)),
        session,
        by_loss=prepared.spec.few,
    )
    method = choice.trained.method
    if runtime.keep_weights is not None:
        write_weights(runtime.keep_weights.expanduser(), prepared.id, choice.trained.module)
    session.count(method.backbone if runtime.count_flops else None)
    by_language = tested(prepared, method, session)
    scores = np.concatenate([*by_language.values()])
    measured = _measured(prepared, choice, by_language)
    rows = [row for side in test.by_language.values() for row in side]
    smaller = TokenBudget(session.tokens, device, method.backbone.name).note
    notes = [*known_leaks(prepared.spec), *_of_data(prepared), *choice.notes, *method.notes, smaller]
    costs = _costs(prepared, choice, session) | session.flops | joules_since(joules, device)
    told = {"costs": costs, "notes": tuple(dict.fromkeys(filter(None, notes)))}
    return measured | told, predictions_of(prepared, rows, scores)


def tested(prepared: Prepared, method: Method, session: Session) -> dict[str, np.ndarray]:
    """Log-probabilities of the test rows by language: read as they are, in translation, or as the mean of the two
    probabilities, as the run says; or both at once, where a method reads so."""
    test, read, moved = prepared.episode.test.rows, prepared.spec.read, prepared.episode.in_source.rows
    own = {name: rows for name, rows in test.by_language.items() if read != "translation" or name not in moved}
    if prepared.method_class.reads_beside:
        own, moved = {name: beside(rows, moved.get(name, ())) for name, rows in own.items()}, {}
    views = [("own", name, rows) for name, rows in own.items()]
    views += [("translation", name, rows) for name, rows in moved.items()]
    with session.watch.stage("encoding"):
        encoded = [method.encode_labelled(rows) for _, _, rows in views]
    with session.progress.stage("test", sum(map(len, encoded))), session.watch.stage("test"):
        scores = predict(method, Encoded.join(encoded), session, "test")
    sides = np.split(scores, np.cumsum([len(side) for side in encoded])[:-1])
    by_view = {(view, name): side for (view, name, _), side in zip(views, sides, strict=True)}
    found = {}  # of one width, for all views are scored together
    for name in test.by_language:
        of_language = [by_view[view, name] for view in ("own", "translation") if (view, name) in by_view]
        with np.errstate(divide="ignore"):
            found[name] = of_language[0] if len(of_language) == 1 else np.log(np.exp(of_language).mean(axis=0))
    return found


def _train(
    prepared: Prepared, runtime: Runtime, session: Session, configuration: Configuration, number: int
) -> Trained:
    """One configuration, trained from the start: the same numbers whatever was trained before it."""
    spec, problem, watch, dev = prepared.spec, prepared.task.problem, session.watch, prepared.episode.shots.dev
    if spec.oracle:
        dev = tuple(row for rows in prepared.episode.shots.target_dev.values() for row in rows)
    session.count(prepared.backbone if runtime.count_flops else None)
    checkpoint = _checkpoint(prepared, runtime, number, session)
    try:
        method, module, resources = built(prepared, session, configuration.config)
        with watch.stage("encoding"):
            if spec.shots != NONE:
                shots = method.encode_labelled(resources.shots)
                selecting = method.encode_labelled(dev)
                streams = method.streams(resources)
    except NotSupported:
        raise
    except XlbenchError as fault:
        raise Refused(str(fault)) from fault
    gold = [row.gold for row in dev]

    def evaluate() -> tuple[float, float]:
        scores = predict(method, selecting, session)
        return problem.scores(gold, scores)[problem.metrics[0]], problem.loss(scores, gold)

    learnt: dict[str, dict[str, float]] = {}
    if spec.shots == NONE:
        module.eval()
        fitted = Fitted(0, 0, 0, 1.0, [])
    elif not method.learns_by_gradient():
        fitted = Fitted(0, 0, 0, 1.0, [])
        with watch.stage("training"):
            method.fit(resources)
    else:
        module.eval()  # else dropout would draw, and training begin elsewhere
        learnt["before training"] = _untrained(prepared, method, session)
        movement = Movement(method, module, prepared.backbone)
        beside_shots = (encoded for stream in streams.values() for encoded in (stream.encoded, *stream.others))
        inputs, training = [shots, *beside_shots], configuration.training
        read = words_read(method, [*inputs, selecting])  # the other word embeddings are left out
        words = None if read is None else len(read)
        at_once = training.batch_size // training.accumulate
        close = note_if_close(prepared.backbone, _as_it_trains(prepared), prepared.device, inputs, at_once, words)
        if close:
            session.progress.say(close)
            method.notes.append(close)
        with watch.stage("training"):
            apart = training.optimiser == "adamw" or not training.weight_decay  # else Adam moves words unread, too
            if read is not None and apart:
                method.backbone.trim(read)
            fitted = fit(
                method,
                module,
                shots,
                streams,
                evaluate,
                training,
                spec.selection,
                spec.random_seed,
                session,
                checkpoint,
                len(prepared.episode.shots.train) if spec.target_mode == "sequential" else None,
            )
            method.backbone.untrim(fitted.decay)
        learnt["movement"] = movement.of_parts()
        learnt["rows seen"] = {**rows_seen(streams, training.batch_size, fitted.steps)}
        method.notes.extend(movement.untrained())
    if spec.shots != NONE:
        with watch.stage("training"):
            method.finish(resources)
    method.notes.extend(checkpoint.notes if checkpoint else ())
    with torch.no_grad():
        learnt["measures"] = method.measures()
    learnt = {name: values for name, values in learnt.items() if values}
    return Trained(configuration, method, module, fitted, evaluate, learnt)


def before_training(prepared: Prepared) -> dict[str, float]:
    """What `Record.learnt` says of a run before training, without the run. Raises XlbenchError."""
    session = Session(prepared.device, prepared.spec.precision)
    method, module, resources = built(prepared, session, prepared.config)
    module.eval()
    method.streams(resources)  # some prepare there what they score with
    return _untrained(prepared, method, session)


def _untrained(prepared: Prepared, method: Method, session: Session) -> dict[str, float]:
    """The metric before anything is trained, on the first test rows of the source language, or of the first language
    where that is not tested: what the backbone brings of the task to this method's input and read-out."""
    problem, test = prepared.task.problem, prepared.episode.test.rows.by_language
    language = prepared.task.source if prepared.task.source in test else next(iter(test))
    rows = test[language][:UNTRAINED_ROWS]
    with session.watch.stage("before"):
        scores = predict(method, method.encode_labelled(rows), session, "before")
    return {language: problem.scores([row.gold for row in rows], scores)[problem.metrics[0]], "rows": len(rows)}


def _as_it_trains(prepared: Prepared) -> ResolvedSpec:
    """The spec, for arithmetic on memory: frozen where the method freezes the backbone by itself."""
    return prepared.spec.with_(tune="frozen") if prepared.method_class.freezes else prepared.spec


def _checkpoint(prepared: Prepared, runtime: Runtime, trial: int, session: Session) -> Checkpoint | None:
    """Where the state of a trial's training is kept; None where it is not."""
    if not runtime.checkpoint_minutes or not prepared.method_class.resumable:
        return None
    here = environment(prepared.device)
    made_with = {**versions(), **{name: str(here[name]) for name in ("device_name", "threads")}}
    file = folder_of(store_at(runtime.runs).root, prepared.id) / f"trial-{trial:04}.safetensors"
    spent = Spent(session.watch, session.meters["training"], session.meters["evaluation"])
    return Checkpoint(file, made_with, runtime.checkpoint_minutes, spent)


def built(prepared: Prepared, session: Session, config: MethodConfig) -> tuple[Method, torch.nn.Module, Resources]:
    """A method built on a fresh backbone, its module, and what it may learn from."""
    spec, task = prepared.spec, prepared.task
    with session.watch.stage("setup"):
        torch.manual_seed(spec.random_seed)
        backbone = prepared.backbone.fresh(spec.tune, spec.lora)
        method = prepared.method_class(config, backbone, task, spec.languages, spec.max_length)
        module = method.build(backbone, task)
        outside = method.left_outside(module)
        if outside:
            raise XlbenchError(
                f"method {method.name}: {', '.join(outside)} would never train, for the module that `build` gives does "
                "not hold it; put it in, or take its gradients away"
            )
        module.to(prepared.device)
        backbone.to(prepared.device)
    shots, random = prepared.episode.shots.learnt, generator(spec.random_seed, "resources")
    return method, module, Resources(shots, random, prepared.resources)


def words_read(method: Method, encoded: Sequence[Encoded]) -> np.ndarray | None:
    """The ids whose word embeddings a method's training can read, (u,) sorted; None where that may be any."""
    if method.whole_vocabulary:
        return None
    read = np.zeros(len(method.backbone.word_embeddings()), dtype=bool)
    pad = method.backbone.tokenizer.pad_token_id
    read[[pad, 0, *method.label_ids()]] = True  # 0 stands for a prompt vector until it is put in
    for part in encoded:
        for ids in part.ids:
            read[ids[ids >= 0]] = True
    return np.flatnonzero(read)


def _costs(prepared: Prepared, choice: Choice, session: Session) -> dict[str, float]:
    """Seconds by stage, test rows per second, parameters and memory; what was not there has no key."""
    seconds = session.watch.seconds
    costs: dict[str, float] = {f"{stage}_seconds": round(taken, 3) for stage, taken in sorted(seconds.items())}
    rows = sum(len(rows) for rows in prepared.episode.test.rows.by_language.values())
    costs["test_rows_per_second"] = round(rows / max(seconds["test"], 1e-9), 1)
    trained = choice.trained
    return costs | choice.costs | parameters(trained.module, trained.method.backbone) | peak_memory(prepared.device)


def _measured(prepared: Prepared, choice: Choice, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a record says beside what was asked and what it cost: metrics, and the selected step."""
    fitted, problem, test = choice.trained.fitted, prepared.task.problem, prepared.episode.test.rows.by_language
    phenomena: dict[str, dict[str, float]] = {}
    gold = {language: [row.gold for row in rows] for language, rows in test.items()}
    for language, rows in test.items():
        for kind in sorted({row.phenomenon for row in rows} - {""}):
            places = [place for place, row in enumerate(rows) if row.phenomenon == kind]
            of_kind = problem.scores([gold[language][place] for place in places], scores[language][places])
            phenomena.setdefault(kind, {})[language] = of_kind[problem.metrics[0]]
    units = {row.unit for rows in test.values() for row in rows}
    return {
        "method_config": choice.trained.configuration.config.model_dump(mode="json"),
        "test": {"rows": sum(map(len, test.values())), "units": len(units), "languages": len(test)},
        "scores": problem.scores_by_language(gold, scores),
        "phenomena": phenomena,
        "learnt": choice.trained.learnt,
        "selection": {
            "policy": prepared.spec.selection,
            "step": fitted.step,
            "steps": fitted.steps,
            "planned": fitted.planned,
            "converged": fitted.converged,
            "history": fitted.history,
            **choice.selection,
        },
    }


def _of_data(prepared: Prepared) -> list[str]:
    """Notes on the data: rows that are not aligned, the oracle's dev rows that are test sentences, rows left out."""
    shared, left_out = prepared.contamination["shared"], prepared.episode.left_out
    ids = {language: [row.id for row in rows] for language, rows in prepared.episode.shots.target_train.items()}
    own = [language for language in ids if prepared.task.aligned and ids[language] != next(iter(ids.values()))]
    drawn = f"target shots drawn apart, for the rows to draw from are not aligned over languages: {', '.join(own)}"
    same = f"sentences of the oracle's dev rows that are test sentences too: {shared}; the ids are in the record"
    fewer = f"rows left out of all labelled ones, for they share a sentence with the test: {left_out}"
    told = [(drawn, own), (same, shared), (fewer, left_out)]
    return [prepared.episode.test.rows.note, *prepared.episode.notes, *(note for note, found in told if found)]


def predictions_of(prepared: Prepared, rows: Sequence[Row], scores: np.ndarray) -> pa.Table:
    """What statistics are computed from: one line a test row, no text."""
    names = {"row_id": [row.id for row in rows], "unit_id": [row.unit for row in rows]}
    names["language"] = [row.language for row in rows]
    columns: dict[str, Any] = {name: pa.array(values).dictionary_encode() for name, values in names.items()}
    return pa.table(columns | prepared.task.problem.columns([row.gold for row in rows], scores))
