"""How many workers a machine holds at once, with how many threads each, and on which device."""

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from xlbench.engine.footprint import Footprint
from xlbench.engine.prepare import Prepared
from xlbench.host.cores import cores
from xlbench.host.memory import GIB, USABLE, free_bytes
from xlbench.records.record import Record
from xlbench.spec import Runtime

CPU = torch.device("cpu")
BESIDE_ON_DEVICE = 2 * GIB  # what CUDA itself takes, and a batch's activations


@dataclass(frozen=True)
class Jobs:
    """Workers, the torch threads of each, their devices (dealt out in turn), and why so many."""

    number: int
    threads: int
    devices: tuple[str, ...]
    why: str

    @property
    def sentence(self) -> str:
        workers = "1 worker" if self.number == 1 else f"{self.number} workers"
        return f"{workers}, {self.threads} torch {'thread' if self.threads == 1 else 'threads'} each ({self.why})"


def jobs_for(cells: Sequence[Prepared], done: Sequence[Record], runtime: Runtime) -> Jobs:
    """The workers for the cells of a suite: as many as were asked for, or as cores and memory hold. On a CPU that is
    the number with the highest throughput, a core each; on GPUs a worker each, until more have been measured.

    It looks at all cells, not only at those still missing, so that a suite that goes on does so with as many
    threads a worker as before. `done` are its finished records: they say how much memory a run took.
    """
    # Every GPU that torch sees, unless one was named.
    every = cells[0].device.type == "cuda" and ":" not in runtime.device
    devices = tuple(f"cuda:{at}" for at in range(torch.cuda.device_count())) if every else (runtime.device,)
    number, why = runtime.jobs, "as asked"
    if not isinstance(number, int):
        number, why = _most(cells, done, devices)
    return Jobs(number, max(1, cores() // number), devices, why)


def _most(cells: Sequence[Prepared], done: Sequence[Record], devices: tuple[str, ...]) -> tuple[int, str]:
    host, need = USABLE * free_bytes(CPU), host_need(cells, done)
    limits = [cores(), len(cells), int(host // need)]
    why = f"auto: {cores()} cores, {need / GIB:.1f} of {host / GIB:.1f} GiB a worker"
    if cells[0].device.type == "cuda":
        free = [USABLE * free_bytes(torch.device(device)) for device in devices]
        on_device = device_need(cells, done)
        limits += [len(devices), sum(int(usable // on_device) for usable in free)]
        why += f", {on_device / GIB:.1f} of {sum(free) / GIB:.1f} GiB on the device"
    return max(1, min(limits)), why


def host_need(cells: Sequence[Prepared], done: Sequence[Record]) -> float:
    """Bytes of host memory of one worker: what this process holds with everything read, and what training adds;
    or what the suite's finished runs took at their peak, where that is more."""
    training = 0 if cells[0].device.type == "cuda" else _largest(cells)
    estimate = psutil.Process().memory_info().rss + training
    return max([estimate, *(record.costs.get("peak_host_bytes", 0.0) for record in done)])


def device_need(cells: Sequence[Prepared], done: Sequence[Record]) -> float:
    """Bytes of a GPU's memory of one worker: weights and what training adds, or the finished runs' peak."""
    return max([_largest(cells), *(record.costs.get("peak_device_bytes", 0.0) for record in done)]) + BESIDE_ON_DEVICE


def _largest(cells: Sequence[Prepared]) -> int:
    """Bytes of the largest cell, without activations."""
    return max(Footprint.of(cell.backbone, cell.spec).total for cell in cells)
