"""The 15 realisers, one module per language, loaded by code when first asked for."""

from functools import lru_cache
from importlib import import_module

from .base import Realiser

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")


@lru_cache(maxsize=len(LANGUAGES))
def load(code: str) -> Realiser:
    """The realiser of a language; raises ValueError for a code that is not in `LANGUAGES`."""
    if code not in LANGUAGES:
        raise ValueError(f"unknown language {code!r} for task logic; it has {', '.join(LANGUAGES)}")
    return import_module(f".{code}", __package__).REALISER
