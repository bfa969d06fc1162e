"""Equal tuning: the configurations that `--tune N` tries of a method, and the choice among them by source dev.

The first is the configuration as given. The others are drawn without replacement from a space: the values that
the method's config declares in `search`, less what the user fixed, times the learning rates below, those of pretrained
weights and those of what the method adds. Each trains with the whole budget; the choice looks at the source language's
dev rows alone: by the metric, or by the loss where these are few (`RunSpec.few`).
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xlbench.engine.session import Session
from xlbench.engine.train import Evaluate, Fitted, generator
from xlbench.errors import Diverged, XlbenchError, unknown
from xlbench.method import Method, MethodConfig
from xlbench.records.record import trial_settings
from xlbench.spec import ResolvedSpec, ResolvedTraining, Scalar, Training, parse
from xlbench.spec.protocol import MATCHED

# Fields of the training and by what the run's own is multiplied; searched for every method that learns by gradients.
RATES = {"learning_rate": (0.5, 1.0, 2.0, 5.0), "fresh_learning_rate": (0.1, 0.3, 1.0, 3.0)}


@dataclass(frozen=True)
class Configuration:
    """One configuration to try. `searched`: its values of what is searched, under `training` and `config`."""

    config: MethodConfig
    training: ResolvedTraining
    searched: Mapping[str, Mapping[str, Scalar]]


def search_space(method: str, config: type[MethodConfig], fixed: Collection[str] = ()) -> dict[str, tuple[Scalar, ...]]:
    """What a method's config declares: setting → its values, each once, without the settings that are `fixed`.

    Raises XlbenchError where a name is no setting, has no values, or a value is none that the setting takes.
    """
    place, fields = f"the search space of method {method}", config.model_fields
    space: dict[str, tuple[Scalar, ...]] = {}
    if not isinstance(config.search, Mapping):
        raise XlbenchError(f"{place} is {config.search!r}: must be a mapping of settings to lists of values")
    for name, values in config.search.items():
        if name not in fields:
            raise unknown("setting", name, fields, place)
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise XlbenchError(f"{place}: {name} = {values!r}: must be a list of one or more values")
        space[name] = tuple(dict.fromkeys(getattr(parse(config, {name: value}, place), name) for value in values))
    return {name: values for name, values in space.items() if name not in fixed}


def outside_space(spec: ResolvedSpec, config: MethodConfig, recommended: float) -> list[str]:
    """Which rates and settings of a run lie outside of what is searched of its method, in sentences. The space of the
    learning rate is that around the one `recommended` for the backbone, of fresh parts that around the default."""
    if spec.protocol != MATCHED:
        return []
    usual = {"learning_rate": recommended, "fresh_learning_rate": Training().fresh_learning_rate}
    spaces = {name: [usual[name] * factor for factor in factors] for name, factors in RATES.items()}
    asked = {name: (float(getattr(spec.training, name)), spaces[name]) for name in RATES}
    for name, values in search_space(spec.method, type(config)).items():
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if name in spec.config and len(numbers) == len(values):
            asked[name] = float(getattr(config, name)), numbers
    return [
        f"{name} {value:g} is outside of {min(values):g} to {max(values):g}, in which it is searched"
        for name, (value, values) in asked.items()
        if not min(values) * (1 - 1e-9) <= value <= max(values) * (1 + 1e-9)
    ]


def configurations(spec: ResolvedSpec, config: MethodConfig, by_gradient: bool = True) -> tuple[Configuration, ...]:
    """The configurations that a run tries, `spec.trials` of them, all different, the given one first.

    The draw depends on method, shots, draw and seed alone, and the first N of more are what N would be. `spec`
    is resolved: its learning rate is known, and searched if `by_gradient`. Raises XlbenchError for too small a space.
    """
    if spec.trials == 1:
        return (Configuration(config, spec.training, {}),)
    space = search_space(spec.method, type(config), spec.config)
    rates = {name: getattr(spec.training, name) for name in RATES} if by_gradient else {}
    axes = [*(tuple(rate * times for times in RATES[name]) for name, rate in rates.items()), *space.values()]
    given = (*rates.values(), *(getattr(config, name) for name in space))
    inside = all(value in axis for value, axis in zip(given, axes, strict=True))
    most = math.prod(len(axis) for axis in axes) + (not inside)
    if most < spec.trials:
        sizes = ", ".join(f"{len(axis)} of {name}" for name, axis in zip((*rates, *space), axes, strict=True))
        raise XlbenchError(
            f"method {spec.method} has {most} configuration{'s' * (most > 1)} to try, not {spec.trials} "
            f"({sizes or 'it learns without gradients and searches no setting'}); use --tune {most} or less for all "
            "methods, or declare more values in its Config's search"
        )
    random = generator(spec.random_seed, f"trials\x1f{spec.method}\x1f{spec.shots}")
    drawn: list[tuple[Scalar, ...]] = [given]
    while len(drawn) < spec.trials:
        values = tuple(axis[random.integers(len(axis))] for axis in axes)
        if values not in drawn:
            drawn.append(values)
    tried, place = [], f"the search space of method {spec.method}"
    for values in drawn:
        training = dict(zip(rates, values, strict=False))
        settings = dict(zip(space, values[len(rates) :], strict=True))
        tried.append(
            Configuration(
                parse(type(config), {**config.model_dump(), **settings}, place),
                parse(ResolvedTraining, {**spec.training.model_dump(), **training}, place),
                {"training": training, "config": settings},
            )
        )
    return tuple(tried)


@dataclass(frozen=True)
class Trained:
    """A trained method. `evaluate` gives metric and mean loss on source dev of the state that would be tested; `learnt`
    is what `Record.learnt` keeps of it."""

    configuration: Configuration
    method: Method
    module: nn.Module
    fitted: Fitted
    evaluate: Evaluate
    learnt: Mapping[str, Mapping[str, float]]

    def set_aside(self) -> None:
        """Off the device, and without gradients, while others train."""
        self.module.zero_grad(set_to_none=True)
        self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> None:
        self.module.to(device)
        self.method.backbone.to(device)


@dataclass(frozen=True)
class Choice:
    """The configuration that is tested, its number, and what every trial gave; no trials where there is one."""

    trained: Trained
    number: int
    trials: Sequence[Mapping[str, Any]]

    @property
    def selection(self) -> dict[str, Any]:
        """What a record's `selection` says of the trials."""
        return {"chosen": self.number, "trials": list(self.trials)} if self.trials else {}

    @property
    def costs(self) -> dict[str, float]:
        """Seconds of training of the chosen trial alone; `training_seconds` are of all."""
        return {"chosen_training_seconds": self.trials[self.number]["seconds"]} if self.trials else {}

    @property
    def notes(self) -> list[str]:
        """The lost trials, in sentences."""
        return [
            f"trial {number} ({trial_settings(trial)}) is lost: {trial['lost']}"
            for number, trial in enumerate(self.trials)
            if "lost" in trial
        ]


