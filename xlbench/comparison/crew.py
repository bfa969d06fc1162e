"""Where runs happen: in this process, or in several workers."""

import queue
from collections.abc import Callable, Generator, Iterable
from functools import partial

from xlbench.comparison.jobs import Jobs
from xlbench.comparison.outcomes import Outcome, attempt
from xlbench.comparison.processes import Answers, Hired
from xlbench.engine.execute import execute, record_failure
from xlbench.engine.prepare import Prepared
from xlbench.errors import XlbenchError, one_line
from xlbench.host.progress import Progress
from xlbench.records.bucket import store_at
from xlbench.spec import Runtime

TICK = 0.2  # seconds between two looks at the clock
PATIENCE = 2.0  # seconds that a worker has to leave when it is told to

Employ = Callable[[Prepared, Runtime, int, Answers], Hired]  # a new worker with its first cell
Outcomes = Generator[Outcome, None, None]


def local(cells: Iterable[Prepared], runtime: Runtime, progress: Progress) -> Outcomes:
    """Run cells in this process. An exception inside a cell is recorded and said; the other cells go on."""
    for prepared in cells:
        yield Outcome(prepared, *attempt(partial(execute, prepared, runtime, progress)))


class Crew:
    """The workers of a suite, processes or what `employ` makes, and what each has in hand.

    Each cell is taken from `cells` when a worker is free for it. A cell whose worker dies is tried once more in a new
    one; what dies twice, or takes longer than `runtime.cell_timeout`, is recorded as failed.
    """

    def __init__(self, cells: Iterable[Prepared], runtime: Runtime, jobs: Jobs, employ: Employ) -> None:
        self.cells, self.runtime, self.jobs, self.employ = iter(cells), runtime, jobs, employ
        self.store = store_at(runtime.runs)
        self.answers: Answers = queue.Queue()
        self.place: dict[Hired, str] = {}  # the device of every worker ever
        self.busy: set[Hired] = set()
        self.died: set[str] = set()  # cells that had a worker die

    def outcomes(self) -> Outcomes:
        """What becomes of each cell, in the order of their ends. When it is closed, no worker is left."""
        try:
            for _ in range(self.jobs.number):
                self._next()
            while self.busy:
                try:
                    worker, answer = self.answers.get(timeout=TICK)
                except queue.Empty:
                    yield from self._dead()
                else:
                    if worker in self.busy and "ready" in answer:
                        worker.begin(worker.cell)
                    elif worker in self.busy:
                        yield self._outcome(worker.cell, answer["error"], answer["skipped"])
                        self._next(worker)
                yield from self._late()
        finally:
            for worker in self.place:
                worker.close()  # all are told at once, and who does not go is killed
            for worker in self.place:
                worker.end(PATIENCE)

    def _next(self, worker: Hired | None = None) -> None:
        """The next cell, if there is one, for a worker that is free; for a new one, if none is."""
        cell = next(self.cells, None)
        if cell is None and worker is not None:
            self.busy.discard(worker)
            worker.close()
        elif cell is not None and worker is not None:
            worker.begin(cell)
        elif cell is not None:
            self._hire(cell)

    def _hire(self, cell: Prepared) -> None:
        devices = [self.place[worker] for worker in self.busy]
        device = min(self.jobs.devices, key=devices.count)
        runtime = self.runtime.model_copy(update={"device": device})
        worker = self.employ(cell, runtime, self.jobs.threads, self.answers)
        self.busy.add(worker)
        self.place[worker] = device

    def _dead(self) -> Outcomes:
        """Look after workers that died: the cell of each gets one more, unless its record was written just before."""
        for worker in [worker for worker in self.busy if worker.dead]:
            self.busy.discard(worker)
            if self.store.finished(worker.cell.id) is not None:
                yield self._outcome(worker.cell)
            elif worker.cell.id in self.died:
                yield self._failed(worker, f"the worker died: {worker.cause}, and so did the one before it")
            else:
                self.died.add(worker.cell.id)
                self._hire(worker.cell)
                continue
            self._next()

    def _late(self) -> Outcomes:
        """End the workers whose cells take too long."""
        limit = self.runtime.cell_timeout
        for worker in [worker for worker in self.busy if limit is not None and worker.seconds > limit]:
            self.busy.discard(worker)
            worker.end()
            yield self._failed(worker, f"it took longer than {limit:g} s (--cell-timeout) and was ended")
            self._next()

    def _failed(self, worker: Hired, reason: str) -> Outcome:
        try:
            record_failure(worker.cell, self.runtime, reason, worker.seconds, worker.threads)
        except XlbenchError as fault:
            reason = f"{reason}; {one_line(fault)}"
        return self._outcome(worker.cell, reason)

    def _outcome(self, cell: Prepared, error: str = "", skipped: bool = False) -> Outcome:
        """What the store has of a cell is what became of it, whatever its worker said."""
        record = None if skipped else self.store.finished(cell.id)
        error = error or "its record is not in the store: somebody removed it"
        return Outcome(cell, record, "" if record else error, skipped)
