"""A process that computes cells for another, one at a time.

The two speak JSON, a line each way, over the worker's standard input and output: a spec and an id go out, an id and
a sentence come back, and the record goes into the store. Nothing is pickled. A worker is a fresh Python, never a
fork, in a session of its own, so that Ctrl-C reaches the driver alone; it leaves when its input closes, so that none
outlives its driver.
"""

import _thread
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any, Protocol

import torch

from xlbench.comparison.outcomes import attempt
from xlbench.engine.execute import execute
from xlbench.engine.prepare import Prepared, prepare
from xlbench.errors import XlbenchError
from xlbench.host.progress import Progress
from xlbench.records.record import Record
from xlbench.spec import RunSpec, Runtime

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from xlbench.comparison.processes import work; work()"
KILL = 9  # a name that Windows lacks
LEAVING = 5.0  # seconds that a worker has to leave by itself when its driver is gone

Said = dict[str, Any]  # what a worker says


class Hired(Protocol):
    """What computes cells one at a time, and how it is told to; `Worker` is one.

    It is made with its first cell. What it says goes to `heard`: once that it is ready, then what became of each cell.
    """

    cell: Prepared
    threads: int

    @property
    def seconds(self) -> float:
        """How long it has had its cell."""

    @property
    def dead(self) -> bool:
        """Whether it ended without an answer."""

    @property
    def cause(self) -> str:
        """What ended it."""

    def begin(self, cell: Prepared) -> None:
        """Have a cell computed."""

    def close(self) -> None:
        """Ask it to leave: at once, whatever it does."""

    def end(self, patience: float = 0.0) -> None:
        """See it gone, within so many seconds or by force."""


Heard = queue.Queue[tuple[Hired, Said]]  # what the workers of a suite said, each with itself


class Worker:
    """The driver's side: a process, and the cell that it has. What it says goes to `heard`, with itself."""

    def __init__(self, cell: Prepared, runtime: Runtime, threads: int, heard: Heard) -> None:
        self.cell = cell
        self.since: float | None = None  # when it began with its cell; None while it starts
        self.threads = threads
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)},
            start_new_session=True,
        )
        self._send({"runtime": runtime.model_dump(mode="json"), "threads": threads})
        threading.Thread(target=self._listen, args=(heard,), daemon=True).start()

    def begin(self, cell: Prepared) -> None:
        """Have a cell computed; its time runs from now."""
        self.cell, self.since = cell, time.monotonic()
        self._send({"spec": cell.asked.model_dump(mode="json"), "id": cell.id})

    @property
    def seconds(self) -> float:
        """How long it has had its cell."""
        return 0.0 if self.since is None else time.monotonic() - self.since

    @property
    def dead(self) -> bool:
        """Whether the process has ended. Not told by its output, which a plug-in's own processes may hold open."""
        return self.process.poll() is not None

    @property
    def cause(self) -> str:
        """What ended the process."""
        code = self.process.wait()
        if code != -KILL:
            return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"killed by signal {KILL}, as the system does when the host's memory runs out (then use fewer --jobs)"

    def close(self) -> None:
        """Ask it to leave: at once, whatever it does."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def end(self, patience: float = 0.0) -> None:
        """See it gone: kill it, with what it started, unless it leaves within so many seconds."""
        self.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL) if hasattr(os, "killpg") else self.process.kill()
            self.process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone, which is heard in another way
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def _listen(self, heard: Heard) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as answers:
            for line in answers:
                if line.endswith("\n"):  # else it was killed while it spoke
                    heard.put((self, json.loads(line)))


Waiting = queue.SimpleQueue[dict[str, Any] | None]  # what is to be computed; None: no more


def work() -> None:
    """The worker's side: compute what standard input names until it closes."""
    orders, answers = _take_over(sys.stdin.fileno()), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plug-in prints must not stand among the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    setup = json.loads(orders.readline())
    torch.set_num_threads(setup["threads"])
    runtime = Runtime.model_validate(setup["runtime"])
    waiting: Waiting = queue.SimpleQueue()
    threading.Thread(target=_take, args=(orders, waiting), daemon=True).start()
    answer: dict[str, Any] = {"ready": True}
    while True:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        order = waiting.get()
        if order is None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # we leave already
            return
        answer = computed(order, runtime)


def _take_over(number: int) -> IO[str]:
    """Standard input, under another number: a plug-in that reads it finds it empty."""
    ours = os.fdopen(os.dup(number), encoding="utf-8")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, number)
    os.close(empty)
    return ours


def _take(orders: IO[str], waiting: Waiting) -> None:
    """Hand orders on; when there are no more the driver wants us gone, or is gone, and the cell in hand goes too."""
    for line in orders:
        waiting.put(json.loads(line))
    waiting.put(None)
    _thread.interrupt_main(signal.SIGTERM)  # as SystemExit, so that half a record is swept away
    time.sleep(LEAVING)
    os._exit(1)


def computed(order: dict[str, Any], runtime: Runtime) -> Said:
    """Compute the cell of an order, its spec and its id, in this process; what became of it, to be said."""

    def compute() -> Record:
        prepared = prepare(RunSpec.model_validate(order["spec"]), runtime)
        if prepared.id != order["id"]:
            raise XlbenchError(
                f"a file that the run {order['id']} depends on (data, model or plug-in) changed while the suite ran; "
                "start it again"
            )
        return execute(prepared, runtime, Progress())

    found = attempt(compute)
    return {"id": order["id"], "error": found.error, "skipped": found.skipped}
