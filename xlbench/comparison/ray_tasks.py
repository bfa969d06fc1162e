"""Cells as tasks of a Ray cluster: of one that is there, or of one that lasts as long as the suite, on this machine.

A task is given a spec, an id and a runtime as JSON text and answers in JSON text; the record goes into the store from
where it was computed. Of ours nothing is pickled; Ray itself pickles the function that a task calls (by its name, so
xlbench must be installed on every node).
"""

import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from xlbench.comparison.jobs import Jobs, jobs_for
from xlbench.comparison.processes import LEAVING, Answers, Hired, answer_to
from xlbench.engine.prepare import Prepared
from xlbench.engine.trackers import anywhere
from xlbench.errors import XlbenchError, one_line
from xlbench.host.plain_text import plain
from xlbench.records.record import Record
from xlbench.spec import Runtime

FINEST = 10_000  # Ray deals out parts of a GPU of that many
ANSWER = 10.0  # seconds in which a cluster must answer
CAUSE = 300  # characters of what Ray says of a death


def required() -> None:
    """Raises XlbenchError where Ray is not installed."""
    if find_spec("ray") is None:
        raise XlbenchError(
            "--executor ray needs Ray, which is not installed; install xlbench with its extra: xlbench[ray]"
        )


@contextmanager
def cluster(
    cells: Sequence[Prepared], done: Sequence[Record], runtime: Runtime
) -> Iterator[tuple[Jobs, "partial[RayWorker]"]]:
    """Tasks for the cells of a suite: how many at once, and what makes one; with a cluster joined meanwhile.

    No address: one is started on this machine and ended. Raises XlbenchError where none answers at the address, or
    what it has does not fit.
    """
    import ray

    address = runtime.address or os.environ.get("RAY_ADDRESS")
    ours = not ray.is_initialized()
    try:
        if ours and not address:
            jobs, gpus = _on_this_machine(cells, done, runtime)
            _join(ray, "local", {"num_cpus": jobs.number * jobs.threads, "include_dashboard": False})
        else:
            if ours:
                _answers(str(address))
                _join(ray, str(address), {})
            jobs, gpus = _on_cluster(ray.nodes(), cells, runtime)
        _told_precision(cells, "cuda" if gpus else "cpu")
        yield jobs, partial(RayWorker, gpus=gpus)
    finally:
        if ours:
            ray.shutdown()


def _answers(address: str) -> None:
    """Raises XlbenchError where nobody answers at HOST:PORT, which Ray would wait for long."""
    if "://" in address:
        raise XlbenchError(f"the Ray cluster {address} (--address): give HOST:PORT as `ray start` says it, or auto")
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except (OSError, ValueError, OverflowError) as fault:
        raise XlbenchError(f"the Ray cluster {address} (--address) does not answer: {one_line(fault)}") from fault


