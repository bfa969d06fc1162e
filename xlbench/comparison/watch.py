"""A suite while it runs: says what starts and ends, how much is left, and writes it down where asked."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from itertools import takewhile
from math import inf
from pathlib import Path
from statistics import fmean
from typing import IO, Any, Self

from xlbench.comparison.outcomes import Outcome
from xlbench.engine.prepare import Prepared
from xlbench.errors import XlbenchError
from xlbench.host.ctrl_c import Stop
from xlbench.host.progress import Progress
from xlbench.spec import RunSpec, in_words

Kind = tuple[str, str, int]  # method, settings, shots: cells of one kind take about as long


class Watch:
    """Hears what becomes of cells that run `at_once` together, and tells `progress` and the log."""

    def __init__(self, cells: Iterable[Prepared], at_once: int, progress: Progress, log: IO[str] | None) -> None:
        self.to_go = {cell.id: (cell.spec.method, cell.spec.settings, cell.spec.shots) for cell in cells}
        self.at_once, self.progress, self.log = at_once, progress, log
        self.failed = 0
        self.since: dict[str, float] = {}  # what runs
        self.took: dict[Kind, list[float]] = defaultdict(list)

    @classmethod
    @contextmanager
    def over(cls, cells: list[Prepared], at_once: int, progress: Progress, file: Path | None) -> Iterator[Self]:
        """A watch with its log open. Raises XlbenchError where the file cannot be written to."""
        try:
            log = nullcontext() if file is None else file.open("a", encoding="utf-8", buffering=1)
        except OSError as fault:
            raise XlbenchError(f"cannot write the log {file} (--log-json): {fault.strerror or fault}") from fault
        with log as stream:
            yield cls(cells, at_once, progress, stream)

    def starting(self, cells: Iterable[Prepared], stop: Stop) -> Iterator[Prepared]:
        """The cells, each announced as it is taken; none after Ctrl-C. Where several run at once, those of one draw and
        seed that took longest come first, after those of a new kind, so that no worker waits long for the last."""
        waiting = {cell.id: cell for cell in cells}
        while waiting and not stop.asked:
            first = next(iter(waiting.values()))
            number = first.spec.draw, first.spec.seed
            episode = takewhile(lambda cell: (cell.spec.draw, cell.spec.seed) == number, waiting.values())  # noqa: B023
            block = episode if self.at_once > 1 else [first]
            cell = waiting.pop(max(block, key=lambda cell: fmean(self.took.get(self.to_go[cell.id]) or [inf])).id)
            self.since[cell.id] = time.monotonic()
            self.progress.say(describe(cell.spec))
            self._log("started", cell)
            yield cell

    def ended(self, outcome: Outcome) -> None:
        """Count an end and say how things stand."""
        cell, record = outcome.prepared, outcome.record
        since, kind = self.since.pop(cell.id), self.to_go.pop(cell.id)
        seconds = time.monotonic() - since if record is None else record.seconds
        if record is not None:
            self.took[kind].append(seconds)
            self._log("finished", cell, mean=record.mean, seconds=round(seconds, 2))
        elif outcome.skipped:
            self._log("skipped", cell, reason=outcome.error)
        else:
            self.failed += 1
            self.progress.say(f"failed: {describe(cell.spec)}: {outcome.error}")
            self._log("failed", cell, error=outcome.error, seconds=round(seconds, 2))
        left = duration(self.seconds_left())
        self.progress.step(1, failed=self.failed, left=left)
        if not self.progress.draws:
            done = sum(map(len, self.took.values()))
            self.progress.say(f"{done} done, {self.failed} failed, {len(self.to_go)} to go, {left} left")

    def seconds_left(self) -> float | None:
        """How long the rest takes, by what cells of each kind took, or all where a kind is new; None before the
        first end. No less than the longest of what is left, however many run at once. As many as run now, and one
        for what ended, are taken to go on."""
        every = [seconds for took in self.took.values() for seconds in took]
        if not self.to_go:
            return 0.0
        if not every:
            return None
        now, rest = time.monotonic(), []
        for cell, kind in self.to_go.items():
            expected = fmean(self.took.get(kind) or every)
            rest.append(max(0.0, expected - (now - self.since[cell])) if cell in self.since else expected)
        return max(sum(rest) / min(self.at_once, len(self.since) + 1), max(rest))

    def _log(self, event: str, cell: Prepared, **facts: Any) -> None:
        if self.log is not None:
            when, axes = datetime.now(UTC).isoformat(timespec="milliseconds"), ("method", "config", "task", "model")
            spec = {name: getattr(cell.spec, name) for name in (*axes, "shots", "draw", "seed")}
            line = {"time": when, "event": event, **spec, "id": cell.id, **facts}
            self.log.write(json.dumps(line, ensure_ascii=False) + "\n")


def describe(spec: RunSpec) -> str:
    """A cell in a few words."""
    method = f"{spec.method} ({spec.settings})" if spec.settings else spec.method
    return f"{method}, {spec.task}, {in_words(spec.shots)}, draw {spec.draw}, seed {spec.seed}"


def duration(seconds: float | None) -> str:
    """About how long, in words; unknown where there is no telling."""
    if seconds is None:
        return "an unknown time"
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} s"
