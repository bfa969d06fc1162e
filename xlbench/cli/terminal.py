"""What the command line draws with rich: progress bars and tables. No logic."""

import io
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import fmean

from rich import progress
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xlbench.analysis.evidence import count, findings, points
from xlbench.analysis.matching import Group, apart, group, mismatches
from xlbench.analysis.outlook import ASSUMED, Design, Outlook, best_design, outlook
from xlbench.analysis.power import DEFAULT_PARTS, MOST_DRAWS, POINTS
from xlbench.board.blocks import costs_of, percent
from xlbench.board.content import score_rows, tuning
from xlbench.host.plain_text import plain
from xlbench.host.progress import Progress
from xlbench.host.whole_files import replace_file
from xlbench.records.bucket import store_at
from xlbench.records.index import Result
from xlbench.records.record import Record, trial_settings
from xlbench.spec import NONE, Suite, in_words, written

NO_WIDTH = 10_000  # letters a line, where what is printed goes into a pipe or a file

out = Console(highlight=False, width=None if sys.stdout.isatty() else NO_WIDTH)
err = Console(stderr=True, highlight=False)


def safe(text: object) -> Text:
    """A text of a record, a plug-in or a file for the terminal: no markup, and nothing that a terminal would obey."""
    return Text(plain(text, None))


def show(*sentences: str) -> None:
    """Print sentences, a line each, which the terminal wraps."""
    for sentence in sentences:
        out.print(safe(sentence), soft_wrap=True)


class TimeLeft(progress.TimeRemainingColumn):
    """The time left: as the stage says it, or by the steps so far."""

    def render(self, task: progress.Task) -> Text:
        return Text(task.fields["left"], "progress.remaining") if "left" in task.fields else super().render(task)


class BarProgress(Progress):
    """Progress as bars on standard error; plain lines where it is no terminal; nothing where quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bars: progress.Progress | None = None
        self.stack: list[progress.TaskID] = []

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Progress]:
        if self.quiet or not sys.stderr.isatty():
            yield self
            return
        with ExitStack() as first_stage:
            if self.bars is None:
                name_and_bar = (progress.TextColumn("{task.description}"), progress.BarColumn())
                counts = (progress.MofNCompleteColumn(), progress.TextColumn("{task.fields[facts]}"))
                columns = (*name_and_bar, *counts, progress.TimeElapsedColumn(), TimeLeft())
                self.bars = first_stage.enter_context(progress.Progress(*columns, console=err, transient=True))
                first_stage.callback(setattr, self, "bars", None)
            bars = self.bars
            self.stack.append(bars.add_task(name, total=total, facts=""))
            try:
                yield self
            finally:
                bars.remove_task(self.stack.pop())

    @property
    def draws(self) -> bool:
        return self.bars is not None

    def step(self, count: int = 1, **facts: float | str) -> None:
        if self.bars is None:
            return
        self.bars.update(self.stack[-1], advance=count)
        if "left" in facts:
            self.bars.update(self.stack[-1], left=f"{facts.pop('left')} left")
        if facts:
            values = {name: f"{value:.3f}" if isinstance(value, float) else value for name, value in facts.items()}
            self.bars.update(self.stack[-1], facts="  ".join(f"{name} {value}" for name, value in values.items()))

    def say(self, sentence: str) -> None:
        if not self.quiet:
            err.print(safe(sentence), soft_wrap=True)


def show_record(record: Record, place: str) -> None:
    """One run: accuracy by language, the means, how it was trained, what it cost, and where its record is."""
    spec = record.spec
    title = f"{spec.method} on {spec.task}, {in_words(spec.shots)}, draw {spec.draw}"
    if record.status == "failed":
        show(f"{title}: failed, {record.error}", *_asked_in_words(record), f"record: {place}")
        return
    table = Table(title=safe(title))
    table.add_column("language")
    table.add_column(record.metric, justify="right")
    for language, value in record.by_language.items():
        name = f"{language} (source)" if language == record.source_language else language
        table.add_row(safe(name), percent(value))
    table.add_section()
    table.add_row("mean", percent(record.mean))
    table.add_row("mean without source", percent(record.target_mean))
    table.add_row("gap (source minus target)", percent(record.transfer_gap))
    table.add_section()
    for kind, by_language in record.phenomena.items():
        table.add_row(safe(kind), percent(fmean(by_language.values())))
    out.print(table)
    if record.trials:
        out.print(table_of("trials, chosen by source dev", *_trial_rows(record)))
    show(*_asked_in_words(record), *_learnt_in_words(record), *_costs_in_words(record.costs, record.seconds))
    show(*(f"note: {note}" for note in record.notes), f"record: {place}")


def _trial_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what was tried: the values of what was searched, and what source dev said of them."""
    rows = []
    for number, trial in enumerate(record.trials):
        lost = "lost" in trial
        dev = ["lost", "–"] if lost else [percent(trial["dev_score"]), f"{trial['dev_loss']:.4f}"]
        mark = " (chosen)" if number == record.selection["chosen"] else ""
        rows.append([f"{number}{mark}", *dev, f"{trial['seconds']:.1f}", trial_settings(trial)])
    return ["trial", "dev score", "dev loss", "training s", "settings"], rows


