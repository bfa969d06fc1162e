"""TableTask: a task whose splits are tables, said in a class of some lines, or in TOML (xlbench.task_file).

It says where the tables lie, which columns hold what, which label a file's value is, and what makes rows of two
languages the same: a key, their order, or nothing.
"""

import hashlib
import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from xlbench import registry
from xlbench.errors import XlbenchError
from xlbench.host.data_files import SUFFIXES
from xlbench.problem import MultipleChoice, TokenLabelling, label_number
from xlbench.sources import DataSource, Table, read_files
from xlbench.task import Row, SplitName, Task, Untranslated

SHARE = {"train": 3, "validation": 1, "test": 1}  # in what proportion splits that lie in one file divide its units


def names(text: str) -> tuple[str, ...]:
    """Names between spaces or line ends."""
    return tuple(text.split())


class TableTask(Task):
    """A task read from tables. A hub dataset is `dataset`, of which a language is a `config`; files are `files`."""

    dataset: ClassVar[str] = ""  # id on the hub, and folder below the data root; may hold {language}
    revision: ClassVar[str | None] = None  # branch or commit of the hub's, as refs/convert/parquet
    config: ClassVar[str] = "{language}"  # the dataset's configuration of a language, or of a {part} of it
    parts: ClassVar[tuple[str, ...]] = ()  # where a split lies in several configurations; each is a phenomenon
    files: ClassVar[str] = ""  # in place of a dataset: a pattern, as data/{language}/{split}.csv
    folder: ClassVar[Path] = Path()  # that `files` begins at
    place: ClassVar[str] = ""  # the file that says so, where one does
    codes: ClassVar[Mapping[str, str]] = {}  # language → how the dataset writes it, where that differs
    split_names: ClassVar[Mapping[str, str]] = {}  # train, validation, test → how the dataset names it
    columns: ClassVar[Mapping[str, str]] = {}  # field → column, where that differs; may hold {language}
    label_column: ClassVar[str] = "label"
    label_values: ClassVar[Mapping[str, str] | None] = None  # the file's value, as text → the label that it means
    key: ClassVar[tuple[str, ...]] = ()  # columns that name a row alike in every language; none: the order of rows does
    unit_column: ClassVar[str] = ""  # what statistics resample, by name; none: the row
    units_by: ClassVar[str] = ""  # or: rows with one text of this field are a unit (of the source language, if aligned)
    phenomenon_column: ClassVar[str] = ""
    language_column: ClassVar[str] = ""  # where one file holds several languages
    choice_columns: ClassVar[tuple[str, ...]] = ()  # of a choice task: a column a choice, or one with a list of them
    first_choice: ClassVar[int] = 0  # the number of the first choice in the label column
    drop_tags: ClassVar[tuple[str, ...]] = ()  # tags in the file whose words are left out
    rows_from: ClassVar[Mapping[str, str]] = {}  # language → the registered task whose rows are this language's
    order_of: ClassVar[str] = ""  # the task whose source rows are, one by one, those of this task's own languages
    shared_keys_only: ClassVar[bool] = False  # keep the rows that all tested languages have
    drop_blank: ClassVar[bool] = False  # leave rows with an empty text out, counted, in place of refusing them
    blanks: ClassVar[tuple[str, ...]] = ()  # texts that stand for an empty one
    only_labels: ClassVar[bool] = False  # leave rows of other labels out, counted, in place of refusing them
    in_source: ClassVar[tuple[str, str, tuple[str, ...]] | None] = None  # config, split and columns of translated tests
    recurring: ClassVar[Literal["refuse", "drop"]] = "drop"
    rare: ClassVar[Literal["refuse", "all"]] = "all"
    unit: ClassVar[str] = "row"

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        return self._known(split, language, source)[0]

    def reading_notes(self, split: SplitName, language: str, source: DataSource) -> tuple[str, ...]:
        """What was left out of a split when it was read, in sentences."""
        return self._known(split, language, source)[1]

    def _known(self, split: SplitName, language: str, source: DataSource) -> tuple[tuple[Row, ...], tuple[str, ...]]:
        if name := self.rows_from.get(f"{split}:{language}", self.rows_from.get(language)):
            other: Task = registry.get("task", name)()
            theirs = other.read(split, other.source, source)
            return tuple(replace(row, language=language) for row in theirs), ()
        found = [_rows(type(self), split, language, source, part) for part in self.parts or ("",)]  # type: ignore[arg-type]
        rows = tuple(row for of_part, _ in found for row in of_part)
        notes = tuple(note for _, of_part in found for note in of_part)
        if not self.shared_keys_only or split == "train":
            return rows, notes
        shared = _shared(type(self), split, source)  # type: ignore[arg-type]
        kept = tuple(row for row in rows if row.id in shared)
        lost = (
            f"{len(rows) - len(kept)} of {len(rows)} {split} rows in {language} are not in every language, and are out"
        )
        return kept, (*notes, *[lost] * (len(kept) < len(rows)))

    def test_in_source(self, language: str, source: DataSource) -> Mapping[str, tuple[str, ...]]:
        if self.in_source is None:
            return super().test_in_source(language, source)
        if self.source != type(self).source:
            raise Untranslated(f"the translations that are published are into {type(self).source}")
        return _in_source(type(self), self.in_source, language, source)  # type: ignore[arg-type]

    def arranged(self, row: Row, values: Mapping[str, Any]) -> Row:
        """A row as it was read, given the values of its columns; a task that must mend one writes it."""
        return row

    def written(self, language: str) -> str:
        """A language as the dataset writes it."""
        return self.codes.get(language, language)

    def table(
        self, split: SplitName, language: str, source: DataSource, columns: tuple[str, ...], part: str = ""
    ) -> Table:
        """The table of a split in a language. Raises XlbenchError where there is none, or it lacks a column."""
        name, code = self.split_names.get(split, split), self.written(language)
        if not self.files:
            dataset, config = (text.format(language=code, part=part) for text in (self.dataset, self.config))
            return source.table(dataset, config, name, columns, self.revision)
        pattern = self.files.format(language=code, split=name, part=part)
        found = sorted(path for path in self.folder.glob(pattern) if path.suffix in SUFFIXES)
        if not found:
            raise XlbenchError(f"task {self.name}: no file {self.folder / pattern} for {split} in {language}")
        return read_files(tuple(found), columns)

    @property
    def read_columns(self) -> tuple[str, ...]:
        """The columns that rows are made of; {language} stands in some for the language."""
        texts = () if isinstance(self.problem, TokenLabelling) else self.fields
        named = [self.columns.get(field, field) for field in texts or self.fields[:1]]
        others = (self.unit_column, self.phenomenon_column, self.language_column)
        return tuple(dict.fromkeys(filter(None, [*named, *self.choice_columns, self.label_column, *self.key, *others])))


