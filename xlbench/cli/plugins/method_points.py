"""The contract of a method, point by point, on some rows of a task."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from xlbench.backbone import Backbone
from xlbench.batching import collate
from xlbench.engine.predict import predict
from xlbench.engine.prepare import class_of
from xlbench.engine.session import Session, trained_parameters
from xlbench.engine.train import generator, training_batches
from xlbench.engine.tuning import search_space
from xlbench.errors import NotSupported
from xlbench.method import Method, MethodConfig, Resources
from xlbench.prompts import Encoded
from xlbench.resources import Resource, Surroundings
from xlbench.sources import DataSource
from xlbench.spec import parse
from xlbench.task import FewShot, Row, Task

SHOTS = 4  # a class, for a check
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Finding:
    """One point of the contract: whether it holds, and if not, why. A note fails nothing: it says what to know."""

    point: str
    ok: bool
    why: str = ""
    note: bool = False


Point = tuple[str, Callable[[], str | Finding]]  # what must hold, and a function that says why it does not


@dataclass(frozen=True)
class Sample:
    """What methods are checked on: some rows of a task, and a backbone, the tiny one where none is named."""

    task: Task
    source: DataSource
    model: str | None
    settings: Mapping[str, Any]

    @cached_property
    def backbone(self) -> Backbone:
        return Backbone.load(self.model or "tiny")

    @cached_property
    def languages(self) -> tuple[str, ...]:
        source = self.task.source
        return (source, *[language for language in self.task.languages if language != source][:2])

    @cached_property
    def shots(self) -> FewShot:
        return self.task.draw(SHOTS, 0, self.source)

    @cached_property
    def test(self) -> list[Row]:
        return self.task.test(self.languages[-1], self.source)[:12]

    def resources(self, method_class: type[Method]) -> dict[str, Any]:
        """What a method needs beside the shots, a little of each. Raises XlbenchError for a name that there is not."""
        around = Surroundings(self.task, self.languages, self.shots.learnt, self.source)
        return {name: self._resource(name, around) for name in sorted(method_class.needs)}

    def _resource(self, name: str, around: Surroundings) -> Any:
        resource: type[Resource[Any]] = class_of("resource", name, Resource)
        if name == "parallel" and self.task.parallel is None:
            return {}  # a method goes on without, as it does for a language that a corpus lacks
        settings = {"size": 8} if "size" in resource.Settings.model_fields else {}
        return resource(resource.Settings.model_validate(settings)).load(around)

    def config(self, method_class: type[Method]) -> MethodConfig:
        """A method's settings: those that were given and that it has. Label words of several pieces are no fault of a
        task's where the model is not the one that will be used."""
        defaults = {"multi_token": "mean"} if self.model is None else {}
        fields = method_class.Config.model_fields
        config = {name: value for name, value in {**defaults, **self.settings}.items() if name in fields}
        return parse(method_class.Config, config, f"the config of method {method_class.name}")


def method_points(method_class: type[Method], sample: Sample) -> Iterator[Point]:
    """What a method promises, each point with a function that says why it does not hold. What stands between two points
    may raise whatever a plug-in raises; NotSupported says that there is nothing to check."""
    task = sample.task
    yield "its class is a Method with a docstring", lambda: is_documented(method_class, Method)
    yield "every setting has a default and a description", lambda: _settings_described(method_class)
    space = _raises(search_space, method_class.name, method_class.Config)
    yield "its search space names settings and values that they take", space
    yield f"it supports the task {task.name}", lambda: _supported(method_class, sample)
    torch.manual_seed(0)
    backbone, shots = sample.backbone.fresh(), sample.shots
    method = method_class(sample.config(method_class), backbone, task, sample.languages)
    module: list[torch.nn.Module] = []

    def build() -> str:
        module.append(method.build(backbone, task))
        if outside := method.left_outside(module[0]):
            return f"{', '.join(outside)} would never train, for the module does not hold it"
        return "" if trained_parameters(module[0]) or not method.learns_by_gradient() else "nothing trains"

    yield "build gives a module with parameters that train", build
    rows: list[Encoded] = []

    def encode() -> str:
        rows.append(method.encode_labelled(shots.train))
        return _sound(rows[0], len(shots.train), backbone)

    yield "encode gives ids of the backbone's vocabulary, one row for each", encode
    yield "encode depends on nothing but rows and language", lambda: _same_twice(method, shots.train, task.source)
    resources = Resources(shots.learnt, generator(0, "check"), sample.resources(method_class))
    if method.learns_by_gradient():
        yield from _training_points(method, module[0], rows[0], resources)
    else:
        yield "fit learns without gradients", _raises(method.fit, resources)
    module[0].eval()
    yield "finish ends well", _raises(method.finish, resources)
    test = method.encode_labelled(sample.test)
    scores: list[np.ndarray] = []

    def score(token_budget: int = 0) -> np.ndarray:
        return predict(method, test, Session(CPU, token_budget=token_budget))

    yield "score gives a number for each alternative, and no NaN", _raises(lambda: scores.append(score()))
    yield "scores are log-probabilities", lambda: "some are above 0" if (scores[0] > 1e-5).any() else ""
    yield "scores do not depend on the batch", lambda: _close(score(token_budget=64), scores[0], 1e-4)
    yield "scoring twice gives the same", lambda: _close(score(), scores[0], 0.0)
    yield "scoring leaves the weights alone", lambda: _leaves_weights(method, module[0], test)


