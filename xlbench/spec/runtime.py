"""Where runs happen: nothing here can change a number."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from xlbench.spec.parsing import Frozen


def is_url(place: Path | str) -> bool:
    """Whether records lie at a URL, and not in a folder."""
    return isinstance(place, str) and "://" in place


class Runtime(Frozen):
    """Where runs happen: folders, device, plug-ins, verbosity. Nothing here enters a record's hash."""

    runs: str | Path = Field(
        Path("runs"), description="folder of the records, or a URL that fsspec knows: s3://bucket/runs"
    )
    data_root: Path | None = Field(
        None,
        description="folder in place of the dataset hub, laid out as <hub id>/<config>/<split>.parquet",
        json_schema_extra={"option": {"metavar": "DIR"}},
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:n")
    plugins: tuple[str, ...] = Field(
        (),
        description="plug-in code to load and run",
        json_schema_extra={"option": {"names": ["--plugin"], "several": True, "metavar": "FILE|MODULE"}},
    )
    token_budget: int | None = Field(None, ge=64, description="tokens in one evaluation batch; none: by the device")
    count_flops: bool = Field(True, description="whether records say how many FLOPs a run took")
    checkpoint_minutes: float = Field(
        30.0,
        ge=0,
        description="minutes of training after which its state is kept, to go on if it is killed; 0: never",
        json_schema_extra={"option": {"metavar": "MINUTES"}},
    )
    keep_weights: Path | None = Field(
        None,
        description="folder that gets what trained of each run, for `xlbench average`",
        json_schema_extra={"option": {"metavar": "DIR"}},
    )
    quiet: bool = Field(False, description="no progress")
    executor: Literal["local", "processes", "ray"] | None = Field(
        None,
        description="local: in this process; processes: in workers; ray: as tasks of a Ray cluster; none: processes "
        "where `jobs` asks for several",
    )
    address: str | None = Field(
        None,
        description="the Ray cluster to join; none: RAY_ADDRESS, or one on this machine",
        json_schema_extra={"option": {"metavar": "HOST:PORT|auto"}},
    )
    cell_cpus: int | None = Field(None, ge=1, description="CPUs, and torch threads, of a cell on a Ray cluster")
    cell_gpus: float | None = Field(None, ge=0, description="GPUs, or a fraction of one, of a cell on a Ray cluster")
    jobs: int | Literal["auto"] | None = Field(
        None,
        description="workers; auto: as many as cores and memory hold; none: auto, where there are workers",
        json_schema_extra={"option": {"metavar": "N|auto"}},
    )
    cell_timeout: float | None = Field(
        None,
        gt=0,
        description="seconds after which a cell is ended; needs workers",
        json_schema_extra={"option": {"metavar": "SECONDS"}},
    )
    shard: str | None = Field(
        None,
        description="i/n: only cells i, i+n, … of a suite, counted from 1",
        json_schema_extra={"option": {"metavar": "I/N"}},
    )
    log_json: Path | None = Field(
        None,
        description="file that gets a JSON line for each cell's start and end",
        json_schema_extra={"option": {"metavar": "FILE"}},
    )
    tracker: str | None = Field(
        None,
        description="tensorboard, mlflow or trackio: hears of runs as they train",
        json_schema_extra={"option": {"metavar": "NAME[=PLACE]"}},
    )

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
