"""What was read of a store's records, kept beside them so that the next reading is quick. It can be deleted.

`RUNS/.index/00` … `3f`: of each record its text, and what statistics need of its predictions, each with the inode,
size and times of the two files. An entry counts while these are to the nanosecond what they were, and no longer.
A file that was changed less than SETTLED seconds before it was read has no entry, as its next change might leave its
times as they are. A part that is damaged, or that another version wrote, is as good as none. Nothing is ever looked
up here that the records do not say, so that results are the same with it, without it, and with half of it.
"""

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xlbench import spec
from xlbench.host import safe_parquet as parquet
from xlbench.host.safe_parquet import ODD
from xlbench.records import predictions as premises
from xlbench.records import store
from xlbench.records.predictions import Summary, seen
from xlbench.records.record import Record

PARTS = 64
WORTH_KEEPING = 200  # records read, where there is no index yet: fewer are read as quickly without one
SETTLED = 2.0  # seconds; file systems keep time in steps of up to so many
ABANDONED = 86_400.0  # seconds after which what a dead writer left is swept away
DIGEST = 32  # bytes

Seal = tuple[int, ...]  # inode, size and times of a record's two files


@dataclass(frozen=True)
class Entry:
    """A record that was found sound, with what its predictions show, and its files as they then were."""

    seal: Seal
    record: Record
    summary: Summary


@dataclass(frozen=True)
class _Part:
    """One file of the index, laid out: the row of each record by its id, and by row what is known of it."""

    rows: Mapping[str, int]
    seals: Sequence[Seal]
    records: Sequence[str]
    tests: Sequence[str]
    accuracies: Sequence[Sequence[float]]
    values: Sequence[np.ndarray]
    chance: Mapping[str, np.ndarray]  # by test set


class Index:
    """The index of a folder of records; parts are read when they are asked for, written by `save` alone."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / ".index"
        self.parts: dict[int, _Part] = {}
        self.added: dict[str, Entry] = {}
        self._began: int | None = None  # when the first record was read that may be added

    def find(self, run_id: str, seal: Seal | None) -> Entry | None:
        """What is known of a record whose files are as `seal` says; None where nothing is."""
        if seal is None:
            return None
        part = self._part(_number(run_id))
        row = part.rows.get(run_id)
        if row is None or part.seals[row] != seal:
            return None
        record, test = Record.model_validate_json(part.records[row]), part.tests[row]
        accuracy = dict(zip(sorted(record.accuracy), part.accuracies[row], strict=True))
        return Entry(seal, record, Summary(accuracy, part.values[row], part.chance[test], test))

    def begin(self) -> None:
        """From here on records are read that may be added: what changes while they are read is told by this time."""
        self._began = self._began or self._clock()

    def add(self, run_id: str, seal: Seal | None, record: Record, summary: Summary) -> None:
        """Remember a sound record, read after its files were as `seal` says, if they still are and may be relied on."""
        if seal is None or self._began is None or seal != seal_of(self.root / run_id):
            return
        if max(seal[2:4] + seal[6:8]) > self._began - SETTLED * 1e9:
            return
        self.added[run_id] = Entry(seal, record, summary)

    def save(self) -> None:
        """Write what was added. Where it cannot be written, the next reading takes its time again, and that is all."""
        if not self.added or (len(self.added) < WORTH_KEEPING and not self.folder.is_dir()):
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(exist_ok=True)
            self._sweep()
            for number in sorted({_number(run_id) for run_id in self.added}):
                self._write(number)
        self.added.clear()

    def _write(self, number: int) -> None:
        """One part, whole or not at all: what was added, and what is still true of what was there."""
        new = {run_id: entry for run_id, entry in self.added.items() if _number(run_id) == number}
        old = self._part(number)
        held = [run_id for run_id in old.rows if run_id not in new]
        entries = [
            entry for run_id in held if (entry := self.find(run_id, seal_of(self.root / run_id))) is not None
        ]  # fmt: skip
        content = _written([*entries, *new.values()])
        beside = self.folder / f".{uuid.uuid4().hex}.part"
        try:
            beside.write_bytes(_digest(content) + content)
            os.replace(beside, self.folder / f"{number:02x}")
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
        self.parts.pop(number, None)

    def _part(self, number: int) -> _Part:
        if number not in self.parts:
            try:
                self.parts[number] = _read((self.folder / f"{number:02x}").read_bytes())
            except (*ODD, OSError):
                self.parts[number] = _laid_out(_table([]))
        return self.parts[number]

    def _clock(self) -> int | None:
        """Now, in nanoseconds, by the clock that stamps the store's files; None where none can be written."""
        beside = self.root / f".{uuid.uuid4().hex}.part"
        try:
            with beside.open("xb") as stream:
                return os.fstat(stream.fileno()).st_mtime_ns
        except OSError:
            return None
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def _sweep(self) -> None:
        for file in self.folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < time.time() - ABANDONED:
                    file.unlink()


