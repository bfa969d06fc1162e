"""What a run cost: parameters, seconds, bytes, energy. Training time excludes evaluation."""

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from xlbench.host.memory import PEAK


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