def _raises(promise: Callable[..., object], *given: object) -> Callable[[], str]:
    """A point that holds where nothing is raised."""

    def hold() -> str:
        promise(*given)
        return ""

    return hold


def _training_points(method: Method, module: torch.nn.Module, shots: Encoded, resources: Resources) -> Iterator[Point]:
    """What a method that learns by gradients promises of a step."""
    batch = next(training_batches(method, shots, method.streams(resources), 8, 0, CPU))
    module.train()

    def loss() -> str:
        value = method.loss(batch)
        if value.shape != () or not bool(torch.isfinite(value)):
            return f"loss gave {tuple(value.shape)} {value.detach().flatten()[:3].tolist()}, not one finite number"
        value.backward()
        return ""

    yield "loss is one finite number", loss
    gradients = [value.grad for value in trained_parameters(module).values() if value.grad is not None]
    yield "gradients reach what trains", lambda: "" if any(map(torch.any, gradients)) else "no parameter has a gradient"


def is_documented(cls: type, base: type) -> str:
    if not issubclass(cls, base):
        return f"{cls.__name__} is no {base.__name__}"
    return "" if cls.__doc__ and cls.__doc__ != base.__doc__ else "it has no docstring"


def _supported(method_class: type[Method], sample: Sample) -> str:
    """Raises NotSupported for a task that the method does not support, and a backbone without the head it reads."""
    if reason := method_class.supports(sample.task):
        raise NotSupported(reason)
    if method_class.needs_masked_lm and not sample.backbone.has_masked_lm_head:
        raise NotSupported(f"the backbone {sample.model} has no masked-LM head")
    return ""


def _settings_described(method_class: type[Method]) -> str:
    fields = method_class.Config.model_fields
    lacking = [name for name, field in fields.items() if field.is_required() or not field.description]
    return f"without a default or description: {', '.join(lacking)}" if lacking else ""


def _sound(encoded: Encoded, rows: int, backbone: Backbone) -> str:
    if len(encoded) != rows:
        return f"{len(encoded)} rows for {rows}"
    size, mask = backbone.config.vocab_size, backbone.tokenizer.mask_token_id
    for index, ids in enumerate(encoded.ids):
        if len(ids) == 0 or ids.max() >= size:
            return f"row {index} has ids outside the vocabulary of {size}"
        if encoded.read_at.ndim == 1 and mask in ids and ids[encoded.read_at[index]] != mask:
            return f"row {index}: read_at does not point at the mask"
    return ""


def _same_twice(method: Method, rows: tuple[Row, ...], language: str) -> str:
    first, second = method.encode(rows, language), method.encode(rows, language)
    same = all(np.array_equal(ids, again) for ids, again in zip(first.ids, second.ids, strict=True))
    return "" if same else "two calls with the same rows differ"


def _close(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> str:
    finite = np.isfinite(theirs)
    if not np.array_equal(np.isfinite(ours), finite):
        return "an alternative that is scored in the one has no score in the other"
    difference = float(np.abs(ours[finite] - theirs[finite]).max(initial=0.0))
    return "" if difference <= tolerance else f"they differ by {difference:.2g}"


def _leaves_weights(method: Method, module: torch.nn.Module, encoded: Encoded) -> str:
    before = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        method.score(collate(encoded, range(len(encoded)), method.backbone.tokenizer.pad_token_id, CPU))
    changed = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    return f"score changed {changed[0]}" if changed else ""
