"""What was read of a store's records, kept beside them so that the next reading is quick. It can be deleted.

`RUNS/.index.parquet`: of each record its text, and what statistics need of its predictions, with the inode, size and
times of the two files. An entry counts while these are to the nanosecond what they were, and no longer. A file that
was changed less than SETTLED seconds before it was read has no entry, as its next change might leave its times as they
are. An index that is damaged, or that another version wrote, is as good as none. Nothing is ever looked up here that
the records do not say, so that results are the same with it, without it, and with half of it.
"""

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xlbench import metric, problem, spec
from xlbench.host import safe_parquet
from xlbench.host.safe_parquet import ODD
from xlbench.records import predictions, record, store
from xlbench.records.leftovers import DAY
from xlbench.records.predictions import Summary
from xlbench.records.record import Record

FILE = ".index.parquet"
WORTH_KEEPING = 200  # records read, where there is no index yet: fewer are read as quickly without one
WORTH_WRITING = 0.01  # of the records that are in it: fewer new ones are read again the next time
SETTLED = 2.0  # seconds; file systems keep time in steps of up to so many
LARGEST = 2**63 - 1
MADE_BY = b"xlbench.made_by"

Seal = tuple[int, ...]  # inode, size and times of a record's two files


@dataclass(frozen=True, eq=False)
class Result:
    """A sound record, and what statistics need of its predictions; None where these were not read."""

    record: Record
    summary: Summary | None = None


@dataclass(frozen=True)
class _Rows:
    """The index as it was read: the row of each record by its id, and by row what is known of it."""

    places: Mapping[str, int]
    seals: Sequence[Seal]
    records: Sequence[str]
    tests: Sequence[str]
    scores: Sequence[str]
    values: Sequence[np.ndarray]
    chance: Mapping[str, np.ndarray]  # by test set

    def result(self, at: int) -> Result:
        test = self.tests[at]
        summary = Summary(json.loads(self.scores[at]), self.values[at], self.chance[test], test)
        return Result(Record.model_validate_json(self.records[at]), summary)


class Index:
    """The index of a folder of records; read when it is first asked, written by `save` alone."""

    def __init__(self, root: Path) -> None:
        self.root, self.file = root, root / FILE
        self.added: dict[str, tuple[Seal, Result]] = {}
        self._rows: _Rows | None = None
        self._began: int | None = None  # when the first record was read that may be added

    def find(self, run_id: str, seal: Seal | None) -> Result | None:
        """What is known of a record whose files are as `seal` says; None where nothing is."""
        at = self._read().places.get(run_id)
        return None if seal is None or at is None or self._read().seals[at] != seal else self._read().result(at)

    def begin(self) -> None:
        """From here on records are read that may be added: what changes while they are read is told by this time."""
        self._began = self._began or self._clock()

    def add(self, seal: Seal | None, result: Result) -> None:
        """Remember a sound record, read after its files were as `seal` says, if they still are and may be relied on."""
        if seal is None or self._began is None or seal != seal_of(self.root / result.record.id):
            return
        if max(seal[2:4] + seal[6:8]) > self._began - SETTLED * 1e9:
            return
        self.added[result.record.id] = seal, result

    def save(self) -> None:
        """Write what was added, and what still stands of what was there, whole or not at all.

        Where it cannot be written, the next reading takes its time again, and that is all.
        """
        held = len(self._read().places)
        if not self.added or len(self.added) < (WORTH_WRITING * held if held else WORTH_KEEPING):
            return
        beside = self.root / f".{uuid.uuid4().hex}.part"
        try:
            pq.write_table(self._table(), beside, compression="zstd", write_page_checksum=True)
            os.replace(beside, self.file)
            self.added.clear()
            self._rows = None
            for left in self.root.glob(".*.part"):  # by a writer that died; one that is writing is not a day old
                if time.time() - left.stat().st_mtime > DAY:
                    left.unlink(missing_ok=True)
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def _read(self) -> _Rows:
        if self._rows is None:
            try:
                self._rows = _laid_out(pq.read_table(self.file, page_checksum_verification=True, partitioning=None))
            except (*ODD, OSError):
                self._rows = _Rows({}, [], [], [], [], [], {})
        return self._rows

    def _table(self) -> pa.Table:
        """All entries; the chance of a test set stands with the first of its records."""
        rows = self._read()
        entries: list[tuple[str, Seal, str, str, str, np.ndarray]] = [
            (run_id, rows.seals[at], rows.records[at], rows.tests[at], rows.scores[at], rows.values[at])
            for run_id, at in rows.places.items()
            if run_id not in self.added and os.path.exists(self.root / run_id)
        ]
        chance = dict(rows.chance)
        for run_id, (seal, result) in self.added.items():
            text, summary = _as_json(result.record), result.summary
            if text is not None and summary is not None:
                entries.append((run_id, seal, text, summary.test, json.dumps(summary.scores), summary.values))
                chance[summary.test] = summary.chance
        columns: dict[str, list[Any]] = {name: [entry[at] for entry in entries] for at, name in enumerate(KNOWN)}
        columns["chance"] = [chance.pop(test, None) for test in columns["test"]]
        return pa.table(columns, schema=SCHEMA).replace_schema_metadata({MADE_BY: _made_by()})

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


