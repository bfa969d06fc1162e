"""What the command line draws with rich: progress bars and tables. No logic."""

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from xlbench.analysis.evidence import count, findings, points
from xlbench.analysis.matching import Group, apart, group, mismatches
from xlbench.analysis.outlook import ASSUMED, outlook
from xlbench.analysis.power import DEFAULT_PARTS, MOST_DRAWS, POINTS
from xlbench.board.blocks import costs_of, percent
from xlbench.board.content import NOTHING_COMMON, score_rows, tuning
from xlbench.host.plain_text import plain
from xlbench.host.progress import Progress
from xlbench.host.whole_files import replace_file
from xlbench.records.bucket import store_at
from xlbench.records.index import Result
from xlbench.records.record import Record, trial_settings
from xlbench.spec import Suite, in_words

NO_WIDTH = 10_000  # letters a line, where what is printed goes into a pipe or a file

out = Console(highlight=False, width=None if sys.stdout.isatty() else NO_WIDTH)
err = Console(stderr=True, highlight=False)


def said(text: object) -> Text:
    """A text of a record, a plug-in or a file for the terminal: no markup, and nothing that a terminal would obey."""
    return Text(plain(text, None))


class TimeLeft(TimeRemainingColumn):
    """The time left: as the stage says it, or by the steps so far."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["left"], "progress.remaining") if "left" in task.fields else super().render(task)


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
            name_and_bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            columns = (*name_and_bar, TextColumn("{task.fields[facts]}"), TimeElapsedColumn(), TimeLeft())
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

    @property
    def draws(self) -> bool:
        return self.bars is not None

    def step(self, count: int = 1, **facts: float | str) -> None:
        if self.bars is None or not self.stack:
            return
        self.bars.update(self.stack[-1], advance=count)
        if "left" in facts:
            self.bars.update(self.stack[-1], left=f"{facts.pop('left')} left")
        if facts:
            shown = (
                f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
                for name, value in facts.items()
            )
            self.bars.update(self.stack[-1], facts="  ".join(shown))

    def say(self, sentence: str) -> None:
        if not self.quiet:
            err.print(said(sentence), soft_wrap=True)


def show_record(record: Record, place: str) -> None:
    """One run: accuracy by language, the means, how it was trained, what it cost, and where its record is."""
    spec = record.spec
    if record.status == "failed":
        for sentence in (
            f"{spec.method} on {spec.task}, {in_words(spec.shots)}, draw {spec.draw}: failed, {record.error}",
            *asked_in_words(record),
            f"record: {place}",
        ):
            out.print(said(sentence), soft_wrap=True)
        return
    table = Table(title=said(f"{spec.method} on {spec.task}, {in_words(spec.shots)}, draw {spec.draw}"))
    table.add_column("language")
    table.add_column(record.metric, justify="right")
    for language, value in record.by_language.items():
        name = f"{language} (source)" if language == record.source_language else language
        table.add_row(said(name), percent(value))
    table.add_section()
    table.add_row("mean", percent(record.mean))
    table.add_row("mean without source", percent(record.target_mean))
    table.add_row("gap (source minus target)", percent(record.transfer_gap))
    if record.phenomena:
        table.add_section()
        for kind, by_language in record.phenomena.items():
            table.add_row(said(kind), percent(fmean(by_language.values())))
    out.print(table)
    if record.trials:
        out.print(table_of("trials, chosen by source dev", *_trial_rows(record)))
    for sentence in (*asked_in_words(record), *costs_in_words(record.costs, record.seconds)):
        out.print(said(sentence), soft_wrap=True)
    for note in record.notes:
        out.print(said(f"note: {note}"), soft_wrap=True)
    out.print(said(f"record: {place}"), soft_wrap=True)


def _trial_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what was tried: the values of what was searched, and what source dev said of them."""
    rows = []
    for number, trial in enumerate(record.trials):
        lost = "lost" in trial
        dev = ["lost", "–"] if lost else [percent(trial["dev_score"]), f"{trial['dev_loss']:.4f}"]
        mark = " (chosen)" if number == record.selection["chosen"] else ""
        rows.append([f"{number}{mark}", *dev, f"{trial['seconds']:.1f}", trial_settings(trial)])
    return ["trial", "dev score", "dev loss", "training s", "settings"], rows


def asked_in_words(record: Record) -> list[str]:
    """What was trained and how, in two lines: model, seed, steps, rate; and all settings of the method."""
    spec, training = record.spec, record.spec.training
    steps = training.steps or record.selection.get("steps")
    rate = (record.chosen or {}).get("training", {}).get("learning_rate", training.learning_rate)
    parts = [
        f"model {spec.model}",
        f"seed {spec.seed}",
        f"{training.epochs} epochs" if steps is None else f"{steps} steps",
        *([] if rate is None else [f"learning rate {rate}"]),
        f"batch size {training.batch_size}",
        f"precision {spec.precision}",
    ]
    settings = ", ".join(f"{name}={value}" for name, value in sorted(record.method_config.items()))
    return [", ".join(parts), f"settings of {spec.method}: {settings or 'none'}"]


