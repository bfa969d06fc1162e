"""All that a board is made of: words, one page, figures, and the results as tables for other programs."""

import contextlib
import gc
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xlbench.figures import Figures, NoFigures
from xlbench.gaps import left_out as without_distance
from xlbench.gaps import placed, targets
from xlbench.leaderboard import about, write
from xlbench.matching import NotMatched, apart, group
from xlbench.object_store import store_at
from xlbench.page import write_page
from xlbench.reading import csv_of, results
from xlbench.store import Record, Store, replace_file
from xlbench.vetting import vet
from xlbench.wording import plain


@dataclass(frozen=True)
class Published:
    """The files of a board, and what could not be made of it, in sentences."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def publish(runs: Path | str, out: Path, together: bool = False) -> Published:
    """Write README.md, index.html, figures/*.svg, results.csv and results.parquet from the records under `runs`.

    The same records give the same bytes. A record that cannot be used is left out, and named on the board and in a
    note; without matplotlib there are no figures, and a note. Raises XlbenchError; with `together`, NotMatched
    where the records may not all share tables, and then nothing is written.
    """
    with _kept():
        return _published(store_at(runs), out, together)


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """While millions of objects are made and none of them let go, no search for cycles among them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _published(store: Store, out: Path, together: bool) -> Published:
    found = vet(store)
    records, left_out = found.records, found.left_out
    groups = group(records)
    if together and len(groups) > 1:
        raise NotMatched(groups)
    notes = [f"left out: {sentence}" for sentence in left_out]
    several = apart(groups)
    notes += [several] if several is not None else []
    with Figures(groups, store, out) as figures:
        words, tables, drawn = write(groups, store, out, left_out), _tables(records, out), []
        try:
            drawn = figures.written()
            notes += [
                f"no figure of the gap against language distance for {plain(one.title)}; "
                f"{'; '.join(without_distance(one))}"
                for one in groups
                if not one.oracle and targets(one) and not placed(one)
            ]
        except NoFigures as fault:
            notes.append(str(fault))
    page = write_page(groups, store, out, about(out), left_out)
    return Published((words, page, *tables, *drawn), tuple(notes))


def _tables(records: Sequence[Record], out: Path) -> list[Path]:
    """The results for other programs, as CSV and Parquet."""
    table, stream = results(records), io.BytesIO()
    table.to_parquet(stream, engine="pyarrow", compression="zstd", index=False)
    return [
        replace_file(out / "results.csv", csv_of(table).encode()),
        replace_file(out / "results.parquet", stream.getvalue()),
    ]
