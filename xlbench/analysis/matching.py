"""Records → groups and tables that may be compared.

Records that differ in anything that a comparison must hold equal never share a table (`matched_key`); within a table
each method has its own draws and seeds.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from operator import attrgetter
from statistics import fmean
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from xlbench.errors import XlbenchError
from xlbench.host.plain_text import flat
from xlbench.problem import problem_of
from xlbench.records.index import Result
from xlbench.records.predictions import Summary
from xlbench.records.record import Record
from xlbench.records.vetting import IDENTITY
from xlbench.spec import AXES, RunSpec, Suite, by_shots, digest

MATCHED = "matched"  # the protocol under which all methods are trained alike
Shown = TypeVar("Shown")
Made = TypeVar("Made")
Cell = tuple[int, int, str]  # draw, seed, digest of the shots
MAY_DIFFER = (*AXES, "resources")  # in records of one table
shared_fields = attrgetter(*(name for name in RunSpec.model_fields if name not in MAY_DIFFER))
VERSIONS = ("xlbench", "torch", "transformers")  # of what numbers may depend on, though no record's hash does


@dataclass(frozen=True)
class Line:
    """One method of one table: its name, and its results by draw, seed and shots."""

    method: str
    results: Mapping[Cell, Result]

    @cached_property
    def records(self) -> Mapping[Cell, Record]:
        return {cell: result.record for cell, result in self.results.items()}

    @cached_property
    def languages(self) -> frozenset[str]:
        """Those that any of its records was tested in."""
        tested = {tuple(record.by_language) for record in self.records.values()}
        return frozenset(name for names in tested for name in names)

    def mean(self, value: Callable[[Record], float]) -> float:
        """The mean of a value over draws, that of a draw being the mean over its seeds."""
        by_draw: dict[tuple[int, str], list[float]] = defaultdict(list)
        for (draw, _, shots), record in self.records.items():
            by_draw[draw, shots].append(value(record))
        return fmean(fmean(of_draw) for of_draw in by_draw.values())


def once(make: Callable[[Shown], Made]) -> Callable[[Shown], Made]:
    """Decorator: what a function makes of a table or a group is kept as long as it, for all who show it."""

    made: WeakKeyDictionary[Shown, Made] = WeakKeyDictionary()

    @wraps(make)
    def of(shown: Shown) -> Made:
        if shown not in made:
            made[shown] = make(shown)
        return made[shown]

    return of


@dataclass(frozen=True, eq=False)
class Table:
    """The records that one table may compare: all equal but for method, draw and seed.

    `of_tables`: how many tables its group has, over which its findings are corrected too.
    """

    shots: int
    lines: tuple[Line, ...]
    left_out: tuple[str, ...]
    of_tables: int = 1

    @property
    def first(self) -> Record:
        """A record of the table, to ask what all of them share."""
        return next(iter(self.lines[0].records.values()))

    @property
    def metric(self) -> str:
        """The metric that ranks and is shown."""
        return self.first.metric

    @property
    def oracle(self) -> bool:
        """Whether checkpoints were chosen on target labels."""
        return self.first.spec.oracle

    @property
    def diverged(self) -> list[str]:
        """Which methods diverged how often, in sentences."""
        counts = {line.method: [run.status == "failed" for run in self.runs(line)] for line in self.lines}
        return [
            f"{method} diverged in {sum(failed)} of {len(failed)} runs, which count as the best constant answer"
            for method, failed in counts.items()
            if any(failed)
        ]

    @cached_property
    def not_converged(self) -> dict[str, tuple[int, int]]:
        """Method → how many runs chose the last checkpoint while dev still improved, of how many of which that is
        known; methods of which none did are left out."""
        counts = {}
        for line in self.lines:
            known = [run.converged for run in self.runs(line) if run.converged is not None]
            if not all(known):
                counts[line.method] = known.count(False), len(known)
        return counts

    @property
    def unfinished(self) -> bool:
        """Whether so many runs had not converged that the table measures the budget: half of those of a method."""
        return any(2 * number >= known for number, known in self.not_converged.values())

    @property
    def per_class(self) -> str:
        """What is said after a number of shots: " per class", and nothing where K shots are K rows in all."""
        return "" if len(problem_of(self.first.problem).strata()) == 1 else " per class"

    def runs(self, line: Line) -> list[Record]:
        """A method's records, draw by draw."""
        return [line.records[cell] for cell in sorted(line.records)]

    @cached_property
    def by_language(self) -> Mapping[str, Mapping[str, float]]:
        """Per method and language the metric's mean over a method's draws, seeds averaged within a draw, as shares of
        1. A language that one of a method's runs was not tested in is left out of that method."""
        means = {}
        for line in self.lines:
            runs = [record.by_language for record in self.runs(line)]
            everywhere = [name for name in (runs[0] if runs else ()) if all(name in run for run in runs)]
            means[line.method] = {name: line.mean(partial(_in_language, name)) for name in everywhere}
        return means

    @cached_property
    def by_mean(self) -> tuple[Line, ...]:
        """Methods by the metric's mean, best first; ties by name, and the oracle's by name alone."""
        if self.oracle:
            return tuple(sorted(self.lines, key=lambda line: line.method))
        means = {line.method: line.mean(lambda record: record.mean) for line in self.lines}
        return tuple(sorted(self.lines, key=lambda line: (-means[line.method], line.method)))