def _asked_in_words(record: Record) -> list[str]:
    """What was trained and how, in two lines: model, seed, steps, rate; and all settings of the method."""
    spec, training = record.spec, record.spec.training
    steps, planned = record.selection.get("steps") or training.steps, record.selection.get("planned")
    length = f"{training.epochs} epochs" if steps is None else f"{steps} steps"
    length += f" of {planned}" if planned not in (None, steps) else ""
    length = "nothing trained" if spec.shots == NONE else length
    chosen = {**training.model_dump(), **(record.chosen or {}).get("training", {})}
    rates = [f"learning rate {chosen['learning_rate']:g}, of fresh parts {chosen['fresh_learning_rate']:g}"]
    parts = [f"model {spec.model}", f"seed {spec.seed}", length, *rates, f"batch size {training.batch_size}"]
    settings = ", ".join(f"{name}={value}" for name, value in sorted(record.method_config.items()))
    words = ", ".join([*parts, f"precision {spec.precision}"])
    return [words, f"settings of {spec.method}: {settings or 'none'}"]


def _learnt_in_words(record: Record) -> list[str]:
    """What training did: the metric before it, how far parts moved, what was read, whether it converged."""
    learnt, lines = record.learnt, []
    for language, value in learnt.get("before training", {}).items():
        if language != "rows":
            rows = f"{learnt['before training'].get('rows', 0):.0f} test rows"
            lines.append(f"before training: {record.metric} {percent(value)} in {language} ({rows})")
    moved = [f"{part} {100 * share:.3g} %" for part, share in learnt.get("movement", {}).items()]
    lines += [f"moved, of its norm: {', '.join(moved)}"] if moved else []
    facts = [f"{name} seen {number:,.0f}" for name, number in learnt.get("rows seen", {}).items()]
    measures: dict[str, list[str]] = defaultdict(list)
    for name, value in learnt.get("measures", {}).items():
        measured, _, of = name.rpartition(", ")
        measures[measured].append(f"{of} {value:.2f}")
    facts += [": ".join(filter(None, (measured, ", ".join(values)))) for measured, values in measures.items()]
    lines += facts
    if record.selection.get("converged") is False:
        lines.append("not converged: the last checkpoint of the budget was chosen, and dev was still improving")
    return lines


def _costs_in_words(costs: Mapping[str, float], seconds: float) -> list[str]:
    """What a run cost, in three lines: time, work, memory. What the record does not say is left out."""
    texts = {head: text for head, text in costs_of([costs]).items() if text != "–"}
    stages = ("set-up", "training", "dev", "test")
    times = [f"{stage} {texts[f'{stage} s']} s" for stage in stages if f"{stage} s" in texts]
    times += [f"{texts['test rows/s']} test rows/s"] if "test rows/s" in texts else []
    work = [f"{stage} {texts[f'{stage} TFLOP']} TFLOP" for stage in stages if f"{stage} TFLOP" in texts]
    work += [f"energy {texts['energy kJ']} kJ"] if "energy kJ" in texts else []
    sizes = [f"{texts[name]} {name}" for name in ("trainable parameters", "all parameters") if name in texts]
    sizes += [f"{name} {texts[f'{name} MiB']} MiB" for name in ("stored", "peak memory") if f"{name} MiB" in texts]
    return [", ".join(part) for part in ([*times, f"{seconds:.1f} s in all"], work, sizes) if part]


def table_of(title: str, head: list[str], rows: list[list[str]]) -> Table:
    """A plain table; numbers right, the names of the first column left and always whole: the others wrap."""
    table = Table(title=safe(title))
    longest = max((cell_len(safe(row[0]).plain) for row in rows), default=None)
    table.add_column(safe(head[0]), min_width=longest, overflow="fold")
    for name in head[1:]:
        table.add_column(safe(name), justify="right", overflow="fold")
    for row in rows:
        table.add_row(*(safe(value) for value in row))
    return table


