"""All that a board is made of: words, one page, figures, and the results as tables for other programs."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xlbench.analysis.matching import Group, NotMatched, apart, group
from xlbench.analysis.transfer_gap import left_out as without_distance
from xlbench.analysis.transfer_gap import placed, targets
from xlbench.board.figures.draw import NoFigures, remove_figures, write_figures
from xlbench.board.markdown import TITLE, about, write
from xlbench.board.page import write_page
from xlbench.board.results import csv_of, results
from xlbench.errors import XlbenchError
from xlbench.host.plain_text import plain
from xlbench.host.safe_parquet import read_parquet
from xlbench.host.whole_files import replace_file
from xlbench.records.analyses import kept_analyses
from xlbench.records.bucket import store_at
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.records.vetting import vet

FILES = ("README.md", "index.html", "results.csv", "results.parquet")  # of a board, beside its figures


@dataclass(frozen=True)
class Published:
    """The files of a board, and what could not be made of it, in sentences."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def publish(
    runs: Path | str, out: Path, together: bool = False, figures: bool = True, replace: bool = False
) -> Published:
    """Write README.md, index.html, figures/*.svg, results.csv and results.parquet from the records under `runs`.

    The same records give the same bytes. A record that cannot be used is left out, and named on the board and in a
    note; without matplotlib there are no figures, and a note. `figures=False` leaves them out, as for a board of
    100,000 records. A board in `out` is written again where `runs` has all of its records, with more or without.
    Raises XlbenchError, unless `replace`, where `out` has a board of other records or a file that is no board's, and
    with `together` NotMatched where the records may not all share tables; then nothing is written.
    """
    store = store_at(runs)
    vetted = vet(store)
    suites, odd = kept_analyses(store.root)
    records, groups = vetted.records, group(vetted.results, vetted.diverged, suites)
    if together and len(groups) > 1:
        raise NotMatched(groups)
    words, other = about(out), _other_board(out, records, store)
    if other and not replace:
        raise XlbenchError(f"{other}; name another folder with --out, or write over it with --replace")
    notes = [f"left out: {sentence}" for sentence in vetted.left_out]
    notes += [*odd, *filter(None, [apart(groups)])]
    if words and _records_of(out) != {record.id for record in records}:
        notes.append(f"{out / 'ABOUT.md'} was there before these records, and stands above them; see that it fits them")
    table, stream = results(records), io.BytesIO()
    table.to_parquet(stream, engine="pyarrow", compression="zstd", index=False)
    parquet = replace_file(out / "results.parquet", stream.getvalue())  # first: it says of which records all else is
    csv = replace_file(out / "results.csv", csv_of(table).encode())
    readme = write(groups, out, vetted.left_out)
    drawn: list[Path] = []
    if figures:
        try:
            drawn = write_figures(groups, out)
            notes += _without_distances(groups)
        except NoFigures as fault:
            notes.append(str(fault))
    if not drawn:
        remove_figures(out)
    page = write_page(groups, out, words, vetted.left_out)
    return Published((readme, page, csv, parquet, *drawn), tuple(notes))


def _other_board(out: Path, records: Sequence[Record], store: Store) -> str | None:
    """Why what is in `out` should stay: no board that can be read, or one of records that `store` lacks; else None."""
    files = [out / name for name in FILES if (out / name).exists()]
    if not files:
        return None
    earlier = _records_of(out)
    if not earlier:
        return f"{files[0]} is there already, and is not of a board that xlbench can read"
    lacking = earlier - {record.id for record in records}
    lacking -= {folder.name for folder in store.folders()} if lacking else set()  # those that were left out
    if not lacking:
        return None
    return (
        f"the board in {out} is of other records: of its {len(earlier):,}, {store.name} lacks {len(lacking):,}, as "
        f"{plain(min(map(str, lacking)))}"
    )


def _records_of(out: Path) -> set[str]:
    """The ids of the records of the board in a folder; none where it is not one, or cannot be read."""
    try:
        readme = out / "README.md"
        if readme.exists() and not readme.read_bytes().startswith(TITLE.encode()):
            return set()
        return set(read_parquet(out / "results.parquet", "the board's table", ["record"])["record"].to_pylist())
    except (XlbenchError, OSError, ValueError, KeyError):
        return set()


def _without_distances(groups: Sequence[Group]) -> list[str]:
    """Which groups have no figure of the gap against language distance, and why."""
    return [
        f"no figure of the gap against language distance for {plain(group.title)}; {'; '.join(without_distance(group))}"
        for group in groups
        if not group.oracle and targets(group) and not placed(group)
    ]
