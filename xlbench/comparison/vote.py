"""`xlbench vote`: the log-probabilities of several runs on the same test rows, combined into a record of its own.

Views of a row (its own text, its translation: runs with another --read), seeds, or methods vote by one of three rules;
Oh et al. (EMNLP 2022) average probabilities of translations, Yu et al. (2025) take majorities.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from xlbench.errors import XlbenchError
from xlbench.host.provenance import commit, versions
from xlbench.problem import Classification, problem_of
from xlbench.records.bucket import store_at
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.records.vetting import result_of
from xlbench.spec import digest

Rule = Literal["log-mean", "mean", "majority"]
SUMMED = (
    "setup_seconds", "before_seconds", "encoding_seconds", "training_seconds", "evaluation_seconds", "test_seconds",
    "training_flops", "evaluation_flops", "test_flops", "trained_bytes", "trainable_parameters", "total_parameters",
    "energy_joules",
)  # fmt: skip
# Of costs: what several runs cost together. Of the others the largest counts.
SAME = ("problem", "metric", "unit", "aligned", "source_language", "test")
TIE = 1e-6  # what a mean probability weighs beside a vote


def combined(views: np.ndarray, rule: Rule = "log-mean", weights: Sequence[float] = ()) -> np.ndarray:
    """Log-probabilities of the labels, (rows, labels), from those of several views, (views, rows, labels).

    log-mean: softmax of the weighted mean of log-probabilities. mean: the weighted mean of probabilities. majority: the
    weighted share of views whose likeliest label it is, ties by `mean`. A label that a view gives no probability has
    none by log-mean.
    """
    share = np.asarray(weights or [1.0] * len(views), dtype=np.float64)
    share = share / share.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        if rule == "log-mean":
            found = np.where(np.isneginf(views).any(axis=0), -np.inf, np.tensordot(share, np.nan_to_num(views), axes=1))
        else:
            mean = np.tensordot(share, np.exp(views), axes=1)
            found = np.log(mean)
            if rule == "majority":
                votes = np.eye(views.shape[2])[views.argmax(axis=2)]
                found = np.log(np.tensordot(share, votes, axes=1) + TIE * mean)
        total = np.logaddexp.reduce(found, axis=1, keepdims=True)
        return np.where(np.isneginf(found), -np.inf, found - total)


def vote(
    runs: Sequence[str], folder: Path | str = "runs", rule: Rule = "log-mean", weights: Sequence[float] = ()
) -> Record:
    """Combine finished runs of one store and keep the record; one that is there already is given.

    Raises XlbenchError for runs that are not there, are not of the same test rows, or of another kind than
    classification.
    """
    store = store_at(folder)
    store.expect()
    if rule not in get_args(Rule):
        raise XlbenchError(f"unknown rule {rule!r}; choose {', '.join(get_args(Rule))}")
    chosen = sorted(zip(runs, weights or [1.0] * len(runs), strict=False))
    if len(chosen) < 2 or len(weights or runs) != len(runs) or any(weight <= 0 for _, weight in chosen):
        raise XlbenchError(
            f"a vote is of two runs or more, with a weight above 0 for each or none; given were {len(runs)} runs and "
            f"{len(weights)} weights"
        )
    records = [finished(store, run) for run, _ in chosen]
    first = records[0]
    for other in records[1:]:
        refuse_other_tests(first, other)
    problem = problem_of(first.problem)
    if not isinstance(problem, Classification):
        raise XlbenchError(f"a vote is of labels, and task {first.spec.task} is {problem.kind}")
    given = {"rule": rule, **({"weights": ",".join(f"{weight:g}" for _, weight in chosen)} if weights else {})}
    made_of = {"how": "vote", **given, "runs": [run for run, _ in chosen]}
    run_id = digest(made_of)[:12]
    if (there := store.finished(run_id)) is not None:
        return there
    tables = [store.predictions(run) for run, _ in chosen]
    names = ("row_id", "unit_id", "language", "gold")
    orders = [_in_order(table) for table in tables]
    asked = [[order[name].to_pylist() for name in names] for order in orders]
    if any(one != asked[0] for one in asked[1:]):
        raise XlbenchError("the runs' predictions are not of the same rows; vote among runs of one test")
    labels = [name for name in orders[0].column_names if name.startswith("log_prob_")]
    views = np.array([[order[name].to_numpy() for name in labels] for order in orders]).transpose(0, 2, 1)
    scores = combined(views.astype(np.float64), rule, [weight for _, weight in chosen])
    gold, languages = orders[0]["gold"].to_numpy(), np.array(orders[0]["language"].to_pylist())
    predictions = orders[0].select(names[:3])
    for name, values in problem.columns(gold.tolist(), scores).items():
        predictions = predictions.append_column(name, values)
    of_language = {language: languages == language for language in dict.fromkeys(languages.tolist())}
    by_metric = problem.scores_by_language(
        {language: gold[own].tolist() for language, own in of_language.items()},
        {language: scores[own] for language, own in of_language.items()},
    )
    return kept(store, merged(records, run_id, made_of).model_copy(update={"scores": by_metric}), predictions)


def _in_order(table: pa.Table) -> pa.Table:
    """Predictions by language and row."""
    keys = list(zip(table["language"].to_pylist(), table["row_id"].to_pylist(), strict=True))
    return table.take(sorted(range(len(keys)), key=keys.__getitem__))


def merged(records: Sequence[Record], run_id: str, made_of: dict[str, Any]) -> Record:
    """A record that is made of others, without its scores: what they share is the first's, what they cost is summed."""
    first = records[0]
    methods = "+".join(dict.fromkeys(record.spec.method for record in records))
    config = first.spec.config if all(record.spec.config == first.spec.config for record in records) else {}
    costs = {
        name: (sum if name in SUMMED else max)(record.costs[name] for record in records)
        for name in first.costs
        if all(name in record.costs for record in records)
    }
    if costs.get("test_seconds"):
        costs["test_rows_per_second"] = round(first.test["rows"] / costs["test_seconds"], 1)
    steps = {name: sum(int(record.selection.get(name) or 0) for record in records) for name in ("steps", "planned")}
    notes = [f"made of {len(records)} runs by {made_of['how']}: {', '.join(made_of['runs'])}; its costs are their sum"]
    notes += dict.fromkeys(note for record in records for note in record.notes)
    return first.model_copy(
        update={
            "id": run_id,
            "spec": first.spec.model_copy(update={"method": methods, "config": config}),
            "identity": {**first.identity, "combined": digest(made_of)[:16]},
            "method_config": first.method_config if config or len(methods.split("+")) == 1 else {},
            "versions": versions(),
            "commit": commit(),
            "phenomena": {},
            "selection": {"policy": first.spec.selection, **steps, "step": steps["steps"], "history": []},
            "learnt": {},
            "costs": costs,
            "notes": tuple(notes),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(sum(record.seconds for record in records), 2),
            "combined": made_of,
        }
    )


def kept(store: Store, record: Record, predictions: pa.Table) -> Record:
    """The record, once it is written with its predictions."""
    store.ready()
    store.write(record, predictions)
    return result_of(record, store).record


def refuse_other_tests(first: Record, other: Record) -> None:
    """Raises XlbenchError where two records are not of the same task and test rows."""
    facts: dict[str, tuple[Any, Any]] = {"task": (first.spec.task, other.spec.task)}
    facts["test rows"] = first.identity.get("test_data"), other.identity.get("test_data")
    facts |= {name: (getattr(first, name), getattr(other, name)) for name in SAME}
    facts["shots"] = first.spec.shots, other.spec.shots
    for name, (ours, theirs) in facts.items():
        if ours != theirs:
            raise XlbenchError(
                f"the runs {first.id} and {other.id} differ in {name} ({ours} and {theirs}); combine runs that share it"
            )


def finished(store: Store, run: str) -> Record:
    record = store.find(run)
    if record is None or record.status != "finished":
        why = "there is no record" if record is None else "it failed"
        raise XlbenchError(f"run {run} in {store.name}: {why}; `xlbench list records` names those that are there")
    return result_of(record, store).record