def show_plan(suite: Suite, runs: Path | str, within: float | None = None) -> None:
    """What a suite can show, for each number of shots: from the records in `runs`, or from what is assumed; and the
    best design for `within` so many hours."""
    store = store_at(runs)
    outlooks = outlook(suite, store)
    rows = []
    for by_shots in outlooks:
        smallest = by_shots.power.smallest
        shown = "nothing" if smallest is None or smallest >= 1 else points(smallest)
        if shown != "nothing" and by_shots.power.low is not None:
            shown += f" ({points(by_shots.power.low)}–{points(min(1.0, by_shots.power.high or 1.0))})"
        draws = (f"> {MOST_DRAWS}" if number is None else str(number) for number in by_shots.power.draws_for.values())
        hours = "–" if by_shots.seconds is None else f"{by_shots.seconds / 3600:.1f}"
        rows.append([str(written(by_shots.shots)), shown, *draws, hours, by_shots.basis])
    head = ["shots", "shows", *(f"draws for {100 * step:.0f}" for step in POINTS), "hours", "variances"]
    asked = f"{count(suite.draws, 'draw')}, {count(suite.seeds, 'seed')}, {count(outlooks[0].power.units, 'unit')}"
    out.print(table_of(f"{suite.name}: {count(len(suite.methods), 'method')}, {asked}", head, rows))
    show(*_plan_in_words(suite, outlooks))
    if within is not None:
        designs = best_design(suite, store, within)
        show(*(f"{in_words(design.shots)}: {_design_in_words(design)}" for design in designs))
        parts = ", in equal parts for each number of shots" if len(designs) > 1 else ""
        show(
            f"within {within:g} hours{parts}: fewer checkpoints take less time, and what they change in the state that "
            "is chosen is not counted"
        )
        if any(design.test_design == "sharded" for design in designs):
            show("sharded: each test unit in one language alone, so that a gap would compare different units")


def _design_in_words(design: Design) -> str:
    """What a design shows, in how long, and the options that ask for it."""
    shown = "nothing" if design.smallest >= 1 else f"{points(design.smallest)} points"
    return (
        f"{design.draws} draws and {count(design.units, 'test unit')} ({design.test_design}) show {shown} in "
        f"{design.hours:.1f} hours: --draws {design.draws} --test-units {design.units} --test-design "
        f"{design.test_design} --checkpoints {design.checkpoints}"
    )


def _plan_in_words(suite: Suite, outlooks: Sequence[Outlook]) -> list[str]:
    """What the columns of a plan mean, and which budgets are short."""
    pairs = "a declared primary contrast" if suite.analysis.primary else "two methods"
    corrected = "" if suite.analysis.primary else ", corrected over the pairs"
    sentences = [
        f"shows: the smallest difference of {pairs}, in points, that four such tables in five would show{corrected}; "
        "in brackets its 95 % interval, for variances are estimated too",
        "draws for 1, 2, 3: the draws that it takes to show so many points",
        "hours: of computing if no patience ends a run early, by the median of what records took for a step, a row and "
        "a set-up; – where a method has no record, or all shots are asked for without --steps",
    ]
    if any(by_shots.basis == ASSUMED for by_shots in outlooks):
        sentences.append(f"{ASSUMED}: {DEFAULT_PARTS.notes[0]}")
    return [*sentences, *(f"{in_words(one.shots)}: {one.warning}" for one in outlooks if one.warning)]


def show_mismatches(groups: Sequence[Group]) -> None:
    """Groups that may share no table: what each holds, and every field that differs, value by value."""
    for number, matched in enumerate(groups, 1):
        methods = ", ".join(dict.fromkeys(line.method for table in matched.tables for line in table.lines))
        show(f"group {number}: {matched.title}, {count(len(matched.records), 'record')}; {methods}")
    rows = [
        [field, value, ", ".join(map(str, numbers)), str(records)]
        for field, value, numbers, records in mismatches(groups)
    ]
    out.print(table_of("what differs", ["field", "value", "in groups", "records"], rows))


def show_board(results: list[Result], picture: Path | None = None) -> None:
    """Results as a board: a table for each number of shots, best mean first, and what their predictions show of it in
    words; also as an SVG, where asked."""
    drawn = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    groups = group(results)
    for matched in groups:
        show(*(f"{sentence}." for sentence in tuning(matched)))
        for table in matched.tables:
            shots = in_words(table.shots, table.per_class)
            scores = table_of(f"{matched.title}, {shots}", *score_rows(table))
            sentences = [f"{sentence}." for sentence in findings(table)]
            out.print(scores)
            drawn.print(scores, *map(safe, sentences), sep="\n")
            show(*sentences, *(f"{sentence}." for sentence in table.diverged))
            show(*(f"left out: {sentence}" for sentence in table.left_out))
    show(*filter(None, [apart(groups)]))
    if picture is not None:
        replace_file(picture, drawn.export_svg(title="xlbench").encode())
        show(f"wrote {picture}")
