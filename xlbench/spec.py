"""What is asked for: RunSpec (one run), Suite (a table of runs), Runtime (where they happen).

All are pydantic models: frozen, validated, with unknown fields refused. A RunSpec is hashed into the name
of its record, so everything that can change a number stands in it; what cannot (folders, the progress bar)
stands in Runtime.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from xlbench.errors import XlbenchError, unknown
from xlbench.host.safe_reading import SUITE_BYTES, from_toml, read_text

Selection = Literal["source-dev", "last", "average-last", "oracle-target-dev"]
Tune = Literal["all", "lora", "frozen"]
Precision = Literal["auto", "fp32", "bf16"]
Scalar = bool | int | float | str | None
ALL = 0  # shots: every labelled row of the source language
SCALARS = ("bool", "int", "float", "str")


def is_url(place: Path | str) -> bool:
    """Whether records lie at a URL, and not in a folder."""
    return isinstance(place, str) and "://" in place


class Frozen(BaseModel):
    """The base of everything that is asked for: immutable, and a field nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Training(Frozen):
    """The budget and the optimiser, the same for every method of a comparison (AdamW, no decay schedule)."""

    learning_rate: float | None = Field(
        None, gt=0, description="AdamW's step size; none: what the backbone recommends, or 1e-5 as published"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decoupled weight decay")
    steps: int | None = Field(None, ge=1, description="optimiser steps; none: as many as `epochs` make")
    epochs: int = Field(50, ge=1, description="passes over the shots, where `steps` is not given")
    batch_size: int = Field(16, ge=1, description="labelled examples a step")
    accumulate: int = Field(1, ge=1, description="equal parts that a step's batch goes through memory in, one by one")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps in which the rate rises from 0")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    checkpoints: int = Field(10, ge=1, description="evenly spaced points at which a state may be selected")
    average_last: int = Field(3, ge=1, description="checkpoints whose weights `average-last` averages")

    @model_validator(mode="after")
    def _equal_parts(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} makes no {self.accumulate} equal parts (accumulate)")
        return self

    @model_serializer(mode="wrap")
    def _hashed_as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; `accumulate` only where it is not 1, so that records from before it keep their ids."""
        fields: dict[str, Any] = handler(self)
        if self.accumulate == 1:
            fields.pop("accumulate", None)
        return fields


class Lora(Frozen):
    """Low-rank adapters (Hu et al., arXiv 2106.09685), used where tune is `lora`."""

    rank: int = Field(8, ge=1, description="rank of the update, r")
    alpha: float = Field(16, gt=0, description="scale of the update, divided by the rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the adapter")


class RunSpec(Frozen):
    """One run: which method learns which task from which shots, and how it is trained and selected."""

    task: str = Field("xnli", description="the task's registered name")
    method: str = Field(description="the method's registered name")
    config: dict[str, Scalar] = Field({}, description="the method's own settings that differ from its defaults")
    shots: int = Field(ge=0, description="labelled examples per class, for training and again for dev, or all")
    draw: int = Field(0, ge=0, description="number of the few-shot draw")
    seed: int = Field(0, ge=0, description="seed of initialisation, order and dropout")
    split: str | None = Field(None, description="a published fixed draw in place of our own")
    languages: tuple[str, ...] | None = Field(None, description="test languages; none: all the task has")
    test_premises: int | None = Field(None, ge=1, description="a fixed subset of test premises; none: all")
    model: str = Field("xlm-roberta-base", description="masked language model: hub id, folder, or `tiny`")
    revision: str | None = Field(None, description="commit, branch or tag of a hub model")
    tune: Tune = Field("all", description="what trains of the backbone")
    lora: Lora = Field(Lora(), description="the adapters, where tune is `lora`")
    max_length: int = Field(128, ge=16, description="longest input in tokens; the longer text is shortened")
    precision: Precision = Field("auto", description="auto: bf16 on a GPU that has it, fp32 on a CPU")
    selection: Selection = Field("source-dev", description="which checkpoint is tested")
    trials: int = Field(1, ge=1, description="configurations tried of the method, chosen by source dev")
    parallel: str | None = Field(None, description="parallel corpus; none: the task's own choice")
    parallel_size: int = Field(1000, ge=1, description="translated pairs per target language, at most")
    training: Training = Field(Training(), description="budget and optimiser")

    @field_validator("shots", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return _or_all(value)

    @model_validator(mode="after")
    def _all_rows_are_one_draw(self) -> Self:
        if self.shots == ALL and (self.draw or self.split):
            raise ValueError("shots all takes every labelled row: there is one draw (--draws 1), and no split")
        return self

    @field_validator("languages")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) != len(value)):
            raise ValueError(f"languages must be one or more, each once, not {list(value)}")
        return value

    @model_validator(mode="after")
    def _chosen_by_source_dev(self) -> Self:
        if self.trials > 1 and self.selection == "oracle-target-dev":
            raise ValueError(
                f"{self.trials} configurations (--tune {self.trials}) are chosen among by source dev alone, and "
                "selection oracle-target-dev looks at the targets; use another selection, or try 1"
            )
        return self

    @model_serializer(mode="wrap")
    def _hashed_as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; `trials` only where there are several, so that records from before it keep their ids."""
        fields: dict[str, Any] = handler(self)
        if fields.get("shots") == ALL:
            fields["shots"] = "all"
        if self.trials == 1:
            fields.pop("trials", None)
        return fields

    @property
    def settings(self) -> str:
        """The method's settings that differ from its defaults, in words; empty where none does."""
        return ", ".join(f"{name}={value}" for name, value in sorted(self.config.items()))

    @property
    def model_name(self) -> str:
        """The model as records name it: a folder by its own name, which says nothing of this machine."""
        folder = os.path.expanduser(self.model)  # as Path's, but for a user or a name that cannot be
        return Path(folder).resolve().name if os.path.isdir(folder) else self.model

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again (unlike pydantic's own copy)."""
        return type(self).model_validate({**self.model_dump(), **changes})


class MethodChoice(Frozen):
    """A method as a suite names it: the method, the settings that differ from its defaults, and the parallel text
    that it reads where that is not the suite's own."""

    method: str
    config: dict[str, Scalar] = {}
    parallel: str | None = None
    parallel_size: int | None = Field(None, ge=1)

    @property
    def fields(self) -> dict[str, Any]:
        """What it says of a run, as fields of a RunSpec."""
        return {"method": self.method, "config": self.config} | {
            name: value for name in ("parallel", "parallel_size") if (value := getattr(self, name)) is not None
        }


class Suite(Frozen):
    """The runs of one comparison: what they share (`run`), and the axes along which they differ."""

    name: str = "comparison"
    description: str = ""
    methods: tuple[MethodChoice, ...] = Field(min_length=1)
    shots: tuple[int, ...] = Field(min_length=1)  # or "all"
    draws: int = Field(1, ge=1, description="number of few-shot draws, numbered from 0")
    seeds: int = Field(1, ge=1, description="number of seeds for each draw, numbered from 0")
    run: dict[str, Any] = Field({}, description="fields of RunSpec that all cells share")

    @field_validator("methods", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [{"method": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("shots", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return [_or_all(one) for one in value] if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _axes(self) -> Self:
        axes = {"method", "config", "shots", "draw", "seed"}
        if taken := axes & set(self.run):
            raise ValueError(f"run sets {', '.join(sorted(taken))}, which the suite's own axes set")
        if not all(shot >= 0 for shot in self.shots):
            raise ValueError(f"shots must be 1 or more, not {list(self.shots)}")
        return self

    def cells(self) -> Iterator[RunSpec]:
        """Every run of the suite; draw by draw, so that a suite cut short is whole for the draws it has."""
        for draw in range(self.draws):
            for seed in range(self.seeds):
                for shots in self.shots:
                    for choice in self.methods:
                        yield parse(
                            RunSpec,
                            {**self.run, **choice.fields, "shots": shots or "all", "draw": draw, "seed": seed},
                            f"suite {self.name}",
                        )  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Self:
        """A suite from a TOML file. Raises XlbenchError where the file is missing or malformed."""
        try:
            text = read_text(path, SUITE_BYTES, f"the suite {path}")
        except (OSError, UnicodeDecodeError) as fault:
            raise XlbenchError(f"cannot read the suite {path}: {fault}") from fault
        try:
            fields = from_toml(text, f"the suite {path}")
        except ValueError as fault:
            raise XlbenchError(f"the suite {path} is not valid TOML: {fault}") from fault
        return parse(cls, {"name": path.stem, **fields}, f"suite {path}")


class Runtime(Frozen):
    """Where runs happen: folders, device, plug-ins, verbosity. Nothing here enters a record's hash."""

    runs: str | Path = Field(Path("runs"), description="folder of the records, or a URL that fsspec knows")
    data_root: Path | None = Field(None, description="folder that replaces the dataset hub")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:n")
    plugins: tuple[str, ...] = Field((), description="plug-in files or modules to load")
    token_budget: int | None = Field(None, ge=64, description="tokens in one evaluation batch; none: by the device")
    count_flops: bool = Field(True, description="whether records say how many FLOPs a run took")
    checkpoint_minutes: float = Field(
        30.0, ge=0, description="minutes of training after which its state is kept, to go on if it is killed; 0: never"
    )
    quiet: bool = Field(False, description="no progress bars")
    executor: Literal["local", "processes", "ray"] | None = Field(
        None,
        description="local: in this process; processes: in workers; ray: as tasks of a Ray cluster; none: processes "
        "where `jobs` asks for several",
    )
    address: str | None = Field(None, description="the Ray cluster to join; none: RAY_ADDRESS, or one on this machine")
    cell_cpus: int | None = Field(None, ge=1, description="CPUs, and torch threads, of a cell on a Ray cluster")
    cell_gpus: float | None = Field(None, ge=0, description="GPUs, or a fraction of one, of a cell on a Ray cluster")
    jobs: int | Literal["auto"] | None = Field(
        None, description="workers; auto: as many as cores and memory hold; none: auto, where there are workers"
    )
    cell_timeout: float | None = Field(None, gt=0, description="seconds after which a cell is ended; needs workers")
    shard: str | None = Field(None, description="i/n: only cells i, i+n, … of a suite, counted from 1")
    log_json: Path | None = Field(None, description="file that gets a JSON line for each cell's start and end")
    tracker: str | None = Field(None, description="NAME or NAME=PLACE: where numbers go while a run trains")

    @field_validator("runs", mode="after")
    @classmethod
    def _runs(cls, value: Path | str) -> Path | str:
        return str(value) if is_url(value) else Path(value)

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        kind, _, number = value.partition(":")
        if value in {"auto", "cpu", "cuda"} or (kind == "cuda" and number.isdigit()):
            return value
        raise ValueError(f"device must be auto, cpu, cuda or cuda:n, not {value!r}")

    @field_validator("jobs", mode="before")
    @classmethod
    def _jobs(cls, value: Any) -> Any:
        if value is None or value == "auto" or (str(value).isdecimal() and int(value) >= 1):
            return value
        raise ValueError("jobs must be auto or a number of workers, 1 or more")

    @field_validator("cell_gpus")
    @classmethod
    def _gpus(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value % 1:
            raise ValueError("a cell takes a fraction of one GPU, as 0.25, or whole ones")
        return value

    @field_validator("shard")
    @classmethod
    def _shard(cls, value: str | None) -> str | None:
        number, _, of = (value or "1/1").partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ValueError("a shard is i/n with i from 1 to n, as 2/8")
        return value

    @model_validator(mode="after")
    def _workers_where_needed(self) -> Self:
        if self.executor == "local" and self.jobs not in (None, 1):
            raise ValueError(f"executor local runs one cell after the other, not {self.jobs} at once; use processes")
        of_ray = ("address", "cell_cpus", "cell_gpus")
        given = [f"--{name.replace('_', '-')}" for name in of_ray if getattr(self, name) is not None]
        if given and self.executor != "ray":
            raise ValueError(f"{', '.join(given)} is said to a Ray cluster alone; add --executor ray")
        if self.cell_timeout is not None and not self.in_workers:
            raise ValueError(
                f"a cell that runs in this process cannot be ended after {self.cell_timeout:g} s (--cell-timeout); "
                "add --executor processes"
            )
        return self

    @property
    def in_workers(self) -> bool:
        """Whether cells run in processes of their own."""
        return self.executor in ("processes", "ray") or (self.executor is None and self.jobs not in (None, 1))

    @property
    def part(self) -> tuple[int, int]:
        """Which part of a suite's cells is run, from 1, of how many."""
        number, _, of = (self.shard or "1/1").partition("/")
        return int(number), int(of)


def _or_all(shots: Any) -> Any:
    """`all` as the number that stands for it, which nobody may write."""
    if isinstance(shots, int | float) and not isinstance(shots, bool) and shots == ALL:
        raise ValueError("shots must be 1 or more, or all, not 0")
    return ALL if shots == "all" else shots


def in_words(shots: int, after: str = "") -> str:
    """A number of shots as it is said: 16 shots per class, all rows; `after` is said of a number alone."""
    return "all rows" if shots == ALL else f"{shots} shots{after}"


def by_shots(shots: int) -> float:
    """What numbers of shots are sorted by: all rows come last."""
    return math.inf if shots == ALL else shots


Asked = TypeVar("Asked", bound=BaseModel)


def parse(model: type[Asked], fields: Mapping[str, Any], place: str) -> Asked:
    """`fields` as a `model`; a mistake becomes an XlbenchError that names the field, the value and the place."""
    try:
        return model.model_validate(dict(fields))
    except ValidationError as fault:
        first = fault.errors()[0]
        place_in, message = first["loc"], first["msg"].removeprefix("Value error, ")
        if place_in and place_in[-1] in SCALARS:  # pydantic says what is wrong with each kind that it might be
            place_in, message = place_in[:-1], "must be a finite number, text, true or false"
        field = ".".join(str(part) for part in place_in)
        if first["type"] == "extra_forbidden":
            raise unknown("field", field, _fields(model, first["loc"]), place) from fault
        if first["type"] == "missing":
            raise XlbenchError(f"{place} lacks the field {field!r}") from fault
        message = message[:1].lower() + message[1:]
        value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        raise XlbenchError(f"{place}: {field}{value}: {message}" if field else f"{place}: {message}") from fault


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The fields that stand where an unknown one was found, following the location into nested models."""
    place = "".join(f"{part}." for part in location[:-1])
    for part in location[:-1]:
        info = model.model_fields.get(str(part))
        for inner in (info.annotation, *get_args(info.annotation)) if info is not None else ():
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return [place + name for name in model.model_fields]


def digest(value: Any) -> str:
    """sha256 of a JSON-like value in canonical form (sorted keys, no white space), in hexadecimal."""
    return hashlib.sha256(_canonical(value).encode("utf-8")).hexdigest()


def digest_of_list(values: Iterable[Any]) -> str:
    """`digest` of a list that may be long, without its text in memory."""
    seal = hashlib.sha256(b"[")
    for number, value in enumerate(values):
        seal.update(f"{',' if number else ''}{_canonical(value)}".encode())
    seal.update(b"]")
    return seal.hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
