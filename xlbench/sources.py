"""Where rows come from: a folder laid out like the dataset hub, or the hub itself.

`DIR/<hub id>/<config>/<split>.parquet`, or the hub's shards, CSV, TSV or JSON lines of that name. With a folder nothing
is downloaded and no socket is opened.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from xlbench.errors import XlbenchError
from xlbench.host.data_files import columns_in, files_of, read_file

OFFLINE_HINT = "give --data-root DIR (a folder laid out like the hub) and a model folder to work without it"

NO_ANSWER = "it does not answer, and the cache has no copy"
HUB_PATIENCE = 5.0  # seconds


class MissingColumn(XlbenchError):  # noqa: N818 - a table without it may be no mistake (a corpus lacks a language)
    """A table that was read lacks a column that was asked for."""


@dataclass(frozen=True)
class Table:
    """Rows as read: the columns, the place to name in an error, a fingerprint of the content, and by column the names
    of a ClassLabel's numbers, where a file or the hub says them."""

    columns: dict[str, list]
    place: str
    fingerprint: str
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


@dataclass(frozen=True)
class DataSource:
    """The dataset hub, or the folder that replaces it."""

    root: Path | None = None

    def table(
        self, dataset: str, config: str, split: str, columns: tuple[str, ...], revision: str | None = None
    ) -> Table:
        """One split of one configuration of a dataset; `revision`: a branch or commit of the hub's.

        Raises XlbenchError: no such file (naming the path looked for), a column is missing, or the hub
        cannot be reached.
        """
        if self.root is None:
            return _download(dataset, config, split, columns, revision)
        folder = self.root / dataset / config
        try:
            files = files_of(folder, split)
        except (ValueError, OSError) as fault:
            raise XlbenchError(str(fault)) from fault
        if not files:
            raise XlbenchError(
                f"no data file {folder / split}.parquet; --data-root must hold <hub id>/<config>/<split>.parquet"
            )
        return read_files(tuple(files), columns)

    def file(self, name: str, columns: tuple[str, ...]) -> Table:
        """A file that is on no hub, directly under the data root (the published few-shot splits)."""
        if self.root is None:
            raise XlbenchError(f"{name} is on no dataset hub; give --data-root DIR with {name} in it")
        if not (self.root / name).is_file():
            raise XlbenchError(f"no data file {self.root / name}; --data-root must hold it")
        return read_files((self.root / name,), columns)


@cache
def read_files(files: tuple[Path, ...], columns: tuple[str, ...]) -> Table:
    """The rows of files, one after the other. Raises XlbenchError for one that cannot be read or lacks a column."""
    place, parts = str(files[0]), []
    for file in files:
        if not file.is_file():
            raise XlbenchError(f"there is no data file {file}")
        try:
            _refuse_missing(columns, columns_in(file), str(file))
            parts.append(read_file(file, columns))
        except (ValueError, OSError) as fault:
            kind = "parquet" if file.suffix == ".parquet" else file.suffix[1:].upper()
            raise XlbenchError(f"{file} is not a readable {kind} file: {fault}") from fault
    try:
        rows = parts[0] if len(parts) == 1 else pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as fault:
        raise XlbenchError(f"the shards of {place} have columns of different kinds") from fault
    return _table(rows, columns, place, _class_names(_features(rows)))


def _features(rows: pa.Table) -> Mapping[str, Any]:
    """What `datasets` wrote of a Parquet file's columns; empty where it did not."""
    written = (rows.schema.metadata or {}).get(b"huggingface", b"{}")
    with suppress(ValueError, TypeError, KeyError):
        features = json.loads(written)["info"]["features"]
        return features if isinstance(features, Mapping) else {}
    return {}


def _class_names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The names of a ClassLabel's numbers, by column, of a label a row or of a list of labels."""
    names = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, Mapping) else {}
        if isinstance(inner, Mapping) and inner.get("_type") == "ClassLabel" and isinstance(inner.get("names"), list):
            names[column] = tuple(map(str, inner["names"]))
    return names


@cache
def _download(dataset: str, config: str, split: str, columns: tuple[str, ...], revision: str | None) -> Table:
    import datasets

    place = f"{dataset} ({config}, {split})"
    answers = hub_answers()
    more = {} if revision is None else {"revision": revision}
    try:
        rows = datasets.load_dataset(dataset, config, split=split, **more)
    except Exception as fault:  # the hub client raises many kinds; all mean that there are no rows
        reason = hub_reason(fault) if answers else NO_ANSWER
        raise XlbenchError(f"cannot read {place} from the dataset hub ({reason}); {OFFLINE_HINT}") from fault
    return _table(rows.data.table, columns, place, _class_names(rows.features.to_dict()))


@cache
def hub_answers() -> bool:
    """Whether the hub is in reach, asked once a process. If not, the hub's clients are set to work offline: they
    take what their cache has and fail at once where it has nothing, in place of half a minute of retries."""
    import datasets
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    if not constants.is_offline_mode():
        try:
            get_session().head(constants.ENDPOINT, timeout=HUB_PATIENCE)
            return True
        except Exception:  # no name, no route, no proxy, no time: it does not answer
            constants.HF_HUB_OFFLINE = True
    datasets.config.HF_HUB_OFFLINE = True
    return False


def hub_reason(fault: BaseException) -> str:
    """An exception of the hub's clients in one line."""
    return " ".join(f"{type(fault).__name__}: {fault}".split())[:300]


def _refuse_missing(columns: tuple[str, ...], names: list[str], place: str) -> None:
    missing = [name for name in columns if name not in names]
    if missing:
        raise MissingColumn(f"{place} has no column {missing[0]!r}; it has {', '.join(names)[:1000]}")


def _table(table: pa.Table, columns: tuple[str, ...], place: str, class_names: Mapping[str, tuple[str, ...]]) -> Table:
    _refuse_missing(columns, table.column_names, place)
    lists = {name: table.column(name).to_pylist() for name in columns}
    seal = hashlib.sha256()
    for name in columns:  # of the content, so that a folder and the hub with the same rows agree
        seal.update(f"{name}\x1e".encode() + "\x1f".join(map(str, lists[name])).encode())
    return Table(lists, place, seal.hexdigest(), {name: class_names[name] for name in columns if name in class_names})
