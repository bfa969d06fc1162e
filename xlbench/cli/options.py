"""The options of the commands. Those of a run are made from the fields of RunSpec, Training and Runtime, which say
their names, types, defaults and help; what stands here beside them is no field."""

import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel

from xlbench.cli.frame import Command
from xlbench.spec import ParallelSettings, RunSpec, Runtime, Training
from xlbench.spec.words import kinds

PANELS: dict[type[BaseModel], str] = {
    RunSpec: "The run",
    ParallelSettings: "The run",
    Training: "Training",
    Runtime: "Where it runs",
}
METAVARS = {int: "N", float: "NUMBER", str: "TEXT", bool: None}
PLAIN_TYPES = (int, float, bool, Path)


def takes(*fields: tuple[type[BaseModel], Iterable[str]]) -> Callable[[Command], Command]:
    """Decorator: the command below has an option for each field, and finds those in its `**given`, None where left out.

    Its own parameters come before them in the help, the keyword-only ones after.
    """

    def with_signature(function: Command) -> Command:
        parameters = inspect.signature(function).parameters.values()
        made = [parameter(model, name) for model, names in fields for name in names]
        before = [own for own in parameters if own.kind is own.POSITIONAL_OR_KEYWORD]
        after = [own for own in parameters if own.kind is own.KEYWORD_ONLY]
        by_name = [own.replace(kind=own.KEYWORD_ONLY) for own in (*before, *made, *after)]
        function.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]  # typer reads it
        return function

    return with_signature


def parameter(model: type[BaseModel], name: str) -> inspect.Parameter:
    """A field as a parameter that typer makes an option of: None where it is not given, so that a suite's own value or
    the field's default holds; required where the field is."""
    field, extra = model.model_fields[name], _extra(model, name)
    kind: Any = list[str] if extra.get("several") else _type(model, name)
    left_out = inspect.Parameter.empty if field.is_required() else None
    made = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=left_out)
    return made.replace(annotation=Annotated[kind if field.is_required() else kind | None, option(model, name)])


def option(model: type[BaseModel], name: str) -> Any:
    """A field's option: its names and help, with its default in it. What is out of bounds, the model refuses.

    What the field does not say as such stands in its `json_schema_extra` under "option": `names` (the first is the
    one that is shown, the others hold as well), `metavar`, `help`, `several` (may be given more than once) and `text`
    (is read by `xlbench.spec.words`, whatever the field's type).
    """
    extra = _extra(model, name)
    kind, folder = _type(model, name), Path in kinds(model, name)
    return typer.Option(
        *extra.get("names", [f"--{name.replace('_', '-')}"]),
        metavar=extra.get("metavar", "PATH" if folder else METAVARS[kind]),
        help=_help(model, name).replace("[", "\\["),  # which rich would take for markup
        # pathlib's own raises for a user that cannot be
        parser=(lambda text: kind(os.path.expanduser(text))) if folder else None,
        show_default=False,
        rich_help_panel=PANELS[model],
    )


def _extra(model: type[BaseModel], name: str) -> dict[str, Any]:
    schema: Any = model.model_fields[name].json_schema_extra or {}
    extra: dict[str, Any] = schema.get("option", {})
    return extra


def _type(model: type[BaseModel], name: str) -> type:
    """A number, a flag or a path; text for all else, which the model reads."""
    (first, *others) = kinds(model, name)
    return first if first in PLAIN_TYPES and not others and not _extra(model, name).get("text") else str


def _help(model: type[BaseModel], name: str) -> str:
    """What a field is, the values that it takes where these are few, and its default."""
    field = model.model_fields[name]
    text = _extra(model, name).get("help") or field.description or ""
    values = [value for kind in kinds(model, name) if get_origin(kind) is Literal for value in get_args(kind)]
    if any(value not in text for value in values):
        text += f": {', '.join(values)}"
    says_nothing = field.is_required() or field.default is None or field.default is False or field.default == ()
    return text if says_nothing else f"{text} [default: {field.default}]"


Runs = Annotated[str, option(Runtime, "runs")]
DataRoot = Annotated[Path | None, option(Runtime, "data_root")]
Plugin = Annotated[list[str] | None, option(Runtime, "plugins")]
Languages = Annotated[str | None, option(RunSpec, "languages")]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="a setting of the method", rich_help_panel=PANELS[RunSpec]),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="FIELD=VALUE",
        help="a field of the run without an option: training.clip=0.5",
        rich_help_panel=PANELS[RunSpec],
    ),
]
Picture = Annotated[Path | None, typer.Option(metavar="FILE.svg", help="also draw the board as a picture")]
