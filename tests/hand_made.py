"""Records written by hand, for what is computed from records alone."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from xlbench.analysis import matching
from xlbench.analysis.matching import Group
from xlbench.records.index import Result
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.records.vetting import judge
from xlbench.spec import RunSpec

LABELS = ("entailment", "neutral", "contradiction")
IDENTITY = {
    "protocol": "2",
    "task_version": "1",
    "data": "d0",
    "test_data": "t0",
    "revision": "sha256:0",
    "method_source": "m0",
}
COSTS = {
    "training_seconds": 2.0,
    "test_seconds": 1.0,
    "test_rows_per_second": 12.0,
    "trainable_parameters": 10.0,
    "total_parameters": 20.0,
    "peak_host_bytes": 3.0 * 2**20,
}


def group(things: Store | Iterable[Record | Result]) -> list[Group]:
    """Groups of the records of a store, with what their predictions show where these are sound, or of records alone."""
    if isinstance(things, Store):
        things = [
            judged if isinstance(judged := judge(one, things.path(one.id)), Result) else one for one in things.records()
        ]
    return matching.group(one if isinstance(one, Result) else Result(one) for one in things)


def record(
    method: str = "finetune",
    accuracy: dict[str, float] | None = None,
    spec: dict[str, Any] | None = None,
    identity: dict[str, str] | None = None,
    **fields: Any,
) -> Record:
    """A finished record of `method`, with what differs from an ordinary one."""
    accuracy = accuracy or {"en": 0.5, "fr": 0.4}
    asked = {
        "task": "logic", "model": "tiny", "shots": 4, "languages": list(accuracy), "precision": "fp32",
        "training": {"learning_rate": 1e-3, "steps": 2},
    }  # fmt: skip
    whole = {
        "status": "finished",
        "spec": RunSpec.model_validate({**asked, "method": method, **(spec or {})}),
        "identity": {**IDENTITY, **(identity or {})},
        "method_config": {},
        "source_language": "en",
        "problem": {"kind": "classification", "labels": list(LABELS), "metrics": ["accuracy"]},
        "environment": {"device": "cpu", "device_name": "a processor"},
        "test": {"rows": 12, "units": 2, "languages": len(accuracy)},
        "scores": {"accuracy": accuracy},
        "costs": COSTS,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 3.0,
        **fields,
    }
    seal = hashlib.sha256(json.dumps([str(whole["spec"]), whole["identity"], str(fields)]).encode()).hexdigest()
    return Record.model_validate({"id": seal[:12], **whole})


def sound(kept: Record, premises: int = 20) -> pa.Table:
    """Predictions that give a record's accuracies: three rows a premise, and which are right by draw and seed."""
    random = np.random.default_rng([kept.spec.draw, kept.spec.seed])
    rows = 3 * premises
    columns: dict[str, list[object]] = {name: [] for name in ("row_id", "unit_id", "language", "gold")}
    said: list[int] = []
    for language, accuracy in kept.by_language.items():
        wrong = set(random.permutation(rows)[round(accuracy * rows) :].tolist())
        columns["row_id"] += [str(row) for row in range(rows)]
        columns["unit_id"] += [str(row // 3) for row in range(rows)]
        columns["language"] += [language] * rows
        columns["gold"] += [row % 3 for row in range(rows)]
        said += [(row + (row in wrong)) % 3 for row in range(rows)]
    scores = {f"log_prob_{label}": np.where(np.array(said) == label, -0.1, -3.0) for label in range(3)}
    return pa.table({**columns, **scores})


def predictions(accuracy: float, seed: int, premises: int = 60) -> pa.Table:
    """Three rows a premise in two languages; about so many right, the same premises hard for all."""
    random = np.random.default_rng(seed)
    hard = np.random.default_rng(0).normal(0, 0.1, premises)
    columns: dict[str, list[object]] = {name: [] for name in ("row_id", "unit_id", "language", "gold")}
    scores = []
    for language in ("en", "fr"):
        for premise in range(premises):
            for gold in range(3):
                columns["row_id"].append(f"{premise}-{gold}")
                columns["unit_id"].append(str(premise))
                columns["language"].append(language)
                columns["gold"].append(gold)
                right = random.random() < accuracy + hard[premise]
                said = gold if right else (gold + 1) % 3
                scores.append([-0.1 if label == said else -3.0 for label in range(3)])
    laid = {f"log_prob_{label}": np.array(scores)[:, label] for label in range(3)}
    return pa.table({**columns, **laid})
