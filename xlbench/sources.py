"""Where rows come from: a folder laid out like the dataset hub, or the hub itself.

`DIR/<hub id>/<config>/<split>.parquet`. With a folder nothing is downloaded and no socket is opened.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa

from xlbench.errors import XlbenchError
from xlbench.host.safe_parquet import columns_of, read_parquet

OFFLINE_HINT = "give --data-root DIR (a folder laid out like the hub) and a model folder to work without it"

NO_ANSWER = "it does not answer, and the cache has no copy"
HUB_PATIENCE = 5.0  # seconds


class MissingColumn(XlbenchError):  # noqa: N818 - a table without it may be no mistake (a corpus lacks a language)
    """A table that was read lacks a column that was asked for."""


@dataclass(frozen=True)
class Table:
    """Rows as read: the columns, the place to name in an error, and a fingerprint of the content."""

    columns: dict[str, list]
    place: str
    fingerprint: str

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


@dataclass(frozen=True)
class DataSource:
    """The dataset hub, or the folder that replaces it."""

    root: Path | None = None

    def table(self, dataset: str, config: str, split: str, columns: tuple[str, ...]) -> Table:
        """One split of one configuration of a dataset.

        Raises XlbenchError: no such file (naming the path looked for), a column is missing, or the hub
        cannot be reached.
        """
        if self.root is not None:
            return _read(self.root / dataset / config / f"{split}.parquet", columns)
        return _download(dataset, config, split, columns)

    def file(self, name: str, columns: tuple[str, ...]) -> Table:
        """A parquet file that is on no hub, directly under the data root (the published few-shot splits)."""
        if self.root is None:
            raise XlbenchError(f"{name} is on no dataset hub; give --data-root DIR with {name} in it")
        return _read(self.root / name, columns)


@cache
def _read(path: Path, columns: tuple[str, ...]) -> Table:
    if not path.is_file():
        raise XlbenchError(f"no data file {path}; --data-root must hold <hub id>/<config>/<split>.parquet")
    try:
        _refuse_missing(columns, columns_of(path), str(path))
        return _table(read_parquet(path, str(path), columns), columns, str(path))
    except (ValueError, OSError) as fault:
        raise XlbenchError(f"{path} is not a readable parquet file: {fault}") from fault


@cache
def _download(dataset: str, config: str, split: str, columns: tuple[str, ...]) -> Table:
    import datasets

    place = f"{dataset} ({config}, {split})"
    answers = hub_answers()
    try:
        rows = datasets.load_dataset(dataset, config, split=split)
    except Exception as fault:  # the hub client raises many kinds; all mean that there are no rows
        reason = hub_reason(fault) if answers else NO_ANSWER
        raise XlbenchError(f"cannot read {place} from the dataset hub ({reason}); {OFFLINE_HINT}") from fault
    return _table(rows.data.table, columns, place)


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


def _table(table: pa.Table, columns: tuple[str, ...], place: str) -> Table:
    _refuse_missing(columns, table.column_names, place)
    lists = {name: table.column(name).to_pylist() for name in columns}
    seal = hashlib.sha256()
    for name in columns:  # of the content, so that a folder and the hub with the same rows agree
        seal.update(f"{name}\x1e".encode() + "\x1f".join(map(str, lists[name])).encode())
    return Table(lists, place, seal.hexdigest())
