"""Which figures need not be drawn again: those that would show what they show already.

`RUNS/.index/figures.json`, where the store has an index, says of each figure what it was drawn from and what it
became, as digests. It can be deleted; one that is damaged, or of another version of the code or of matplotlib, is as
good as none, and a figure that somebody changed is drawn again.
"""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from xlbench.drawing import Shown
from xlbench.limits import RECORD_BYTES, TooMuch, from_json, read_text
from xlbench.store import Store, replace_file


class Drawn:
    """The figures of a board, by their names; those that are not drawn again stay as they lie."""

    def __init__(self, store: Store) -> None:
        self.folder = store.root / ".index"
        self.before: dict[str, list[str]] = _read(self.folder / "figures.json")
        self.now: dict[str, list[str]] = {}

    def stands(self, file: Path, digest: str) -> bool:
        """Whether a figure of what has this digest lies there."""
        known = self.before.get(str(file))
        return known is not None and known[0] == digest and known[1:] == _digest_of(file)

    def keep(self, file: Path, digest: str, made: Callable[[], bytes] | None) -> None:
        """Write a figure of what has this digest, unless it stands there (`made` is None). Raises XlbenchError."""
        if made is not None:
            replace_file(file, made())
        self.now[str(file)] = [digest, *_digest_of(file)]

    def save(self) -> None:
        """Keep what was drawn; where it cannot be kept, it is drawn again the next time, and that is all."""
        if not self.folder.is_dir():
            return
        beside = self.folder / f".{uuid.uuid4().hex}.part"
        with contextlib.suppress(OSError):
            beside.write_text(json.dumps(self.now), encoding="utf-8")
            os.replace(beside, self.folder / "figures.json")
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def shown_by(found: Shown, kind: str) -> str:
    """A digest of all that a figure is drawn from: what it shows, and the code."""
    return hashlib.sha256(repr((found, kind, _code())).encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _code() -> str:
    import matplotlib as mpl

    found = hashlib.sha256(mpl.__version__.encode())
    for name in ("drawing", "figures", "gaps", "languages", "leaderboard", "spec", "vector", "wording"):
        found.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    found.update(Path(__file__).with_name("languages.json").read_bytes())
    return found.hexdigest()


def _digest_of(file: Path) -> list[str]:
    try:
        return [hashlib.sha256(file.read_bytes()).hexdigest()]
    except OSError:
        return []


def _read(file: Path) -> dict[str, list[str]]:
    try:
        found: Any = from_json(read_text(file, RECORD_BYTES, f"{file}"), f"{file}")
    except (OSError, ValueError, TooMuch):
        return {}
    whole = isinstance(found, dict) and all(isinstance(value, list) for value in found.values())
    return found if whole else {}
