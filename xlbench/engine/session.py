"""Session: what a process computes with, whatever it computes; and what that costs.

Seconds by stage (training time excludes evaluation), parameters, bytes, energy.
"""

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from xlbench.backbone import Backbone
from xlbench.engine.flops import FlopMeter
from xlbench.host.memory import PEAK
from xlbench.host.progress import Progress

STAGES = ("before", "training", "evaluation", "test")


class Stopwatch:
    """Wall seconds by stage; a stage entered inside another is taken out of the outer one's time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._book()
        self._running.append(name)
        try:
            yield
        finally:
            self._book()
            self._running.pop()

    def so_far(self) -> dict[str, float]:
        """Seconds of each stage, those that still run included."""
        self._book()
        return dict(self.seconds)

    def _book(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def parameters(module: nn.Module, backbone: nn.Module) -> dict[str, int]:
    """Trainable and total parameters (each shared tensor once), and bytes to store what was trained in fp32."""
    total = {id(value): value for value in [*module.parameters(), *backbone.parameters()]}
    trainable = sum(value.numel() for value in trained_parameters(module).values())
    return {
        "trainable_parameters": trainable,
        "total_parameters": sum(value.numel() for value in total.values()),
        "trained_bytes": 4 * trainable,
    }


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """name → parameter for what trains; a shared tensor stands once."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def peak_memory(device: torch.device) -> dict[str, int]:
    """Peak bytes so far: of the process on the host, and of torch's allocations on a GPU since the last reset."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    peak = {"peak_host_bytes": host}
    if device.type == "cuda":
        peak["peak_device_bytes"] = PEAK.bytes(device)
    return peak


def gpu_joules(device: torch.device) -> float | None:
    """Energy that a GPU as a whole has drawn since its driver was loaded; None where NVML does not say.

    NVML is asked by nvidia-ml-py (the extra `energy`); it says so of Volta and later, and of no part of a GPU (MIG).
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            name = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(name))) / 1000
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None


def joules_since(before: float | None, device: torch.device) -> dict[str, float]:
    """Energy since an earlier `gpu_joules`, all that used the GPU meanwhile included; empty where NVML does not say."""
    now = gpu_joules(device)
    return {} if before is None or now is None else {"energy_joules": round(now - before, 1)}


@dataclass
class Session:
    """Device, precision and token budget, and what is kept count of: time, FLOPs, progress."""

    device: torch.device
    precision: str = "fp32"
    token_budget: int = 0  # 0: what the device is known to take well
    progress: Progress = field(default_factory=Progress)
    watch: Stopwatch = field(default_factory=Stopwatch)
    meters: dict[str, FlopMeter] = field(default_factory=lambda: {stage: FlopMeter(None) for stage in STAGES})
    counted: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def tokens(self) -> int:
        """The most tokens in an evaluation batch, with padding: what stays in a CPU's cache, or what fills a GPU."""
        return self.token_budget or (32768 if self.device.type == "cuda" else 1024)

    def count(self, backbone: Backbone | None) -> None:
        """Count FLOPs anew from here on, by stage, as of steps that are alike; without a backbone count none."""
        for stage, meter in self.meters.items():
            self.counted[stage] += float(meter.total)
        self.meters = {stage: FlopMeter(backbone) for stage in STAGES}

    @property
    def flops(self) -> dict[str, float]:
        """FLOPs of each stage so far, as a record names them; empty where none were counted."""
        totals = {stage: self.counted[stage] + float(meter.total) for stage, meter in self.meters.items()}
        return {f"{stage}_flops": round(total) for stage, total in totals.items() if total}
