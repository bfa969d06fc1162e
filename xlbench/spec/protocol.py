"""Protocols: named bundles of settings that a source published; `matched`, the default, is none."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel

from xlbench.spec.parsing import merged

MATCHED = "matched"


@cache
def protocols() -> Mapping[str, Mapping[str, Any]]:
    """name → `source`, fields of a run for all methods (`run`), and for single ones (`methods`)."""
    text = (files("xlbench.spec") / "protocols.toml").read_text(encoding="utf-8")
    return {MATCHED: {"source": "xlbench: one setting for all methods"}, **tomllib.loads(text)}


def under_protocol(fields: Any) -> Any:
    """Fields of a run over those of the protocol that they name. Raises ValueError for a name that there is not."""
    if not isinstance(fields, Mapping):
        return fields
    name = fields.get("protocol", MATCHED)
    if not isinstance(name, str) or name not in protocols():
        raise ValueError(f"protocol must be one of {', '.join(protocols())}, not {name!r}")
    bundle = protocols()[name]
    method = fields.get("method")
    own = bundle.get("methods", {}).get(method, {}) if isinstance(method, str) else {}
    given = {
        key: value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
        for key, value in fields.items()
    }
    return merged(merged(bundle.get("run", {}), own), given)