@dataclass(frozen=True, eq=False)
class Group:
    """Tables that differ in the number of shots alone, and what all their records share.

    `suites`: those that were kept beside the records with their declared analyses, of this group or of others.
    """

    key: dict[str, Any]
    tables: tuple[Table, ...]
    suites: tuple[Suite, ...] = ()

    @property
    def metric(self) -> str:
        return self.tables[0].metric

    @property
    def title(self) -> str:
        """Task and model, and the languages of the shots where they are not the task's own."""
        source = f", shots in {', '.join(self.key['source'])}" if self.key.get("source") else ""
        return f"{self.key['task']} on {self.key['model']}{source}"

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """Its records, table by table and line by line."""
        return tuple(record for table in self.tables for line in table.lines for record in line.records.values())

    @property
    def oracle(self) -> bool:
        """Whether checkpoints were chosen on target labels."""
        return self.tables[0].oracle


def matched_key(record: Record) -> dict[str, Any]:
    """What records must share to be compared: all of the spec but method, config, shots, draw and seed, and
    the identity of the task, the test rows, the weights and the protocol. `trials` stands in it where it is not 1."""
    spec = record.spec.model_dump(mode="json")
    for axis in MAY_DIFFER:
        del spec[axis]
    if record.spec.protocol != MATCHED:  # each method as its source trains it
        spec["training"] = f"as {record.spec.protocol}"
        spec["selection"] = spec["selection"] if record.spec.oracle else f"as {record.spec.protocol}"
    identity = {name: record.identity[name] for name in IDENTITY}
    translated = {"translations of the shots": "read in training"} if _translated(record) else {}
    made_of = {"combined": combined_in_words(record)} if record.combined else {}
    return {**spec, **translated, **made_of, **identity}


def combined_in_words(record: Record) -> str:
    """How a record was made of how many others; empty for a run of its own."""
    return f"{record.combined['how']} of {len(record.combined['runs'])} runs" if record.combined else ""


def _translated(record: Record) -> bool:
    """Whether the method itself read translations of the shots: it shares no table with those that had none."""
    return "translations" in record.spec.resources


def _in_language(language: str, record: Record) -> float:
    return record.by_language[language]


def matched(record: Record) -> Hashable:
    """What is equal where, and only where, `matched_key` is; sooner had."""
    identity = (_translated(record), combined_in_words(record), *(record.identity[name] for name in IDENTITY))
    if record.spec.protocol != MATCHED:
        return digest(matched_key(record)), *identity
    return *shared_fields(record.spec), *identity


def method_label(record: Record, with_corpus: bool = False) -> str:
    """A method as the board names it: its name, with the settings that differ from its defaults, and with the
    parallel corpus that it learned from, where it needs one."""
    settings = [record.spec.settings] if record.spec.settings else []
    if with_corpus and "parallel" in record.spec.resources:
        settings.append("parallel={}, {} pairs".format(*parallel_of(record)))
    if record.combined:
        settings.append(", ".join(filter(None, [combined_in_words(record), str(record.combined.get("rule", ""))])))
    return record.spec.method + (f" ({', '.join(settings)})" if settings else "")


def parallel_of(record: Record) -> tuple[str, int]:
    """The parallel corpus that a record's method learned from and how many pairs of it; empty and 0 for none."""
    settings = record.spec.resources.get("parallel", {})
    return str(settings.get("corpus") or ""), int(settings.get("size") or 0)


def group(results: Iterable[Result], diverged: Iterable[Record] = (), suites: Iterable[Suite] = ()) -> list[Group]:
    """Results as groups of tables, in a fixed order. Of failed records those that `diverged` count as the best constant
    answer, where a table has results of the same rows; others are left out. Raises where no result is left."""
    by_key: dict[Hashable, list[Result]] = defaultdict(list)
    for result in results:
        if result.record.status == "finished":
            by_key[matched(result.record)].append(result)
    if not by_key:
        raise XlbenchError("there is no finished record to make a board of; run something first")
    for record in diverged:
        alike = by_key.get(matched(record), []) if all(name in record.identity for name in IDENTITY) else []
        beside = next((one for one in alike if one.summary and one.record.spec.shots == record.spec.shots), None)
        if beside is not None:
            alike.append(_constant(record, beside))
    groups, kept = [], tuple(suites)
    for alike in by_key.values():
        by_number: dict[int, list[Result]] = defaultdict(list)
        for result in alike:
            by_number[result.record.spec.shots].append(result)
        tables = tuple(_table(shots, by_number[shots], len(by_number)) for shots in sorted(by_number, key=by_shots))
        groups.append(Group(matched_key(alike[0].record), tables, kept))
    return sorted(groups, key=lambda group: (group.key["task"], group.key["model"], digest(group.key)))


