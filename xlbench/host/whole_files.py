"""Files of a board and of a log, written whole or not at all."""

import contextlib
import os
import uuid
from pathlib import Path

from xlbench.errors import XlbenchError


def replace_file(target: Path, content: bytes) -> Path:
    """Write a file of the board, whole or not at all, with its folder. Raises XlbenchError where it cannot be."""
    beside = target.with_name(f".{uuid.uuid4().hex[:8]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, target)
    except OSError as fault:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise XlbenchError(f"cannot write the board {target}: {fault.strerror or fault}") from fault
    return target