def costs_in_words(costs: Mapping[str, float], seconds: float) -> list[str]:
    """What a run cost, in three lines: time, work, memory. What the record does not say is left out."""
    known = {head: text for head, text in costs_of([costs]).items() if text != "–"}
    stages = ("set-up", "training", "dev", "test")
    times = [f"{stage} {known[f'{stage} s']} s" for stage in stages if f"{stage} s" in known]
    times += [f"{known['test rows/s']} test rows/s"] if "test rows/s" in known else []
    work = [f"{stage} {known[f'{stage} TFLOP']} TFLOP" for stage in stages if f"{stage} TFLOP" in known]
    work += [f"energy {known['energy kJ']} kJ"] if "energy kJ" in known else []
    sizes = [f"{known[name]} {name}" for name in ("trainable parameters", "all parameters") if name in known]
    sizes += [f"{name} {known[f'{name} MiB']} MiB" for name in ("stored", "peak memory") if f"{name} MiB" in known]
    return [", ".join(part) for part in ([*times, f"{seconds:.1f} s in all"], work, sizes) if part]


def table_of(title: str, head: list[str], rows: list[list[str]]) -> Table:
    """A plain table; numbers right, the names of the first column left and always whole: the others wrap."""
    table = Table(title=said(title))
    longest = max((cell_len(said(row[0]).plain) for row in rows), default=None)
    table.add_column(said(head[0]), min_width=longest, overflow="fold")
    for name in head[1:]:
        table.add_column(said(name), justify="right", overflow="fold")
    for row in rows:
        table.add_row(*(said(value) for value in row))
    return table


def show_plan(suite: Suite, runs: Path | str) -> None:
    """What a suite can show, for each number of shots: from the records in `runs`, or from what is assumed."""
    outlooks = outlook(suite, store_at(runs))
    rows = []
    for by_shots in outlooks:
        smallest = by_shots.power.smallest
        shown = "nothing" if smallest is None or smallest >= 1 else points(smallest)
        draws = (f"> {MOST_DRAWS}" if number is None else str(number) for number in by_shots.power.draws_for.values())
        hours = "–" if by_shots.seconds is None else f"{by_shots.seconds / 3600:.1f}"
        rows.append([str(by_shots.shots or "all"), shown, *draws, hours, by_shots.basis])
    head = ["shots", "shows", *(f"draws for {100 * step:.0f}" for step in POINTS), "hours", "variances"]
    design = f"{count(suite.draws, 'draw')}, {count(suite.seeds, 'seed')}, {count(outlooks[0].power.units, 'unit')}"
    out.print(table_of(f"{suite.name}: {count(len(suite.methods), 'method')}, {design}", head, rows))
    sentences = [
        "shows: the smallest difference between two methods, in points, that four such tables in five would show, "
        "corrected over the pairs",
        "draws for 1, 2, 3: the draws that it takes to show so many points",
        "hours: of computing, by what the records took; – where a method has none",
    ]
    if any(by_shots.basis == ASSUMED for by_shots in outlooks):
        sentences.append(f"{ASSUMED}: {DEFAULT_PARTS.notes[0]}")
    for sentence in sentences:
        out.print(said(sentence), soft_wrap=True)


def show_mismatches(groups: Sequence[Group]) -> None:
    """Groups that may share no table: what each holds, and every field that differs, value by value."""
    for number, matched in enumerate(groups, 1):
        methods = ", ".join(dict.fromkeys(line.method for table in matched.tables for line in table.lines))
        head = f"group {number}: {matched.title}, {count(len(matched.records), 'record')}; {methods}"
        out.print(said(head), soft_wrap=True)
    rows = [
        [differing.field, differing.value, ", ".join(map(str, differing.groups)), str(differing.records)]
        for differing in mismatches(groups)
    ]
    out.print(table_of("what differs", ["field", "value", "in groups", "records"], rows))


def show_board(results: list[Result], picture: Path | None = None) -> None:
    """Results as a board: a table for each number of shots, best mean first, and what their predictions show of it in
    words; also as an SVG, where asked."""
    drawn = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    groups = group(results)
    for matched in groups:
        for sentence in tuning(matched):
            out.print(said(f"{sentence}."), soft_wrap=True)
        for table in matched.tables:
            if not table.cells:
                out.print(said(f"{in_words(table.shots, ' per class')}: {NOTHING_COMMON}"))
                continue
            head, rows = score_rows(table)
            title = f"{matched.key['task']} on {matched.key['model']}, {in_words(table.shots, ' per class')}"
            out.print(table_of(title, head, rows))
            drawn.print(table_of(title, head, rows))
            for sentence in findings(table):
                out.print(said(f"{sentence}."), soft_wrap=True)
                drawn.print(said(f"{sentence}."))
            for sentence in table.left_out:
                out.print(said(f"left out: {sentence}"), soft_wrap=True)
    several = apart(groups)
    if several is not None:
        out.print(said(several), soft_wrap=True)
    if picture is not None:
        replace_file(picture, drawn.export_svg(title="xlbench").encode())
        out.print(said(f"wrote {picture}"))
