"""Persons and places of the logic grammar in every language, read from `names.tsv`.

The file is tab-separated with the header `kind gender en de fr …`; a name's key is its English
spelling, unique over persons and places.  The gender of a place is its grammatical gender in Greek.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

CODES = ("en", "de", "fr", "es", "vi", "sw", "tr", "ru", "bg", "el", "ar", "ur", "hi", "th", "zh")
GENDERS = {"person": ("f", "m"), "place": ("f", "m", "n")}


@dataclass(frozen=True, slots=True)
class Name:
    """One person or place: `kind` person or place, `gender` f, m or n, `spelling` by language code."""

    kind: str
    gender: str
    spelling: Mapping[str, str]

    @property
    def key(self) -> str:
        return self.spelling["en"]


def read_names(text: str, origin: str = "names.tsv") -> dict[str, Name]:
    """Names by English spelling, in file order.

    Raises ValueError, naming the line, for a wrong header, a wrong number of columns, an unknown
    kind or gender, an empty cell, and a spelling that another name already has in that language
    (two rows would then read the same in one language and not in another).
    """
    header = ["kind", "gender", *CODES]
    lines = text.splitlines()
    if not lines or lines[0].split("\t") != header:
        raise ValueError(f"{origin}:1: the header must be {' '.join(header)}, separated by tabs")
    names: dict[str, Name] = {}
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(header) or not all(cells):
            raise ValueError(f"{origin}:{number}: {len(header)} filled columns expected, found {cells}")
        kind, gender, *spellings = cells
        if gender not in GENDERS.get(kind, ()):
            raise ValueError(f"{origin}:{number}: kind {kind!r} with gender {gender!r}; known are {GENDERS}")
        for code, spelling in zip(CODES, spellings, strict=True):
            first = seen.setdefault((code, spelling.casefold()), number)
            if first != number:
                raise ValueError(f"{origin}:{number}: {spelling!r} ({code}) is already the name in line {first}")
        names[spellings[0]] = Name(kind, gender, dict(zip(CODES, spellings, strict=True)))
    return names


@lru_cache(maxsize=1)
def all_names() -> Mapping[str, Name]:
    """Every name of `names.tsv` by key."""
    return read_names(files(__package__).joinpath("names.tsv").read_text(encoding="utf-8"))


@lru_cache(maxsize=2)
def keys(kind: str) -> tuple[str, ...]:
    """Keys of all persons or all places, in file order."""
    return tuple(key for key, name in all_names().items() if name.kind == kind)
