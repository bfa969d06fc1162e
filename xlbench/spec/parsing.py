"""Fields that somebody gave, as a model; a mistake as one sentence; and the digest of what was asked."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from xlbench.errors import XlbenchError, unknown

Scalar = bool | int | float | str | None
SCALARS = ("bool", "int", "float", "str")


class Frozen(BaseModel):
    """The base of everything that is asked for: immutable, and a field nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


Asked = TypeVar("Asked", bound=BaseModel)


def parse(model: type[Asked], fields: Mapping[str, Any], place: str) -> Asked:
    """`fields` as a `model`; a mistake becomes an XlbenchError that names the field, the value and the place."""
    try:
        return model.model_validate(dict(fields))
    except ValidationError as fault:
        first = fault.errors()[0]
        place_in, message = first["loc"], first["msg"].removeprefix("Value error, ")
        if place_in and place_in[-1] in SCALARS:  # pydantic says what is wrong with each kind that it might be
            place_in, message = place_in[:-1], "must be a finite number, text, true or false"
        field = ".".join(str(part) for part in place_in)
        if first["type"] == "extra_forbidden":
            raise unknown("field", field, _fields(model, first["loc"]), place) from fault
        if first["type"] == "missing":
            raise XlbenchError(f"{place} lacks the field {field!r}") from fault
        message = message[:1].lower() + message[1:]
        value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        raise XlbenchError(f"{place}: {field}{value}: {message}" if field else f"{place}: {message}") from fault


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The fields that stand where an unknown one was found, following the location into nested models."""
    place = "".join(f"{part}." for part in location[:-1])
    for part in location[:-1]:
        info = model.model_fields.get(str(part))
        for inner in (info.annotation, *get_args(info.annotation)) if info is not None else ():
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return [place + name for name in model.model_fields]


def merged(fields: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with those of `over` in their place; where both have fields of their own there, field by field."""
    both = {
        name for name in fields.keys() & over if isinstance(fields[name], Mapping) and isinstance(over[name], Mapping)
    }
    return {**fields, **over, **{name: merged(fields[name], over[name]) for name in both}}


def digest(value: Any) -> str:
    """sha256 of a JSON-like value in canonical form (sorted keys, no white space), in hexadecimal."""
    return hashlib.sha256(_canonical(value).encode("utf-8")).hexdigest()


def digest_of_list(values: Iterable[Any]) -> str:
    """`digest` of a list that may be long, without its text in memory."""
    seal = hashlib.sha256(b"[")
    for number, value in enumerate(values):
        seal.update(f"{',' if number else ''}{_canonical(value)}".encode())
    seal.update(b"]")
    return seal.hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
