"""Hidden folders that writers left behind when they died: named by who writes, and swept when that is safe."""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import time
import uuid
from functools import cache
from pathlib import Path

import psutil

DAY = 24 * 3600
_WRITING = re.compile(r"\.(?P<id>[^.]+?)-(?:(?P<pid>\d+)-(?P<place>[0-9a-f]{8})?[0-9a-f]{8}|old-[0-9a-f]{8})")


def hidden_name(run_id: str) -> str:
    """A name for the folder that this process writes a record in: `.{id}-{pid}-{hex}`, the hex saying where it runs."""
    return f".{run_id}-{os.getpid()}-{_here()}{uuid.uuid4().hex[:8]}"


@cache
def _here() -> str:
    """What tells this machine, since it was started, and its process ids from others: 8 hexadecimal digits."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def sweep(root: Path) -> list[Path]:
    """Remove what dead writers left in a store's folder; returns what was removed.

    A writer is dead if its process id is of this machine and nobody's; of other machines that cannot be known, so
    their folders go when they are a day old. A record that was moved away to make room for another goes back where
    no other came. Training states (`.{id}-training`) stay: a run goes on from them.
    """
    removed = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(root):
            name = _WRITING.fullmatch(entry.name)
            if name is None or not (_dead(name["pid"], name["place"]) or _is_old(entry)):
                continue
            if name["pid"] is None:
                with contextlib.suppress(OSError):  # another record stands in its place
                    os.rename(entry.path, root / name["id"])
                    continue
            shutil.rmtree(entry.path, ignore_errors=True)
            removed.append(Path(entry.path))
    return removed


def _is_old(folder: os.DirEntry[str]) -> bool:
    """Whether nothing in a folder changed for a day, nor its name; False for one that is gone by now."""
    with contextlib.suppress(OSError):
        return time.time() - max(folder.stat().st_mtime, folder.stat().st_ctime) > DAY
    return False


def _dead(pid: str | None, place: str | None) -> bool:
    """Whether a process of this machine is known to have ended, if its parent has heard of it or not."""
    if pid is None or place != _here():
        return False
    try:
        return bool(psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OverflowError, ValueError):
        return False
