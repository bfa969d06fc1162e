from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise

from xlbench.errors import XlbenchError
from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.sources import DataSource
from xlbench.task import FewShot, Row, SplitName, Untranslated, read_row, rows_of

DATASET = "facebook/xnli"
FEW_SHOT = "xnli-few-shot-splits.parquet"


@register_task("xnli")
class XNLI(NLITask):
    """XNLI: natural language inference in 15 languages, test sets translated by people from English.

    Train is MNLI (the source language's split); dev rows come from validation, which is therefore never
    reported as test. Three rows share a premise; the premise is the unit of statistics (1,670 in test).
    """

    version = "1"
    units = 1670
    splits = ("zhao-schuetze",)
    parallel = "ntrex-128"
    machine_translated = "machine translation, as published with XNLI"
    license = "CC BY-NC 4.0 (XNLI); the training rows are MNLI's, under its own terms"
    citation = "Conneau et al. (2018), XNLI: Evaluating Cross-lingual Sentence Representations, EMNLP. arXiv 1809.05053"

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        return _rows(split, language, source)

    def fixed_split(self, name: str, shots: int, source: DataSource) -> FewShot:
        """The draw published by Zhao & Schütze (2021), which PCT uses too: one for each number of shots."""
        train, dev = (_published(side, self.source, source) for side in ("train", "dev"))
        if shots not in train or shots not in dev:
            raise XlbenchError(f"--split {name} has no --shots {shots}; it has {', '.join(map(str, sorted(train)))}")
        return FewShot(train[shots], dev[shots])

    def translated(self, rows: Sequence[Row], language: str, source: DataSource) -> tuple[Row, ...]:
        if not rows[0].id.startswith("zhao-schuetze-"):
            return super().translated(rows, language, source)
        by_id = {row.id: row for found in _published("train", language, source).values() for row in found}
        return tuple(by_id[row.id] for row in rows)

    def test_in_source(self, language: str, source: DataSource) -> Mapping[str, tuple[str, ...]]:
        if self.source != "en":
            raise Untranslated("the translations that are published are into en")
        return _in_english(language, source)

    def target_dev(
        self, dev: Sequence[Row], languages: Sequence[str], source: DataSource
    ) -> dict[str, tuple[Row, ...]]:
        if not dev[0].id.startswith("zhao-schuetze-"):
            return super().target_dev(dev, languages, source)
        found = {}
        for language in languages:
            by_id = {row.id: row for rows in _published("dev", language, source).values() for row in rows}
            found[language] = tuple(by_id[row.id] for row in dev)
        return found


@cache
def _in_english(language: str, source: DataSource) -> dict[str, tuple[str, ...]]:
    """The published machine translation of a language's test rows. Raises Untranslated where there is none."""
    try:
        table = source.table(DATASET, language, "test_translated_to_en", XNLI.fields)
    except XlbenchError as fault:
        raise Untranslated(str(fault)) from fault
    rows = zip(*(table.columns[name] for name in XNLI.fields), strict=True)
    return {f"test-{index}": texts for index, texts in enumerate(rows)}


@cache
def _rows(split: SplitName, language: str, source: DataSource) -> tuple[Row, ...]:
    table = source.table(DATASET, language, split, (*XNLI.fields, "label"))
    if split == "train":  # MNLI's rows as published, in no groups
        groups = [f"train-{index}" for index in range(len(table))]
    else:
        groups = [f"{split}-premise-{number}" for number in _premises(split, source, len(table), table.place)]
    rows = tuple(rows_of(table, XNLI.fields, XNLI.labels, language, split, groups))
    if split != "train" and language != XNLI.source:
        theirs = source.table(DATASET, XNLI.source, split, (*XNLI.fields, "label"))
        for index, row in enumerate(rows):
            _, label = read_row(theirs, index, XNLI.fields, XNLI.labels)
            if row.gold != label:
                raise XlbenchError(
                    f"{table.place}, row {index}: the label is {row.gold} but {XNLI.source} has {label!r}; "
                    "the languages must be aligned"
                )
    return rows


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


@cache
def _published(side: str, language: str, source: DataSource) -> dict[int, tuple[Row, ...]]:
    """Rows of the published splits, by the number of shots; a row's translations have the same id."""
    names = ("split", "language", "shots", "id", *XNLI.fields, "label")
    table = source.file(FEW_SHOT, names)
    rows: dict[int, list[Row]] = {}
    for index, (split, spoken, shots, id_) in enumerate(zip(*(table.columns[name] for name in names[:4]), strict=True)):
        if (split, spoken) == (side, language):
            key = f"zhao-schuetze-{side}-{shots}-{id_}"
            texts, label = read_row(table, index, XNLI.fields, XNLI.labels)
            rows.setdefault(shots, []).append(Row(key, texts, label, language, key))
    return {shots: tuple(found) for shots, found in rows.items()}
