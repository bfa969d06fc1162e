"""What became of a cell, and how it is found out: one cell's fault must not stop the others."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from xlbench.engine.prepare import Prepared
from xlbench.errors import NotSupported, XlbenchError, one_line
from xlbench.host import memory
from xlbench.records.record import Record


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its record, or why there is none."""

    prepared: Prepared
    record: Record | None
    error: str = ""
    skipped: bool = False  # the method said that it cannot run so


@dataclass(frozen=True)
class Attempt:
    """What a computation gave: a record, or what was raised, in one sentence."""

    record: Record | None
    error: str = ""
    skipped: bool = False


def attempt(compute: Callable[[], Record]) -> Attempt:
    """Call `compute`; an exception becomes a sentence. Only what is no Exception (Ctrl-C) is let through."""
    try:
        return Attempt(compute())
    except XlbenchError as fault:
        place = "".join(f" ({note})" for note in _places(fault))
        failed = Attempt(None, one_line(fault) + place, isinstance(fault, NotSupported))
    except Exception as fault:  # whatever a plug-in raises must not stop the others
        frame = traceback.extract_tb(fault.__traceback__)[-1]
        (place,) = _places(fault) or [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"]
        failed = Attempt(None, f"{type(fault).__name__}: {one_line(fault)} ({place})")
    memory.release()  # with the exception goes what its frames held: the next cell finds that memory free
    return failed


def _places(fault: BaseException) -> list[str]:
    """Where a run found that a fault came from: the last note on it; none for one from before a run began."""
    return list(getattr(fault, "__notes__", []))[-1:]