@dataclass(frozen=True)
class _Reader:
    """How one row of a table becomes a Row."""

    task: TableTask
    split: SplitName
    language: str
    table: Table

    def value(self, column: str, index: int) -> Any:
        return self.table.columns[column.format(language=self.task.written(self.language))][index]

    def place(self, index: int) -> str:
        return f"{self.table.place}, row {index}"

    def texts(self, index: int) -> tuple[str, ...]:
        task = self.task
        values = [self.value(task.columns.get(field, field), index) for field in task.fields]
        if isinstance(task.problem, TokenLabelling):
            return tuple(_listed(values[0], self.place(index), "words"))
        texts = ("" if value is None else value if isinstance(value, str) else str(value) for value in values)
        return tuple("" if text.strip() in task.blanks else text for text in texts)

    def known(self, index: int) -> bool:
        """Whether a row's label is one of the task's."""
        value, names = self.value(self.task.label_column, index), self.table.class_names.get(self.task.label_column, ())
        try:
            label_number(value, self.task.labels, names, self.task.label_values)
        except ValueError:
            return False
        return True

    def choices(self, index: int) -> tuple[str, ...]:
        columns = self.task.choice_columns
        if len(columns) == 1:
            return tuple(_listed(self.value(columns[0], index), self.place(index), "choices"))
        return tuple(self.value(column, index) or "" for column in columns)

    def gold(self, index: int) -> Any:
        """The answer as the problem has it. Raises XlbenchError naming file, row and value."""
        task, column = self.task, self.task.label_column
        value, names = self.value(column, index), self.table.class_names.get(column, ())
        try:
            if isinstance(task.problem, MultipleChoice):
                return _whole(value) - task.first_choice
            if isinstance(task.problem, TokenLabelling):
                tags = _listed(value, self.place(index), "tags")
                dropped = set(task.drop_tags)
                return tuple(
                    -1 if _in_words(tag, names, task.label_values) in dropped
                    else label_number(tag, task.labels, names, task.label_values)
                    for tag in tags
                )  # fmt: skip
            return label_number(value, task.labels, names, task.label_values)
        except ValueError as fault:
            raise XlbenchError(f"{self.place(index)}: {fault}") from fault

    def key(self, index: int) -> str:
        return "-".join(str(self.value(column, index)) for column in self.task.key) or str(index)

    def unit(self, index: int, key: str) -> str:
        value = self.value(self.task.unit_column, index) if self.task.unit_column else None
        return f"{self.split}-{key if value is None else value}"

    def phenomenon(self, index: int) -> str:
        return str(self.value(self.task.phenomenon_column, index) or "") if self.task.phenomenon_column else ""


