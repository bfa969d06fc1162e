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


def folder() -> Path | None:
    """Where arrays are kept; None where they are not."""
    asked = os.environ.get("XLBENCH_CACHE")
    if asked is not None:
        return Path(asked).expanduser() if asked else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xlbench"


def array(key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of a key, read-only; `make` is called where there is none yet, or a damaged one.

    A key must say all that the array depends on, and be a plain file name. A folder that cannot be written costs
    time and a warning, nothing else.
    """
    place = folder()
    if place is None:
        return make()
    for file in sorted(place.glob(f"{key}-*.npy")):
        try:
            status = file.stat()
            return _mapped(file, status.st_mtime_ns, status.st_size)
        except (OSError, ValueError, EOFError):
            warnings.warn(f"the cached token ids {file} are damaged; they are made again", stacklevel=2)
            with contextlib.suppress(OSError):
                file.unlink()
    values = np.ascontiguousarray(make())
    try:
        with whole_file(place / f"{key}-{_digest(values)}.npy") as beside, beside.open("wb") as stream:
            np.save(stream, values, allow_pickle=False)
    except OSError as fault:
        warnings.warn(
            f"cannot keep token ids under {place} ({fault.strerror or fault}); they are made again each time, "
            "or set XLBENCH_CACHE to a folder that can be written",
            stacklevel=2,
        )
    return values


@lru_cache(maxsize=1024)
def _mapped(file: Path, changed: int, size: int) -> np.ndarray:
    """A file's array, checked once a process. Raises ValueError where it is not what its name says."""
    values: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    if _digest(values) != file.stem.rpartition("-")[2]:
        raise ValueError(f"{file} is damaged")
    return values


def _digest(values: np.ndarray) -> str:
    return hashlib.blake2b(values.tobytes(), digest_size=12).hexdigest()
