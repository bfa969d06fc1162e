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
    devices, available = _devices(runtime.device, cells[0].device), cores()
    asked = (runtime.jobs, "as asked") if isinstance(runtime.jobs, int) else None
    number, why = asked or _most(cells, done, devices, available)
    return Jobs(number, max(1, available // number), devices, why)


def _most(
    cells: Sequence[Prepared], done: Sequence[Record], devices: tuple[str, ...], available: int
) -> tuple[int, str]:
    host, need = USABLE * free_bytes(CPU), host_need(cells, done)
    limits = [available, len(cells), int(host // need)]
    said = [f"{available} cores", f"{need / GIB:.1f} of {host / GIB:.1f} GiB a worker"]
    if cells[0].device.type == "cuda":
        free = [USABLE * free_bytes(torch.device(device)) for device in devices]
        on_device = device_need(cells, done)
        limits += [len(devices), sum(int(one // on_device) for one in free)]
        said.append(f"{on_device / GIB:.1f} of {sum(free) / GIB:.1f} GiB on the device")
    return max(1, min(limits)), f"auto: {', '.join(said)}"


def host_need(cells: Sequence[Prepared], done: Sequence[Record]) -> float:
    """Bytes of host memory of one worker: what this process holds with everything read, and what training adds;
    or what the suite's finished runs took at their peak, where that is more."""
    held = psutil.Process().memory_info().rss
    trains_here = cells[0].device.type != "cuda"
    estimated = held + trains_here * _largest(cells)
    return max([estimated, *(record.costs.get("peak_host_bytes", 0.0) for record in done)])


def device_need(cells: Sequence[Prepared], done: Sequence[Record]) -> float:
    """Bytes of a GPU's memory of one worker: weights and what training adds, or the finished runs' peak."""
    return max([_largest(cells), *(record.costs.get("peak_device_bytes", 0.0) for record in done)]) + BESIDE_ON_DEVICE


def _largest(cells: Sequence[Prepared]) -> int:
    """Bytes of the largest cell, without activations."""
    return max(Footprint.of(cell.backbone, cell.spec).total for cell in cells)


def _devices(asked: str, device: torch.device) -> tuple[str, ...]:
    """The devices that workers take in turn: every GPU that torch sees, unless one was named."""
    if device.type == "cuda" and ":" not in asked:
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return (asked,)
