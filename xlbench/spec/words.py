"""What the command line says, as fields of specs and suites."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import listed
from xlbench.host.safe_reading import from_toml
from xlbench.spec.parsing import merged, parse
from xlbench.spec.run_spec import SHOTS_IN_WORDS, RunSpec
from xlbench.spec.suite import Suite

# The fields that have an option of their own, made by `xlbench.cli.options`; any other of a run is given by --with.
FIRST_OPTIONS = ("method", "shots", "task", "draw", "seed")  # of one run; a suite has most of them in the plural
OPTIONS = (
    "model", "revision", "source", "languages", "test_units", "test_design", "train_on", "read", "translations",
    "untranslated", "target_shots", "target_mode", "protocol", "split", "tune", "max_length", "precision", "selection",
)  # fmt: skip
PARALLEL_OPTIONS = {"corpus": "parallel", "size": "parallel_size"}  # settings of the resource `parallel`, and options
TRAINING_OPTIONS = ("steps", "epochs", "batch_size", "learning_rate", "fresh_learning_rate", "warmup", "checkpoints")
RUNTIME_OPTIONS = (
    "data_root", "runs", "device", "plugins", "token_budget", "tracker", "checkpoint_minutes", "keep_weights",
    "quiet",
)  # fmt: skip
WORKER_OPTIONS = (  # of Runtime too, where there are several runs
    "executor", "jobs", "address", "cell_cpus", "cell_gpus", "cell_timeout", "shard", "log_json",
)  # fmt: skip
NESTED = ("training", "lora", "resources")


def kinds(model: type[BaseModel], name: str) -> tuple[Any, ...]:
    """The types that a field takes, None left out."""
    annotation = model.model_fields[name].annotation
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return tuple(part for part in parts if part is not NoneType)


def run_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that were given, as fields of a RunSpec; those left out keep its defaults.

    Raises XlbenchError for both --steps and --epochs; with epochs given, the steps of a suite do not hold.
    """
    given = {name: value for name, value in options.items() if value is not None}
    fields = {name: _read(name, given[name]) for name in (*FIRST_OPTIONS, *OPTIONS) if name in given}
    fields |= tuning(fields.pop("tune", ()))
    training = {name: given[name] for name in TRAINING_OPTIONS if name in given}
    if "steps" in training and "epochs" in training:
        raise XlbenchError(
            f"--steps {training['steps']} and --epochs {training['epochs']} both say how long to train; give one"
        )
    if "epochs" in training:
        training["steps"] = None
    fields |= {"training": training} if training else {}
    parallel = {name: given[name] for name in PARALLEL_OPTIONS if name in given}
    fields |= {"resources": {"parallel": parallel}} if parallel else {}
    for name, value in settings(given.get("with_", ()), "--with").items():
        outer, *inner = name.split(".")
        for part in reversed(inner):
            value = {part: value}
        fields = merged(fields, {outer: value})
    return fields


def _read(name: str, value: Any) -> Any:
    """An option's value as its field takes it: a list from its text."""
    if name == "shots":
        return whole_number(value)
    several = any(get_origin(kind) is tuple for kind in kinds(RunSpec, name))
    return tuple(listed(value)) if several and isinstance(value, str) else value


def tuning(values: Sequence[str]) -> dict[str, Any]:
    """What `--tune` was given, as fields of a RunSpec: a word is what trains, a whole number the trials."""
    fields: dict[str, Any] = {}
    for value in values:
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
        name = "trials" if number else "tune"
        if (not number and value not in {"all", "lora", "frozen"}) or name in fields:
            raise XlbenchError(
                "--tune takes what trains of the backbone (all, lora or frozen), a number of configurations to try of "
                f"each method (1 or more), or one of each as --tune lora --tune 4, not {' and '.join(values)!r}"
            )
        fields[name] = number or value
    return fields


def settings(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """`alpha=0.3` → {"alpha": 0.3}: numbers, quoted text, true and false as in TOML, anything else as text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise XlbenchError(f"{option} takes NAME=VALUE, not {pair!r}")
        try:
            value = from_toml(f"value = {text}", option)["value"]
        except (ValueError, XlbenchError):
            value = text
        values[name] = value if isinstance(value, bool | int | float | str) else text
    return values


def method_choices(text: str) -> list[dict[str, Any]]:
    """`finetune,mpt(alpha=0.3)` → methods, each with its settings; raises XlbenchError for a bracket left open."""
    choices = []
    for part in listed(text):
        name, bracket, inside = part.partition("(")
        if bracket and not inside.endswith(")"):
            raise XlbenchError(f"--methods takes names, as a,b(setting=1), not {part!r}; close its bracket")
        choices.append({"method": name.strip(), "config": settings(listed(inside.removesuffix(")")), "--methods")})
    return choices


def whole_numbers(text: str) -> list[int | str]:
    """`4,16,all` → [4, 16, "all"]."""
    try:
        return [part if part in SHOTS_IN_WORDS else int(part) for part in listed(text)]
    except ValueError:
        raise XlbenchError(f"--shots takes whole numbers, as 4,16, or all, or none, not {text!r}") from None


def whole_number(text: str) -> int | str:
    """`16` → 16, `all` → all."""
    numbers = whole_numbers(text)
    if len(numbers) != 1:
        raise XlbenchError(
            f"--shots takes one whole number here, as 16, or all, or none, not {text!r}; compare takes several"
        )
    return numbers[0]


def shipped_suites() -> dict[str, Path]:
    """The suites that ship, by name."""
    (folder,) = import_module("xlbench.suites").__path__
    return {file.stem: file for file in sorted(Path(folder).glob("*.toml"))}


def suite_of(name: str, axes: Mapping[str, Any], fields: Mapping[str, Any]) -> Suite:
    """A suite by its file or name, with what was given on the command line in place of what it says."""
    read = Suite.read(suite_file(name))
    next(read.cells())  # raises where the file itself is mistaken
    return parse(Suite, {**read.model_dump(), **axes, "run": merged(read.run, fields)}, f"suite {name}")


def suite_file(name: str) -> Path:
    """A suite's file: a path, or the name of one that ships."""
    shipped = shipped_suites()
    if name in shipped and not os.path.isfile(name):
        return shipped[name]
    if not os.path.isfile(name):
        raise XlbenchError(f"there is no suite file {name}; give a TOML file or one that ships: {', '.join(shipped)}")
    return Path(name)
