"""Copies of the shots: with words switched for their translations (CoSDA-ML, Qin et al., IJCAI 2020), or translated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xlbench.dictionaries import Dictionary, switched
from xlbench.method import Method, Resources, Stream
from xlbench.problem import TokenLabelling
from xlbench.prompts import Encoded, fingerprint
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


def encoded_beside(method: Method, rows: Sequence[Row], language: str) -> Encoded:
    """Two inputs a row in the method's template: its text, and the one beside it; itself, where there is none."""
    others = [replace(row, texts=row.beside or row.texts) for row in rows]
    sides = [method.in_template(method.template, side, language) for side in (rows, others)]
    order = np.arange(2 * len(rows)).reshape(2, -1).T.ravel()  # 0, n, 1, n + 1, …
    return replace(Encoded.join(sides).taken(order), row=np.repeat(np.arange(len(rows)), 2))


def translated_pairs(method: Method, resources: Resources, copies: int, with_source: bool) -> dict[str, Stream]:
    """The shots in languages drawn for them, each beside its own text; `with_source` draws that language too. Nothing
    where no language has them."""
    by_id = translations_of(method, resources)
    if not by_id:
        return {}
    if with_source:
        by_id[method.task.source] = {row.id: row for row in resources.shots}
    first, *others = (
        method.encode_labelled(drawn_rows(resources.shots, by_id, resources.random)) for _ in range(copies)
    )
    return {"pairs": Stream(first, aligned=True, others=tuple(others))}
