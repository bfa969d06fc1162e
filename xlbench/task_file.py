"""A task in a TOML file: a user's own data without a line of code.

What TableTask says in a class stands here in fields of the same names. `xlbench new task` writes such a file.
"""

import string
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from xlbench.host.safe_reading import read_toml
from xlbench.metric import METRICS
from xlbench.problem import KINDS, MultipleChoice, Problem
from xlbench.registry import register_task
from xlbench.spec import Frozen, parse
from xlbench.table_task import TableTask

TASK_BYTES = 1024 * 2**10


class TaskFile(Frozen):
    """The fields of a task's file."""

    name: str = Field(description="the task's name: letters and digits joined by -")
    description: str = Field("", description="what the task is, in a sentence or more")
    version: str = Field("1", description="raise it when the data change")
    kind: Literal["classification", "multiple-choice", "token-labelling"] = Field(
        "classification", description="one label a row; one of a row's own choices; a tag for each word"
    )
    labels: tuple[str, ...] = Field((), description="the labels, or the tags, by name")
    metrics: tuple[str, ...] = Field((), description="the first selects and ranks, as macro-F1; none: accuracy")
    source: str = Field("en", description="the language of the shots")
    languages: tuple[str, ...] = Field(min_length=1, description="all languages, the source's too")
    tested: tuple[str, ...] = Field((), description="the languages of a test that names none; none: all")
    fields: tuple[str, ...] = Field(("text",), min_length=1, description="what a row's texts are called in templates")

    dataset: str = Field("", description="a dataset's id on the hub")
    revision: str | None = Field(None, description="a commit or branch of the hub's")
    config: str = Field("{language}", description="the dataset's configuration of a language")
    files: str = Field("", description="or files, beside this one: a pattern, as {language}/{split}.csv")
    codes: dict[str, str] = Field({}, description="language → how files or the dataset write it, where that differs")
    split_names: dict[Literal["train", "validation", "test"], str] = Field(
        {}, description="split → its name there; splits of one name divide its units 3 : 1 : 1"
    )
    columns: dict[str, str] = Field({}, description="field → column, where that differs")
    label_column: str = Field("label", description="the column of labels, tags or right choices")
    label_values: dict[str, str] = Field({}, description="a value in the file, as text → the label that it means")
    key: tuple[str, ...] = Field((), description="columns that name a row alike in every language")
    aligned: bool = Field(True, description="whether rows of one key, or of one place, are translations")
    unit: str = Field("row", description="the word for what statistics resample: a row, a premise, a document")
    unit_column: str = Field("", description="the column that names a row's unit; none: each row is one")
    units_by: str = Field("", description="or: rows with one text of this field are a unit")
    phenomenon_column: str = Field("", description="a column that says what a row tests")
    language_column: str = Field("", description="a column that names a row's language, where a file has several")
    choice_columns: tuple[str, ...] = Field((), description="of choices: a column each, or one with a list of them")
    first_choice: int = Field(0, ge=0, le=1, description="the number of the first choice in the label column")
    drop_blank: bool = Field(False, description="leave rows with an empty text out, in place of refusing them")
    only_labels: bool = Field(False, description="leave rows with other labels out, in place of refusing them")
    shared_keys_only: bool = Field(False, description="keep the rows that all languages have")
    recurring: Literal["drop", "refuse"] = Field("drop", description="rows to draw from that stand in the test, too")
    rare: Literal["all", "refuse"] = Field("all", description="a class with fewer rows than shots")
    rows_from: dict[str, str] = Field({}, description="language → a registered task whose source rows are its rows")
    order_of: str = Field("", description="a registered task whose rows these are, one by one, in translation")

    templates: dict[str, dict[str, str]] = Field({}, description="name → language → template; none: general ones")
    label_words: dict[str, tuple[str, ...]] = Field({}, description="language → a word a label; none: the labels")
    parallel: str | None = Field(None, description="the parallel corpus that methods take, where none is named")
    license: str = Field("not given", description="the data's licence")
    citation: str = Field("not given", description="whom to cite")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if bool(self.dataset) == bool(self.files):
            raise ValueError("give either dataset (an id on the hub) or files (a pattern)")
        for what, names in (("source", [self.source]), ("tested", self.tested), ("codes", self.codes)):
            if odd := [name for name in names if name not in self.languages]:
                raise ValueError(
                    f"{what} names {odd[0]!r}, which is none of the languages ({', '.join(self.languages)})"
                )
        if self.kind == "multiple-choice":
            if not self.choice_columns:
                raise ValueError("a multiple-choice task needs choice_columns")
        elif len(set(self.labels)) < 2 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels are {list(self.labels)}: a {self.kind} task needs two or more, each once")
        if odd := [label for label in self.label_values.values() if label not in self.labels]:
            raise ValueError(f"label_values has {odd[0]!r}, which is none of the labels ({', '.join(self.labels)})")
        if odd := [metric for metric in self.metrics if metric not in METRICS]:
            raise ValueError(f"metrics has {odd[0]!r}; known: {', '.join(METRICS)}")
        if odd := [field for field in self.columns if field not in self.fields]:
            raise ValueError(
                f"columns names the field {odd[0]!r}, which is none of the fields ({', '.join(self.fields)})"
            )
        for pattern, known in ((self.files, {"language", "split"}), (self.config, {"language"})):
            holes = {hole for _, hole, _, _ in string.Formatter().parse(pattern) if hole is not None}
            if holes - known:
                raise ValueError(
                    f"{pattern!r} has the hole {{{(holes - known).pop()}}}; known: {', '.join(sorted(known))}"
                )
        return self

    @property
    def problem(self) -> Problem:
        """What the task asks."""
        if self.kind == "multiple-choice":
            most = len(self.choice_columns) if len(self.choice_columns) > 1 else 0
            return MultipleChoice(metrics=self.metrics or ("accuracy",), most=most)
        return KINDS[self.kind](self.labels, *([self.metrics] if self.metrics else []))


def task_of(file: Path) -> type[TableTask]:
    """The task of a TOML file, registered by its name. Raises XlbenchError for a file that is missing or mistaken."""
    place = f"the task {file}"
    said = parse(TaskFile, {"name": file.stem, **read_toml(file, TASK_BYTES, place)}, place)
    return register_task(said.name)(_class_of(said, file))


def _class_of(said: TaskFile, file: Path) -> type[TableTask]:
    apart = {"name", "description", "kind", "labels", "metrics"}
    members: dict[str, Any] = {name: getattr(said, name) for name in TaskFile.model_fields if name not in apart}
    if not said.label_values:
        members["label_values"] = None
    members |= {"problem": said.problem, "folder": file.parent, "place": str(file)}
    members["__module__"] = "own_task"  # no module of ours: it comes and goes like a plug-in's
    members["__doc__"] = said.description or f"A task of {file.name}."
    return type(f"Task of {file.name}", (TableTask,), members)
