"""The whole suite: four methods × shots × draws, by `xlbench compare`, and by the scripts run by run."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from equals import PRECISION, check_equal, contenders
from growth import untouched
from rivals import HONEST, Kind
from rivals import run as run_rival
from timing import Measured

import xlbench
from xlbench.nli import NLI_LANGUAGES
from xlbench.registry import get
from xlbench.task import Row, Task

KINDS: tuple[Kind, ...] = get_args(Kind)
BATCH, RATE = 16, 5e-5


def suite(
    model: str, root: Path | None, premises: int, steps: int, shots: tuple[int, ...], draws: int, found: Measured
) -> None:
    """Four methods × shots × draws: `xlbench compare`, and the script run by run in one process (B0).

    The script's draws before and after the `compare`, half and half, so that a slow hour is everybody's.
    `XLBENCH_CACHE` is empty at first: tokenisation is part of it, as for the script. The script gets its test rows for
    nothing. With the same weights both give the same scores: checked first, for each method.
    """
    task_name = "xnli" if root else "logic"
    budget = {"steps": steps, "batch_size": BATCH, "checkpoints": 2, "learning_rate": RATE}
    asked = {
        "task": task_name, "model": model, "test_units": premises, "training": budget, "precision": PRECISION,
    }  # fmt: skip
    task: Task = get("task", task_name)()
    source = xlbench.sources.DataSource(root)
    tests: dict[str, Sequence[Row]] = {code: task.test(code, source, premises) for code in NLI_LANGUAGES}
    runs = len(KINDS) * len(shots) * draws
    for kind in KINDS:
        ours_with, by = contenders(kind, model, root, premises)
        check_equal(ours_with, {name: by[name]() for name in ("xlbench", "B0")})
    pairs = ours_with.pairs  # of the last, MPT

    def ours() -> None:
        table = xlbench.compare(xlbench.Suite(methods=KINDS, shots=shots, draws=draws, run=asked), here)
        if len(table) != runs:
            raise SystemExit(f"the suite failed: {table.attrs}")

    def theirs(draw: int) -> None:
        for count in shots:
            drawn = task.draw(count, draw, source)
            for kind in KINDS:
                run_rival(kind, model, drawn.train, drawn.dev, tests, pairs, steps, BATCH, RATE, 2, HONEST, 0)

    seconds = {"xlbench, --jobs auto": 0.0, "B0": 0.0}
    with untouched() as folder:
        here = xlbench.Runtime(
            runs=folder / "runs", data_root=root, quiet=True, executor="processes", jobs="auto"
        )  # fmt: skip
        rivals: list[tuple[str, Callable[[], None]]] = [("B0", partial(theirs, draw)) for draw in range(draws)]
        for name, act in [*rivals[: draws // 2], ("xlbench, --jobs auto", ours), *rivals[draws // 2 :]]:
            start = time.perf_counter()
            act()
            seconds[name] += time.perf_counter() - start
    for name, taken in seconds.items():
        found.say(f"suite of {runs} runs: {name}", taken, "s")
    found.say("suite: xlbench, --jobs auto, beside B0", seconds["B0"] / seconds["xlbench, --jobs auto"], "×")
