"""Processes that draw figures, where there are so many that one would be waited for.

Each is a fresh Python that speaks JSON, a line each way, as those that compute cells do; nothing is pickled. Where one
cannot be had, or dies, what it had is drawn here instead. The same is shown by the same bytes, whoever draws it.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import IO, Any

from pydantic import TypeAdapter

from xlbench.drawing import Shown
from xlbench.machine import cores

FEW = 8  # figures that are drawn here: a process takes as long to start as they do
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from xlbench.figures import picture; "
    "from xlbench.painting import paint; paint(picture)"
)

Picture = Callable[[Shown, str], bytes]  # what draws one of the kinds of figure


class Painters:
    """As many processes as there are cores, from the ninth figure on; `close` sees them gone. `picture` is
    `xlbench.figures.picture`, by which they draw, and this process where they do not."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.asked, self.broken = 0, False
        self.threads: ThreadPoolExecutor | None = None
        self.idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self.every: list[subprocess.Popen[str]] = []
        self.hiring, self.closed = threading.Lock(), False

    def draw(self, found: Shown, kind: str) -> Callable[[], bytes]:
        """Have a figure drawn; what comes back returns it when it is asked for."""
        self.asked += 1
        if self.asked <= FEW:
            return lambda: self.picture(found, kind)
        if self.threads is None:
            self.threads = ThreadPoolExecutor(cores())
        painted: Future[bytes | None] = self.threads.submit(self._painted, found, kind)
        return lambda: painted.result() or self.picture(found, kind)

    def close(self) -> None:
        """End them; what is still to be drawn is left."""
        if self.threads is not None:
            self.threads.shutdown(wait=False, cancel_futures=True)
        with self.hiring:
            self.closed = True
        for process in self.every:
            process.kill()
        for process in self.every:
            process.wait()
        if self.threads is not None:
            self.threads.shutdown()

    def _painted(self, found: Shown, kind: str) -> bytes | None:
        """A figure from a process; None where it gave none, and from then on."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if not self.broken:
                process = self._process()
                answer = _asked(process, {"kind": kind, "shown": asdict(found)})
                self.idle.put(process)
                return answer.encode()
        self.broken = True
        return None

    def _process(self) -> subprocess.Popen[str]:
        """One that has nothing to do, or a new one."""
        try:
            return self.idle.get_nowait()
        except queue.Empty:
            with self.hiring:
                if self.closed:
                    raise OSError("no more is drawn") from None
                process = subprocess.Popen(
                    [sys.executable, "-c", START, json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    encoding="utf-8",
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                    start_new_session=True,
                )
                self.every.append(process)
            return process


def _asked(process: "subprocess.Popen[str]", order: dict[str, Any]) -> str:
    """Its answer. Raises OSError, ValueError or KeyError where there is none."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return str(json.loads(process.stdout.readline())["svg"])


def paint(picture: Picture) -> None:
    """Draw what standard input asks for until it closes."""
    answers: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    shown = TypeAdapter(Shown)
    for line in sys.stdin:
        order = json.loads(line)
        drawn = picture(shown.validate_python(order["shown"]), order["kind"])
        answers.write(json.dumps({"svg": drawn.decode()}) + "\n")
        answers.flush()
