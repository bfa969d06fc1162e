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
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xlbench import metric, problem, spec
from xlbench.host import safe_parquet
from xlbench.host.safe_parquet import ODD
from xlbench.host.whole_files import whole_file
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


class _Entry(NamedTuple):
    """What the index holds of a record; the records of a test set share their `chance`."""

    seal: Seal
    record: str
    test: str
    scores: str
    values: np.ndarray
    chance: np.ndarray

    @property
    def result(self) -> Result:
        summary = Summary(json.loads(self.scores), self.values, self.chance, self.test)
        return Result(Record.model_validate_json(self.record), summary)


class Index:
    """The index of a folder of records; read when it is first asked, written by `save` alone."""

    def __init__(self, root: Path) -> None:
        self.root, self.file = root, root / FILE
        self.added: dict[str, tuple[Seal, Result]] = {}
        self._entries: dict[str, _Entry] | None = None  # by id
        self._began: int | None = None  # when the first record was read that may be added

    def find(self, run_id: str, seal: Seal | None) -> Result | None:
        """What is known of a record whose files are as `seal` says; None where nothing is."""
        entry = self._read().get(run_id)
        return None if entry is None or entry.seal != seal else entry.result

    def begin(self) -> None:
        """From here on records are read that may be added: what changes while they are read is told by this time.

        It is that of the clock which stamps the store's files; none where none can be written.
        """
        if self._began is None:
            with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=self.root) as stream:
                self._began = os.fstat(stream.fileno()).st_mtime_ns

    def add(self, seal: Seal | None, result: Result) -> None:
        """Remember a sound record, read after its files were as `seal` says, if they still are and may be relied on."""
        if seal is None or self._began is None or seal != seal_of(self.root / result.record.id):
            return
        if max(seal[2:4] + seal[6:8]) <= self._began - SETTLED * 1e9:
            self.added[result.record.id] = seal, result

    def save(self) -> None:
        """Write what was added, and what still stands of what was there, whole or not at all.

        Where it cannot be written, the next reading takes its time again, and that is all.
        """
        size = len(self._read())
        if not self.added or len(self.added) < (WORTH_WRITING * size if size else WORTH_KEEPING):
            return
        with contextlib.suppress(OSError):
            with whole_file(self.file) as beside:
                pq.write_table(self._table(), beside, compression="zstd", write_page_checksum=True)
            self.added.clear()
            self._entries = None
            for part in self.root.glob(".*.part"):  # by a writer that died; one that is writing is not a day old
                if time.time() - part.stat().st_mtime > DAY:
                    part.unlink(missing_ok=True)

    def _read(self) -> dict[str, _Entry]:
        if self._entries is None:
            try:
                table = pq.read_table(self.file, page_checksum_verification=True, partitioning=None)
                self._entries = _entries_of(table)
            except (*ODD, OSError):
                self._entries = {}
        return self._entries

    def _table(self) -> pa.Table:
        """All entries; the chance of a test set stands with the first of its records."""
        entries = {
            run_id: entry
            for run_id, entry in self._read().items()
            if run_id not in self.added and os.path.exists(self.root / run_id)
        }
        for run_id, (seal, result) in self.added.items():
            text, summary = _as_json(result.record), result.summary
            if text is not None and summary is not None:
                scores = json.dumps(summary.scores)
                entries[run_id] = _Entry(seal, text, summary.test, scores, summary.values, summary.chance)
        chance = {entry.test: entry.chance for entry in entries.values()}
        rows = [
            {"id": run_id, **entry._asdict(), "chance": chance.pop(entry.test, None)}
            for run_id, entry in entries.items()
        ]
        return pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({MADE_BY: _made_by()})


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


def _as_json(record: Record) -> str | None:
    """A record as JSON; None for one that JSON does not hold."""
    with contextlib.suppress(ValueError):
        text = record.model_dump_json()
        if Record.model_validate_json(text) == record:
            return text
    return None


@cache
def _made_by() -> bytes:
    """What an entry depends on beside the two files: the code that reads them and finds them sound."""
    here = Path(__file__)
    modules = [Path(str(module.__file__)) for module in (metric, problem, safe_parquet, predictions, record, store)]
    files = [here, here.with_name("vetting.py"), *modules, *sorted(Path(str(spec.__file__)).parent.glob("*.py"))]
    parts = [np.__version__.encode(), *(file.read_bytes() for file in files)]
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest().encode()


def _entries_of(table: pa.Table) -> dict[str, _Entry]:
    """The index by id. Raises ValueError or KeyError for a table that is not whole, or of another version."""
    if (table.schema.metadata or {}).get(MADE_BY) != _made_by():
        raise ValueError("the index is of another version")
    ids, seals, records, tests, scores = (table[name].to_pylist() for name in SCHEMA.names[:5])
    arrays, chances = ([row.values and row.values.to_numpy() for row in table[name]] for name in ("values", "chance"))
    chance = {test: array for test, array in zip(tests, chances, strict=True) if array is not None}
    entries = map(_Entry, map(tuple, seals), records, tests, scores, arrays, [chance[test] for test in tests])
    return dict(zip(ids, entries, strict=True))


FLOATS = pa.list_(pa.float64())
SCHEMA = pa.schema({
    "id": pa.string(), "seal": pa.list_(pa.int64()), "record": pa.string(), "test": pa.string(),
    "scores": pa.string(), "values": FLOATS, "chance": FLOATS,
})  # fmt: skip
