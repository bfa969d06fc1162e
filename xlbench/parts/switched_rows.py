"""Copies of the shots in which words are switched for their translations (CoSDA-ML, Qin et al., IJCAI 2020)."""

from collections.abc import Sequence
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
