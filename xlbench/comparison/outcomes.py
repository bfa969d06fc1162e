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
    except Exception as fault:  # whatever a plug-in raises must not stop the others
        ours = isinstance(fault, XlbenchError)
        said = one_line(fault) if ours else f"{type(fault).__name__}: {one_line(fault)}"
        noted = getattr(fault, "__notes__", [])[-1:]  # by a run that had begun, where the fault came from
        place = "".join(noted) or ("" if ours else place_of(fault))
        failed = Attempt(None, f"{said} ({place})" if place else said, isinstance(fault, NotSupported))
    memory.release()  # with the exception goes what its frames held: the next cell finds that memory free
    return failed
