"""Arrays on disk, made once: whoever asks again, in this process or another, gets them memory-mapped.

A file is named by its key and by a digest of what it holds, so that a damaged one is noticed and made again. It
is written beside its place and renamed when whole: of two who make it at once both write the same. The folder is
`$XLBENCH_CACHE`, or `xlbench` in the user's cache folder; empty, nothing is kept. It can be deleted at any time.
"""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from xlbench.host.whole_files import whole_file

Made = Callable[[], np.ndarray]


def folder() -> Path | None:
    """Where arrays are kept; None where they are not."""
    asked = os.environ.get("XLBENCH_CACHE")
    if asked is not None:
        return Path(asked).expanduser() if asked else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xlbench"


def array(key: str, make: Made) -> np.ndarray:
    """The array of a key, read-only; `make` is called where there is none yet, or a damaged one.

    A key must say all that the array depends on, and be a plain file name. A folder that cannot be written costs
    time and a warning, nothing else.
    """
    place = folder()
    if place is None:
        return make()
    found = _kept(place, key)
    if found is not None:
        return found
    made = np.ascontiguousarray(make())
    try:
        _keep(place, key, made)
    except OSError as fault:
        warnings.warn(
            f"cannot keep token ids under {place} ({fault.strerror or fault}); they are made again each time, "
            "or set XLBENCH_CACHE to a folder that can be written",
            stacklevel=2,
        )
    return made


def _kept(place: Path, key: str) -> np.ndarray | None:
    for file in sorted(place.glob(f"{key}-*.npy")):
        found = _mapped(file)
        if found is not None:
            return found
        warnings.warn(f"the cached token ids {file} are damaged; they are made again", stacklevel=3)
        with contextlib.suppress(OSError):
            file.unlink()
    return None


def _mapped(file: Path) -> np.ndarray | None:
    """A file's array, checked once a process; None where it is not what its name says."""
    try:
        status = file.stat()
        return _checked(file, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError, EOFError):
        return None


@lru_cache(maxsize=1024)
def _checked(file: Path, changed: int, size: int) -> np.ndarray:
    found: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    if _digest(found) != file.stem.rpartition("-")[2]:
        raise ValueError(f"{file} is damaged")
    return found


def _keep(place: Path, key: str, made: np.ndarray) -> None:
    with whole_file(place / f"{key}-{_digest(made)}.npy") as beside, beside.open("wb") as stream:
        np.save(stream, made, allow_pickle=False)


def _digest(values: np.ndarray) -> str:
    return hashlib.blake2b(values.tobytes(), digest_size=12).hexdigest()
