"""Words of the grammar's sentences with a tag each: names of persons and places, and times.

A word is what stands between spaces, but for: punctuation is a word; what French writes with an apostrophe before a
name or a noun (`qu'`, `l'`, `n'`) and an Arabic "and" (`و`) written onto a name are words of their own, so that no word
holds more than a name. A Turkish name keeps its suffix (`Roma'yı`), as names in Russian and Greek keep their ending.
Thai and Chinese have no spaces: a name is one word, and what stands between names is cut, longest first, into the words
that the language lists (`Realiser.words`); a Chinese full name has the words given name, `·`, family name.

Times and family names are in `tags.tsv`, tab-separated: `kind` time or family, and a column for each language. A time's
words stand apart by spaces in every language, those in brackets make the span, and `{year}` is a year.
"""

import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

from . import forms as f
from .forms import Form, people_in, places_in
from .languages import load
from .languages.base import Realiser, Word
from .names import CODES, all_names

TAGS = ("O", *(f"{mark}-{kind}" for kind in ("PER", "LOC", "TIME") for mark in "BI"))
TIMELESS = (f.Compare, f.Equal, f.IsThe)  # what is so at all times
TIMED, FULL = 0.5, 0.4  # of the sentences that may have a time do; of the persons have a family name
YEARS = range(1990, 2020)
_BREAKS = ",،、，—"
_PIECE = re.compile(rf"[{_BREAKS}]|[^\s'{_BREAKS}]+'?")


def tagged(told: tuple[Form, ...], language: str, seed: str) -> list[Word]:
    """The words of a text in a language. Times and family names are drawn from the text `seed`, the same in every
    language; a person has one family name, or none, throughout. Raises ValueError for a language that there is not."""
    realiser, rng = load(language), random.Random(seed)
    family = {who: _drawn(rng, "family") if rng.random() < FULL else -1 for form in told for who in people_in(form)}
    words: list[Word] = []
    for form in told:
        clause = list(_clause(form, realiser, family))
        timed, first, time, year = (
            rng.random() < TIMED,
            rng.random() < 0.5,
            _drawn(rng, "time"),
            _below(rng, len(YEARS)),
        )
        if timed and not isinstance(form, TIMELESS):
            clause = realiser.with_time(clause, _time(_table()["time"][time][language], YEARS[year]), first)
        words.append(Word(realiser.begun(clause[0].text), clause[0].tag))
        words += clause[1:]
        words += [Word(realiser.stop)] if realiser.stop else []
    return words


def _clause(form: Form, realiser: Realiser, family: dict[str, int]) -> Iterator[Word]:
    """The words of a sentence without its time, first letter and full stop."""
    clause, end = realiser.clause(form), 0
    for start, spelled, key in _names_in(clause, (*people_in(form), *places_in(form)), realiser):
        yield from map(Word, _cut(clause[end:start], realiser))
        parts: Sequence[str] = spelled.split()
        if family.get(key, -1) >= 0:
            parts = realiser.with_family(key, spelled, _table()["family"][family[key]][realiser.code])
        yield from _span(parts, "PER" if all_names()[key].kind == "person" else "LOC")
        end = start + len(spelled)
    yield from map(Word, _cut(clause[end:], realiser))


def _names_in(clause: str, keys: Sequence[str], realiser: Realiser) -> list[tuple[int, str, str]]:
    """Where each name of a clause begins, how it is spelled there, and its key. Each stands there once; the longest is
    looked for first, for one may be a part of another. Raises ValueError for a name that is not there."""
    found: dict[str, tuple[int, str, str]] = {}
    free = clause
    spellings = [(spelled, key) for key in keys for spelled in realiser.spellings(key)]
    for spelled, key in sorted(spellings, key=_shortness):
        start = -1 if key in found else _stands_at(free, spelled, realiser)
        if start >= 0:
            found[key] = start, spelled, key
            free = free[:start] + "\0" * len(spelled) + free[start + len(spelled) :]
    if len(found) != len(set(keys)):
        raise ValueError(f"not every one of the names {', '.join(keys)} ({realiser.code}) is in {clause!r}")
    return sorted(found.values())


def _shortness(spelling: tuple[str, str]) -> int:
    return -len(spelling[0])


def _stands_at(clause: str, spelled: str, realiser: Realiser) -> int:
    """Where a name begins that is no part of another word; -1 where it is not there."""
    at = clause.find(spelled)
    while at >= 0 and not realiser.words:
        before, behind = clause[:at].rpartition(" ")[2], clause[at + len(spelled) :][:1]
        if (not before or before == "و" or before.endswith("'")) and (not behind or behind in f" {_BREAKS}"):
            break
        at = clause.find(spelled, at + 1)
    return at


def _cut(text: str, realiser: Realiser) -> list[str]:
    """The words of what stands between names. Raises ValueError where a language does not list one of them."""
    if not realiser.words:
        return _PIECE.findall(text)
    pieces: list[str] = _listed(realiser.words).findall(text)
    if "".join(pieces) != text.replace(" ", ""):
        raise ValueError(f"{text!r} has a word that the language {realiser.code} does not list")
    return pieces


@cache
def _listed(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join([*sorted(words, key=len, reverse=True), f"[{_BREAKS}]"]))


def _time(phrase: str, year: int) -> list[Word]:
    before, inside, behind = re.split(r"[\[\]]", phrase.replace("{year}", str(year)))
    return [*map(Word, before.split()), *_span(inside.split(), "TIME"), *map(Word, behind.split())]


def _span(parts: Sequence[str], kind: str) -> list[Word]:
    return [Word(part, f"{'I' if place else 'B'}-{kind}") for place, part in enumerate(parts)]


def _drawn(rng: random.Random, kind: str) -> int:
    return _below(rng, len(_table()[kind]))


def _below(rng: random.Random, count: int) -> int:
    """A number below `count`, made of `random` alone, which is the same in every version of Python."""
    return int(rng.random() * count)


@cache
def _table() -> dict[str, list[dict[str, str]]]:
    """Times and family names by language, as `tags.tsv` has them."""
    return read_table(files(__package__).joinpath("tags.tsv").read_text(encoding="utf-8"))


def read_table(text: str, origin: str = "tags.tsv") -> dict[str, list[dict[str, str]]]:
    """Times and family names, each by language. Raises ValueError, naming the line, for a wrong header or number of
    columns, an unknown kind, an empty cell, and a time without one span in brackets."""
    header, *lines = text.splitlines()
    if header.split("\t") != ["kind", *CODES]:
        raise ValueError(f"{origin}:1: the header must be kind {' '.join(CODES)}, separated by tabs")
    table: dict[str, list[dict[str, str]]] = {"time": [], "family": []}
    for number, line in enumerate(lines, start=2):
        kind, *cells = line.split("\t")
        if kind not in table or len(cells) != len(CODES) or not all(cell.strip() for cell in cells):
            raise ValueError(
                f"{origin}:{number}: kind time or family and {len(CODES)} filled columns expected: {line!r}"
            )
        odd = [cell for cell in cells if kind == "time" and not re.fullmatch(r"[^\[\]]*\[[^\[\]]+\][^\[\]]*", cell)]
        if odd:
            raise ValueError(f"{origin}:{number}: the time {odd[0]!r} needs one span in brackets, as 'on [Monday]'")
        table[kind].append(dict(zip(CODES, cells, strict=True)))
    return table
