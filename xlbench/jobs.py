"""How many workers a machine holds at once, with how many threads each, and on which device."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
import torch

from xlbench.footprint import Footprint
from xlbench.machine import cores
from xlbench.memory import GIB, USABLE, free_bytes
from xlbench.preparing import Prepared
from xlbench.spec import Runtime
from xlbench.store import Record

CPU = torch.device("cpu")
BESIDE_ON_DEVICE = 2 * GIB  # what CUDA itself takes, and a batch's activations
ENOUGH = 3  # cells a worker, by which the throughput of so many workers is measured
WORTH = 1.1  # times the throughput before, for which one more worker a GPU is kept on


@dataclass(frozen=True)
class Jobs:
    """Workers, the torch threads of each, their devices (dealt out in turn), and why so many; how many there are
    at `first`, where more are hired only as long as that pays (see Growth). A `round` is a cell of each method."""

    number: int
    threads: int
    devices: tuple[str, ...]
    why: str
    first: int | None = None
    round: int = 1

    @property
    def sentence(self) -> str:
        workers = "1 worker" if self.number == 1 else f"{self.number} workers"
        if self.first is not None and self.first < self.number:
            workers = f"{self.first} to {workers}, as many as make the whole faster"
        return f"{workers}, {self.threads} torch {'thread' if self.threads == 1 else 'threads'} each ({self.why})"


class Growth:
    """How many workers to have, found out while a suite runs: one more a device, up to the most, as long as what is
    done in a second grows by WORTH, and the last one back where it did not; `number` says how many now.

    What is done is counted in FLOPs, over as many cells as there are methods or a multiple of that, as methods differ
    in how long a FLOP takes them.
    """

    def __init__(self, jobs: Jobs, clock: Callable[[], float] = time.monotonic) -> None:
        self.jobs, self.clock = jobs, clock
        self.number = jobs.number if jobs.first is None else min(jobs.first, jobs.number)
        self.best, self.before, self.settled = 0.0, self.number, self.number == jobs.number
        self.begin()

    def begin(self) -> None:
        """So many are at work, each past its first cell: from now on counts what they do."""
        self.since, self.work, self.cells = self.clock(), 0.0, 0

    def ended(self, work: float) -> None:
        """A cell of so many FLOPs is done."""
        self.work, self.cells = self.work + work, self.cells + 1
        if self.settled or self.cells < ENOUGH * self.number or self.cells % self.jobs.round:
            return
        rate = self.work / max(self.clock() - self.since, 1e-9)
        if rate < WORTH * self.best:
            self.number, self.settled = self.before, True
            return
        self.best, self.before = rate, self.number
        self.number = min(self.jobs.number, self.number + len(self.jobs.devices))
        self.settled = self.number == self.before
        self.begin()


def jobs_for(cells: Sequence[Prepared], done: Sequence[Record], runtime: Runtime) -> Jobs:
    """The workers for the cells of a suite: as many as were asked for, or as cores and memory hold. On a CPU that is
    the number with the highest throughput, a core each; on a GPU it is the most that there may be.

    It looks at all cells, not only at those still missing, so that a suite that goes on does so with as many
    threads a worker as before. `done` are its finished records: they say how much memory a run took.
    """
    devices, available = _devices(runtime.device, cells[0].device), cores()
    if isinstance(runtime.jobs, int):
        number, why = runtime.jobs, "as asked"
        return Jobs(number, max(1, available // number), devices, why)
    number, why = _most(cells, done, devices, available)
    first = len(devices) if cells[0].device.type == "cuda" else number
    methods = {(cell.spec.method, cell.spec.settings) for cell in cells} if first < number else {()}
    return Jobs(number, max(1, available // number), devices, why, first, len(methods))


def _most(
    cells: Sequence[Prepared], done: Sequence[Record], devices: tuple[str, ...], available: int
) -> tuple[int, str]:
    host, need = USABLE * free_bytes(CPU), host_need(cells, done)
    limits = {"cores": available, "cells": len(cells), "memory": int(host // need)}
    said = [f"{available} cores", f"{need / GIB:.1f} of {host / GIB:.1f} GiB a worker"]
    if cells[0].device.type == "cuda":
        free = [USABLE * free_bytes(torch.device(device)) for device in devices]
        on_device = device_need(cells, done)
        limits["device memory"] = sum(int(one // on_device) for one in free)
        said.append(f"{on_device / GIB:.1f} of {sum(free) / GIB:.1f} GiB on the device")
    return max(1, min(limits.values())), f"auto: {', '.join(said)}"


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