def seal_of(folder: Path) -> Seal | None:
    """What tells a record's files from others that stood, or will stand, under the same names: inode, size, and the
    times of the last changes of what is in each and of what is said of it, in nanoseconds. None: not both there."""
    seal: Seal = ()
    for name in ("record.json", "predictions.parquet"):
        try:
            file = os.stat(f"{folder}/{name}")
        except (OSError, ValueError):
            return None
        seal += file.st_ino & LARGEST, file.st_size, file.st_mtime_ns, file.st_ctime_ns
    return seal


def _as_json(whole: Record) -> str | None:
    """A record as JSON; None for one that JSON does not hold."""
    try:
        text = whole.model_dump_json()
        return text if Record.model_validate_json(text) == whole else None
    except ValueError:
        return None


@cache
def _made_by() -> bytes:
    """What an entry depends on beside the two files: the code that reads them and finds them sound."""
    here = Path(__file__)
    modules = [Path(str(module.__file__)) for module in (metric, problem, safe_parquet, predictions, record, store)]
    files = [here, here.with_name("vetting.py"), *modules, *sorted(Path(str(spec.__file__)).parent.glob("*.py"))]
    parts = [np.__version__.encode(), *(file.read_bytes() for file in files)]
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest().encode()


def _laid_out(table: pa.Table) -> _Rows:
    """The index from its table. Raises ValueError or KeyError for one that is not whole, or of another version."""
    if (table.schema.metadata or {}).get(MADE_BY) != _made_by():
        raise ValueError("the index is of another version")
    ids, tests, records, scores = (table[name].to_pylist() for name in ("id", "test", "record", "scores"))
    first = np.flatnonzero(table["chance"].is_valid().to_numpy()).tolist()
    chance = {tests[row]: _arrays(table["chance"].slice(row, 1))[0] for row in first}
    if not chance.keys() >= set(tests):
        raise ValueError("the index lacks the chance of a test set")
    seals = [tuple(seal) for seal in table["seal"].to_pylist()]
    places = {run_id: row for row, run_id in enumerate(ids)}
    return _Rows(places, seals, records, tests, scores, _arrays(table["values"]), chance)


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray]:
    """The rows of a column of lists; none may be empty."""
    whole = column.combine_chunks()
    ends = np.cumsum(whole.value_lengths().to_numpy(zero_copy_only=False)).tolist()
    return np.split(whole.flatten().to_numpy(), ends[:-1]) if ends else []


KNOWN = {
    "id": pa.string(), "seal": pa.list_(pa.int64()), "record": pa.string(), "test": pa.string(),
    "scores": pa.string(), "values": pa.list_(pa.float64()),
}  # fmt: skip
SCHEMA = pa.schema({**KNOWN, "chance": pa.list_(pa.float64())})
