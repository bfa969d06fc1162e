"""Files written whole or not at all: whoever reads one sees what was there before, or all that is there now."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from xlbench.errors import XlbenchError


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A hidden path beside `target`, to be written within the block: at its end it takes the target's place.

    The target's folder is made. Where the block or the renaming raises, what was written goes and the target stays.
    Of several who write at once, the last one's stands.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{uuid.uuid4().hex[:8]}.part")
    try:
        yield beside
        os.replace(beside, target)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def replace_file(target: Path, content: bytes) -> Path:
    """Write a file of the board, whole or not at all, with its folder. Raises XlbenchError where it cannot be."""
    try:
        with whole_file(target) as beside:
            beside.write_bytes(content)
    except OSError as fault:
        raise XlbenchError(f"cannot write the board {target}: {fault.strerror or fault}") from fault
    return target
