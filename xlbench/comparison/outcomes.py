"""What became of a cell, and how it is found out: one cell's fault must not stop the others."""

from collections.abc import Callable
from dataclasses import dataclass

from xlbench.engine.prepare import Prepared
from xlbench.errors import NotSupported, XlbenchError, one_line
from xlbench.host import memory
from xlbench.host.fault_place import place_of
from xlbench.records.record import Record


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its record, or why there is none."""

    prepared: Prepared
    record: Record | None
    error: str = ""
    skipped: bool = False  # the method said that it cannot run so


def attempt(compute: Callable[[], Record]) -> tuple[Record | None, str, bool]:
    """What follows the cell in an Outcome: an exception becomes a sentence; what is none (Ctrl-C) is let through."""
    try:
        return compute(), "", False
    except Exception as fault:  # whatever a plug-in raises must not stop the others
        ours = isinstance(fault, XlbenchError)
        sentence = one_line(fault) if ours else f"{type(fault).__name__}: {one_line(fault)}"
        notes = getattr(fault, "__notes__", [])[-1:]  # by a run that had begun, where the fault came from
        place = "".join(notes) or ("" if ours else place_of(fault))
        failed = f"{sentence} ({place})" if place else sentence, isinstance(fault, NotSupported)
    memory.release()  # with the exception goes what its frames held: the next cell finds that memory free
    return None, *failed
