"""Translations as axes of a run: shots in the target languages (translate-train), test rows in the source language
(translate-test).

Which there are, a task says; a file of the user's holds others. A language without any is refused, or read as it is,
and named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from xlbench.errors import XlbenchError
from xlbench.host.data_files import SUFFIXES
from xlbench.sources import DataSource, read_files
from xlbench.spec import Read, TrainOn
from xlbench.task import Row, Task, Untranslated


@dataclass(frozen=True)
class Translated:
    """Rows by language, those languages that have none, and who translated them, in a few words."""

    rows: Mapping[str, tuple[Row, ...]]
    lacking: tuple[str, ...] = ()
    by: str = ""

    def note(self, what: str) -> str:
        """A sentence for the record; empty where nothing was translated."""
        without = f"; none for {', '.join(self.lacking)}, read as they are" if self.lacking else ""
        return f"{what}: {self.by or 'translations that the task brings'}{without}" if self.rows else ""


NOTHING = Translated({})


def shots_in(
    task: Task, shots: Sequence[Row], targets: Sequence[str], untranslated: str, source: DataSource
) -> Translated:
    """The shots in every target language. Raises XlbenchError for a language without a translation, where that is to
    be refused, and where none has one."""
    found: dict[str, tuple[Row, ...]] = {}
    lacking = {}
    as_read = [replace(row, id=row.id.removesuffix(f"@{row.language}")) for row in shots]  # a second source's say so
    for language in targets:
        try:
            found[language] = tuple(
                replace(row, id=f"{row.id}@{language}") for row in task.translated(as_read, language, source)
            )
        except Untranslated as reason:
            lacking[language] = str(reason)
    _refuse(task, lacking, found, untranslated, "--train-on", "its shots")
    return Translated(found, tuple(lacking), task.machine_translated)


def tests_in_source(
    task: Task, test: Mapping[str, Sequence[Row]], read: Read, untranslated: str, file: str | None, source: DataSource
) -> Translated:
    """The test rows of every language but the source, translated to it, in their order. Raises XlbenchError as
    `shots_in`, and for a row that a translation lacks."""
    if read == "own":
        return NOTHING
    columns = (*task.fields, *getattr(task, "choice_columns", ()))
    given = _given(Path(file).expanduser(), columns) if file is not None else None
    found: dict[str, tuple[Row, ...]] = {}
    lacking = {}
    for language, rows in test.items():
        if language == task.source:
            continue
        try:
            texts = task.test_in_source(language, source) if given is None else given.get(language)
        except Untranslated as reason:
            lacking[language] = str(reason)
            continue
        if not texts:
            lacking[language] = f"{file} has no rows of it"
            continue
        place = file or f"the translation of task {task.name} from {language}"
        missing = [row.id for row in rows if row.id not in texts]
        if missing:
            raise XlbenchError(
                f"{place} lacks {len(missing)} of the {len(rows)} test rows of {language}, {missing[0]} the first of "
                f"them; it has {', '.join(list(texts)[:2])}, …: it must hold the test split, by row id"
            )
        number = len(task.fields)
        found[language] = tuple(
            replace(row, texts=texts[row.id][:number], choices=texts[row.id][number:], language=task.source)
            for row in rows
        )
    _refuse(task, lacking, found, untranslated, "--read", "its test rows")
    by = f"the file {Path(file).name}" if file is not None else task.machine_translated
    return Translated(found, tuple(lacking), by)


def beside(rows: Sequence[Row], moved: Sequence[Row]) -> Sequence[Row]:
    """Test rows with their texts in the source language beside them, where they were translated."""
    if not moved:
        return rows
    return [replace(row, beside=other.texts) for row, other in zip(rows, moved, strict=True)]


def _refuse(
    task: Task, lacking: Mapping[str, str], found: Mapping[str, object], untranslated: str, option: str, what: str
) -> None:
    """Raises XlbenchError where a language lacks a translation and that is not allowed, or all lack it."""
    if lacking and (untranslated == "refuse" or not found):
        language, reason = next(iter(lacking.items()))
        more = "; --untranslated own goes on without them" if found else ""
        raise XlbenchError(
            f"{option}: task {task.name} has no translation of {what} for {', '.join(lacking)} ({language}: {reason})"
            f"{more}; name --languages that have one"
        )
    if not found and not lacking:
        raise XlbenchError(f"{option} needs a test language other than the source language {task.source}")


@cache
def _given(file: Path, fields: tuple[str, ...]) -> dict[str, dict[str, tuple[str, ...]]]:
    """language → row id → texts, of a user's file. Raises XlbenchError where it cannot be read, or a text is empty."""
    if file.suffix not in SUFFIXES:
        raise XlbenchError(f"--translations {file} is none of {', '.join(SUFFIXES)}")
    table = read_files((file,), ("language", "id", *fields))
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for index, (language, id_) in enumerate(zip(table.columns["language"], table.columns["id"], strict=True)):
        texts = tuple(table.columns[name][index] for name in fields)
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise XlbenchError(f"{file}, row {index}: a text is empty; repair or remove the row")
        found.setdefault(str(language), {})[str(id_)] = texts
    return found


def learnt_from(train_on: TrainOn, shots: Sequence[Row], translated: Translated) -> tuple[Row, ...]:
    """The rows that a run trains on: the shots, their translations, or both, the shots first."""
    moved = tuple(row for rows in translated.rows.values() for row in rows)
    return {"source": tuple(shots), "translated": moved, "both": (*shots, *moved)}[train_on]
