"""Task: what is asked, in which languages, how splits are read; the few-shot draw.

A task file is data: a subclass of Task (or of NLITask, xlbench.nli) that names its languages, problem and
columns and says how a split is read. Drawing, subsetting and vetting are done here, once, for all tasks.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal

from xlbench.corpora import Pair
from xlbench.errors import XlbenchError, unknown
from xlbench.host.plain_text import plain
from xlbench.language_codes import language_of
from xlbench.pools import FewShot as FewShot
from xlbench.pools import Pools, generator
from xlbench.pools import Row as Row
from xlbench.pools import SplitName as SplitName
from xlbench.problem import Classification, Problem, TokenLabelling, label_number
from xlbench.sources import DataSource, Table
from xlbench.spec import ALL, NONE, TestDesign
from xlbench.wording import template as template_of


class Untranslated(XlbenchError):  # noqa: N818 - as NotSupported: what is not there, and may be no mistake
    """A language to or from which a task has no translations."""


class Task:
    """The base of every task. A subclass sets the class variables and reads its splits in `rows`."""

    name: ClassVar[str]  # set by @register_task
    version: ClassVar[str] = "1"
    languages: ClassVar[tuple[str, ...]]
    tested: ClassVar[tuple[str, ...]] = ()  # the languages of a test for which none are named; none: all
    source: str = "en"  # the language of the shots, where a run names no other
    problem: ClassVar[Problem]  # what is asked; Classification(labels) where a class sets `labels` alone
    labels: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[tuple[str, ...]]  # names of a row's texts, as templates use them: premise, hypothesis
    templates: ClassVar[dict[str, dict[str, str]]] = {}  # template name → language → text
    label_words: ClassVar[dict[str, tuple[str, ...]]] = {}  # language → one word a label
    word_sets: ClassVar[dict[str, dict[str, tuple[str, ...]]]] = {}  # other sets of label words, by name
    splits: ClassVar[tuple[str, ...]] = ()  # names of published fixed few-shot splits
    parallel: ClassVar[str | None] = None  # the parallel corpus used when none is asked for
    unit: ClassVar[str] = "premise"  # the task's word for what statistics resample: a premise, a passage, a row
    units: ClassVar[int | None] = None  # in the test set, where that is known before it is read: for plans
    aligned: ClassVar[bool] = True  # rows of one id are translations of each other, in every split and language
    target_pool: ClassVar[SplitName] = "validation"  # where labelled rows of target languages are drawn from
    recurring: ClassVar[Literal["refuse", "drop"]] = "refuse"  # rows to draw from that share a sentence with the test
    rare: ClassVar[Literal["refuse", "all"]] = "refuse"  # a class with fewer rows than shots
    machine_translated: ClassVar[str] = ""  # who translated the train split, or the test to the source, if a machine
    license: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "problem" in vars(cls):
            cls.labels = cls.problem.labels
        elif "labels" in vars(cls):
            cls.problem = Classification(cls.labels)

    def __init__(self, sources: Sequence[str] = ()) -> None:
        """A task whose shots are in some languages: the first is `source`, whose template and words are the others'
        too. Raises XlbenchError for a language that it lacks."""
        if sources:
            self.check_languages(sources)
            self.source = sources[0]
        self.sources = tuple(sources) or (self.source,)

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        """All rows of a split in a language, row-aligned over languages. Raises XlbenchError."""
        raise NotImplementedError

    def reading_notes(self, split: SplitName, language: str, source: DataSource) -> tuple[str, ...]:
        """What a record says of how a split was read, in sentences: rows that were left out, say."""
        return ()

    def fixed_split(self, name: str, shots: int, source: DataSource) -> FewShot:
        """The rows of a published few-shot split named in `splits`."""
        raise unknown("split", name, self.splits, f"task {self.name}")

    def parallel_pairs(self, language: str, size: int, source: DataSource) -> list[Pair]:
        """Translated pairs of a corpus that the task itself brings, named like the task; none by default."""
        return []

    def translated(self, rows: Sequence[Row], language: str, source: DataSource) -> tuple[Row, ...]:
        """Train rows of the source language in another language, by id, where its train split holds them. Raises
        Untranslated where it does not."""
        if not self.aligned:
            raise Untranslated("its languages have rows of their own")
        try:
            return self._translated(rows, "train", language, source)
        except XlbenchError as fault:
            raise Untranslated(str(fault)) from fault

    def test_in_source(self, language: str, source: DataSource) -> Mapping[str, tuple[str, ...]]:
        """The texts of a language's test rows, translated to the source language, by row id; none by default. Raises
        Untranslated where there are none."""
        raise Untranslated("the task brings none; give a file with --translations")

    def template(self, name: str, language: str) -> str | None:
        """The text of a template; None where the task has none of this name and language.

        There are general ones (see xlbench.wording.template) for a task that brings no own of that name.
        """
        if name in self.templates:
            return self.templates[name].get(language)
        return template_of(name, self.problem.fields(self.fields), language)

    @property
    def words(self) -> Mapping[str, tuple[str, ...]]:
        """The label words by language; the labels' names, in the source language, where the task brings none."""
        words, short = self.label_words or {self.source: self.labels}, language_of(self.source)
        return words if self.source in words or short not in words else {**words, self.source: words[short]}

    def read(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        """`rows`, each vetted once a process. Raises XlbenchError naming task, split and row where one is odd."""
        return _read(type(self), split, language, source)  # type: ignore[arg-type]

    def check_languages(self, asked: Sequence[str] | None) -> tuple[str, ...]:
        """The languages asked for, all of the task's where none are named. Raises for one it lacks."""
        for language in asked or ():
            if language not in self.languages:
                languages = ", ".join(self.languages)
                raise XlbenchError(f"unknown language {language!r} for task {self.name}; it has {languages}")
        return tuple(asked) if asked else self.tested or self.languages

    def draw(
        self,
        shots: int,
        number: int,
        source: DataSource,
        split: str | None = None,
        target_shots: int = 0,
        targets: Sequence[str] = (),
        is_tested: Callable[[Row], bool] | None = None,
    ) -> FewShot:
        """`shots` rows a class for training and as many for dev; a function of (task, shots, number) alone.

        Train comes from each source language's train split and dev from its validation split, so the pools are
        disjoint. With `split`, a published fixed split is read instead and every number gives the same rows; with
        shots 0 (all), every row of both; with shots none, no row. With `target_shots`, so many rows a class of each
        target language come with them, of which no unit is in the dev rows. `is_tested` says whether a row shares a
        sentence with the test: a task that drops such rows draws the next ones in their place.
        """
        if split is not None:
            if split not in self.splits:
                raise unknown("split", split, self.splits, f"task {self.name}")
            if target_shots:
                raise XlbenchError(f"--split {split} is a published draw without target shots; leave one of them out")
            return self.fixed_split(split, shots, source)
        if shots == NONE:
            return FewShot((), ())
        pools = Pools(self, shots, number, source, is_tested if self.recurring == "drop" else None)
        target_train = self._target_train(pools, target_shots, targets) if target_shots else {}
        held_out = {row.unit for rows in target_train.values() for row in rows}
        if shots == ALL:
            train, dev = (self._all(name, source) for name in ("train", "validation"))
            dev = [row for row in dev if row.unit not in held_out]
            return FewShot(tuple(train), tuple(dev), target_train=target_train)
        drawn = [self._of_sources(pools, name, held_out) for name in ("train", "validation")]
        return FewShot(drawn[0], drawn[1], {}, target_train, sum(pools.tested), tuple(pools.notes))

    def _all(self, split: SplitName, source: DataSource) -> list[Row]:
        """Every row of a split in the source languages; those of the second and later with an id of their own."""
        return [
            row if language == self.source else replace(row, id=f"{row.id}@{language}")
            for language in self.sources
            for row in self.read(split, language, source)
        ]

    def _of_sources(self, pools: Pools, split: SplitName, without: Collection[str]) -> tuple[Row, ...]:
        """Rows a class of each source language, those of every one drawn for itself."""
        drawn: list[Row] = []
        for language in self.sources:
            own = () if language == self.source else (language,)
            for row in pools.drawn(split, language, (split, *own), without if split == "validation" else ()):
                drawn.append(replace(row, id=f"{row.id}@{language}") if own else row)
        return tuple(drawn)

    def target_dev(
        self, dev: Sequence[Row], languages: Sequence[str], source: DataSource
    ) -> dict[str, tuple[Row, ...]]:
        """The dev rows in other languages, by id. Raises XlbenchError where a language lacks one."""
        return {language: self._translated(dev, "validation", language, source) for language in languages}

    def test(self, language: str, source: DataSource, units: int | None = None) -> list[Row]:
        """The test rows of a language; with `units`, all rows of a fixed sample of that many units.

        The sample is drawn from the units' names alone, so it is the same in every language, method and run, and
        a larger sample contains every smaller one. Raises XlbenchError where there are fewer units.
        """
        rows = list(self.read("test", language, source))
        if not rows:
            raise XlbenchError(f"task {self.name} has no test rows in {language}")
        if units is None:
            return rows
        sample = set(self.in_fixed_order(rows, units, language))
        return [row for row in rows if row.unit in sample]

    def in_fixed_order(self, rows: Sequence[Row], units: int | None, language: str) -> list[str]:
        """The first `units` (none: all) of the rows' units, in an order that depends on their names alone."""
        names = list(dict.fromkeys(row.unit for row in rows))
        if units is not None and units > len(names):
            raise XlbenchError(
                f"--test-units {units} is more than the {len(names)} test units (each a {self.unit}) of task "
                f"{self.name} in {language}"
            )
        order = generator(self.name, "test premises").permutation(len(names))
        return [names[i] for i in order[:units]]

    def _target_train(self, pools: Pools, shots: int, targets: Sequence[str]) -> dict[str, tuple[Row, ...]]:
        """Rows a class of each target language: the first's, by id, or its own where it is not aligned with it."""
        if not targets:
            raise XlbenchError("--target-shots needs a test language other than the source language")
        pool, first, source = self.target_pool, targets[0], pools.source
        pools = replace(pools, shots=shots)
        rows = {name: self.read(pool, name, source) for name in targets}
        apart = {name for name in targets if not self.aligned or _apart(self, {first: rows[first], name: rows[name]})}
        drawn = pools.drawn(pool, first, ("target",))
        return {
            name: pools.drawn(pool, name, ("target", name))
            if name in apart
            else self._translated(drawn, pool, name, source)
            for name in targets
        }

    def _translated(self, rows: Sequence[Row], split: SplitName, language: str, source: DataSource) -> tuple[Row, ...]:
        by_id = {row.id: row for row in self.read(split, language, source)}
        missing = [row.id for row in rows if row.id not in by_id]
        if missing:
            raise XlbenchError(f"task {self.name} has no {split} row {missing[0]} in {language}")
        return tuple(by_id[row.id] for row in rows)


@cache
def _read(task_class: type[Task], split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
    task = task_class()
    rows = task.rows(split, language, source)
    rows = rows if isinstance(rows, Sequence) else tuple(rows)
    ids: set[str] = set()
    for number, row in enumerate(rows):
        fault = _fault(task, row, language, ids)
        if fault:
            name = plain(getattr(row, "id", None) or f"number {number}")
            raise XlbenchError(f"task {task.name}, {split} split in {language}, row {name}: {fault}")
        ids.add(row.id)
    return rows


def _fault(task: Task, row: Row, language: str, ids: Collection[str]) -> str:
    """What is wrong with a row, to be said after its place; empty where nothing is."""
    if not isinstance(row, Row):
        return f"it is a {type(row).__name__}, not an xlbench.task.Row"
    for what, value, wanted in (("id", row.id, 1), ("unit", row.unit, 1), ("phenomenon", row.phenomenon, 0)):
        if not isinstance(value, str) or len(value) < wanted:
            return f"its {what} is {value!r}, no name"
        if "\0" in value:
            return f"its {what} {value!r} has the character NUL, which is lost where names are compared; leave it out"
    if row.id in ids:
        return "its id is there twice; each row of a split has one of its own"
    if row.language != language:
        return f"it says that it is in {row.language!r}"
    labelled_words = isinstance(task.problem, TokenLabelling)
    for what, texts in (("texts", row.texts), ("choices", row.choices)):
        if not isinstance(texts, tuple | list):
            return f"its {what} are {texts!r}, not a tuple of texts"
    if len(row.texts) != len(task.fields) and not labelled_words:
        return f"it has {len(row.texts)} texts, and the task {len(task.fields)} fields ({', '.join(task.fields)})"
    for number, text in enumerate(row.texts):
        if not isinstance(text, str) or not text.strip():
            name = f"word {number}" if labelled_words else f"the {task.fields[number]}"
            return f"{name} is {'empty' if isinstance(text, str) else repr(text)}; repair or remove the row"
    if not row.texts:
        return "it has no text"
    try:
        "".join((row.id, row.unit, *row.texts, *map(str, row.choices))).encode()
    except UnicodeEncodeError as odd:
        return f"{odd.object[odd.start]!r} is half a character (a lone surrogate); repair or remove the row"
    return task.problem.fault(row.texts, row.gold, row.choices)


@dataclass(frozen=True)
class TestRows:
    """The test rows by language, and whether they are aligned: the same ids, units and answers in every language.

    Where they are not, languages have rows and units of their own, and a unit's name begins with its language.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name
    by_language: Mapping[str, Sequence[Row]]
    aligned: bool
    note: str = ""  # where a task says that it is aligned, and is not

    @classmethod
    def of(
        cls,
        task: Task,
        languages: Sequence[str],
        source: DataSource,
        units: int | None = None,
        design: TestDesign = "parallel",
    ) -> "TestRows":
        """The test rows of some languages. Raises XlbenchError for rows that are odd.

        parallel: in every language those of the same `units` (none: all). sharded: each unit in one language alone,
        dealt out in turn, `units` in all: the mean over languages then rests on so many units at the cost of one
        language; languages have units of their own, so that differences between languages are less sure.
        """
        sharded = design == "sharded"
        rows = {language: task.test(language, source, None if sharded else units) for language in languages}
        apart = _apart(task, rows) if task.aligned else ""
        if sharded:
            if apart or not task.aligned:
                raise XlbenchError(
                    f"--test-design sharded deals out units that all languages share, and the test rows of task "
                    f"{task.name} are not aligned{f': {apart}' if apart else ''}; leave it out: each language has "
                    "units of its own already"
                )
            rows = _dealt(task, rows, units)
        elif task.aligned and not apart:
            return cls(rows, True)
        own = {name: [replace(row, unit=f"{name}/{row.unit}") for row in side] for name, side in rows.items()}
        note = f"the test rows are not aligned over languages, each of which is tested on rows of its own: {apart}"
        return cls(own, False, note if apart else "")


def _dealt(task: Task, rows: Mapping[str, Sequence[Row]], units: int | None) -> dict[str, list[Row]]:
    """Aligned rows, each unit in one language: the first to the first, and so on in turn. Raises XlbenchError."""
    first = next(iter(rows))
    order = task.in_fixed_order(rows[first], units, first)
    if len(order) < 2 * len(rows):
        raise XlbenchError(
            f"--test-design sharded has {len(order)} test units for {len(rows)} languages, and each needs two; ask for "
            f"more --test-units, or for fewer --languages"
        )
    language_of = {unit: number % len(rows) for number, unit in enumerate(order)}
    return {
        language: [row for row in side if language_of.get(row.unit) == number]
        for number, (language, side) in enumerate(rows.items())
    }


def _apart(task: Task, rows: Mapping[str, Sequence[Row]]) -> str:
    """In what the rows of two languages differ, where they are not aligned; empty where they are."""
    first, ours = next(iter(rows.items()))
    translates = task.problem.translates
    facts = {row.id: (row.unit, row.gold if translates else None) for row in ours}
    for language, theirs in rows.items():
        if len(theirs) != len(ours):
            return f"{first} has {len(ours)} and {language} {len(theirs)}"
        for row in theirs:
            if facts.get(row.id) != (row.unit, row.gold if translates else None):
                what = "another answer or unit" if row.id in facts else "no counterpart"
                return f"row {row.id} of {language} has {what} in {first}"
    return ""


def rows_of(
    table: Table, fields: Sequence[str], labels: Sequence[str], language: str, ids: str, units: Sequence[str]
) -> list[Row]:
    """Rows of a table whose columns are `fields` and `label`; row i gets the id `ids-i` and unit `units[i]`.

    Raises XlbenchError naming file and row: an empty text, a label that is none of 0 … len(labels) - 1.
    """
    read = ((unit, *read_row(table, index, fields, labels)) for index, unit in enumerate(units))
    return [Row(f"{ids}-{index}", texts, label, language, unit) for index, (unit, texts, label) in enumerate(read)]


def read_row(table: Table, index: int, fields: Sequence[str], labels: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """The texts and the label of one row. Raises XlbenchError naming file and row."""
    texts, label = tuple(table.columns[name][index] for name in fields), table.columns["label"][index]
    for name, text in zip(fields, texts, strict=True):
        if not isinstance(text, str) or not text.strip():
            raise XlbenchError(f"{table.place}, row {index}: the {name} is empty; repair or remove the row")
    try:
        return texts, label_number(label, labels, table.class_names.get("label", ()))
    except ValueError as fault:
        raise XlbenchError(f"{table.place}, row {index}: {fault}") from fault