def _whole(value: Any) -> int:
    """A choice's number, as a file has it. Raises ValueError."""
    text = str(value).strip().removesuffix(".0")
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise ValueError(f"the right choice is {value!r}, no whole number")
    return int(text)


def _in_words(tag: Any, names: Sequence[str], values: Mapping[str, str] | None) -> str:
    """A tag as the file calls it."""
    number = int(tag) if str(tag).isdigit() else -1
    return names[number] if 0 <= number < len(names) else (values or {}).get(str(tag), str(tag))


def _listed(value: Any, place: str, what: str) -> list[Any]:
    """A list in a cell, or a text of words between spaces. Raises XlbenchError for anything else."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list | tuple):
        return list(value)
    raise XlbenchError(f"{place}: its {what} are {value!r}, no list and no text of them between spaces")


@cache
def _rows(
    task_class: type[TableTask], split: SplitName, language: str, source: DataSource, part: str = ""
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    task = task_class()
    code = task.written(language)
    columns = tuple(column.format(language=code) for column in task.read_columns)
    reader = _Reader(task, split, language, task.table(split, language, source, columns, part))
    rows, blank, others = [], 0, 0
    asked = [
        index
        for index in range(len(reader.table))
        if not task.language_column or str(reader.value(task.language_column, index)) in {code, language}
    ]
    for index in asked:
        if task.only_labels and not reader.known(index):
            others += 1
            continue
        texts = reader.texts(index)
        if task.drop_blank and not (texts and all(text.strip() for text in texts)):
            blank += 1
            continue
        rows.append((index, _row(reader, index, texts)))
    if not rows:
        raise XlbenchError(f"{reader.table.place} has no {split} row in {language} for task {task.name}")
    found = [row for _, row in rows]
    if part:
        found = [
            replace(row, id=f"{part}-{row.id}", unit=f"{part}-{row.unit}", phenomenon=row.phenomenon or part)
            for row in found
        ]
    if task.order_of:
        found = list(_in_order_of(task, reader, rows, source))
    elif task.units_by:
        found = _by_text(task, split, language, found, source)
    found = [row for row in found if _dealt(task, split, language, row.unit)]
    left_out = ((blank, "a text of theirs is empty"), (others, "their label is none of the task's"))
    notes = [f"{number} {split} rows in {language} are left out, for {why}" for number, why in left_out if number]
    return tuple(found), tuple(notes)


def _row(reader: _Reader, index: int, texts: tuple[str, ...]) -> Row:
    task, choice = reader.task, isinstance(reader.task.problem, MultipleChoice)
    if not isinstance(task.problem, TokenLabelling):
        for field, text in zip(task.fields, texts, strict=True):
            if not text.strip():
                raise XlbenchError(
                    f"{reader.place(index)}: the {field} is empty; repair or remove the row, or let the task leave "
                    "such rows out (drop_blank)"
                )
    gold, choices = reader.gold(index), reader.choices(index) if choice else ()
    if isinstance(task.problem, TokenLabelling):
        if len(gold) != len(texts):
            raise XlbenchError(f"{reader.place(index)}: it has {len(texts)} words and {len(gold)} tags; each has one")
        kept = [place for place, tag in enumerate(gold) if tag >= 0]
        texts, gold = tuple(texts[place] for place in kept), tuple(gold[place] for place in kept)
    if fault := task.problem.fault(texts, gold, choices):
        raise XlbenchError(f"{reader.place(index)}: {fault}")
    key = reader.key(index)
    row = Row(
        f"{reader.split}-{key}",
        texts,
        gold,
        reader.language,
        reader.unit(index, key),
        reader.phenomenon(index),
        choices,
    )
    return task.arranged(row, {column: reader.value(column, index) for column in task.read_columns})


def _in_order_of(
    task: TableTask, reader: _Reader, rows: Sequence[tuple[int, Row]], source: DataSource
) -> Iterator[Row]:
    """Rows with the ids and units of another task's, which they translate one by one. Raises XlbenchError where they
    cannot."""
    other, theirs = _followed(task, reader.split, reader.table, source)
    for index, row in rows:
        like = theirs[index]
        if like.gold != row.gold:
            raise XlbenchError(
                f"{reader.place(index)}: the label is {task.labels[row.gold]} and that of {other.name} in "
                f"{other.source} {other.labels[like.gold]}; the rows must be in one order"
            )
        yield replace(row, id=like.id, unit=like.unit)


def _followed(task: TableTask, split: SplitName, table: Table, source: DataSource) -> tuple[Task, Sequence[Row]]:
    """The task whose source rows a table translates one by one. Raises XlbenchError where they are not as many."""
    other: Task = registry.get("task", task.order_of)()
    theirs = other.read(split, other.source, source)
    if len(table) != len(theirs):
        raise XlbenchError(
            f"{table.place} has {len(table)} rows and task {other.name} {len(theirs)} in {other.source}, whose order "
            "it must have"
        )
    return other, theirs


def _by_text(task: TableTask, split: SplitName, language: str, rows: Sequence[Row], source: DataSource) -> list[Row]:
    """Rows with one text of the field `units_by` in one unit, named by the first of them; where languages are aligned,
    as it is in the source language, so that they agree."""
    field = task.fields.index(task.units_by)
    first: dict[Hashable, str] = {}
    if task.aligned and language != task.source and task.source not in task.rows_from:
        unit_of = {row.id: row.unit for row in _rows(type(task), split, task.source, source)[0]}  # type: ignore[arg-type]
        return [replace(row, unit=unit_of.get(row.id, row.unit)) for row in rows]
    return [replace(row, unit=first.setdefault(row.texts[field], row.id)) for row in rows]


def _dealt(task: TableTask, split: SplitName, language: str, unit: str) -> bool:
    """Whether a unit belongs to a split, where several splits lie in one file: each unit in one, by its name alone."""
    if task.split_names.get(split) is None:
        return True
    if not task.aligned and split == "test" and language not in task.sources:
        return True  # units of its own: those of the source language that are trained on are not among them
    name = task.split_names[split]
    alike: list[str] = [other for other in SHARE if task.split_names.get(other, other) == name]
    ends = [sum(SHARE[other] for other in alike[: number + 1]) for number in range(len(alike))]
    bare = re.sub(rf"\b{split}-", "", unit, count=1)
    place = int.from_bytes(hashlib.sha256(bare.encode()).digest()[:4], "big") % ends[-1]
    return alike[next(number for number, end in enumerate(ends) if place < end)] == split


@cache
def _in_source(
    task_class: type[TableTask], where: tuple[str, str, tuple[str, ...]], language: str, source: DataSource
) -> dict[str, tuple[str, ...]]:
    """The published translation of a language's test rows, by row id: texts, then choices. Raises Untranslated where
    there is none."""
    task, (config, split, columns) = task_class(), where
    code = task.written(language)
    dataset = task.dataset.format(language=code)
    try:
        table = source.table(dataset, config.format(language=code), split, (*columns, *task.key), task.revision)
    except XlbenchError as fault:
        raise Untranslated(str(fault)) from fault
    reader = _Reader(task, "test", language, table)
    ids = [f"test-{reader.key(index)}" for index in range(len(table))]
    if task.order_of:
        ids = [row.id for row in _followed(task, "test", table, source)[1]]
    rows = zip(*(table.columns[name] for name in columns), strict=True)
    return {id_: tuple(map(str, texts)) for id_, texts in zip(ids, rows, strict=True)}


@cache
def _shared(task_class: type[TableTask], split: SplitName, source: DataSource) -> Collection[str]:
    """The ids that every language of a task has, in which the split is there."""
    task, ids = task_class(), []
    for language in task.languages:
        try:
            ids.append({row.id for row in _rows(task_class, split, language, source)[0]})  # type: ignore[arg-type]
        except XlbenchError:
            if language == task.source or split == "test":
                raise
    return frozenset[str].intersection(*map(frozenset, ids))
