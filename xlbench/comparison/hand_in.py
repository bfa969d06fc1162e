"""Records handed in by others: `xlbench submit` packs them, `xlbench verify` checks them and computes one again.

A hand-in is a folder: `records/ID/` as a store has them, and `hand-in.json` with a hash of each file. Whoever takes it
in trusts nothing of it: hashes, schema and predictions against scores are checked, and a cell that is drawn at random
is computed again, so that numbers which only fit together are found out.
"""

import hashlib
import json
import random
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from xlbench.errors import XlbenchError, one_line
from xlbench.host.plain_text import plain
from xlbench.host.safe_parquet import columns_of
from xlbench.host.safe_reading import read_text
from xlbench.host.whole_files import replace_file
from xlbench.records.lookup import differences
from xlbench.records.record import Record
from xlbench.records.store import Store
from xlbench.records.vetting import vet
from xlbench.spec import RunSpec, Runtime
from xlbench.version import __version__

MANIFEST = "hand-in.json"
FILES = ("record.json", "predictions.parquet")
COLUMNS = {"row_id", "unit_id", "language", "gold", "answer"}  # and log_prob_0, …: none holds a text
MANIFEST_BYTES = 64 * 2**20
CLOSE = 1e-3  # of log-probabilities, on a machine and with versions as the record's: order of sums alone may differ
ALIKE = 0.99  # of answers, elsewhere; chosen, not measured: other kernels, and training that carries them on


class Checked(NamedTuple):
    """A point of `verify`: whether it holds, and if not, why. A note fails nothing."""

    point: str
    ok: bool
    why: str = ""
    note: bool = False


