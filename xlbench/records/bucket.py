"""Records at a URL that fsspec knows (`s3://bucket/runs`, `gs://…`, `file:///…`), where nothing is renamed.

The names are a folder's: `URL/<id>/record.json` with `predictions.parquet` beside it, so a copy of the one is the
other. Predictions are written first and the record last: a record is there when its `record.json` is, which says what
predictions belong to it, so that half a pair is never read. Who writes looks afterwards, and writes again where
another came between. A failure stands in `failed.json`, so that it can never take a result's place.

What is read is first copied into the cache folder (see `xlbench.host.array_cache`), and again where it changed at
the URL.
"""

import atexit
import contextlib
import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlbench.errors import XlbenchError, one_line
from xlbench.host import array_cache as cache
from xlbench.host.plain_text import plain
from xlbench.host.safe_reading import RECORD_BYTES
from xlbench.host.whole_files import whole_file
from xlbench.records.record import Record
from xlbench.records.store import RACES, Store, is_id, text_of
from xlbench.spec import is_url

RECORD, PREDICTIONS, FAILED = "record.json", "predictions.parquet", "failed.json"
COPY = ".copied"  # beside a copy: which version it is of
AT_ONCE = 16  # records that are copied at the same time

Objects = dict[str, dict[str, Any]]  # what fsspec says of a record's objects, by their names


def store_at(runs: Path | str) -> Store:
    """The store in a folder, or at a URL. Raises XlbenchError where nothing is installed that reads such URLs."""
    return ObjectStore(runs) if is_url(runs) else Store(Path(runs))