def best_of(
    asked: Sequence[Configuration], train: Callable[[Configuration], Trained], session: Session, by_loss: bool = False
) -> Choice:
    """Train every configuration and choose one: the best on dev by the metric, then the lower loss, then the earlier.
    With `by_loss` the loss comes first: of few rows it tells more.

    Only the best so far is kept, off the device while another trains. A trial that diverges is lost; raises
    Diverged where all are.
    """
    if len(asked) == 1:
        return Choice(train(asked[0]), 0, ())
    trials: list[dict[str, Any]] = []
    best: tuple[tuple[float, ...], int, Trained] | None = None
    with session.progress.stage("trials", len(asked)):
        for number, configuration in enumerate(asked):
            before = session.watch.seconds["training"]
            trial: dict[str, Any] = {kind: dict(values) for kind, values in configuration.searched.items()}
            try:
                trained = train(configuration)
                with session.watch.stage("evaluation"):
                    score, loss = trained.evaluate()
                trial |= {"step": trained.fitted.step, "dev_score": score, "dev_loss": loss}
                trained.set_aside()
                rank = (-loss, score) if by_loss else (score, -loss)
                if best is None or rank > best[0]:
                    best = rank, number, trained
                del trained
            except Diverged as fault:
                trial["lost"] = str(fault)
            trials.append(trial | {"seconds": round(session.watch.seconds["training"] - before, 3)})
            session.progress.step(1)
    if best is None:
        raise Diverged(f"all {len(asked)} configurations were lost; the first: {trials[0]['lost']}")
    best[2].to(session.device)
    return Choice(best[2], best[1], trials)