def submit(runs: Path, out: Path, by: str = "") -> Path:
    """Pack the finished records of a store for others; returns the folder.

    Raises XlbenchError for a record that no board would take, predictions with other columns than a run writes, and a
    folder that is there already.
    """
    if out.exists():
        raise XlbenchError(f"{out} is there already; name another folder with --out")
    store = Store(runs)
    vetted = vet(store)
    if vetted.left_out:
        raise XlbenchError(
            f"{len(vetted.left_out)} of the records in {runs} cannot be handed in, the first: {vetted.left_out[0]}; "
            "move them away, or compute them again"
        )
    ids = sorted(record.id for record in vetted.records)
    for run in ids:
        if odd := _odd_columns(store.path(run) / "predictions.parquet"):
            raise XlbenchError(f"the predictions of record {run} have a column {odd}, which no run writes")
    try:
        for run in ids:
            (out / "records" / run).mkdir(parents=True)
            for name in FILES:
                shutil.copyfile(store.path(run) / name, out / "records" / run / name)
        manifest = {"xlbench": __version__, "by": by, "files": _hashes(out)}
        replace_file(out / MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    except OSError as fault:
        shutil.rmtree(out, ignore_errors=True)
        raise XlbenchError(f"cannot write {out}: {one_line(fault)}") from fault
    return out


def verify(
    folder: Path, cell: str | None = None, seed: int | None = None, runtime: Runtime | None = None,
    model: str | None = None, recompute: bool = True,
) -> Iterator[Checked]:  # fmt: skip
    """The points of a hand-in, one after the other; the first that fails ends it, since the later build on it.

    `cell`: the id of the record to compute again, else one drawn with `seed`; `model`: the backbone's folder, where
    records know its name alone. Raises XlbenchError where there is no hand-in, or no such record in it.
    """
    if not (folder / MANIFEST).is_file():
        raise XlbenchError(f"{folder} is no hand-in: it has no {MANIFEST}; `xlbench submit RUNS` writes one")
    listed = _listed(folder)
    yield (point := Checked(f"{len(listed)} files are those of {MANIFEST}", not (why := _unlike(folder, listed)), why))
    if not point.ok:
        return
    with tempfile.TemporaryDirectory() as scratch:  # vetting keeps an index beside the records
        store = Store(Path(shutil.copytree(folder / "records", Path(scratch) / "records")))
        try:
            vetted = vet(store)
        except XlbenchError as fault:
            yield Checked("records are sound", False, one_line(fault))
            return
        why = "; ".join(vetted.left_out[:3])
        yield Checked(f"{len(vetted.records)} records are sound, and their predictions give their scores", not why, why)
        odd = [f"{run.id}: {name}" for run in vetted.records
               if (name := _odd_columns(store.path(run.id) / "predictions.parquet"))]  # fmt: skip
        yield Checked("predictions hold no texts", not odd, "; ".join(odd[:3]))
        if why or odd or not recompute:
            return
        record = _drawn(vetted.records, cell, seed)
        again = RunSpec.model_validate(
            record.spec.model_dump() | {"model": model or record.spec.model, "revision": None}
        )
        yield from _recomputed(record, again, store, runtime or Runtime(), Path(scratch) / "again")


def _recomputed(record: Record, spec: RunSpec, store: Store, runtime: Runtime, fresh: Path) -> Iterator[Checked]:
    from xlbench.engine.execute import run  # torch, which the checks above do not need

    name = f"{record.id} ({record.spec.method}, {record.spec.task}, draw {record.spec.draw}, seed {record.spec.seed})"
    if record.combined:
        yield Checked(f"{name} is made of other records", True, "it is not computed again; verify those", note=True)
        return
    try:
        ours = run(spec, runtime.model_copy(update={"runs": str(fresh)}))
    except XlbenchError as fault:
        yield Checked(f"{name} cannot be computed again here", True, one_line(fault), note=True)
        return
    if ours.id != record.id:
        unlike = [f"{field}: {there} there, {here} here" for field, there, here in differences(record, ours)
                  if field.startswith(("identity", "spec"))]  # fmt: skip
        why = "; ".join(unlike[:3]) or "the spec or what was hashed with it is not what its id says"
        yield Checked(f"{name} is the run that its id names", False, why)
        return
    theirs, own = (_answers(place, record.id) for place in (store, Store(fresh)))
    same = record.environment.get("device_name") == ours.environment.get("device_name") and all(
        record.versions.get(part) == ours.versions.get(part) for part in ("torch", "transformers")
    )
    yield _agreement(name, theirs, own, same)


def _agreement(name: str, theirs: dict[Any, Any], own: dict[Any, Any], same: bool) -> Checked:
    """Whether what was computed here is what was handed in, within what a machine may change."""
    if theirs.keys() != own.keys():
        return Checked(
            f"{name}, computed again", False, "its rows, units or gold answers are not those of the test here"
        )
    first, second = ([side[key] for key in sorted(theirs)] for side in (theirs, own))
    apart = None
    if isinstance(first[0], list):  # tags
        share = float(np.mean(np.concatenate(first) == np.concatenate(second)))
        told = ""
    else:
        one, other = np.array(first), np.array(second)
        share = float((one.argmax(1) == other.argmax(1)).mean())
        apart = float(np.abs(one - other, out=np.zeros_like(one), where=one != other).max())
        told = f", log-probabilities within {apart:.2g}"
    told = f"{100 * share:.2f} % of answers agree{told}"
    if same and apart is not None:
        ok, asked = apart <= CLOSE, f"on a machine and with versions as the record's they must be within {CLOSE:g}"
    else:
        ok, asked = share >= ALIKE, f"at least {100 * ALIKE:.0f} % must agree"
    return Checked(f"{name}, computed again: {told}", ok, "" if ok else asked)


def _drawn(records: Sequence[Record], cell: str | None, seed: int | None) -> Record:
    if cell is not None:
        found = [record for record in records if record.id.startswith(cell)]
        if len(found) != 1:
            raise XlbenchError(f"--cell {plain(cell)} names {len(found)} of the {len(records)} records; give one's id")
        return found[0]
    return random.Random(seed).choice(records)


def _answers(store: Store, run: str) -> dict[tuple[str, ...], list[Any]]:
    """What a record says, log-probabilities or tags, by language, row, unit and gold answer: of these none is the
    sender's to choose."""
    table = store.predictions(run)
    labels = sum(name.startswith("log_prob_") for name in table.column_names)
    names = [f"log_prob_{label}" for label in range(labels)]
    said = np.column_stack([table[name].to_numpy() for name in names]) if names else table["answer"].to_pylist()
    keys = zip(*(map(str, table[name].to_pylist()) for name in ("language", "row_id", "unit_id", "gold")), strict=True)
    return dict(zip(keys, list(said), strict=True))


def _odd_columns(file: Path) -> str:
    """The first column that a run does not write; none: ""."""
    odd = (name for name in columns_of(file) if name not in COLUMNS and not re.fullmatch(r"log_prob_\d+", name))
    return next(map(plain, odd), "")


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST)
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _listed(folder: Path) -> dict[str, str]:
    """The files that a manifest names, with their hashes. Raises XlbenchError for one that is none."""
    place = f"{folder / MANIFEST}"
    try:
        manifest = json.loads(read_text(folder / MANIFEST, MANIFEST_BYTES, place))
        files = {str(name): str(seal) for name, seal in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise XlbenchError(f"{place} cannot be read ({one_line(fault)}); `xlbench submit` writes it") from fault
    for name in files:
        parts = PurePosixPath(name).parts
        if len(parts) != 3 or parts[0] != "records" or parts[2] not in FILES or ".." in parts:
            raise XlbenchError(f"{place} names {plain(name, 200)!r}, which is no file of a record")
    return files


def _unlike(folder: Path, listed: dict[str, str]) -> str:
    links = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink())
    if links:
        return f"{plain(links[0], 200)} is a link"
    there = _hashes(folder)
    for name in sorted({*listed, *there}):
        if name not in there:
            return f"{plain(name, 200)} is not there"
        if name not in listed:
            return f"{plain(name, 200)} is not named there"
        if there[name] != listed[name]:
            return f"{plain(name, 200)} was changed"
    return "" if listed else "it names no file"