class ObjectStore(Store):
    """Records at a URL; safe for several processes and machines that share it. `root` is the folder of copies."""

    def __init__(self, url: Path | str) -> None:
        import fsspec

        self.url = str(url).rstrip("/")
        try:
            self.system, self.place = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as fault:
            raise XlbenchError(
                f"records at {self.url} need a package that is not here ({plain(one_line(fault), 200)}); s3:// needs "
                "s3fs, gs:// gcsfs, az:// adlfs: install it with pip, or name a folder with --runs"
            ) from fault
        super().__init__(_copies(self.url))

    @property
    def name(self) -> str:
        return self.url

    def there(self) -> bool:
        with self._asking("read"):
            return bool(self.system.exists(self.place))

    def ready(self) -> None:
        """Write an object and remove it. Raises XlbenchError where that cannot be: before a run, not after it."""
        self.root.mkdir(parents=True, exist_ok=True)
        probe = f".{uuid.uuid4().hex[:8]}"
        with self._asking("write records at"):
            self._put(probe, b"")
            self.system.rm_file(f"{self.place}/{probe}")

    def find(self, run_id: str) -> Record | None:
        self.path(run_id)  # raises for what is no plain name
        objects = self._listed(run_id).get(run_id)
        if objects is None:
            return None
        self._copy(run_id, objects)
        return super().find(run_id)

    def folders(self) -> list[Path]:
        """The folders of the copies of all records, in the order of their ids, made where they are not here yet."""
        records = self._listed()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._copy, records, records.values()))
        return [self.root / run_id for run_id in sorted(records)]

    def predictions(self, run_id: str) -> pa.Table:
        self.find(run_id)
        return super().predictions(run_id)

    def write(self, record: Record, predictions: pa.Table | None = None) -> Path:
        """Keep a record, whole or not at all. A finished record is never overwritten; a failed one is replaced.

        Two who write the same record at once may each see the other's half. Each looks when it has written, and the
        last to look sees a whole pair, or writes one.
        """
        objects = {}
        if predictions is not None and record.status == "finished":
            stream = pa.BufferOutputStream()
            pq.write_table(predictions, stream, compression="zstd", write_page_checksum=True)
            objects[PREDICTIONS] = stream.getvalue().to_pybytes()
            record = record.model_copy(update={"predictions_sha256": _sha256(objects[PREDICTIONS])})
        objects[FAILED if record.status == "failed" else RECORD] = text_of(record).encode()
        for _ in range(RACES):
            if self.finished(record.id) is not None:
                break
            with self._asking("write the record"):
                for name, content in objects.items():
                    self._put(f"{record.id}/{name}", content)
            if PREDICTIONS not in objects:  # no pair that another could have mixed
                return self.path(record.id)
        else:
            raise XlbenchError(f"cannot write the record {record.id} at {self.url}: other writers kept replacing it")
        with contextlib.suppress(Exception):  # what failed before is of no more use, and does no harm
            self.system.rm_file(f"{self.place}/{record.id}/{FAILED}")
        return self.path(record.id)

    def put_aside(self, run_id: str) -> None:
        """Move a record that cannot be used to a hidden place at the URL, so that it is computed again."""
        aside = f".{run_id}-damaged-{uuid.uuid4().hex[:8]}"
        with self._asking("put aside the record"):
            for name in (RECORD, PREDICTIONS):
                with contextlib.suppress(FileNotFoundError):
                    self._put(f"{aside}/{name}", self.system.cat_file(f"{self.place}/{run_id}/{name}"))
                    self.system.rm_file(f"{self.place}/{run_id}/{name}")
        shutil.rmtree(self.root / run_id, ignore_errors=True)

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """A file system's own faults as one sentence: each has its own kinds."""
        try:
            yield
        except (XlbenchError, FileNotFoundError):
            raise
        except Exception as fault:
            why = plain(one_line(fault), 300)
            raise XlbenchError(f"cannot {what} {self.url}: {type(fault).__name__}: {why}") from fault

    def _put(self, name: str, content: bytes) -> None:
        """Write an object, with the folder of it where the file system has such."""
        path = f"{self.place}/{name}"
        try:
            self.system.pipe_file(path, content)
        except FileNotFoundError:
            self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.system.pipe_file(path, content)

    def _listed(self, run_id: str | None = None) -> dict[str, Objects]:
        """The objects of one record, or of all, by its id. What has no text, or a name that no record has, is none."""
        with self._asking("read"):
            try:
                facts_of = self.system.find(f"{self.place}/{run_id}" if run_id else self.place, detail=True)
            except FileNotFoundError:
                return {}
        records: dict[str, Objects] = {}
        for path, facts in facts_of.items():
            folder, name = path.rsplit("/", 2)[-2:]
            if name in (RECORD, PREDICTIONS, FAILED) and path == f"{self.place}/{folder}/{name}":
                records.setdefault(folder, {})[name] = facts
        return {
            folder: objects
            for folder, objects in records.items()
            if is_id(folder) and not folder.startswith(".") and (RECORD in objects or FAILED in objects)
        }

    def _copy(self, run_id: str, objects: Objects) -> None:
        """Have a record here as it is at the URL; predictions that its `record.json` does not seal are left there."""
        folder, source = self.path(run_id), f"{self.place}/{run_id}"
        version = json.dumps({name: str(sorted(facts.items())) for name, facts in sorted(objects.items())})
        with contextlib.suppress(OSError):
            if (folder / COPY).read_text(encoding="utf-8") == version:
                return
        name, predictions = RECORD if RECORD in objects else FAILED, None
        try:
            with self._asking("read"):
                text = self.system.cat_file(f"{source}/{name}", start=0, end=RECORD_BYTES + 1)
                if {RECORD, PREDICTIONS} <= objects.keys():
                    predictions = self.system.cat_file(f"{source}/{PREDICTIONS}")
        except FileNotFoundError:  # removed since it was listed
            return
        if predictions is not None and _seal(text) not in ("", _sha256(predictions)):
            predictions, version = None, ""  # another writer is at it, or it is damaged: look again next time
        try:
            if predictions is None:
                (folder / PREDICTIONS).unlink(missing_ok=True)
            for name, content in ((PREDICTIONS, predictions), (RECORD, text), (COPY, version.encode())):
                if content is not None:
                    with whole_file(folder / name) as beside:
                        beside.write_bytes(content)
        except OSError as fault:
            reason = fault.strerror or fault
            raise XlbenchError(f"cannot copy the record {run_id} of {self.url} to {folder}: {reason}") from fault


def _seal(text: bytes) -> str:
    """The digest of the predictions that a record belongs to; empty where it names none, or is no record."""
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        return str(json.loads(text).get("predictions_sha256", ""))
    return ""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@lru_cache
def _copies(url: str) -> Path:
    """The folder of copies of what is at a URL: in the cache, or, where there is none, as long as this process."""
    place = cache.folder()
    if place is not None:
        return place / "stores" / _sha256(url.encode())[:16]
    folder = Path(tempfile.mkdtemp(prefix="xlbench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
