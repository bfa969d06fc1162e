"""A suite: the runs of one comparison."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from xlbench.host.safe_reading import SUITE_BYTES, read_toml
from xlbench.spec.parsing import Frozen, Scalar, merged, parse
from xlbench.spec.protocol import MATCHED
from xlbench.spec.run_spec import AXES, RunSpec, Selection, Shots, of_today, written


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

    @property
    def label(self) -> str:
        """The method as boards name it: with the settings that differ from its defaults."""
        settings = ", ".join(f"{name}={value}" for name, value in sorted(self.config.items()))
        return f"{self.method} ({settings})" if settings else self.method

    def over(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a run that all cells share, with what this method says in their place."""
        shared = of_today(run)
        resources = merged(shared.get("resources", {}), self.resources)
        return {**shared, "method": self.method, "config": self.config, "resources": resources}


class Analysis(Frozen):
    """What a suite declares before it is run: which differences are tested, and how long it goes on.

    A contrast names two of the suite's methods, as `mpt - soft-prompt`; a setting that differs from a method's default
    stands behind its name, as `mpt (alpha=0.0)`. Primary contrasts are tested at 5 % by Holm; secondary ones too, where
    all primary ones are shown. Numbers of shots are tested in the suite's order, each where the one before was shown.
    """

    primary: tuple[str, ...] = Field((), description="contrasts that decide")
    secondary: tuple[str, ...] = Field((), description="contrasts that are tested where all primary ones are shown")
    reference: str | None = Field(None, description="the method that all others are compared with, in an ablation")
    margin: float = Field(2.0, gt=0, description="differences below so many points count as the same")
    looks: tuple[int, ...] = Field((), description="draws at which the board may be looked at before the last")

    def contrasts(self) -> dict[str, tuple[str, str]]:
        """Every declared contrast: its words, and its two methods."""
        return {words: _methods_of(words) for words in (*self.primary, *self.secondary)}


def _methods_of(contrast: str) -> tuple[str, str]:
    """The two methods of `A - B`. Raises ValueError."""
    first, minus, second = contrast.partition(" - ")
    if not minus or not first.strip() or not second.strip() or first.strip() == second.strip():
        raise ValueError(f"a contrast is two methods as 'mpt - soft-prompt', not {contrast!r}")
    return first.strip(), second.strip()


class Suite(Frozen):
    """The runs of one comparison: what they share (`run`), the axes along which they differ, the declared analysis."""

    name: str = "comparison"
    description: str = ""
    methods: tuple[MethodChoice, ...] = Field(min_length=1)
    shots: tuple[Shots, ...] = Field(min_length=1)
    draws: int = Field(1, ge=1, description="number of few-shot draws")
    first_draw: int = Field(0, ge=0, description="number of the first draw; the others follow it")
    seeds: int = Field(1, ge=1, description="number of seeds for each draw, numbered from 0")
    sources: tuple[str, ...] = Field(
        (), description="languages of the shots, one after the other: the source × target matrix; none: the run's"
    )
    beside: tuple[Selection, ...] = Field(
        (), description="selections that few shots, whose dev rows are few, are run with beside the run's own"
    )
    run: dict[str, Any] = Field({}, description="fields of RunSpec that all cells share")
    analysis: Analysis = Field(Analysis(), description="what is tested, declared before the runs")

    @field_validator("methods", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [{"method": item} if isinstance(item, str) else item for item in value]
        return value

    @model_validator(mode="after")
    def _axes(self) -> Self:
        if self.sources and self.run.get("source"):
            raise ValueError("sources and the run's source both say where shots come from; give one")
        if taken := set(AXES) & set(self.run):
            raise ValueError(f"run sets {', '.join(sorted(taken))}, which the suite's own axes set")
        return self

    @model_validator(mode="after")
    def _declared(self) -> Self:
        methods = [choice.label for choice in self.methods]
        named = [method for pair in self.analysis.contrasts().values() for method in pair]
        named += [self.analysis.reference] if self.analysis.reference else []
        for method in named:
            if method not in methods:
                raise ValueError(f"the analysis names {method!r}; the suite's methods are {', '.join(methods)}")
        if any(not 1 < look < self.draws for look in self.analysis.looks) or sorted(set(self.analysis.looks)) != list(
            self.analysis.looks
        ):
            raise ValueError(
                f"looks {list(self.analysis.looks)}: must be rising numbers of draws, two or more and before the last, "
                f"{self.draws}"
            )
        return self

    @property
    def declared(self) -> bool:
        """Whether its analysis says which differences are tested."""
        return bool(self.analysis.primary or self.analysis.secondary or self.analysis.reference)

    def cells(self) -> Iterator[RunSpec]:
        """Every run of the suite; draw by draw, so that a suite cut short is whole for the draws it has."""
        draws = range(self.first_draw, self.first_draw + self.draws)
        sources = [{"source": (source,)} for source in self.sources] or [{}]
        for draw, seed, of, shots, choice in product(draws, range(self.seeds), sources, self.shots, self.methods):
            fields = {**choice.over(self.run), **of, "shots": written(shots), "draw": draw, "seed": seed}
            spec = parse(RunSpec, fields, f"suite {self.name}")
            yield spec
            for selection in self.beside if spec.few and spec.protocol == MATCHED else ():
                if selection != spec.selection:
                    yield spec.with_(selection=selection)

    @classmethod
    def read(cls, path: Path) -> Self:
        """A suite from a TOML file. Raises XlbenchError where the file is missing or malformed."""
        fields = read_toml(path, SUITE_BYTES, f"the suite {path}")
        return parse(cls, {"name": path.stem, **fields}, f"suite {path}")
