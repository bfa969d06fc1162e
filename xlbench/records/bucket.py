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
from collections.abc import Iterator, Mapping
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
from xlbench.records.store import RACES, Store
from xlbench.spec import is_url

RECORD, PREDICTIONS, FAILED = "record.json", "predictions.parquet", "failed.json"
COPY = ".copied"  # beside a copy: which version it is of
AT_ONCE = 16  # records that are copied at the same time

Listed = dict[str, dict[str, Any]]  # what fsspec says of a record's objects, by their names


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
        listed = self._listed(run_id).get(run_id)
        if listed is None:
            return None
        self._copy(run_id, listed)
        return super().find(run_id)

    def folders(self) -> list[Path]:
        """The folders of the copies of all records, in the order of their ids, made where they are not here yet."""
        listed = self._listed()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._copy, listed, listed.values()))
        return [self.root / run_id for run_id in sorted(listed)]

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
        text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        objects[FAILED if record.status == "failed" else RECORD] = text.encode()
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

    def _listed(self, run_id: str | None = None) -> dict[str, Listed]:
        """The objects of one record, or of all, by its id. What has no text, or a name that no record has, is none."""
        found: dict[str, Listed] = {}
        with self._asking("read"):
            try:
                objects = self.system.find(f"{self.place}/{run_id}" if run_id else self.place, detail=True)
            except FileNotFoundError:
                return {}
        for path, facts in objects.items():
            folder, name = path.rsplit("/", 2)[-2:]
            if name in (RECORD, PREDICTIONS, FAILED) and path == f"{self.place}/{folder}/{name}":
                found.setdefault(folder, {})[name] = facts
        return {one: its for one, its in found.items() if self._is_id(one) and (RECORD in its or FAILED in its)}

    def _is_id(self, name: str) -> bool:
        """Whether a name at the URL, where all are possible, is one that a record may have."""
        try:
            self.path(name)
        except XlbenchError:
            return False
        return not name.startswith(".")

    def _copy(self, run_id: str, listed: Mapping[str, dict[str, Any]]) -> None:
        """Have a record here as it is at the URL; predictions that its `record.json` does not seal are left there."""
        folder, source = self.path(run_id), f"{self.place}/{run_id}"
        version = json.dumps({name: str(sorted(facts.items())) for name, facts in sorted(listed.items())})
        with contextlib.suppress(OSError):
            if (folder / COPY).read_text(encoding="utf-8") == version:
                return
        predictions = None
        with self._asking("read"):
            try:
                name = RECORD if RECORD in listed else FAILED
                text = self.system.cat_file(f"{source}/{name}", start=0, end=RECORD_BYTES + 1)
                if RECORD in listed and PREDICTIONS in listed:
                    predictions = self.system.cat_file(f"{source}/{PREDICTIONS}")
            except FileNotFoundError:  # removed since it was listed
                return
        seal = _seal(text)
        if predictions is not None and seal and _sha256(predictions) != seal:
            predictions, version = None, ""  # another writer is at it, or it is damaged: look again next time
        parts = {RECORD: text, COPY: version.encode()}
        try:
            if predictions is None:
                (folder / PREDICTIONS).unlink(missing_ok=True)
            else:
                parts = {PREDICTIONS: predictions, **parts}
            for name, content in parts.items():
                with whole_file(folder / name) as beside:
                    beside.write_bytes(content)
        except OSError as fault:
            reason = fault.strerror or fault
            raise XlbenchError(f"cannot copy the record {run_id} of {self.url} to {folder}: {reason}") from fault


def _seal(text: bytes) -> str:
    """The digest of the predictions that a record belongs to; empty where it names none, or is no record."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("predictions_sha256", "")) if isinstance(found, dict) else ""


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
