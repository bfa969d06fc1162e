"""Records by name, and what two of them differ in."""

import os
from pathlib import Path
from typing import Any

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import flat, plain
from xlbench.records.bucket import store_at
from xlbench.records.record import Record, read_record
from xlbench.records.vetting import malformed


def matching_ids(name: str, runs: Path | str) -> list[str]:
    """The ids that begin with a name, sorted."""
    return [folder.name for folder in store_at(runs).folders() if name and folder.name.startswith(name)]


def find_record(name: str, runs: Path | str) -> Record:
    """A record by the beginning of its id, or by its folder.

    Raises XlbenchError for none, for several, and for one whose parts do not fit together.
    """
    folder = Path(name)
    if not os.path.isfile(folder / "record.json"):
        ids = matching_ids(name, runs)
        if len(ids) > 1:
            raise XlbenchError(
                f"{name} is the beginning of {len(ids)} records, {', '.join(ids[:3])}, …; give more of it"
            )
        if not ids:
            what = f"there is no record {plain(name, 200)!r} in {runs}, which has {len(store_at(runs).folders())}"
            raise XlbenchError(f"{what}; give its id, its folder, or --runs")
        folder = store_at(runs).path(ids[0])
    record = read_record(folder / "record.json")
    fault = malformed(record)
    if fault is not None:
        raise XlbenchError(f"record {plain(record.id)} {fault}")
    return record


def differences(one: Record, other: Record) -> list[tuple[str, str, str]]:
    """What two records differ in, field by field: its name, here, there; what is only timed is left out."""
    ours, theirs = (flat(_of_interest(record), _rounded) for record in (one, other))
    rows = [(field, ours.get(field, "–"), theirs.get(field, "–")) for field in dict.fromkeys([*ours, *theirs])]
    return [row for row in rows if row[1] != row[2]]


def _of_interest(record: Record) -> dict[str, Any]:
    names = ("spec", "identity", "method_config", "versions", "commit", "environment", "test", "scores", "status")
    fields = record.model_dump(mode="json", include=set(names))
    return {name: fields[name] for name in names} | {"steps tested": record.selection.get("step", "–")}


def _rounded(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) and 0 <= value <= 1 else str(value)
