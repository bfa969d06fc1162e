from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from xlbench.errors import XlbenchError
from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.sources import DataSource
from xlbench.task import FewShot, Row, SplitName, rows_of

DATASET = "facebook/xnli"
FEW_SHOT = "xnli-few-shot-splits.parquet"


@register_task("xnli")
class XNLI(NLITask):
    """XNLI: natural language inference in 15 languages, test sets translated by people from English.

    Train is MNLI (the source language's split); dev rows come from validation, which is therefore never
    reported as test. Three rows share a premise; the premise is the unit of statistics (1,670 in test).
    """

    version = "1"
    splits = ("zhao-schuetze",)
    parallel = "ntrex-128"
    license = "CC BY-NC 4.0 (XNLI); the training rows are MNLI's, under its own terms"
    citation = "Conneau et al. (2018), XNLI: Evaluating Cross-lingual Sentence Representations, EMNLP. arXiv 1809.05053"

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        return _rows(split, language, source)

    def fixed_split(self, name: str, shots: int, source: DataSource) -> FewShot:
        """The draw published by Zhao & Schütze (2021), which PCT uses too: one for each number of shots."""
        sides = {}
        for side in ("train", "dev"):
            sides[side] = _published(side, shots, self.source, source)
            if not sides[side]:
                published = ", ".join(str(number) for number in _published_shots(source))
                raise XlbenchError(f"--split {name} has no --shots {shots}; it has {published}")
        return FewShot(sides["train"], sides["dev"])


@cache
def _rows(split: SplitName, language: str, source: DataSource) -> tuple[Row, ...]:
    table = source.table(DATASET, language, split, (*XNLI.fields, "label"))
    if split == "train":  # MNLI's rows as published, in no groups
        groups = [f"train-{index}" for index in range(len(table))]
    else:
        groups = [f"{split}-premise-{number}" for number in _premises(split, source, len(table), table.place)]
    return tuple(rows_of(table, XNLI.fields, XNLI.labels, language, split, groups))


@cache
def _premise_runs(split: SplitName, source: DataSource) -> tuple[int, ...]:
    """For each aligned row, the number of its premise: neighbours with the same source premise share it."""
    premises = source.table(DATASET, XNLI.source, split, ("premise",)).columns["premise"]
    numbers = [0]
    for before, after in pairwise(premises):
        numbers.append(numbers[-1] + (before != after))
    return tuple(numbers[: len(premises)])


def _premises(split: SplitName, source: DataSource, rows: int, place: str) -> tuple[int, ...]:
    numbers = _premise_runs(split, source)
    if len(numbers) != rows:
        raise XlbenchError(
            f"{place} has {rows} rows but {XNLI.source} has {len(numbers)}; the languages must be aligned"
        )
    return numbers


def _published(side: str, shots: int, language: str, source: DataSource) -> tuple[Row, ...]:
    columns = source.file(FEW_SHOT, ("split", "language", "shots", "id", *XNLI.fields, "label")).columns
    found = zip(*(columns[name] for name in ("split", "language", "shots", "id", *XNLI.fields, "label")), strict=True)
    return tuple(
        Row(
            f"zhao-schuetze-{side}-{id_}",
            (premise, hypothesis),
            label,
            language,
            f"zhao-schuetze-{side}-{id_}",
        )
        for split, spoken, number, id_, premise, hypothesis, label in found
        if (split, spoken, number) == (side, language, shots)
    )


def _published_shots(source: DataSource) -> list[int]:
    return sorted(set(source.file(FEW_SHOT, ("shots",)).columns["shots"]))