def _join(ray: Any, address: str, fields: dict[str, Any]) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        ray.init(address, **fields, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as fault:  # Ray raises that very class where a node is slow to start
        why = plain(one_line(fault), CAUSE)
        raise XlbenchError(f"the Ray cluster {address} (--address) cannot be joined: {why}") from fault


def _on_this_machine(cells: Sequence[Prepared], done: Sequence[Record], runtime: Runtime) -> tuple[Jobs, float]:
    """As many tasks as there would be processes; the GPUs of each."""
    jobs = jobs_for(cells, done, runtime)
    gpus = runtime.cell_gpus
    if gpus is None:
        share = min(1.0, len(jobs.devices) / jobs.number) if cells[0].device.type == "cuda" else 0.0
        gpus = math.floor(FINEST * share) / FINEST
    threads = jobs.threads if runtime.cell_cpus is None else runtime.cell_cpus
    return Jobs(jobs.number, threads, _devices(gpus), f"Ray on this machine; {jobs.why}"), gpus


def _on_cluster(nodes: Sequence[dict[str, Any]], cells: Sequence[Prepared], runtime: Runtime) -> tuple[Jobs, float]:
    """As many tasks as the nodes hold now, or as were asked for, which Ray keeps until there is room.

    A cell asks for one GPU where the nodes have any and none was ruled out, and for one CPU.
    """
    rooms = [{"CPU": 0.0, "GPU": 0.0, **node["Resources"]} for node in nodes if node["Alive"]]
    cpus, all_gpus = (sum(room[kind] for room in rooms) for kind in ("CPU", "GPU"))
    default = 1.0 if all_gpus and runtime.device != "cpu" else 0.0
    gpus, threads = default if runtime.cell_gpus is None else runtime.cell_gpus, runtime.cell_cpus or 1
    by_gpu = [room["GPU"] / gpus + 1e-9 if gpus else math.inf for room in rooms]
    space = sum(int(min(room["CPU"] // threads, most)) for room, most in zip(rooms, by_gpu, strict=True))
    size = f"the Ray cluster has {cpus:g} CPUs and {all_gpus:g} GPUs on {len(rooms)} nodes"
    if not space and not isinstance(runtime.jobs, int):
        raise XlbenchError(
            f"{size}, and no node has room for a cell, which asks for {threads} CPUs and {gpus:g} GPUs; ask for less "
            "with --cell-cpus and --cell-gpus, or say --jobs N for a cluster that grows"
        )
    number = runtime.jobs if isinstance(runtime.jobs, int) else min(space, len(cells))
    return Jobs(number, threads, _devices(gpus), f"{size}, {gpus:g} GPUs a cell"), gpus


def _devices(gpus: float) -> tuple[str, ...]:
    """A task sees the GPU that Ray gave it, and no other."""
    return ("cuda",) if gpus else ("cpu",)


def _told_precision(cells: Sequence[Prepared], device: str) -> None:
    """Raises XlbenchError where a cell's `auto` means one precision here and another where it runs."""
    if device != cells[0].device.type and any(cell.asked.precision == "auto" for cell in cells):
        raise XlbenchError(
            f"precision auto goes by the device, which is {cells[0].device.type} here and {device} where cells run; "
            "say --precision bf16 or --precision fp32"
        )


class RayWorker(Hired):
    """One task at a time, of one cell each. `seconds` runs from when the task begins, not while it waits for room."""

    cause = ""  # of the death of its task's process or node

    def __init__(self, cell: Prepared, runtime: Runtime, threads: int, answers: Answers, gpus: float = 0.0) -> None:
        import ray

        super().__init__(cell, threads, answers)
        self.runtime, self.ray = anchored(runtime), ray
        # A process that has used a GPU keeps to it, whichever Ray gives it next: so each task on one has its own.
        once = {"max_calls": 1} if gpus else {}
        self._task: Any = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0, **once)(task)
        self._stream: Any = None  # what the task in hand says; None: it has none
        self._listener: threading.Thread | None = None
        answers.put((self, {"ready": True}))

    def begin(self, cell: Prepared) -> None:
        """Submit a cell's task; Ray starts it where there is room."""
        self.cell, self.since = cell, None
        model = str(Path(cell.asked.model).resolve()) if os.path.isdir(cell.asked.model) else cell.asked.model
        order = {"spec": cell.asked.with_(model=model).model_dump(mode="json"), "id": cell.id, "threads": self.threads}
        self._stream = self._task.remote(json.dumps({**order, "runtime": self.runtime.model_dump(mode="json")}))
        self._listener = threading.Thread(target=self._listen, args=(self._stream,), daemon=True)
        self._listener.start()

    def close(self) -> None:
        """Have its task killed, where it has one."""
        if self._stream is not None and not self.dead:
            self.ray.cancel(self._stream, force=True)

    def end(self, patience: float = 0.0) -> None:
        self.close()
        if self._listener is not None:
            self._listener.join(patience or LEAVING)

    def _listen(self, stream: Any) -> None:
        """Hear a task to its end: that it began, what became of its cell, or that there is no more to hear."""
        try:
            for reference in stream:
                answer = json.loads(self.ray.get(reference))
                if "began" in answer:
                    self.since = time.monotonic()
                else:
                    self._stream = None
                    self.answers.put((self, answer))
        except self.ray.exceptions.RayTaskError as fault:  # it did not even begin: no xlbench there, or another one
            self._stream = None
            reason = (str(fault).strip().splitlines() or [""])[-1]
            self.answers.put((self, {"error": f"Ray could not run the cell: {plain(reason, CAUSE)}", "skipped": False}))
        except self.ray.exceptions.RayError as fault:
            self.cause = f"{type(fault).__name__}, {plain(one_line(fault), CAUSE)}"


def anchored(runtime: Runtime) -> Runtime:
    """The runtime with whole paths, for a process that works in another folder."""
    paths = {
        "runs": runtime.runs.resolve() if isinstance(runtime.runs, Path) else runtime.runs,
        "data_root": runtime.data_root and runtime.data_root.resolve(),
        "plugins": tuple(str(Path(name).resolve()) if os.path.isfile(name) else name for name in runtime.plugins),
        "tracker": runtime.tracker and anywhere(runtime.tracker),
    }
    return runtime.model_copy(update=paths)


def task(order: str) -> Iterator[str]:
    """What runs on the cluster: says that it began, computes the cell, and says what became of it."""
    fields = json.loads(order)
    torch.set_num_threads(fields["threads"])
    yield json.dumps({"began": True})
    yield json.dumps(answer_to(fields, Runtime.model_validate(fields["runtime"])))
