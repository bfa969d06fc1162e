"""Figures by name, contenders in turn, ratios of their rounds, and the rate of a machine's matrix products."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch


class Measured(dict[str, Any]):
    """Figures by name; `say` prints as it keeps."""

    def say(self, name: str, value: float, unit: str) -> None:
        self[name] = {"value": round(value, 4), "unit": unit}
        print(f"{name:62} {value:10.2f} {unit}", flush=True)


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round, all of them in turn, so that a busy moment is everybody's.

    A contender that gives a number has measured its seconds itself.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, act in contenders.items():
            start = time.perf_counter()
            told = act()
            taken = time.perf_counter() - start
            seconds[name].append(told if isinstance(told, float) else taken)
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], ours: str) -> dict[str, float]:
    """How many times as long as ours each takes: the median of the rounds' ratios."""
    return {
        name: statistics.median(theirs / our for theirs, our in zip(taken, seconds[ours], strict=True))
        for name, taken in seconds.items()
        if name != ours
    }


def ceiling(width: int, inner: int, tokens: int, device: torch.device, seconds: float = 2.0) -> float:
    """Floating-point operations a second of the matrix products of one layer, and of nothing else."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    inputs = {size: torch.randn(tokens, size, device=device, dtype=dtype) for size in (width, inner)}
    shapes = [(width, width)] * 4 + [(width, inner), (inner, width)]
    layers = torch.nn.ModuleList(torch.nn.Linear(into, out, bias=False) for into, out in shapes).to(device, dtype)

    done, start = 0, time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - start < seconds:
            for (into, _), layer in zip(shapes, layers, strict=True):
                layer(inputs[into])
            done += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return done * sum(2 * tokens * into * out for into, out in shapes) / (time.perf_counter() - start)
