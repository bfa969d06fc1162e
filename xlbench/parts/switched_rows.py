"""Copies of the shots: with words switched for their translations (CoSDA-ML, Qin et al., IJCAI 2020), or translated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xlbench.dictionaries import Dictionary, switched
from xlbench.method import Method, Resources
from xlbench.problem import TokenLabelling
from xlbench.prompts import fingerprint
from xlbench.task import Row


def dictionaries_of(method: Method, resources: Resources) -> list[Dictionary]:
    """The dictionaries of the target languages; those without one are named in the method's notes."""
    sources = resources["dictionary"]
    tokenizer = method.backbone.tokenizer

    def pieces(text: str) -> list[str]:
        return [piece for token in tokenizer.tokenize(text) if (piece := token.strip("▁Ġ#"))]

    targets = [language for language in method.languages if language not in method.task.sources]
    lacking = [language for language in targets if language not in sources]
    method.notes.extend(f"no dictionary of {language}: no word is switched into it" for language in lacking)
    there = [sources[language] for language in targets if language in sources]
    return [source.dictionary(pieces, fingerprint(tokenizer)) for source in there]


def switched_rows(
    method: Method,
    rows: Sequence[Row],
    dictionaries: Sequence[Dictionary],
    rate: float,
    random: np.random.Generator,
    redraws: int = 0,
    edges: bool = True,
    sentences: float = 1.0,
) -> list[Row]:
    """A copy of each row in which words of its texts, and of its choices, are switched; a row is left as it is but with
    a chance of `sentences`. Words that are labelled stay one word, so that each keeps its tag."""
    single = isinstance(method.task.problem, TokenLabelling)
    if single:  # a tag is of one word
        dictionaries = [
            {word: one for word, several in own.items() if (one := [w for w in several if " " not in w])}
            for own in dictionaries
        ]

    def changed(texts: Sequence[str]) -> tuple[str, ...]:
        if single:
            return tuple(switched(texts, dictionaries, rate, random, redraws, edges))
        parts = (switched(text.split(), dictionaries, rate, random, redraws, edges) for text in texts)
        return tuple(" ".join(part) for part in parts)

    return [
        replace(row, texts=changed(row.texts), choices=changed(row.choices)) if random.random() < sentences else row
        for row in rows
    ]


def translations_of(method: Method, resources: Resources) -> dict[str, dict[str, Row]]:
    """The shots in each target language by row id; languages without them, and who translated, are in the notes."""
    found = resources["translations"]
    targets = [language for language in method.languages if language not in method.task.sources]
    method.notes.extend(f"no translations of the shots in {name}" for name in targets if name not in found)
    if found and method.task.machine_translated:
        method.notes.append(f"the shots' translations are by {method.task.machine_translated}")
    return {language: {row.id: row for row in rows} for language, rows in found.items()}


def drawn_rows(shots: Sequence[Row], by_id: Mapping[str, Mapping[str, Row]], random: np.random.Generator) -> list[Row]:
    """Each shot in a language drawn for it, its own texts beside it; as it is where that language has no such row."""
    drawn, languages = random.integers(len(by_id), size=len(shots)), list(by_id.values())
    rows = [languages[number].get(shot.id, shot) for shot, number in zip(shots, drawn, strict=True)]
    return [replace(row, beside=shot.texts) for row, shot in zip(rows, shots, strict=True)]
