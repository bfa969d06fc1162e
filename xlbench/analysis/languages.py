"""How languages are related: Glottolog's classification in `languages.tsv`, and the distance made from it.

The file names its sources and licences; `scripts/make_languages.py` makes it. A path leads from a language's family
through ever narrower groups down to the language: `indo1319/clas1257/germ1287/…/stan1293` is English.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from xlbench.language_codes import SHORT, language_of, script_of


@dataclass(frozen=True)
class Language:
    """A language of Glottolog: its ISO 639-3 code, its name, those of its family and of a branch of that, its path of
    glottocodes, its script (ISO 15924; empty where CLDR knows none), and its place in the file, relatives side by side.

    A branch is the widest group that holds no more than half of the family's languages.
    """

    iso: str
    name: str
    family: str
    branch: str
    path: tuple[str, ...]
    script: str
    place: int


@cache
def languages() -> Mapping[str, Language]:
    """All languages by ISO 639-3 code, relatives side by side."""
    rows = [
        line.split("\t")
        for line in (files("xlbench.analysis") / "languages.tsv").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    names = {code: name for code, _, _, _, name in rows}
    paths: dict[str, tuple[str, ...]] = {}
    for code, group, *_ in rows:
        paths[code] = (*paths.get(group, ()), code)
    sizes = Counter(group for code, _, iso, _, _ in rows if iso != "-" for group in paths[code])
    found = {}
    for place, (code, _, iso, script, name) in enumerate(rows):
        if iso != "-":
            path = paths[code]
            branch = next((group for group in path if 2 * sizes[group] <= sizes[path[0]]), code)
            known = "" if script == "-" else script
            found[iso] = Language(iso, name, names[path[0]], names[branch], path, known, place)
    return MappingProxyType(found)


@cache
def _codes() -> Mapping[str, tuple[str, ...]]:
    """ISO 639-3 codes by code of two letters, the last of them the commonest member of a macrolanguage."""
    codes: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for long, short in SHORT.items():
        codes[short] += (long,)
    return codes


@cache
def language(code: str) -> Language | None:
    """The language that a dataset's code means, as `sw`, `swh_Latn` or `zh-CN`; None for one that is not known."""
    short = language_of(code)
    own = code.lower()[:3]
    candidates = [short, *([own] if language_of(own) == short else []), *reversed(_codes().get(short, ()))]
    return next((languages()[one] for one in candidates if one in languages()), None)


def script(code: str) -> str:
    """The script that a code names, or its language's own (ISO 15924); empty where none is known."""
    named = language(code)
    return script_of(code) or ("" if named is None else named.script)


def by_family(codes: Iterable[str]) -> list[str]:
    """Codes in the order of their families and branches; those of unknown languages come last, by name."""
    placed = [(found.place, code) for code in sorted(codes) if (found := language(code)) is not None]
    return [code for _, code in sorted(placed)] + sorted(code for code in codes if language(code) is None)


def distance(source: str, target: str) -> float | None:
    """The share of the groups that `source` belongs to, itself included, to which `target` does not belong.

    0 for the same language, 1 for one of another family; None where one of the two is unknown. It is counted along
    the source's line alone, for how finely Glottolog divides the target's branch says nothing of how far it is; so
    it is not symmetric, and compares targets of one source only.
    """
    ours, theirs = language(source), language(target)
    if ours is None or theirs is None:
        return None
    return sum(group not in theirs.path for group in ours.path) / len(ours.path)