def _constant(diverged: Record, beside: Result) -> Result:
    """A run that diverged, as a result: what the best constant answer scores on the test rows of another."""
    other, summary = beside.record, beside.summary
    if summary is None:
        raise XlbenchError(f"the predictions of record {other.id} were not read")
    chance = float(summary.chance.mean())
    scores = {other.metric: dict.fromkeys(other.by_language, chance)}
    facts = {name: getattr(other, name) for name in ("problem", "metric", "unit", "aligned", "test", "source_language")}
    record = diverged.model_copy(update={**facts, "scores": scores})
    return Result(record, Summary(scores, summary.chance, summary.chance, summary.test))


class NotMatched(XlbenchError):  # noqa: N818 - as NotSupported: what was found, not what went wrong
    """Records that were to stand in one table, and may not; `groups` are those that may."""

    def __init__(self, groups: Sequence[Group]) -> None:
        super().__init__(
            f"the records make {len(groups)} groups that may share no table; compare those of one group, or run again "
            "what differs"
        )
        self.groups = tuple(groups)


class Mismatch(NamedTuple):
    """A field that must be equal and is not, and one of the values that it has.

    `groups` are the numbers of those that have the value, from 1; `records` is how many records they hold.
    """

    field: str
    value: str
    groups: tuple[int, ...]
    records: int


def alike_but(groups: Iterable[Group], names: Collection[str]) -> dict[str, list[Group]]:
    """Groups whose keys are the same but for what is named, in their order, by a digest of what they share."""
    families: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        families[digest({name: value for name, value in group.key.items() if name not in names})].append(group)
    return families


def mismatches(groups: Sequence[Group]) -> list[Mismatch]:
    """Why groups share no table: each field that differs between them, value by value."""
    keys = [flat(group.key, lambda value: ", ".join(map(str, value if isinstance(value, list) else [value])))
            for group in groups]  # fmt: skip
    rows = []
    for field in dict.fromkeys(name for key in keys for name in key):
        values = [key.get(field, "–") for key in keys]
        for value in dict.fromkeys(values) if len(set(values)) > 1 else ():
            numbers = tuple(number for number, other in enumerate(values, 1) if other == value)
            rows.append(Mismatch(field, value, numbers, sum(len(groups[number - 1].records) for number in numbers)))
    return rows


def apart(groups: Sequence[Group]) -> str | None:
    """That there are several groups, and how to see why, in a sentence; None for a single one."""
    if len(groups) == 1:
        return None
    return (
        f"the records make {len(groups)} groups that may share no table; `xlbench leaderboard --together` prints "
        "what differs between them"
    )


def _table(shots: int, results: Sequence[Result], of_tables: int) -> Table:
    lines: dict[str, dict[Cell, Result]] = defaultdict(dict)
    left_out = []
    corpora = {parallel_of(result.record) for result in results} - {("", 0)}
    in_order = ("spec.draw", "spec.seed", "started", "id")
    for result in sorted(results, key=lambda result: attrgetter(*in_order)(result.record)):
        record = result.record
        cell = (record.spec.draw, record.spec.seed, record.identity.get("shots", ""))
        label = method_label(record, with_corpus=len(corpora) > 1)
        if cell in lines[label]:
            left_out.append(
                f"{label}, draw {cell[0]}, seed {cell[1]}: record {lines[label][cell].record.id} is superseded by "
                f"{record.id} (the method's source or data changed)"
            )
        lines[label][cell] = result
    by_name = tuple(Line(label, lines[label]) for label in sorted(lines))
    return Table(shots, by_name, tuple(left_out), of_tables)


def drift(records: Iterable[Record], here: Mapping[str, str]) -> str | None:
    """Which of `VERSIONS` some records were made with others of than are `here`, and how many; None for none."""
    differing = [
        {name: version for name, version in record.versions.items() if name in VERSIONS and version != here.get(name)}
        for record in records
    ]
    number = sum(map(bool, differing))
    if not number:
        return None
    others = {name: sorted({versions[name] for versions in differing if name in versions}) for name in VERSIONS}
    words = ", ".join(f"{name} {', '.join(values)} (here {here[name]})" for name, values in others.items() if values)
    return (
        f"of the {len(differing)} records done, {number} were made with other versions: {words}; a table of both says "
        "so under Mixed, and --runs with another folder keeps them apart"
    )


def several_versions(table: Table) -> list[str]:
    """Of which of `VERSIONS` a table's runs have several, and which methods ran with each, in sentences."""
    sentences = []
    for name in VERSIONS:
        methods: dict[str, set[str]] = defaultdict(set)
        for line in table.lines:
            for record in table.runs(line):
                methods[record.versions.get(name, "unknown")].add(line.method)
        if len(methods) > 1:
            words = "; ".join(f"{version}: {', '.join(sorted(names))}" for version, names in sorted(methods.items()))
            sentences.append(f"Mixed: the runs of this table are of {len(methods)} versions of {name} ({words})")
    return sentences


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean; None where any is missing, or there is none."""
    every = list(values)
    present = [value for value in every if value is not None]
    return fmean(present) if present and len(present) == len(every) else None
