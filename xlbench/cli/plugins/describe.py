"""`xlbench show`: what a plug-in says of itself, and what a method makes of a row."""

import inspect
import itertools
from pathlib import Path
from statistics import fmean

import numpy as np

from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.cli.plugins.check import kind_of
from xlbench.engine.contamination import normalised
from xlbench.engine.execute import before_training
from xlbench.engine.prepare import class_of, prepare
from xlbench.engine.tuning import RATES
from xlbench.errors import NotSupported, XlbenchError
from xlbench.language_codes import language_of
from xlbench.method import Method
from xlbench.problem import Classification
from xlbench.resources import Resource
from xlbench.sources import DataSource
from xlbench.spec import RunSpec, Runtime
from xlbench.task import Task

EXAMPLES = 3


def describe(name: str, task_name: str | None, languages: list[str], model: str, data_root: Path | None) -> str:
    """A plug-in in words: docstring, settings, citation, licence, languages; for a method and a task, three
    test rows of each language as the model's tokens. Raises XlbenchError for an unknown name or language."""
    kind = kind_of(name, ("method", "task", "resource"))
    if kind == "task":
        return "\n".join(_task_lines(class_of("task", name, Task)(), languages, DataSource(data_root)))
    plugin = class_of(kind, name, Method if kind == "method" else Resource)
    lines = [f"{kind} {name}  [{registry.find(kind, name).place}]", "", inspect.cleandoc(plugin.__doc__ or "")]
    option, settings = ("--set ", plugin.Config) if kind == "method" else (f"--with resources.{name}.", plugin.Settings)
    fields = settings.model_fields.items()
    lines += ["", f"settings ({option}NAME=VALUE):"]
    lines += [f"  {field} = {info.default!r}: {info.description}" for field, info in fields] or ["  none"]
    if kind == "resource":
        return "\n".join(lines)
    lines += ["", "searched (--tune N), where not set:"]
    for rate, factors in RATES.items() if plugin.learns_by_gradient() else ():
        times = ", ".join(f"{factor:g}" for factor in factors)
        lines.append(f"  {rate}: {times} times the one asked for, as for every method")
    lines += [] if plugin.learns_by_gradient() else ["  learning rate: none: it learns without gradients"]
    lines += [f"  {setting}: {', '.join(map(str, values))}" for setting, values in plugin.Config.search.items()]
    lines += ["", f"needs: {', '.join(sorted(plugin.needs)) or 'nothing beside the shots'}"]
    lines += [f"cite: {plugin.citation or 'not given'}"]
    lines += [f"licence: {plugin.license}"] if plugin.license else []
    if task_name is not None:
        lines += ["", *_rendered(plugin, registry.get("task", task_name)(), languages, model, data_root)]
    return "\n".join(lines)


def untrained(task_name: str, model: str, data_root: Path | None) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: what each method scores before it is trained, on test rows of the source language.

    One that is above chance by much was favoured by what the model was pretrained on: its few-shot results say as much
    of that as of the method.
    """
    task: Task = registry.get("task", task_name)()
    rows = []
    for name in registry.names("method"):
        spec = RunSpec(task=task_name, method=name, shots=1, model=model, languages=(task.source,))
        try:
            scored = before_training(prepare(spec, Runtime(data_root=data_root)))
        except (NotSupported, XlbenchError) as fault:
            rows.append([name, "–", str(fault)])
        else:
            rows.append([name, f"{100 * scored[task.source]:.1f}", f"{scored['rows']:.0f} rows"])
    return ["method", f"{task.problem.metric.name} before training, {task.source}", "of"], rows


def _task_lines(task: Task, languages: list[str], source: DataSource) -> list[str]:
    place = registry.find("task", task.name).place
    lines = [
        f"task {task.name}, version {task.version}  [{place}]",
        "",
        inspect.cleandoc(task.__doc__ or ""),
        "",
        f"languages: {', '.join(task.languages)} (source {task.source})",
        f"labels: {', '.join(f'{number} {label}' for number, label in enumerate(task.labels))}",
        f"texts: {', '.join(task.fields)}",
        f"parallel corpus: {task.parallel or 'none of its own'}",
        f"published splits: {', '.join(task.splits) or 'none'}",
        f"licence: {task.license or 'not given'}",
        f"cite: {task.citation or 'not given'}",
    ]
    for language in task.check_languages(languages):
        lines.append("")
        for template in dict.fromkeys(("pair", "soft", "question", *task.templates)):
            lines.append(f"{language} template {template}: {task.template(template, language) or 'none'}")
        lines.append(f"{language} label words: {', '.join(task.words.get(language, ('none',)))}")
        lines += _overlap(task, language, source)
    return lines


def _overlap(task: Task, language: str, source: DataSource) -> list[str]:
    """How much of the last text of test rows stands in the first, by label: what a model can go by without reading
    (Artetxe et al. 2020, Translation artifacts in cross-lingual transfer learning). Nothing without rows at hand."""
    if len(task.fields) != 2 or not isinstance(task.problem, Classification):
        return []
    try:
        rows = task.test(language, source)
    except XlbenchError:
        return []
    by_character = language_of(language) in {"zh", "ja", "th", "km", "lo", "my", "bo", "dz"}  # no spaces between words
    shares: dict[str, list[float]] = {}
    for row in rows:
        texts = [normalised(text) for text in row.texts]
        before, behind = (set(text.replace(" ", "") if by_character else text.split()) for text in texts)
        if behind:
            shares.setdefault(task.labels[row.gold], []).append(len(behind & before) / len(behind))
    every = [share for of_label in shares.values() for share in of_label]
    parts = ", ".join(f"{label} {100 * fmean(shares[label]):.0f}" for label in task.labels if label in shares)
    what, (first, last) = "characters" if by_character else "words", task.fields
    return [f"{language} overlap: {100 * fmean(every):.0f} % of the {what} of {last} in {first} ({parts})"]


def _rendered(
    method_class: type[Method], task: Task, languages: list[str], model: str, data_root: Path | None
) -> list[str]:
    if reason := method_class.supports(task):
        raise XlbenchError(f"method {method_class.name} does not run on task {task.name}: {reason}")
    backbone = Backbone.load(model)
    method = method_class(method_class.Config(), backbone, task, task.check_languages(languages))
    lines = []
    for language in task.check_languages(languages):
        rows = task.test(language, DataSource(data_root))[:EXAMPLES]
        encoded = method.encode(rows, language)
        lines.append(f"{language}, as {model} reads it:")
        for number, row in enumerate(rows):
            *others, last = (text_of(encoded.ids[place], backbone) for place in encoded.inputs(np.array([number])))
            answer = task.problem.in_words(row.gold, row.choices)
            lines += [*(f"  {text}" for text in others), f"  {last}  → {answer}"]
    return lines


def text_of(ids: np.ndarray, backbone: Backbone) -> str:
    """Ids as the tokenizer decodes them, a prompt vector -k as `[vk]`."""
    runs = ((prompt, list(run)) for prompt, run in itertools.groupby(ids.tolist(), key=lambda token: token < 0))
    texts = (
        " ".join(f"[v{-token}]" for token in run) if prompt else backbone.tokenizer.decode(run) for prompt, run in runs
    )
    return " ".join(text.strip() for text in texts)
