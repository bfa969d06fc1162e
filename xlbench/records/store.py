"""Records on disk: atomic, content-addressed, never edited.

`RUNS/<first 12 of the hash>/record.json` with `predictions.parquet` beside it. A record is written into a
hidden folder and renamed when whole, so that a reader never sees half of one; the first of two writers wins.
"""

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from itertools import compress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xlbench.errors import XlbenchError
from xlbench.host.cores import side_by_side
from xlbench.host.plain_text import plain
from xlbench.host.safe_parquet import read_parquet
from xlbench.records.leftovers import hidden_name
from xlbench.records.record import NewerRecord, Record, read_record

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]

RACES = 20  # writers of one record that may come between


def is_id(name: str) -> bool:
    return name not in {"", ".", ".."} and len(name) <= 200 and not {"/", "\\", "\0"} & set(name)


def text_of(record: Record) -> str:
    """A record as its file holds it: the seal, and what it is made of, only where there is any."""
    empty = {name for name in ("predictions_sha256", "combined") if not getattr(record, name)}
    fields = record.model_dump(mode="json", exclude=empty)
    return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"


class Store:
    """A folder of records; safe for several processes and machines that share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """Where it is, as a user would name it."""
        return str(self.root)

    def there(self) -> bool:
        """Whether there is such a place, with records or without."""
        return self.root.is_dir()

    def expect(self) -> None:
        """Raises XlbenchError where there is no such place."""
        if not self.there():
            raise XlbenchError(f"there is no folder of records {self.name}; name one with --runs DIR")

    def path(self, run_id: str) -> Path:
        """The folder of a record. Raises XlbenchError for an id that is no plain name."""
        if not is_id(run_id):
            raise XlbenchError(f"a record's id is a plain name, not {plain(run_id, 80)!r}")
        return self.root / run_id

    def find(self, run_id: str) -> Record | None:
        """The record of a run; None where there is none, or one that cannot be read (it is computed again).

        Raises XlbenchError for one that a newer xlbench wrote: it is whole, and must not be replaced.
        """
        try:
            return read_record(self.path(run_id) / "record.json")
        except NewerRecord:
            raise
        except XlbenchError:
            return None

    def finished(self, run_id: str) -> Record | None:
        """The record of a run that ended well, with its predictions there; None otherwise."""
        record = self.find(run_id)
        finished = record is not None and record.status == "finished"
        return record if finished and (self.path(run_id) / "predictions.parquet").is_file() else None

    def ready(self) -> None:
        """Make the folder. Raises XlbenchError where nothing can be written there: before a run, not after it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as fault:
            raise XlbenchError(f"cannot write records under {self.root}: {fault.strerror or fault}") from fault

    def write(self, record: Record, predictions: pa.Table | None = None) -> Path:
        """Keep a record, whole or not at all. A finished record is never overwritten; a failed one is replaced."""
        final = self.path(record.id)
        hidden = self.root / hidden_name(record.id)
        try:
            hidden.mkdir(parents=True)
            if predictions is not None:
                file = hidden / "predictions.parquet"
                pq.write_table(predictions, file, compression="zstd", write_page_checksum=True)
            (hidden / "record.json").write_text(text_of(record), encoding="utf-8")
            with self._alone():
                self._place(hidden, final)
        except OSError as fault:
            raise XlbenchError(f"cannot write the record {final}: {fault.strerror or fault}") from fault
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        return final

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other writer places a record here meanwhile, where the system and the file system have locks."""
        if fcntl is None:
            yield
            return
        handle = os.open(self.root, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: `_place` copes, if less well
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _place(self, hidden: Path, final: Path) -> None:
        """Rename `hidden` to `final`; what stands there makes way unless it is finished, whoever writes beside us."""
        for _ in range(RACES):
            if self.finished(final.name) is not None:
                return
            try:
                hidden.rename(final)
                return
            except OSError:
                if not final.exists():
                    raise
            old = final.with_name(f".{final.name}-old-{uuid.uuid4().hex[:8]}")
            try:
                final.rename(old)
            except FileNotFoundError:  # another writer moved it first
                continue
            if self.finished(old.name) is not None:  # somebody finished between our look and our move
                with contextlib.suppress(OSError):  # unless another stands there by now
                    old.rename(final)
                return
            shutil.rmtree(old, ignore_errors=True)
        raise OSError("other writers kept replacing it")

    def put_aside(self, run_id: str) -> None:
        """Rename a record that cannot be used, so that it is computed again; what it was lies in a hidden folder."""
        with contextlib.suppress(FileNotFoundError):  # another process put it aside first
            self.path(run_id).rename(self.root / f".{run_id}-damaged-{uuid.uuid4().hex[:8]}")

    def folders(self) -> list[Path]:
        """The folders of all records, in the order of their ids; none where there is no folder of them."""
        try:
            names = sorted(name for name in os.listdir(self.root) if not name.startswith("."))
        except OSError:
            return []
        records = side_by_side(lambda name: os.path.exists(f"{self.root}/{name}/record.json"), names)
        return [self.root / name for name in compress(names, records)]

    def records(self) -> Iterator[Record]:
        """Every readable record, in the order of their ids. Raises XlbenchError for one that is broken."""
        self.expect()
        for folder in self.folders():
            yield read_record(folder / "record.json")

    def predictions(self, run_id: str) -> pa.Table:
        """Predictions of a finished run: row_id, unit_id, language, and the problem's columns."""
        file = self.path(run_id) / "predictions.parquet"
        try:
            return read_parquet(file, f"the predictions {file}")
        except (ValueError, OSError) as fault:
            raise XlbenchError(f"the predictions {file} cannot be read: {fault}") from fault
