"""Groups of records → the board: markdown, deterministic, from records alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from xlbench.errors import XlbenchError
from xlbench.evidence import Evidence, points, weigh
from xlbench.matching import ORACLE, Group, Table, by_mean, mean_of
from xlbench.premises import Unit
from xlbench.statistics import Interval
from xlbench.store import Record, Store, replace_file

NOTHING_COMMON = "No draw and seed is common to all methods; nothing to compare"
ORACLE_WORDS = (
    "checkpoints were chosen on target-language labels, which few-shot transfer does not have. "
    "A ceiling, not a result: never ranked, and in no table with the others."
)


@dataclass(frozen=True)
class Grid:
    """A table of the board as text, nothing escaped; the first column names a row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = Grid | tuple[str, ...]  # or sentences, without their full stops


def write(groups: Sequence[Group], store: Store, out: Path) -> Path:
    """Write `out/README.md` from groups of the records in `store`; the same records give the same bytes.

    A file `out/ABOUT.md`, where there is one, stands above the tables. Raises XlbenchError.
    """
    words = about(out)
    text = "# Leaderboard\n\n" + (words + "\n\n" if words else "") + markdown(groups, store)
    return replace_file(out / "README.md", text.encode())


def about(out: Path) -> str:
    """What `out/ABOUT.md` says, where there is one."""
    file = out / "ABOUT.md"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def markdown(groups: Sequence[Group], store: Store) -> str:
    """The board's tables, group by group; `store` has the records' predictions."""
    parts = []
    for one in groups:
        parts += [f"## {escape(one.title, 500)}\n", f"{escape(shared(one), 2000)}.\n"]
        parts += [f"**Oracle**: {ORACLE_WORDS}\n"] if one.oracle else []
        for table in one.tables:
            parts.append(f"### {table.shots} shots per class\n")
            parts += [_block(block) + "\n" for block in blocks(table, store)]
        parts.append(_block(provenance(one)) + "\n")
    return "\n".join(parts).rstrip() + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Grid):
        return grid([escape(name) for name in block.head], [[escape(cell, 500) for cell in row] for row in block.rows])
    return " ".join(f"{escape(sentence, 2000)}." for sentence in block)


def blocks(table: Table, store: Store) -> list[Block]:
    """What the board says of a table, in its order; `store` has the records' predictions."""
    found: list[Block] = [(NOTHING_COMMON,)]
    if table.cells:
        found = [Grid("Scores", *score_rows(table)), *_evidence(table, store), _languages(table)]
        found += [*_phenomena(table), _costs(table)]
    return [*found, *((f"Left out: {sentence}",) for sentence in table.left_out)]


def shared(one: Group) -> str:
    """A line on what all records of a group share."""
    key = one.key
    records = _records(one)
    training = key["training"]
    budget = f"{training['steps']} steps" if training["steps"] else f"{training['epochs']} epochs"
    devices = sorted({f"{r.environment.get('device_name', '?')} ({r.environment.get('device', '?')})" for r in records})
    facts = [
        f"{len(records)} runs, {records[0].test['rows']:,} test predictions each "
        f"({records[0].test['premises']:,} premises in {len(key['languages'])} languages)",
        f"{budget} of {training['batch_size']} shots, learning rate {training['learning_rate']:g}, "
        f"selection {key['selection']}",
        f"tune {key['tune']}, precision {key['precision']}, backbone revision {key['revision']}",
        f"split {key['split']}" if key["split"] else "draws by xlbench",
        f"device {', '.join(devices)}",
        f"{sum(r.seconds for r in records) / 60:.0f} minutes of computing in all",
    ]
    return "; ".join(facts)


def provenance(one: Group) -> Grid:
    """Of what a group's records were made: versions, commits and dates, each as often as it differs."""
    records = _records(one)
    days = sorted({record.started[:10] for record in records if record.started})
    facts = {
        "records": {str(len(records))},
        "started": {days[0] if days[0] == days[-1] else f"{days[0]} – {days[-1]}"} if days else set(),
        "commit": {record.commit for record in records},
    }
    for name in sorted({name for record in records for name in record.versions}):
        facts[name] = {record.versions.get(name, "?") for record in records}
    rows = [[name, ", ".join(sorted(filter(None, values))) or "–"] for name, values in facts.items()]
    return Grid("Provenance", ["provenance", "of the records"], rows)


def _records(one: Group) -> list[Record]:
    return [record for table in one.tables for line in table.lines for record in line.records.values()]


def score_rows(table: Table) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the main table, best mean first; accuracies in percent."""
    draws, seeds = len({draw for draw, _, _ in table.cells}), len({seed for _, seed, _ in table.cells})
    rows = []
    for line in by_mean(table):
        records = [line.records[cell] for cell in table.cells]
        means = [record.mean for record in records]
        rows.append(
            [line.method, percent(fmean(means)), f"{percent(min(means))} – {percent(max(means))}",
             percent(mean_of(r.accuracy.get(r.source_language) for r in records)),
             percent(mean_of(r.target_mean for r in records)), percent(mean_of(r.transfer_gap for r in records)),
             f"{draws} × {seeds}"]
        )  # fmt: skip
    return [
        "method",
        "mean accuracy",
        "range of runs",
        "source",
        "target mean",
        "gap",
        "draws × seeds",
    ], rows


def evidence(table: Table, store: Store) -> Evidence:
    """What the predictions behind a table show. Raises XlbenchError where they cannot be read or compared."""
    runs = [
        (line.method, tuple((cell[:2], store.path(line.records[cell].id)) for cell in table.cells))
        for line in by_mean(table)
    ]
    seen = tuple(_seen(folder) for _, cells in runs for _, folder in cells)
    return _weighed(tuple(runs), table.first.unit, seen)


def _seen(folder: Path) -> tuple[int, ...]:
    """What tells a record's predictions from others that stand, or stood, under the same name."""
    try:
        file = (folder / "predictions.parquet").stat()
    except OSError:
        return ()
    return file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size


