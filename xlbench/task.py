"""Task: languages, splits, labels, templates; the few-shot draw.

A task file is data: a subclass of Task (or of NLITask, xlbench.nli) that names its languages, labels and
columns and says how a split is read. Drawing, subsetting and checking are done here, once, for all tasks.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from xlbench.corpora import Pair
from xlbench.errors import XlbenchError, unknown
from xlbench.sources import DataSource, Table
from xlbench.spec import ALL

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled example in one language. Rows with the same id are translations of each other.

    `texts` holds one text or two (premise, hypothesis); `premise_id` is the unit that statistics resample
    (rows that share a premise are not independent); `phenomenon` is what the row tests, where a task says.
    """

    id: str
    texts: tuple[str, ...]
    label: int
    language: str
    premise_id: str
    phenomenon: str = ""


@dataclass(frozen=True)
class FewShot:
    """What a method may learn from: train and dev rows, shots per class each, in the source language.

    `target_dev` holds the dev rows in the other languages where the task has them; only the selection policy
    `oracle-target-dev` looks at it, and its results are never ranked.
    """

    train: tuple[Row, ...]
    dev: tuple[Row, ...]
    target_dev: dict[str, tuple[Row, ...]] = field(default_factory=dict)


class Task:
    """The base of every task. A subclass sets the class variables and reads its splits in `rows`."""

    name: ClassVar[str]  # set by @register_task
    version: ClassVar[str] = "1"
    languages: ClassVar[tuple[str, ...]]
    source: ClassVar[str] = "en"
    labels: ClassVar[tuple[str, ...]]
    fields: ClassVar[tuple[str, ...]]  # names of a row's texts, as templates use them: premise, hypothesis
    templates: ClassVar[dict[str, dict[str, str]]] = {}  # template name → language → text
    label_words: ClassVar[dict[str, tuple[str, ...]]] = {}  # language → one word a label
    splits: ClassVar[tuple[str, ...]] = ()  # names of published fixed few-shot splits
    parallel: ClassVar[str | None] = None  # the parallel corpus used when none is asked for
    unit: ClassVar[Literal["premise", "row"]] = "premise"  # what statistics resample; "row" where rows share no premise
    premises: ClassVar[int | None] = None  # in the test set, where that is known before it is read: for plans
    license: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        """All rows of a split in a language, row-aligned over languages. Raises XlbenchError."""
        raise NotImplementedError

    def fixed_split(self, name: str, shots: int, source: DataSource) -> FewShot:
        """The rows of a published few-shot split named in `splits`."""
        raise unknown("split", name, self.splits, f"task {self.name}")

    def parallel_pairs(self, language: str, size: int, source: DataSource) -> list[Pair]:
        """Translated pairs of a corpus that the task itself brings, named like the task; none by default."""
        return []

    def check_languages(self, asked: Sequence[str] | None) -> tuple[str, ...]:
        """The languages asked for, all of the task's where none are named. Raises for one it lacks."""
        for language in asked or ():
            if language not in self.languages:
                known = ", ".join(self.languages)
                raise XlbenchError(f"unknown language {language!r} for task {self.name}; it has {known}")
        return tuple(asked) if asked else self.languages

    def draw(self, shots: int, number: int, source: DataSource, split: str | None = None) -> FewShot:
        """`shots` rows a class for training and as many for dev; a function of (task, shots, number) alone.

        Train comes from the source language's train split and dev from its validation split, so the pools are
        disjoint. With `split`, a published fixed split is read instead and every number gives the same rows; with
        shots 0 (all), every row of both.
        """
        if split is not None:
            if split not in self.splits:
                raise unknown("split", split, self.splits, f"task {self.name}")
            return self.fixed_split(split, shots, source)
        if shots == ALL:
            train, dev = (tuple(self.rows(name, self.source, source)) for name in ("train", "validation"))
            return FewShot(train, dev)
        train = self._sample("train", shots, number, source)
        dev = self._sample("validation", shots, number, source)
        return FewShot(train, dev)

    def target_dev(
        self, dev: Sequence[Row], languages: Sequence[str], source: DataSource
    ) -> dict[str, tuple[Row, ...]]:
        """The dev rows in other languages, by id. Raises XlbenchError where a language lacks one."""
        found = {}
        for language in languages:
            by_id = {row.id: row for row in self.rows("validation", language, source)}
            missing = [row.id for row in dev if row.id not in by_id]
            if missing:
                raise XlbenchError(f"task {self.name} has no dev row {missing[0]} in {language}")
            found[language] = tuple(by_id[row.id] for row in dev)
        return found

    def test(self, language: str, source: DataSource, premises: int | None = None) -> list[Row]:
        """The test rows of a language; with `premises`, all rows of a fixed sample of that many premises.

        The sample is drawn from premise ids alone, so it is the same in every language, method and run, and
        a larger sample contains every smaller one. Raises XlbenchError where there are fewer premises.
        """
        rows = list(self.rows("test", language, source))
        if not rows:
            raise XlbenchError(f"task {self.name} has no test rows in {language}")
        if premises is None:
            return rows
        ids = list(dict.fromkeys(row.premise_id for row in rows))
        if premises > len(ids):
            raise XlbenchError(
                f"--test-premises {premises} is more than the {len(ids)} test premises of task {self.name}"
            )
        order = _generator(self.name, "test premises").permutation(len(ids))
        kept = {ids[i] for i in order[:premises]}
        return [row for row in rows if row.premise_id in kept]

    def _sample(self, split: SplitName, shots: int, number: int, source: DataSource) -> tuple[Row, ...]:
        pool = self.rows(split, self.source, source)
        by_label: dict[int, list[int]] = defaultdict(list)
        for index, row in enumerate(pool):
            by_label[row.label].append(index)
        chosen: list[int] = []
        random = _generator(self.name, split, shots, number)
        for label, name in enumerate(self.labels):
            if shots > len(by_label[label]):
                raise XlbenchError(
                    f"--shots {shots} is more than the {len(by_label[label])} rows of class {name!r} "
                    f"in the {split} pool of task {self.name}"
                )
            chosen.extend(random.choice(by_label[label], size=shots, replace=False).tolist())
        random.shuffle(chosen)
        return tuple(pool[index] for index in chosen)


def rows_of(
    table: Table,
    fields: Sequence[str],
    labels: Sequence[str],
    language: str,
    ids: str,
    premise_ids: Sequence[str],
) -> list[Row]:
    """Rows of a table whose columns are `fields` and `label`; row i gets the id `ids-i`.

    Raises XlbenchError naming file and row: an empty text, a label that is none of 0 … len(labels) - 1.
    """
    rows = []
    for index, premise_id in enumerate(premise_ids):
        texts, label = read_row(table, index, fields, labels)
        rows.append(Row(f"{ids}-{index}", texts, label, language, premise_id))
    return rows


def read_row(table: Table, index: int, fields: Sequence[str], labels: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """The texts and the label of one row. Raises XlbenchError naming file and row."""
    texts, label = tuple(table.columns[name][index] for name in fields), table.columns["label"][index]
    for name, text in zip(fields, texts, strict=True):
        if not isinstance(text, str) or not text.strip():
            raise XlbenchError(f"{table.place}, row {index}: the {name} is empty; repair or remove the row")
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(labels):
        known = ", ".join(f"{number} {name}" for number, name in enumerate(labels))
        raise XlbenchError(f"{table.place}, row {index}: unknown label {label!r}; known: {known}")
    return texts, label


def _generator(*parts: object) -> np.random.Generator:
    """A random generator that depends on `parts` alone, on every machine and in every process."""
    seed = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed[:16], "little")))
