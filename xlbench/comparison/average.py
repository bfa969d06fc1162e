"""`xlbench average`: the mean of the weights of several runs, scored on their test and kept with the sum of their
budgets (Schmidt et al., ACL 2023 and Findings of EMNLP 2023).

It replaces the choice of a seed or a rate: no dev row chooses. What is drawn anew (a head, a prompt) averages to
nonsense unless it began alike: runs of one draw and seed share it, and methods that score label words have none.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from xlbench.comparison.vote import finished, kept, merged, refuse_other_tests
from xlbench.engine.checkpoint import Tensors, read_weights, weights_and_buffers
from xlbench.engine.execute import built, predictions_of, tested
from xlbench.engine.prepare import Prepared, prepare
from xlbench.engine.session import Session, trained_parameters
from xlbench.errors import XlbenchError
from xlbench.method import Method, Resources
from xlbench.records.bucket import store_at
from xlbench.records.record import Record
from xlbench.spec import RunSpec, Runtime, digest

ALIKE = (
    "task", "method", "config", "shots", "draw", "source", "languages", "model", "tune", "lora", "max_length", "read",
    "train_on", "target_shots", "resources", "test_units", "test_design", "split",
)  # fmt: skip
OF_ONE = ("trained_bytes", "trainable_parameters", "total_parameters")  # what is stored is one model


def average(runs: Sequence[str], weights: Path, runtime: Runtime, model: str | None = None) -> Record:
    """Score the mean of the weights of finished runs and keep the record; one that is there already is given.

    `weights`: the folder that they were kept in; `model`: the backbone's folder, where records know its name alone.
    Raises XlbenchError for runs whose weights cannot be averaged, or are not there.
    """
    store, chosen = store_at(runtime.runs), sorted(dict.fromkeys(runs))
    store.expect()
    if len(runs) < 2:
        raise XlbenchError(f"an average is of two runs or more; given was {len(runs)}")
    records = [finished(store, run) for run in chosen]
    first = records[0]
    for other in records[1:]:
        refuse_other_tests(first, other)
        for name in ALIKE:
            ours, theirs = getattr(first.spec, name), getattr(other.spec, name)
            if ours != theirs:
                raise XlbenchError(f"the runs {first.id} and {other.id} differ in {name} ({ours} and {theirs})")
        for name in ("shots", "revision", "method_source", "data"):
            if first.identity.get(name) != other.identity.get(name):
                raise XlbenchError(f"the runs {first.id} and {other.id} differ in {name}; average runs that share it")
    made_of = {"how": "average", "runs": chosen}
    run_id = digest(made_of)[:12]
    if (there := store.finished(run_id)) is not None:
        return there
    prepared, session, method, module, resources = again(first, runtime, model)
    _refuse_drawn_apart(method, module, records)
    load(module, mean_of([read_weights(weights, run) for run in chosen], chosen))
    method.finish(resources)
    return _recorded(prepared, method, session, merged(records, run_id, made_of), runtime)


def again(
    record: Record, runtime: Runtime, model: str | None
) -> tuple[Prepared, Session, Method, torch.nn.Module, Resources]:
    """A run's method as it was built, for weights that were kept. `model`: the backbone's folder, where the record has
    its name alone. Raises XlbenchError where the code, the data or the backbone here are not those of the record."""
    asked = record.spec.model_dump() | {"model": model or record.spec.model, "revision": None}
    prepared = prepare(RunSpec.model_validate(asked), runtime)
    for name in ("revision", "method_source", "test_data"):
        if prepared.identity[name] != record.identity.get(name):
            raise XlbenchError(
                f"{name} is not what run {record.id} was computed with; give --model and --data-root as then"
            )
    session = Session(prepared.device, prepared.spec.precision, runtime.token_budget or 0)
    method, module, resources = built(prepared, session, prepared.config)
    module.eval()
    method.streams(resources)  # some prepare there what they score with
    return prepared, session, method, module, resources


def mean_of(states: Sequence[Tensors], names: Sequence[str]) -> Tensors:
    """The mean of weights, in the order that they are given in. Raises XlbenchError where buffers are not the same."""
    first = states[0]
    for state, name in zip(states[1:], names[1:], strict=True):
        if state.keys() != first.keys() or any(state[key].shape != first[key].shape for key in first):
            raise XlbenchError(f"the weights of runs {names[0]} and {name} have other names or shapes")
        unlike = [key for key in first if key.startswith("buffer/") and not torch.equal(state[key], first[key])]
        if unlike:
            raise XlbenchError(
                f"the runs {names[0]} and {name} are scored with other buffers ({unlike[0].removeprefix('buffer/')}), "
                "which have no mean; average runs of a method without any"
            )
    mean = {}
    for key, value in first.items():
        same = key.startswith("buffer/") or not value.is_floating_point()
        mean[key] = value if same else torch.stack([state[key].double() for state in states]).mean(0).to(value.dtype)
    return mean


def _refuse_drawn_apart(method: Method, module: torch.nn.Module, records: Sequence[Record]) -> None:
    """Raises XlbenchError where parts that were drawn anew did not begin alike."""
    pretrained = method.backbone.pretrained()
    fresh = [name for name, value in trained_parameters(module).items() if id(value) not in pretrained]
    if fresh and len({record.spec.seed for record in records}) > 1:
        raise XlbenchError(
            f"method {method.name} draws {fresh[0].partition('.')[0]} anew, by seed, and what began apart has no mean; "
            "average runs of one seed that differ in their training, or a method that scores label words"
        )


def load(module: torch.nn.Module, state: Tensors) -> None:
    """Give a module weights and buffers that were kept. Raises XlbenchError where they are not those of its parts."""
    places = weights_and_buffers(module)
    if places.keys() != state.keys():
        raise XlbenchError(
            "the weights are not those of this method's parts; compute the runs again with --keep-weights"
        )
    with torch.no_grad():
        for name, value in places.items():
            value.copy_(state[name])


def _recorded(prepared: Prepared, method: Method, session: Session, record: Record, runtime: Runtime) -> Record:
    """The record with what the mean of the weights scores, and what that test took."""
    session.count(method.backbone if runtime.count_flops else None)
    by_language, test = tested(prepared, method, session), prepared.episode.test.rows.by_language
    rows = [row for side in test.values() for row in side]
    predictions = predictions_of(prepared, rows, np.concatenate([by_language[name] for name in test]))
    seconds = session.watch.seconds["test"]
    took = {"test_seconds": round(seconds, 3), "test_rows_per_second": round(len(rows) / max(seconds, 1e-9), 1)}
    stored = {name: record.costs[name] / len(record.combined["runs"]) for name in OF_ONE if name in record.costs}
    took |= {name: value for name, value in session.flops.items() if name.startswith("test")}
    costs = {**record.costs, **stored, **took}
    gold = {language: [row.gold for row in side] for language, side in test.items()}
    scores = prepared.task.problem.scores_by_language(gold, by_language)
    return kept(store_at(runtime.runs), record.model_copy(update={"scores": scores, "costs": costs}), predictions)
