"""How languages are related: Glottolog's classification of those in `languages.json`, and the distance made from it.

The file names its source, licence and how it was made. A path leads from a language's family through ever narrower
groups down to the language: `indo1319/clas1257/germ1287/…/stan1293` is English.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType


@dataclass(frozen=True)
class Language:
    """A language's place in Glottolog: names of its family and of a branch of it, and its path of glottocodes."""

    family: str
    branch: str
    path: tuple[str, ...]


@cache
def languages() -> MappingProxyType[str, Language]:
    """Languages by the code that tasks name them by, relatives side by side."""
    table = json.loads((files("xlbench.analysis") / "languages.json").read_text(encoding="utf-8"))["languages"]
    return MappingProxyType(
        {code: Language(row["family"], row["branch"], tuple(row["path"].split("/"))) for code, row in table.items()}
    )


def by_family(codes: set[str]) -> list[str]:
    """Codes in the order of their families; those of unknown languages come last, by name."""
    return [code for code in languages() if code in codes] + sorted(codes - set(languages()))


def distance(source: str, target: str) -> float | None:
    """The share of the groups that `source` belongs to, itself included, to which `target` does not belong.

    0 for the same language, 1 for one of another family; None where one of the two is unknown. It is counted along
    the source's line alone, for how finely Glottolog divides the target's branch says nothing of how far it is; so
    it is not symmetric, and compares targets of one source only.
    """
    if source not in languages() or target not in languages():
        return None
    line, other = languages()[source].path, languages()[target].path
    return sum(group not in other for group in line) / len(line)
