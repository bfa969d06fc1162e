"""A record: one run as it is kept, and as it is read from its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.host.safe_reading import RECORD_BYTES, from_json, read_text
from xlbench.spec import ResolvedSpec, written

SCHEMA_VERSION = 4


class Record(BaseModel):
    """One run as it is kept. `scores` are by metric and language; the metric `metric` selects, ranks and is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    id: str
    status: Literal["finished", "failed"]
    spec: ResolvedSpec
    identity: dict[str, str]  # what was hashed beside the spec: protocol, task version, data, revision, source
    method_config: dict[str, Any]  # all settings of the method; with several trials, the chosen one's
    source_language: str = ""
    problem: dict[str, Any] = {}  # what the task asks: kind, labels, metrics, as xlbench.problem.problem_of takes it
    metric: str = "accuracy"
    unit: str = "premise"  # the task's word for what statistics resample
    aligned: bool = True  # rows of one id, and their units, are the same in every language
    versions: dict[str, str] = {}
    commit: str = ""
    environment: dict[str, Any] = {}
    test: dict[str, int] = {}  # rows, units, languages
    scores: dict[str, dict[str, float]] = {}  # metric → language → value
    phenomena: dict[str, dict[str, float]] = {}  # phenomenon → language → the metric
    selection: dict[str, Any] = {}  # policy, step, history; with several trials also `trials`, and which is `chosen`
    # What training did: the metric `before training`, each part's `movement`, `rows seen` beside the shots, `measures`.
    learnt: dict[str, dict[str, float]] = {}
    costs: dict[str, float] = {}
    contamination: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    error: str = ""
    started: str = ""
    seconds: float = 0.0
    # Of a record that was made of others: `how` (vote or average), its settings, and `runs`, their ids.
    combined: dict[str, Any] = {}
    predictions_sha256: str = ""  # where the two are not renamed into place together

    @property
    def by_language(self) -> dict[str, float]:
        """The metric by language; empty in a failed run."""
        return self.scores.get(self.metric, {})

    @property
    def mean(self) -> float:
        """The metric's mean over the test languages."""
        return sum(self.by_language.values()) / len(self.by_language)

    @property
    def target_mean(self) -> float | None:
        """The metric's mean over the languages other than the source; None where there is no other."""
        targets = [value for language, value in self.by_language.items() if language != self.source_language]
        return sum(targets) / len(targets) if targets else None

    @property
    def diverged(self) -> bool:
        """Whether the run failed because its loss was no number: a result of the method, unlike a crash."""
        return self.status == "failed" and self.error.startswith("Diverged")

    @property
    def converged(self) -> bool | None:
        """What `selection` says under `converged`; of a record that does not say, whether an earlier checkpoint than
        the last was chosen, or dev had stopped improving; None where dev was not looked at twice."""
        if "converged" in self.selection:
            known: bool | None = self.selection["converged"]
            return known
        history = self.selection.get("history")
        looked = [entry for entry in history if "dev_loss" in entry] if isinstance(history, list) else []
        if len(looked) < 2:
            return None
        before, last = looked[-2:]
        better = last["dev_score"] > before["dev_score"] or last["dev_loss"] < before["dev_loss"]
        return not (self.selection.get("step") == last["step"] and better)

    @property
    def trials(self) -> list[dict[str, Any]]:
        """What was tried, in order; empty where one configuration was."""
        return list(self.selection.get("trials", ()))

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The trial that was tested; None where one configuration was tried."""
        return self.trials[self.selection["chosen"]] if self.trials else None

    @property
    def transfer_gap(self) -> float | None:
        """The metric in the source language minus the target mean; None where either is missing."""
        source, target = self.by_language.get(self.source_language), self.target_mean
        return None if source is None or target is None else source - target


def as_row(record: Record) -> dict[str, Any]:
    """A record as one flat row, for listings, exports and frames. `score` is the metric's mean over the languages, None
    in a failed run, as are `units`; `shots` is "all" for all; `steps` are those that were made."""
    spec, training = record.spec, record.spec.training
    steps = record.selection.get("steps") or training.steps
    return {
        "record": record.id, "status": record.status, "task": spec.task, "model": spec.model, "method": spec.method,
        "config": spec.settings, "shots": written(spec.shots), "draw": spec.draw, "seed": spec.seed,
        "metric": record.metric, "score": record.mean if record.by_language else None, "seconds": record.seconds,
        "selection": spec.selection, "trials": spec.trials, "tune": spec.tune, "split": spec.split,
        "commit": record.commit, "started": record.started, "steps": steps if isinstance(steps, int) else None,
        "learning_rate": training.learning_rate, "precision": spec.precision, "units": record.test.get("units"),
        "languages": ",".join(spec.languages), "training_seconds": record.costs.get("training_seconds"),
    }  # fmt: skip


def upgraded(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record of an older schema as those of today's; its id stands as it is.

    Schema 1 knew one metric and one kind of problem, called units premises, and had a unit "row" where languages have
    rows of their own. Schema 2 had one learning rate for all weights, no floor in steps and no patience. Schema 3 had
    no records that are made of others.
    """
    version = fields.get("schema_version", 1)
    new = {**fields, "schema_version": SCHEMA_VERSION}
    if version == 1:
        labels, scores = new.pop("labels", ()), new.pop("accuracy", {})
        new["problem"] = {"kind": "classification", "labels": list(labels), "metrics": ["accuracy"]}
        new["scores"] = {"accuracy": scores} if scores else {}
        new["aligned"] = new.get("unit", "premise") != "row"
        names = {"test": {"premises": "units"}, "selection": {"dev_accuracy": "dev_score"}}
        new |= {field: _renamed(new[field], names[field]) for field in names.keys() & new}
    if version in (1, 2) and isinstance(spec := new.get("spec"), dict):
        training = spec.get("training")
        if isinstance(training, dict):
            of_then = {"fresh_learning_rate": training.get("learning_rate"), "least_steps": 1, "patience": 0}
            new["spec"] = {**spec, "training": {**of_then, **training}}
    return new if version in (1, 2, 3) else fields


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Nested fields under other names."""
    if isinstance(value, list):
        return [_renamed(entry, names) for entry in value]
    if isinstance(value, dict):
        return {names.get(name, name): _renamed(entry, names) for name, entry in value.items()}
    return value


def trial_settings(trial: Mapping[str, Any]) -> str:
    """The values of what was searched, of one of a record's trials, in words."""
    values = [*trial.get("training", {}).items(), *trial.get("config", {}).items()]
    return ", ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values)


