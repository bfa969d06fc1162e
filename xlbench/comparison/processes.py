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
from abc import ABC, abstractmethod
from typing import IO, Any

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

Message = dict[str, Any]
Answers = queue.Queue[tuple["Hired", Message]]  # what the workers of a suite said, each with itself


class Hired(ABC):
    """What computes cells one at a time, and is made with its first.

    Into `answers` goes once that it is ready, then what became of each cell.
    """

    def __init__(self, cell: Prepared, threads: int, answers: Answers) -> None:
        self.cell, self.threads, self.answers = cell, threads, answers
        self.since: float | None = None  # when it began with its cell; None while it starts, or waits for room

    @property
    def seconds(self) -> float:
        """How long it has had its cell."""
        return 0.0 if self.since is None else time.monotonic() - self.since

    @property
    def dead(self) -> bool:
        """Whether it ended without an answer."""
        return bool(self.cause)

    @property
    @abstractmethod
    def cause(self) -> str:
        """What ended it; empty while nothing has."""

    @abstractmethod
    def begin(self, cell: Prepared) -> None:
        """Have a cell computed."""

    @abstractmethod
    def close(self) -> None:
        """Ask it to leave: at once, whatever it does."""

    @abstractmethod
    def end(self, patience: float = 0.0) -> None:
        """See it gone, within so many seconds or by force."""


class Worker(Hired):
    """The driver's side of a process."""

    def __init__(self, cell: Prepared, runtime: Runtime, threads: int, answers: Answers) -> None:
        super().__init__(cell, threads, answers)
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)},
            start_new_session=True,
        )
        self._send({"runtime": runtime.model_dump(mode="json"), "threads": threads})
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, cell: Prepared) -> None:
        self.cell, self.since = cell, time.monotonic()
        self._send({"spec": cell.asked.model_dump(mode="json"), "id": cell.id})

    @property
    def cause(self) -> str:
        """Not told by the process's output, which a plug-in's own processes may hold open."""
        code = self.process.poll()
        if code == -KILL:
            return (
                f"killed by signal {KILL}, as the system does when the host's memory runs out (then use fewer --jobs)"
            )
        return "" if code is None else f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def close(self) -> None:
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

    def _send(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # it is gone, which is heard in another way
            print(json.dumps(message), file=self.process.stdin, flush=True)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # else it was killed while it spoke
                    self.answers.put((self, json.loads(line)))


Orders = queue.SimpleQueue[Message | None]  # what is to be computed; None: no more


def work() -> None:
    """The worker's side: compute what standard input names until it closes."""
    lines, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "rb") as empty:
        os.dup2(empty.fileno(), 0)  # a plug-in that reads standard input finds it empty
    os.dup2(2, 1)  # what a plug-in prints must not stand among the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    setup = json.loads(lines.readline())
    torch.set_num_threads(setup["threads"])
    runtime = Runtime.model_validate(setup["runtime"])
    orders: Orders = queue.SimpleQueue()
    threading.Thread(target=_take, args=(lines, orders), daemon=True).start()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for order in iter(orders.get, None):
        print(json.dumps(answer_to(order, runtime)), file=answers, flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # we leave already


def _take(lines: IO[str], orders: Orders) -> None:
    """Hand orders on; when there are no more the driver wants us gone, or is gone, and the cell in hand goes too."""
    for line in lines:
        orders.put(json.loads(line))
    orders.put(None)
    _thread.interrupt_main(signal.SIGTERM)  # as SystemExit, so that half a record is swept away
    time.sleep(LEAVING)
    os._exit(1)


def answer_to(order: Message, runtime: Runtime) -> Message:
    """Compute the cell of an order, its spec and its id, in this process; what became of it, to be said."""

    def compute() -> Record:
        prepared = prepare(RunSpec.model_validate(order["spec"]), runtime)
        if prepared.id != order["id"]:
            raise XlbenchError(
                f"a file that the run {order['id']} depends on (data, model or plug-in) changed while the suite ran; "
                "start it again"
            )
        return execute(prepared, runtime, Progress())

    _, error, skipped = attempt(compute)
    return {"id": order["id"], "error": error, "skipped": skipped}
