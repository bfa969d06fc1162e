"""Where runs happen. Today: in this process, one cell after the other."""

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xlbench.errors import NotSupported, XlbenchError, one_line
from xlbench.preparing import Prepared
from xlbench.progress import Progress
from xlbench.running import execute
from xlbench.spec import Runtime
from xlbench.store import Record


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its record, or why there is none."""

    prepared: Prepared
    record: Record | None
    error: str = ""
    skipped: bool = False  # the method said that it cannot run so


def local(cells: Iterable[Prepared], runtime: Runtime, progress: Progress) -> Iterator[Outcome]:
    """Run cells in this process. An exception inside a cell is recorded and said; the other cells go on."""
    for prepared in cells:
        try:
            yield Outcome(prepared, execute(prepared, runtime, progress))
        except XlbenchError as fault:
            yield Outcome(prepared, None, one_line(fault), isinstance(fault, NotSupported))
        except Exception as fault:  # whatever a plug-in raises must not stop the others
            frame = traceback.extract_tb(fault.__traceback__)[-1]
            yield Outcome(
                prepared,
                None,
                f"{type(fault).__name__}: {one_line(fault)} ({frame.filename.rsplit('/', 1)[-1]}:{frame.lineno})",
            )
