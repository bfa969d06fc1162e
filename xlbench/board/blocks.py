"""What the board is made of: tables, commands and sentences, as text, nothing escaped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlbench.analysis.evidence import points
from xlbench.analysis.matching import mean_of
from xlbench.analysis.statistics import Interval


@dataclass(frozen=True)
class Grid:
    """A table of the board; the first column names a row. The column `apart` is shown, and not to be compared."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    apart: int | None = None


@dataclass(frozen=True)
class Command:
    """A line for a shell."""

    text: str


Block = Grid | Command | tuple[str, ...]  # the last: sentences, without their full stops


@dataclass(frozen=True)
class HeatMap:
    """Cells in percent, None for none: `rows` and `columns` are what they are called."""

    metric: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Family:
    """Groups that differ in one thing alone, side by side: what that is, what they are called, and what they show.

    `key` tells families of one kind apart; `heat_map` is what a figure shows of it.
    """

    kind: str
    title: str
    blocks: tuple[Block, ...]
    key: str = ""
    heat_map: HeatMap | None = None

    @property
    def grids(self) -> list[Grid]:
        """Its tables."""
        return [block for block in self.blocks if isinstance(block, Grid)]


def interval(bounds: Interval, least: float = -1.0) -> str:
    """An interval in percent or points, no wider than what is possible: from `least` to 1."""
    return f"{points(max(bounds.low, least))} – {points(min(bounds.high, 1.0))}"


def p_value(p: float) -> str:
    """A p-value with three decimals, never shown as 0."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(value: float | None) -> str:
    """A share of 1 in percent with one decimal; a dash for none."""
    return "–" if value is None else points(value)


THREE_DIGITS = ""
COSTS = (  # what a column is called, the cost that it shows, in what unit, and how
    ("set-up s", "setup_seconds", 1, ".1f"),
    ("training s", "training_seconds", 1, ".1f"),
    ("dev s", "evaluation_seconds", 1, ".1f"),
    ("test s", "test_seconds", 1, ".1f"),
    ("test rows/s", "test_rows_per_second", 1, ",.0f"),
    ("training TFLOP", "training_flops", 1e12, THREE_DIGITS),
    ("dev TFLOP", "evaluation_flops", 1e12, THREE_DIGITS),
    ("test TFLOP", "test_flops", 1e12, THREE_DIGITS),
    ("trainable parameters", "trainable_parameters", 1, ",.0f"),
    ("all parameters", "total_parameters", 1, ",.0f"),
    ("stored MiB", "trained_bytes", 2**20, THREE_DIGITS),
    ("peak memory MiB", "peak_bytes", 2**20, ",.0f"),
    ("energy kJ", "energy_joules", 1e3, THREE_DIGITS),
)
NOT_OF_ALL = {"evaluation_seconds", "evaluation_flops", "energy_joules"}  # no column where no run has them


def costs_of(runs: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Mean costs of runs by the names of their columns, a dash for what a run lacks. Memory is the device's where a
    run used one, else the process's."""
    peaks = [{**run, "peak_bytes": run.get("peak_device_bytes", run.get("peak_host_bytes"))} for run in runs]
    means = {head: (mean_of(run.get(name) for run in peaks), unit, form) for head, name, unit, form in COSTS}
    return {head: "–" if mean is None else _amount(mean / unit, form) for head, (mean, unit, form) in means.items()}


def _amount(value: float, form: str) -> str:
    """A cost in a form; or with three digits, all of those before the point, and never an exponent."""
    if form != THREE_DIGITS:
        return format(value, form)
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"