def seal_of(folder: Path) -> Seal | None:
    """What tells a record's files from others that stood, or will stand, under the same names; None: not both there."""
    record, predictions = seen(folder, "record.json"), seen(folder)
    return record + predictions if record and predictions else None


def predictions_of(seal: Seal) -> Seal:
    """What tells the predictions among a record's two files."""
    return seal[len(seal) // 2 :]


def _number(run_id: str) -> int:
    return hashlib.blake2b(run_id.encode("utf-8", "surrogateescape"), digest_size=1).digest()[0] % PARTS


@cache
def _made_by() -> bytes:
    """What an entry depends on beside the two files: the code that reads them and finds them sound."""
    readers = [Path(str(module.__file__)) for module in (parquet, premises, spec, store)]
    here = Path(__file__)
    sources = [file.read_bytes() for file in (here, here.with_name("vetting.py"), *readers)]
    return hashlib.blake2b(b"\0".join([np.__version__.encode(), *sources])).digest()


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST, key=_made_by()).digest()


def _read(content: bytes) -> _Part:
    """A part from its bytes. Raises ValueError for one that is damaged, or was made by other code."""
    if _digest(content[DIGEST:]) != content[:DIGEST]:
        raise ValueError("the index is damaged, or of another version")
    return _laid_out(pq.read_table(pa.BufferReader(content[DIGEST:]), use_threads=False))


def _laid_out(table: pa.Table) -> _Part:
    """A part from its table. Raises ValueError or KeyError for one that is not whole."""
    ids, tests, texts = (table[name].to_pylist() for name in ("id", "test", "record"))
    first = np.flatnonzero(table["chance"].is_valid().to_numpy()).tolist()
    chance = {tests[row]: _arrays(table["chance"].slice(row, 1))[0] for row in first}
    if not chance.keys() >= set(tests):
        raise ValueError("the index lacks the chance of a test set")
    return _Part(
        {run_id: row for row, run_id in enumerate(ids)},
        [tuple(seal) for seal in table["seal"].to_pylist()],
        texts,
        tests,
        table["accuracy"].to_pylist(),
        _arrays(table["values"]),
        chance,
    )


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray]:
    """The rows of a column of lists; none may be empty."""
    whole = column.combine_chunks()
    ends = np.cumsum(whole.value_lengths().to_numpy(zero_copy_only=False)).tolist()
    return np.split(whole.flatten().to_numpy(), ends[:-1]) if ends else []


def _table(entries: Iterable[Entry]) -> pa.Table:
    """Entries as a table; the chance of a test set stands with the first of its records."""
    columns: dict[str, list[Any]] = {field.name: [] for field in SCHEMA}
    for entry in entries:
        found = entry.summary
        try:
            text = entry.record.model_dump_json()
            whole = Record.model_validate_json(text) == entry.record
        except ValueError:
            continue
        if not whole:
            continue  # a record that this form of JSON does not hold
        row = {
            "id": entry.record.id, "seal": entry.seal, "record": text, "test": found.test,
            "accuracy": [found.accuracy[language] for language in sorted(found.accuracy)], "values": found.values,
            "chance": None if found.test in columns["test"] else found.chance,
        }  # fmt: skip
        for name, value in row.items():
            columns[name].append(value)
    return pa.table(columns, schema=SCHEMA)


def _written(entries: Iterable[Entry]) -> bytes:
    stream = pa.BufferOutputStream()
    pq.write_table(_table(entries), stream, compression="zstd")
    return bytes(stream.getvalue())


SCHEMA = pa.schema(
    {
        "id": pa.string(), "seal": pa.list_(pa.int64()), "record": pa.string(), "test": pa.string(),
        "accuracy": pa.list_(pa.float64()), "values": pa.list_(pa.float64()), "chance": pa.list_(pa.float64()),
    }
)  # fmt: skip
