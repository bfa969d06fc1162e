"""`xlbench check`: whether a plug-in keeps the contract."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xlbench import registry
from xlbench.cli.plugins.method_points import Finding, Point, Sample, method_points
from xlbench.cli.plugins.task_points import task_points
from xlbench.errors import NotSupported, one_line, unknown
from xlbench.method import Method
from xlbench.sources import DataSource


def check(
    name: str,
    task_name: str = "logic",
    data_root: Path | None = None,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """The contract of a registered method (on a task) or of a task, point by point, on a model, or the tiny one.

    A method's stops at the first point that raises, since the later ones build on it, and at a task that it does not
    support, which is a note. A task's ends with each method that there is: whether it runs on the task. Raises
    XlbenchError for an unknown name, setting or model.
    """
    kind, given = kind_of(name), settings or {}
    plugin, task_class = registry.get(kind, name), registry.get("task", name if kind == "task" else task_name)
    sample = Sample(task_class(), DataSource(data_root), model, given)
    if given:
        names = registry.names("method") if kind == "task" else [name]
        methods = [cls for cls in (registry.get("method", method) for method in names) if issubclass(cls, Method)]
        fields = {field for method in methods for field in method.Config.model_fields}
        for setting in set(given) - fields:
            raise unknown("setting", setting, fields, f"{kind} {name}")
        for method in methods:
            sample.config(method)  # raises for a value that it does not take
    if model is not None:
        _ = sample.backbone  # raises where there is none
    return _findings(method_points(plugin, sample) if kind == "method" else task_points(sample))


def _findings(points: Iterator[Point]) -> list[Finding]:
    findings: list[Finding] = []
    while True:
        point = "what the next points need"
        try:
            point, hold = next(points)
            answer = hold()
        except StopIteration:
            return findings
        except NotSupported as reason:
            return [*findings, Finding("it is skipped", True, one_line(reason), note=True)]
        except Exception as fault:  # a plug-in may raise anything; the check says what and where
            return [*findings, Finding(point, False, f"{type(fault).__name__}: {one_line(fault)}")]
        findings.append(answer if isinstance(answer, Finding) else Finding(point, not answer, answer))


def kind_of(name: str, among: Sequence[registry.Kind] = ("method", "task")) -> registry.Kind:
    """Whether a name is a method's, a task's, …, the first of some kinds. Raises XlbenchError where it is none's."""
    for kind in among:
        if name in registry.names(kind):
            return kind
    known = [one for kind in among for one in registry.names(kind)]
    raise unknown(f"{', '.join(among[:-1])} or {among[-1]}", name, known)
