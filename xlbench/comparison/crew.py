"""Where runs happen: in this process, or in several workers."""

import queue
from collections.abc import Callable, Generator, Iterable, Iterator

from xlbench.comparison.jobs import Jobs
from xlbench.comparison.outcomes import Outcome, attempt
from xlbench.comparison.processes import Heard, Hired, Said, Worker
from xlbench.engine.execute import execute, record_failure
from xlbench.engine.prepare import Prepared
from xlbench.errors import XlbenchError, one_line
from xlbench.host.progress import Progress
from xlbench.records.bucket import store_at
from xlbench.spec import Runtime

TICK = 0.2  # seconds between two looks at the clock
PATIENCE = 2.0  # seconds that a worker has to leave when it is told to

Employ = Callable[[Prepared, Runtime, int, Heard], Hired]  # a new worker with its first cell


def local(cells: Iterable[Prepared], runtime: Runtime, progress: Progress) -> Generator[Outcome, None, None]:
    """Run cells in this process. An exception inside a cell is recorded and said; the other cells go on."""
    for prepared in cells:
        found = attempt(lambda cell=prepared: execute(cell, runtime, progress))  # type: ignore[misc]
        yield Outcome(prepared, found.record, found.error, found.skipped)


def in_workers(
    cells: Iterable[Prepared], runtime: Runtime, jobs: Jobs, employ: Employ = Worker
) -> Generator[Outcome, None, None]:
    """Run cells in workers, processes or what `employ` makes, each cell taken from `cells` when one is free for it;
    as they end.

    A cell whose worker dies is tried once more in a new one; what dies twice, or takes longer than
    `runtime.cell_timeout`, is recorded as failed. When the iterator is closed, no worker is left.
    """
    crew = Crew(iter(cells), runtime, jobs, employ)
    try:
        yield from crew.outcomes()
    finally:
        crew.leave()


class Crew:
    """The workers of a suite, and what each has in hand."""

    def __init__(self, cells: Iterator[Prepared], runtime: Runtime, jobs: Jobs, employ: Employ) -> None:
        self.cells, self.runtime, self.jobs, self.employ = cells, runtime, jobs, employ
        self.store = store_at(runtime.runs)
        self.heard: Heard = queue.Queue()
        self.hired: list[Hired] = []  # every worker ever, to see it gone
        self.busy: set[Hired] = set()
        self.died: set[str] = set()  # cells that had a worker die
        self.place: dict[Hired, str] = {}  # the device of each

    def outcomes(self) -> Iterator[Outcome]:
        """What becomes of each cell, in the order of their ends."""
        for _ in range(self.jobs.number):
            self._next()
        while self.busy:
            try:
                worker, said = self.heard.get(timeout=TICK)
            except queue.Empty:
                yield from self._lost()
            else:
                if worker in self.busy:
                    yield from self._heard(worker, said)
            yield from self._late()

    def leave(self) -> None:
        """See every worker gone: all are told at once, and who does not go is killed."""
        for worker in self.hired:
            worker.close()
        for worker in self.hired:
            worker.end(PATIENCE)

    def _heard(self, worker: Hired, said: Said) -> Iterator[Outcome]:
        if "ready" in said:
            worker.begin(worker.cell)
            return
        yield self._done(worker.cell, said["error"], said["skipped"])
        self._next(worker)

    def _at(self, device: str) -> int:
        """How many work on a device."""
        return sum(self.place[worker] == device for worker in self.busy)

    def _next(self, worker: Hired | None = None) -> None:
        """The next cell, if there is one, for a worker that is free; for a new one, if none is."""
        cell = next(self.cells, None)
        if cell is not None and worker is not None:
            worker.begin(cell)
        elif cell is not None:
            self._hire(cell)
        elif worker is not None:
            self.busy.discard(worker)
            worker.close()

    def _hire(self, cell: Prepared) -> None:
        device = min(self.jobs.devices, key=self._at)
        worker = self.employ(cell, self.runtime.model_copy(update={"device": device}), self.jobs.threads, self.heard)
        self.hired.append(worker)
        self.busy.add(worker)
        self.place[worker] = device

    def _lost(self) -> Iterator[Outcome]:
        """Look after workers that died: the cell of each gets one more, unless its record was written just before."""
        for worker in [one for one in self.busy if one.dead]:
            self.busy.discard(worker)
            if self.store.finished(worker.cell.id) is not None:
                yield self._done(worker.cell, "", skipped=False)
            elif worker.cell.id in self.died:
                yield self._failed(worker, f"the worker died: {worker.cause}, and so did the one before it")
            else:
                self.died.add(worker.cell.id)
                self._hire(worker.cell)
                continue
            self._next()

    def _late(self) -> Iterator[Outcome]:
        """End the workers whose cells take too long."""
        limit = self.runtime.cell_timeout
        for worker in [one for one in self.busy if limit is not None and one.seconds > limit]:
            self.busy.discard(worker)
            worker.end()
            yield self._failed(worker, f"it took longer than {limit:g} s (--cell-timeout) and was ended")
            self._next()

    def _failed(self, worker: Hired, reason: str) -> Outcome:
        try:
            record_failure(worker.cell, self.runtime, reason, worker.seconds, worker.threads)
        except XlbenchError as fault:
            reason = f"{reason}; {one_line(fault)}"
        return self._done(worker.cell, reason, skipped=False)

    def _done(self, cell: Prepared, error: str, skipped: bool) -> Outcome:
        """What the store has of a cell is what became of it, whatever was said."""
        record = None if skipped else self.store.finished(cell.id)
        lost = "its record is not in the store: somebody removed it"
        return Outcome(cell, record, "" if record else error or lost, skipped)
