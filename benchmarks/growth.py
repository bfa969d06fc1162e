"""How the cost of a comparison grows: with languages, test rows, methods and draws, one at a time.

On the embedded model and task, one process, one step of training; token ids are kept in a folder that is new for
each comparison. Seconds of tokenisation must not grow with draws (nor with methods that ask alike), the rest in
proportion.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import xlbench

LANGUAGES = ("en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
METHODS = ("soft-prompt", "mpt", "finetune", "pct")
SMALLEST: dict[str, Any] = {"languages": 5, "premises": 40, "methods": 1, "draws": 1}
AXES: dict[str, tuple[int, ...]] = {
    "languages": (5, 10, 15), "premises": (40, 80, 160), "methods": (1, 2, 4), "draws": (1, 2, 4),
}  # fmt: skip
STAGES = {"encoding_seconds": "encoding", "training_seconds": "training", "test_seconds": "test"}


def growth(say: Callable[[str, float, str], None]) -> None:
    """Seconds by stage at three sizes of each axis, the others at their smallest."""
    measure(**SMALLEST)  # what is read once a process is read
    for axis, sizes in AXES.items():
        for size in sizes:
            for what, seconds in measure(**{**SMALLEST, axis: size}).items():
                say(f"growth, {size} {axis}: {what}", seconds, "s")


def measure(languages: int, premises: int, methods: int, draws: int) -> dict[str, float]:
    """Seconds by stage, summed over the runs of one comparison, and in all."""
    with untouched() as folder:
        asked = {
            "task": "logic", "model": "tiny", "languages": LANGUAGES[:languages], "test_units": premises,
            "training": {"steps": 1, "checkpoints": 1},
        }  # fmt: skip
        here = xlbench.Runtime(runs=folder / "runs", quiet=True)
        start = time.perf_counter()
        xlbench.compare(xlbench.Suite(methods=METHODS[:methods], shots=(4,), draws=draws, run=asked), here)
        taken = time.perf_counter() - start
        costs = [record.costs for record in xlbench.store_at(here.runs).records()]
    return {name: sum(cost[key] for cost in costs) for key, name in STAGES.items()} | {"in all": taken}


@contextmanager
def untouched() -> Iterator[Path]:
    """A new folder, with token ids kept in it alone, so that tokenisation is measured; gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XLBENCH_CACHE": f"{folder}/cache"}):
        yield Path(folder)
