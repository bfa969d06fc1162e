"""Records → the commands that give them: `xlbench compare …`, each with all that differs from the defaults."""

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xlbench.analysis.matching import shared_fields
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import listed
from xlbench.records.record import Record
from xlbench.spec import AXES, RunSpec, by_shots, digest, written
from xlbench.spec.words import NESTED, OPTIONS, PARALLEL_OPTIONS, TRAINING_OPTIONS, method_choices


@dataclass(frozen=True)
class Again:
    """A command, and how many runs it makes beyond the records, where these are no whole grid."""

    text: str
    more: int


def commands(records: Sequence[Record]) -> list[Again]:
    """The commands whose runs are these records' and, where the records have gaps, those in the gaps.

    One is enough for records that differ in method, shots, draw and seed alone, as those of a group of the board
    do; each further choice of resources takes another. Folders (--data-root, a model's own) are left to the reader.
    Raises XlbenchError for a record that no command line can ask for.
    """
    if any(record.combined for record in records):
        return [_combination(record) for record in records]
    alike: dict[Hashable, list[RunSpec]] = defaultdict(list)
    resources = sorted({_resources(record.spec) for record in records} - {"{}"})
    for record in records:
        spec, revision = record.spec, record.identity.get("revision", "")
        if not spec.revision and re.fullmatch("[0-9a-f]{40}", revision):  # a hub's commit, no digest of a folder
            spec = spec.with_(revision=revision)
        if not spec.resources and resources:  # a method that reads none is asked for along with one that does
            spec = spec.with_(resources=json.loads(resources[0]))
        alike[shared_fields(spec), _resources(spec)].append(spec)
    return [_command(specs) for specs in sorted(alike.values(), key=lambda specs: _resources(specs[0]))]


def _combination(record: Record) -> Again:
    """The command that makes a record of others, which must be there."""
    made = record.combined
    options = [word for name in ("rule", "weights") if (value := made.get(name)) for word in (f"--{name}", str(value))]
    return Again(shlex.join(["xlbench", str(made["how"]), *made["runs"], *options]), 0)


def _resources(spec: RunSpec) -> str:
    return json.dumps(spec.resources, sort_keys=True)


def _command(specs: Sequence[RunSpec]) -> Again:
    """A command of runs that share all but the axes."""
    names = [repr((spec.method, spec.config)) for spec in specs]
    choices = dict(zip(names, specs, strict=True)).values()
    by_name = sorted(choices, key=lambda spec: (spec.method, digest([spec.method, spec.config])))
    methods = [_method(spec) for spec in by_name]
    shots = sorted({spec.shots for spec in specs}, key=by_shots)
    first, seeds = min(spec.draw for spec in specs), 1 + max(spec.seed for spec in specs)
    draws = 1 + max(spec.draw for spec in specs) - first
    numbers = ",".join(str(written(number)) for number in shots)
    words = ["xlbench", "compare", "--methods", ",".join(methods), "--shots", numbers]
    words += ["--draws", str(draws), *(["--first-draw", str(first)] if first else []), "--seeds", str(seeds)]
    words += _shared(specs[0])
    if any(spec.few for spec in specs) and "--selection" not in words:  # else `last` would be run beside it
        words += ["--selection", specs[0].selection]
    cells = {(name, spec.shots, spec.draw, spec.seed) for name, spec in zip(names, specs, strict=True)}
    return Again(shlex.join(words), len(methods) * len(shots) * draws * seeds - len(cells))


def _method(spec: RunSpec) -> str:
    settings = ",".join(f"{name}={_as_toml(value)}" for name, value in sorted(spec.config.items()))
    text = spec.method + (f"({settings})" if settings else "")
    if method_choices(text) != [{"method": spec.method, "config": spec.config}]:
        raise XlbenchError(f"the method {text!r} cannot be named on a command line; ask for it from Python")
    return text


def _shared(spec: RunSpec) -> Iterable[str]:
    """The options for what the runs share, where it differs from the defaults; task and model in any case."""
    yield from ("--task", spec.task, "--model", spec.model)
    asked, ordinary = spec.model_dump(mode="json"), RunSpec(method=spec.method, shots=1).model_dump(mode="json")
    for name, value in asked.items():
        if name in (*AXES, "task", "model") or value == ordinary.get(name):
            continue
        if name == "languages":
            if listed(",".join(value)) != value:
                raise XlbenchError(f"the languages {value} cannot be named on a command line; ask from Python")
            yield from ("--languages", ",".join(value))
        elif name == "resources":
            for resource, settings in value.items():
                for setting, chosen in settings.items():
                    named = PARALLEL_OPTIONS.get(setting, "") if resource == "parallel" else ""
                    yield from _option(f"resources.{resource}.{setting}", named, chosen)
        elif name in NESTED:
            for inner, chosen in value.items():
                if chosen != ordinary[name].get(inner):
                    own = inner in TRAINING_OPTIONS and not (inner == "epochs" and value.get("steps"))  # one of the two
                    yield from _option(f"{name}.{inner}", inner if own else "", chosen)
        else:
            yield from _option(name, name if name in OPTIONS else "", value)


def _option(field: str, option: str, value: Any) -> tuple[str, str]:
    """A field's own option, or --with where it has none."""
    if option:
        return f"--{option.replace('_', '-')}", str(value)
    return "--with", f"{field}={_as_toml(value)}"


def _as_toml(value: Any) -> str:
    """A value as TOML has it, for `--set`, `--methods` and `--with`. Raises XlbenchError for none, which TOML lacks."""
    if value is None or isinstance(value, Mapping | list | tuple):
        raise XlbenchError(f"the value {value!r} cannot be given on a command line; ask for it from Python")
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which TOML wants spelt
