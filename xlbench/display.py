"""What the command line draws with rich: progress bars and tables. No logic."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from xlbench.progress import Progress

if TYPE_CHECKING:
    from xlbench.store import Record

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class BarProgress(Progress):
    """Progress as bars on standard error; plain lines where it is no terminal; nothing where quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bars: Bars | None = None
        self.stack: list[TaskID] = []

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Progress]:
        if self.quiet or not sys.stderr.isatty():
            yield self
            return
        if self.bars is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"),
                       TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
            with Bars(*columns, console=err, transient=True) as self.bars:
                try:
                    with self._bar(name, total):
                        yield self
                finally:
                    self.bars = None
        else:
            with self._bar(name, total):
                yield self

    @contextmanager
    def _bar(self, name: str, total: int) -> Iterator[None]:
        assert self.bars is not None
        bar = self.bars.add_task(name, total=total, facts="")
        self.stack.append(bar)
        try:
            yield
        finally:
            self.stack.pop()
            self.bars.remove_task(bar)

    def step(self, count: int = 1, **facts: float) -> None:
        if self.bars is not None and self.stack:
            shown = {"facts": "  ".join(f"{name} {value:.3f}" for name, value in facts.items())} if facts else {}
            self.bars.update(self.stack[-1], advance=count, **shown)

    def say(self, sentence: str) -> None:
        if not self.quiet:
            err.print(Text(sentence), soft_wrap=True)


def show_record(record: "Record", place: str) -> None:
    """One run: accuracy by language, the means, what it cost, and where its record is."""
    table = Table(
        title=f"{record.spec.method} on {record.spec.task}, {record.spec.shots} shots, draw {record.spec.draw}"
    )
    table.add_column("language")
    table.add_column("accuracy", justify="right")
    for language, value in record.accuracy.items():
        name = f"{language} (source)" if language == record.source_language else language
        table.add_row(name, f"{100 * value:.1f}")
    table.add_section()
    for name, value in (
        ("mean", record.mean),
        ("mean without source", record.target_mean),
        ("gap", record.transfer_gap),
    ):
        table.add_row(name, "–" if value is None else f"{100 * value:.1f}")
    if record.phenomena:
        table.add_section()
        for kind, by_language in record.phenomena.items():
            table.add_row(kind, f"{100 * sum(by_language.values()) / len(by_language):.1f}")
    out.print(table)
    costs = record.costs
    memory = costs.get("peak_device_bytes", costs.get("peak_host_bytes", 0)) / 2**20
    out.print(
        f"training {costs['training_seconds']:.1f} s, test {costs['test_seconds']:.1f} s "
        f"({costs['test_rows_per_second']:.0f} rows/s), {record.seconds:.1f} s in all, peak memory {memory:,.0f} MiB, "
        f"{costs['trainable_parameters']:,.0f} trainable parameters"
    )
    for note in record.notes:
        out.print(Text(f"note: {note}"))
    out.print(Text(f"record: {place}"), soft_wrap=True)


def show_rows(title: str, head: list[str], rows: list[list[str]]) -> None:
    """A plain table; the first column left, the others as they are."""
    table = Table(title=Text(title))
    for name in head:
        table.add_column(Text(name))
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    out.print(table)


def show_board(records: "list[Record]") -> None:
    """The records as a board: a table for each number of shots, best mean first."""
    from xlbench.leaderboard import group, score_rows

    for one in group(records):
        for table in one.tables:
            head, rows = score_rows(table)
            show_rows(f"{one.key['task']} on {one.key['model']}, {table.shots} shots per class", head, rows)
