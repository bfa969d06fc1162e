"""A record: one run as it is kept, and as it is read from its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.host.safe_reading import RECORD_BYTES, from_json, read_text
from xlbench.spec import RunSpec

SCHEMA_VERSION = 1


class Record(BaseModel):
    """One run as it is kept. `accuracy` is the share of test rows right, by language, 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    id: str
    status: Literal["finished", "failed"]
    spec: RunSpec
    identity: dict[str, str]  # what was hashed beside the spec: protocol, task version, data, revision, source
    method_config: dict[str, Any]  # all settings of the method; with several trials, the chosen one's
    source_language: str = ""
    labels: tuple[str, ...] = ()
    unit: Literal["premise", "row"] = "premise"  # what statistics resample, as the task declares
    versions: dict[str, str] = {}
    commit: str = ""
    environment: dict[str, Any] = {}
    test: dict[str, int] = {}
    accuracy: dict[str, float] = {}
    phenomena: dict[str, dict[str, float]] = {}  # phenomenon → language → accuracy
    selection: dict[str, Any] = {}  # policy, step, history; with several trials also `trials`, and which is `chosen`
    costs: dict[str, float] = {}
    contamination: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    error: str = ""
    started: str = ""
    seconds: float = 0.0
    predictions_sha256: str = ""  # where the two are not renamed into place together

    @model_serializer(mode="wrap")
    def _sealed_where_needed(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; the seal only where there is one."""
        fields: dict[str, Any] = handler(self)
        if not self.predictions_sha256:
            fields.pop("predictions_sha256", None)
        return fields

    @property
    def mean(self) -> float:
        """Mean accuracy over the test languages."""
        return sum(self.accuracy.values()) / len(self.accuracy)

    @property
    def target_mean(self) -> float | None:
        """Mean accuracy over the languages other than the source; None where there is no other."""
        targets = [value for language, value in self.accuracy.items() if language != self.source_language]
        return sum(targets) / len(targets) if targets else None

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
        """Source accuracy minus target mean; None where either is missing."""
        source, target = self.accuracy.get(self.source_language), self.target_mean
        return None if source is None or target is None else source - target


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
        return Record.model_validate(fields)
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
