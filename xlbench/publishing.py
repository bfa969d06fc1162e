"""All that a board is made of: words, one page, figures, and the results as tables for other programs."""

import io
from dataclasses import dataclass
from pathlib import Path

from xlbench.figures import NoFigures, write_figures
from xlbench.gaps import left_out as without_distance
from xlbench.gaps import placed, targets
from xlbench.leaderboard import about, write
from xlbench.matching import NotMatched, apart, group
from xlbench.object_store import store_at
from xlbench.page import write_page
from xlbench.reading import csv_of, results
from xlbench.store import replace_file
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
    store = store_at(runs)
    found = vet(store)
    records, left_out = found.records, found.left_out
    groups = group(records)
    if together and len(groups) > 1:
        raise NotMatched(groups)
    files, notes = [write(groups, store, out, left_out)], [f"left out: {sentence}" for sentence in left_out]
    several = apart(groups)
    notes += [several] if several is not None else []
    figures: list[Path] = []
    try:
        figures = write_figures(groups, store, out)
        notes += [
            f"no figure of the gap against language distance for {plain(one.title)}; {'; '.join(without_distance(one))}"
            for one in groups
            if not one.oracle and targets(one) and not placed(one)
        ]
    except NoFigures as fault:
        notes.append(str(fault))
    files.append(write_page(groups, store, out, about(out), left_out))
    table = results(records)
    files.append(replace_file(out / "results.csv", csv_of(table).encode()))
    stream = io.BytesIO()
    table.to_parquet(stream, engine="pyarrow", compression="zstd", index=False)
    files.append(replace_file(out / "results.parquet", stream.getvalue()))
    return Published((*files, *figures), tuple(notes))
