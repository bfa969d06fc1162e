"""Whether the summary over tasks holds what it promises: simulated boards of several tasks.

    python benchmarks/calibration_tasks.py [--boards 2000] [--out benchmarks/calibration_tasks.md]

A board is four methods on 2 to 12 tasks, each with draws and units of its own. A method's normalised value on a task is
its mean over all tasks, plus an effect of the task, common to the methods, and one of the task on the method; around it
come effects of the draw and of the unit, in part common. The methods are equally good over all tasks. Beside the t
intervals of `xlbench.analysis.over_tasks` stand the percentiles of resampled tasks, draws within them, and units. Exits
with 1 where a figure that is promised is missed.
"""

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xlbench.analysis.over_tasks import over

FloatArray = NDArray[np.float64]

METHODS = ("a", "b", "c", "d")
TASKS = (2, 3, 5, 8, 12)
PROMISED = (3, 5, 8, 12)
DRAWS, UNITS = 3, 100
TRUTH = 0.4
COVERAGE, FALSE_RANKINGS = (92.0, 98.0), 5.0  # percent; of the second, two sampling errors more are none
RESAMPLES = 500
RESAMPLED = 8  # one board in so many, for time


@dataclass(frozen=True)
class Noise:
    """Deviations of the effects, in shares of 1; of draw and unit half of each variance is common to the methods."""

    name: str
    task: float
    task_method: float
    draw: float
    unit: float


NOISES = (
    Noise("methods differ between tasks by 5 points, draws by 4", 0.15, 0.05, 0.04, 0.40),
    Noise("methods differ between tasks by 5 points, draws by 1", 0.15, 0.05, 0.01, 0.40),
    Noise("methods do not differ between tasks, draws by 4", 0.15, 0.0, 0.04, 0.40),
)


def board(noise: Noise, tasks: int, random: np.random.Generator) -> FloatArray:
    """Normalised values of one board: (tasks, methods, draws, units)."""

    def effect(deviation: float, *shape: int) -> FloatArray:
        """An effect of this deviation, half of its variance common to the methods."""
        drawn = random.standard_normal((tasks, len(METHODS) + 1, *shape))
        return deviation * np.sqrt(0.5) * (drawn[:, :1] + drawn[:, 1:])

    return (
        TRUTH
        + noise.task * random.standard_normal((tasks, 1, 1, 1))
        + noise.task_method * random.standard_normal((tasks, len(METHODS), 1, 1))
        + effect(noise.draw, DRAWS, 1)
        + effect(noise.unit, 1, UNITS)
        + effect(noise.unit / 2, DRAWS, UNITS)
    )


def resampled(values: FloatArray, random: np.random.Generator) -> FloatArray:
    """Means of methods, (resamples, methods), over tasks drawn again, in each draws and units drawn again."""
    tasks, _, draws, units = values.shape
    means = np.empty((RESAMPLES, len(METHODS)))
    for number in range(RESAMPLES):
        total = np.zeros(len(METHODS))
        for task in random.integers(tasks, size=(tasks,)):
            of_draws = np.bincount(random.integers(draws, size=draws), minlength=draws) / draws
            of_units = np.bincount(random.integers(units, size=units), minlength=units) / units
            total += np.einsum("mdu,d,u->m", values[task], of_draws, of_units)
        means[number] = total / tasks
    return means


def measure(noise: Noise, tasks: int, boards: int, seed: int) -> dict[str, float]:
    """Percentages of intervals that cover, and of boards that claim what is not so."""
    random = np.random.default_rng([seed, tasks])
    seen: dict[str, list[bool]] = defaultdict(list)
    names = [str(number) for number in range(tasks)]
    for number in range(boards):
        values = board(noise, tasks, random)
        means = values.mean(axis=(2, 3))
        found = over(names, dict(zip(METHODS, means.T.tolist(), strict=True)))
        seen["score"].extend(score.low <= TRUTH <= score.high for score in found.scores.values())
        seen["difference"].extend(not pair.difference.excludes_zero for pair in found.pairs)
        seen["false rankings"].append(any(pair.better for pair in found.pairs))
        if number % RESAMPLED == 0:
            again = resampled(values, random)
            low, high = np.quantile(again, [0.025, 0.975], axis=0)
            seen["score, resampled"].extend(((low <= TRUTH) & (high >= TRUTH)).tolist())
            between = np.stack([again[:, i] - again[:, j] for i in range(4) for j in range(i + 1, 4)], axis=1)
            low, high = np.quantile(between, [0.025, 0.975], axis=0)
            seen["difference, resampled"].extend(((low <= 0) & (high >= 0)).tolist())
            places = 1 + (-again).argsort(axis=1).argsort(axis=1)
            low, high = np.quantile(places, [0.025, 0.975], axis=0)
            seen["false rankings, resampled"].append(bool((high[:, None] < low[None, :]).any()))
    return {name: 100 * float(np.mean(each)) for name, each in seen.items()}


COLUMNS = (
    "score", "difference", "false rankings", "score, resampled", "difference, resampled", "false rankings, resampled",
)  # fmt: skip


def missed(tasks: int, found: dict[str, float], boards: int) -> list[str]:
    """Promises that a row breaks; none is made for two tasks."""
    if tasks not in PROMISED:
        return []
    low, high = COVERAGE
    wrong = [name for name in ("score", "difference") if not low <= found[name] <= high]
    error = np.sqrt(FALSE_RANKINGS * (100 - FALSE_RANKINGS) / boards)
    return wrong + ["false rankings"] * bool(found["false rankings"] > FALSE_RANKINGS + 2 * error)


def main() -> int:
    """Simulate, print the table, write it."""
    parser = argparse.ArgumentParser(description="Coverage and false rankings of the summary over tasks")
    parser.add_argument("--boards", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    chosen = parser.parse_args()
    lines = ["| noise | tasks | " + " | ".join(COLUMNS) + " |", "|" + " --- |" + " --: |" * (len(COLUMNS) + 1)]
    broken = []
    for noise in NOISES:
        for tasks in TASKS:
            found = measure(noise, tasks, chosen.boards, chosen.seed)
            lines.append(f"| {noise.name} | {tasks} | " + " | ".join(f"{found[name]:.1f}" for name in COLUMNS) + " |")
            broken += [f"{noise.name}, {tasks} tasks: {name}" for name in missed(tasks, found, chosen.boards)]
    of_resampled = len(range(0, chosen.boards, RESAMPLED))
    text = HEAD.format(boards=chosen.boards, resampled=of_resampled) + "\n".join(lines) + "\n"
    chosen.out.write_text(text, encoding="utf-8")
    print(text)
    for one in broken:
        print(f"missed: {one}", file=sys.stderr)
    return 1 if broken else 0


HEAD = f"""# Calibration of the summary over tasks

Written by `benchmarks/calibration_tasks.py`: {{boards}} simulated boards a row, {len(METHODS)} methods of equal worth
over all tasks, {DRAWS} draws and {UNITS} units a task. All figures are percentages: of 95 % intervals that hold the
truth, and of boards on which any method is ranked above another. `score` and `difference` are the t intervals over
tasks of `xlbench.analysis.over_tasks`; `resampled` are percentiles of means over resampled tasks, draws and units
({{resampled}} boards, {RESAMPLES} resamples), a rank interval wholly before another being a false ranking. Promised,
with {PROMISED[0]} tasks and more: coverage of {COVERAGE[0]:g} to {COVERAGE[1]:g} %, at most {FALSE_RANKINGS:g} %
false rankings (and two sampling errors). Two tasks are shown without a promise.

"""


if __name__ == "__main__":
    sys.exit(main())