@lru_cache(maxsize=256)
def _weighed(runs: tuple[tuple[str, tuple[tuple[tuple[int, int], Path], ...]], ...], unit: Unit, _: object) -> Evidence:
    """`weigh`, once for all that shows it: the markdown, the page and the figures."""
    return weigh({method: dict(cells) for method, cells in runs}, unit)


def findings(table: Table, store: Store) -> list[str]:
    """What the predictions behind a table show, in sentences; of the oracle's nothing, for it is never ranked."""
    if table.first.spec.selection == ORACLE:
        return []
    try:
        return evidence(table, store).words()
    except XlbenchError as fault:
        return [f"No intervals: {fault}"]


def _evidence(table: Table, store: Store) -> list[Block]:
    """What they say in words, intervals and places, the pairs, the variance parts; or why there are none."""
    if table.first.spec.selection == ORACLE:
        return []
    try:
        found = evidence(table, store)
    except XlbenchError as fault:
        return [(f"No intervals: {str(fault).replace(f'{store.root}/', '')}",)]
    scores = [
        [name, interval(one), str(found.places.get(name, "–")),
         f"{points(found.above[name].excess)} points, p {p_value(found.above[name].p)}"]
        for name, one in found.scores.items()
    ]  # fmt: skip
    pairs = [
        [f"{pair.first} − {pair.second}", points(pair.difference.estimate), interval(pair.difference),
         interval(pair.corrected), p_value(pair.corrected_p)]
        for pair in found.pairs
    ]  # fmt: skip
    parts = []
    for name, one in found.parts.items():
        shares = one.shares(found.draws, found.seeds, found.premises)
        parts.append([name, *("–" if share is None else f"{100 * share:.0f} %" for share in shares.values())])
    scope = next(iter(found.scores.values())).scope
    notes = dict.fromkeys(note.capitalize() for one in found.parts.values() for note in one.notes)
    grids = [Grid("Intervals and places", ["evidence", f"95 % interval ({scope})", "place", "above chance by"], scores)]
    if pairs:
        head = ["difference", "points", "95 % interval", "corrected (Holm)", "corrected p"]
        grids.append(Grid("Pairwise differences", head, pairs))
    grids.append(Grid("Variance parts", ["variance of the mean", "draw", "seed", "premises", "rest"], parts))
    return [(*found.words(), *notes), *grids]


def interval(one: Interval) -> str:
    """An interval in percent or points."""
    return f"{points(one.low)} – {points(one.high)}"


def p_value(p: float) -> str:
    """A p-value with three decimals, never shown as 0."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _languages(table: Table) -> Grid:
    languages = sorted({name for line in table.lines for record in line.records.values() for name in record.accuracy})
    rows = [
        [line.method, *(percent(mean_of(line.records[cell].accuracy.get(name) for cell in table.cells))
                        for name in languages)]
        for line in by_mean(table)
    ]  # fmt: skip
    return Grid("Accuracy by language", ["accuracy", *languages], rows)


def _phenomena(table: Table) -> list[Grid]:
    """Accuracy by what a row tests, mean over languages; none where the task names no phenomena."""
    kinds = sorted({kind for line in table.lines for record in line.records.values() for kind in record.phenomena})
    rows = []
    for line in by_mean(table):
        records = [line.records[cell] for cell in table.cells]
        rows.append(
            [line.method,
             *(percent(mean_of(mean_of(r.phenomena.get(kind, {}).values()) for r in records)) for kind in kinds)]
        )  # fmt: skip
    return [Grid("Accuracy by phenomenon", ["phenomenon", *kinds], rows)] if kinds else []


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
    return {head: "–" if mean is None else amount(mean / unit, form) for head, (mean, unit, form) in means.items()}


def amount(value: float, form: str) -> str:
    """A cost in a form; or with three digits, all of those before the point, and never an exponent."""
    if form != THREE_DIGITS:
        return format(value, form)
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def _costs(table: Table) -> Grid:
    """Mean costs of a run; no column of what no run of the table has, where that is nothing to wonder at."""
    lines = [(line.method, [line.records[cell].costs for cell in table.cells]) for line in by_mean(table)]
    there = {name for _, runs in lines for run in runs for name in run}
    shown = [head for head, name, _, _ in COSTS if name in there or name not in NOT_OF_ALL]
    rows = [[method, *(text for head, text in costs_of(runs).items() if head in shown)] for method, runs in lines]
    return Grid("Costs", ["cost", *shown], rows)


def percent(value: float | None) -> str:
    """An accuracy of 0 to 1 in percent with one decimal; a dash for none."""
    return "–" if value is None else points(value)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, first column left, others right."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join([" :-- ", *[" --: "] * (len(head) - 1)]) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def escape(text: object, longest: int = 200) -> str:
    """A text from a plug-in or record as it may stand in markdown: no markup, no HTML, one line, not endless."""
    kept = "".join(char if char.isprintable() else " " for char in str(text))[:longest]
    return kept.translate(MARKUP)


MARKUP = {ord(char): f"&#{ord(char)};" for char in "<>|"} | {ord(char): "\\" + char for char in "\\`*_{}[]#"}