class NewerRecord(XlbenchError):  # noqa: N818 - as NotSupported: what was found, not what went wrong
    """A record that this version of xlbench is too old to read."""


def read_record(file: Path) -> Record:
    """A record from its file. Raises XlbenchError where it is missing, malformed, or from a newer xlbench."""
    try:
        fields = from_json(read_text(file, RECORD_BYTES, f"the record {file}"), f"the record {file}")
        version = fields.get("schema_version") if isinstance(fields, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise NewerRecord(
                f"the record {file} has schema {version}; this xlbench reads {SCHEMA_VERSION}: upgrade it"
            )
        return Record.model_validate(upgraded(fields) if isinstance(fields, dict) else fields)
    except (OSError, ValueError, ValidationError) as fault:
        reason = _reason(fault)
        raise XlbenchError(
            f"the record {file} cannot be read ({reason}); remove it to have it computed again"
        ) from fault


def _reason(fault: Exception) -> str:
    """What is wrong with a record's file, in a few words: of a field, its name."""
    if not isinstance(fault, ValidationError):
        return plain(str(fault).splitlines()[0], 300)
    first = fault.errors()[0]
    message = first["msg"][:1].lower() + first["msg"][1:]
    place = plain(".".join(map(str, first["loc"])), 100)
    return f"{place}: {message}" if place else message
