"""A suite: the runs of one comparison."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from xlbench.errors import XlbenchError
from xlbench.host.safe_reading import SUITE_BYTES, from_toml, read_text
from xlbench.spec.parsing import Frozen, Scalar, merged, parse
from xlbench.spec.run_spec import AXES, RunSpec, Shots, of_today


class MethodChoice(Frozen):
    """A method as a suite names it: the method, the settings that differ from its defaults, and those of resources
    that are not the suite's own."""

    method: str
    config: dict[str, Scalar] = Field({})
    resources: dict[str, dict[str, Scalar]] = Field({})

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, fields: Any) -> Any:
        return of_today(fields)

    def over(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a run that all cells share, with what this method says in their place."""
        shared = of_today(run)
        resources = merged(shared.get("resources", {}), self.resources)
        return {**shared, "method": self.method, "config": self.config, "resources": resources}


class Suite(Frozen):
    """The runs of one comparison: what they share (`run`), and the axes along which they differ."""

    name: str = "comparison"
    description: str = ""
    methods: tuple[MethodChoice, ...] = Field(min_length=1)
    shots: tuple[Shots, ...] = Field(min_length=1)
    draws: int = Field(1, ge=1, description="number of few-shot draws, numbered from 0")
    seeds: int = Field(1, ge=1, description="number of seeds for each draw, numbered from 0")
    run: dict[str, Any] = Field({}, description="fields of RunSpec that all cells share")

    @field_validator("methods", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [{"method": item} if isinstance(item, str) else item for item in value]
        return value

    @model_validator(mode="after")
    def _axes(self) -> Self:
        if taken := set(AXES) & set(self.run):
            raise ValueError(f"run sets {', '.join(sorted(taken))}, which the suite's own axes set")
        return self

    def cells(self) -> Iterator[RunSpec]:
        """Every run of the suite; draw by draw, so that a suite cut short is whole for the draws it has."""
        for draw, seed, shots, choice in product(range(self.draws), range(self.seeds), self.shots, self.methods):
            fields = {**choice.over(self.run), "shots": shots or "all", "draw": draw, "seed": seed}
            yield parse(RunSpec, fields, f"suite {self.name}")

    @classmethod
    def read(cls, path: Path) -> Self:
        """A suite from a TOML file. Raises XlbenchError where the file is missing or malformed."""
        try:
            fields = from_toml(read_text(path, SUITE_BYTES, f"the suite {path}"), f"the suite {path}")
        except (OSError, UnicodeDecodeError) as fault:
            raise XlbenchError(f"cannot read the suite {path}: {fault}") from fault
        except ValueError as fault:
            raise XlbenchError(f"the suite {path} is not valid TOML: {fault}") from fault
        return parse(cls, {"name": path.stem, **fields}, f"suite {path}")
