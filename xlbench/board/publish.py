"""All that a board is made of: words, one page, figures, and the results as tables for other programs."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xlbench.analysis.matching import Group, NotMatched, apart, group
from xlbench.analysis.transfer_gap import left_out as without_distance
from xlbench.analysis.transfer_gap import placed, targets
from xlbench.board.figures.draw import NoFigures, remove_figures, write_figures
from xlbench.board.markdown import about, write
from xlbench.board.page import write_page
from xlbench.board.results import csv_of, results
from xlbench.host.plain_text import plain
from xlbench.host.whole_files import replace_file
from xlbench.records.bucket import store_at
from xlbench.records.record import Record
from xlbench.records.vetting import vet


@dataclass(frozen=True)
class Published:
    """The files of a board, and what could not be made of it, in sentences."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def publish(runs: Path | str, out: Path, together: bool = False, figures: bool = True) -> Published:
    """Write README.md, index.html, figures/*.svg, results.csv and results.parquet from the records under `runs`.

    The same records give the same bytes. A record that cannot be used is left out, and named on the board and in a
    note; without matplotlib there are no figures, and a note. `figures=False` leaves them out, as for a board of
    100,000 records. Raises XlbenchError; with `together`, NotMatched where the records may not all share tables, and
    then nothing is written.
    """
    store = store_at(runs)
    found = vet(store)
    records, left_out = found.records, found.left_out
    groups = group(found.results)
    if together and len(groups) > 1:
        raise NotMatched(groups)
    notes = [f"left out: {sentence}" for sentence in left_out]
    several = apart(groups)
    notes += [several] if several is not None else []
    words, tables = write(groups, out, left_out), _tables(records, out)
    drawn: list[Path] = []
    if figures:
        try:
            drawn = write_figures(groups, out)
            notes += _without_distances(groups)
        except NoFigures as fault:
            notes.append(str(fault))
    if not drawn:
        remove_figures(out)
    page = write_page(groups, out, about(out), left_out)
    return Published((words, page, *tables, *drawn), tuple(notes))


def _without_distances(groups: Sequence[Group]) -> list[str]:
    """Which groups have no figure of the gap against language distance, and why."""
    return [
        f"no figure of the gap against language distance for {plain(one.title)}; {'; '.join(without_distance(one))}"
        for one in groups
        if not one.oracle and targets(one) and not placed(one)
    ]


def _tables(records: Sequence[Record], out: Path) -> list[Path]:
    """The results for other programs, as CSV and Parquet."""
    table, stream = results(records), io.BytesIO()
    table.to_parquet(stream, engine="pyarrow", compression="zstd", index=False)
    return [
        replace_file(out / "results.csv", csv_of(table).encode()),
        replace_file(out / "results.parquet", stream.getvalue()),
    ]
