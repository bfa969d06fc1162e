"""Parallel text, by name, for methods that learn from translations.

A pair holds the same text in two languages. Where a task's rows have two texts, a pair has two as well:
PAWS-X brings sentence pairs, and in NTREX-128 (running news text) a sentence is paired with the next one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from xlbench.language_codes import language_of
from xlbench.sources import DataSource, MissingColumn


@dataclass(frozen=True, slots=True)
class Pair:
    """The same text in the source language and in `language`; one or two texts on each side, aligned."""

    id: str
    language: str
    source: tuple[str, ...]
    target: tuple[str, ...]


def paws_x(source_language: str, language: str, size: int, source: DataSource) -> list[Pair]:
    """PAWS-X (Yang et al. 2019): human translations of its validation and test sentences, joined by id.

    The train split is left out: its translations are a machine's. None for a language that it lacks.
    """
    codes = language_of(source_language), language_of(language)
    if not {*codes} <= {"de", "en", "es", "fr", "ja", "ko", "zh"}:
        return []
    pairs: list[Pair] = []
    for split in ("validation", "test"):
        sides = [
            source.table("google-research-datasets/paws-x", side, split, ("id", "sentence1", "sentence2")).columns
            for side in codes
        ]
        ours, theirs = (
            dict(zip(side["id"], zip(side["sentence1"], side["sentence2"], strict=True), strict=True)) for side in sides
        )
        for key, texts in ours.items():
            if key in theirs and all(texts) and all(theirs[key]):
                pairs.append(Pair(f"paws-x-{split}-{key}", language, texts, theirs[key]))
    return pairs[:size]


def ntrex(source_language: str, language: str, size: int, source: DataSource) -> list[Pair]:
    """NTREX-128 (Federmann et al. 2022): news translated by people; each sentence with the one after it.

    Sentences 0-1, 2-3, … come first, so that a small size covers as much text as it can; then 1-2, 3-4, …
    """
    try:
        columns = source.file("ntrex-128.parquet", tuple(map(language_of, (source_language, language)))).columns
    except MissingColumn:
        return []
    ours, theirs = columns[language_of(source_language)], columns[language_of(language)]
    starts = [*range(0, len(ours) - 1, 2), *range(1, len(ours) - 1, 2)]
    pairs = [Pair(f"ntrex-128-{i}", language, (ours[i], ours[i + 1]), (theirs[i], theirs[i + 1])) for i in starts]
    return [pair for pair in pairs if all((*pair.source, *pair.target))][:size]


CORPORA: dict[str, Callable[[str, str, int, DataSource], list[Pair]]] = {"paws-x": paws_x, "ntrex-128": ntrex}
