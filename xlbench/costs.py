"""What a run cost: parameters, seconds, bytes. Training time excludes evaluation."""

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
        peak["peak_device_bytes"] = torch.cuda.max_memory_allocated(device)
    return peak
