"""Problem: what a task asks, how its answers are laid out, and by which metrics they are counted.

A problem says how shots are drawn, how logits become one distribution for each answer, and what stands in
predictions; the first metric selects, ranks and is shown. Nothing here imports torch; where a problem handles tensors,
it only asks them for what numpy arrays and tensors both have.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xlbench.errors import XlbenchError, unknown
from xlbench.metric import METRICS, Answers, Metric, answer_counts

LEAST = -100.0  # a log-probability below this counts as this in a loss: a label may score -inf


@dataclass(frozen=True)
class Problem:
    """The base of every kind of problem. `metrics` are names in METRICS; the first selects, ranks and is shown."""

    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)

    kind: ClassVar[str]
    rows_are_apart: ClassVar[bool] = True  # the loss of a batch is the mean over those of equal parts of it
    translates: ClassVar[bool] = True  # a row's answer is that of its translations

    def __post_init__(self) -> None:
        """Raises XlbenchError for a metric that there is not, or none, and for a label that is no text."""
        odd = [label for label in self.labels if not isinstance(label, str)]
        if odd:
            raise XlbenchError(
                f"a problem of {self.kind} has the label {odd[0]!r}, which is no text; name it, as 'true'"
            )
        for name in self.metrics or ("",):
            if name not in METRICS:
                raise unknown("metric", name, METRICS, f"a problem of {self.kind}")

    @property
    def metric(self) -> Metric:
        """The metric that selects, ranks and is shown."""
        return METRICS[self.metrics[0]]

    @property
    def outputs(self) -> int:
        """How many logits a method gives where an answer is read."""
        return len(self.labels)

    def fields(self, fields: Sequence[str]) -> tuple[str, ...]:
        """What a template's holes may name: the texts of a row."""
        return tuple(fields)

    def sentences(self, texts: Sequence[str]) -> tuple[str, ...]:
        """What a row's texts say, a sentence each, as the contamination guard compares them."""
        return tuple(texts)

    def fault(self, texts: Sequence[str], gold: Any, choices: Sequence[str]) -> str:
        """What is wrong with a row's answer or choices, to be said after its place; empty where nothing is."""
        raise NotImplementedError

    def in_words(self, gold: Any, choices: Sequence[str]) -> str:
        """A row's answer as a reader names it."""
        return self.labels[gold]

    def stratum(self, gold: Any) -> Hashable:
        """Of which class a row is when K a class are drawn."""
        raise NotImplementedError

    def strata(self) -> dict[Hashable, str]:
        """The classes of which K each are drawn, and what they are called."""
        raise NotImplementedError

    def arranged(self, logits: Any, batch: Any) -> Any:
        """A method's logits as one distribution for each answer of a batch, (…, alternatives)."""
        return logits

    def score_shape(self, batch: Any) -> tuple[int, ...]:
        """The shape of a batch's scores, as `Method.score` must give them."""
        return batch.rows, len(self.labels)

    def logit_shapes(self, batch: Any) -> tuple[tuple[int, ...], ...]:
        """The shapes that a batch's logits may have, as `Method.logits` must give them."""
        return (self.score_shape(batch),)

    def where_read(self, log_probs: Any, batch: Any) -> Any:
        """Log-probabilities with -inf where nothing was read."""
        return log_probs

    def answers(self, scores: np.ndarray) -> Answers:
        """The answer of each row, from log-probabilities, (rows, alternatives). Where all are -inf it is -1, none."""
        return np.where(np.isfinite(scores.max(axis=-1)), scores.argmax(axis=-1), -1)

    def label_array(self, gold: Sequence[Any], width: int) -> NDArray[np.int64]:
        """Gold answers as a batch holds them, (rows,)."""
        return np.array(gold, dtype=np.int64)

    def loss(self, scores: np.ndarray, gold: Sequence[Any]) -> float:
        """Mean of -log-probability of the gold answers, each at most 100."""
        return -float(np.maximum(scores[np.arange(len(scores)), list(gold)], LEAST).mean())

    def scores(self, gold: Sequence[Any], scores: np.ndarray) -> dict[str, float]:
        """Every metric of some rows, by its name, from their gold answers and log-probabilities."""
        asked, given = self.as_answers(gold), self.given(gold, scores)
        return {name: METRICS[name].value(METRICS[name].credits(asked, given, self.labels)) for name in self.metrics}

    def scores_by_language(
        self, gold: Mapping[str, Sequence[Any]], scores: Mapping[str, np.ndarray]
    ) -> dict[str, dict[str, float]]:
        """Metric → language → value, of gold answers and what is said of them, by language."""
        found: dict[str, dict[str, float]] = {name: {} for name in self.metrics}
        for language, own in gold.items():
            for name, value in self.scores(own, scores[language]).items():
                found[name][language] = value
        return found

    def given(self, gold: Sequence[Any], scores: np.ndarray) -> Answers:
        """The answers of rows, as many of each as `gold` has."""
        return self.answers(scores)

    def as_answers(self, gold: Sequence[Any]) -> Answers:
        """Gold answers in the form that `credits` takes."""
        return np.array(gold, dtype=np.int64)

    def columns(self, gold: Sequence[Any], scores: np.ndarray) -> dict[str, Any]:
        """What stands in predictions of each row's answer, as Arrow arrays by column."""
        import pyarrow as pa

        shown: dict[str, Any] = {"gold": pa.array(gold, pa.int16())}
        for number in range(scores.shape[1]):
            shown[f"log_prob_{number}"] = pa.array(scores[:, number], pa.float32())
        return shown

    def read(self, table: Any, place: str) -> tuple[Answers, Answers]:
        """Gold and given answers of predictions. Raises XlbenchError for columns that are missing or odd."""
        gold, scores = _log_probabilities(table, place, len(self.labels) or None)
        return gold, self.answers(scores)

    def constant_answers(self, gold: Answers) -> list[Answers]:
        """What is given where one answer is always given, for each that can be."""
        return [np.full(len(gold), label) for label in range(len(self.labels))]

    def described(self) -> dict[str, Any]:
        """The problem as a record keeps it, for `problem_of`."""
        return {"kind": self.kind, "labels": list(self.labels), "metrics": list(self.metrics)}


@dataclass(frozen=True)
class Classification(Problem):
    """One of some labels for each row: `gold` is a label's number. K rows of each label are K shots."""

    kind: ClassVar[str] = "classification"

    def fault(self, texts: Sequence[str], gold: Any, choices: Sequence[str]) -> str:
        return label_fault(gold, self.labels)

    def stratum(self, gold: Any) -> Hashable:
        return int(gold)

    def strata(self) -> dict[Hashable, str]:
        return {number: repr(name) for number, name in enumerate(self.labels)}


@dataclass(frozen=True)
class MultipleChoice(Problem):
    """One of a row's own `choices`: `gold` is its number, from 0. A method gives one logit for each choice, read in an
    input of its own. K rows for each place of the right choice, up to `most`, are K shots; none where a place is not
    to be balanced (`most` = 0): then K rows in all.
    """

    most: int = 2

    kind: ClassVar[str] = "multiple-choice"

    @property
    def outputs(self) -> int:
        return 1

    def fields(self, fields: Sequence[str]) -> tuple[str, ...]:
        return (*fields, "choice")

    def fault(self, texts: Sequence[str], gold: Any, choices: Sequence[str]) -> str:
        if len(choices) < 2:
            return f"it has {len(choices)} choices; a row has two or more"
        if not all(isinstance(choice, str) and choice.strip() for choice in choices):
            return "a choice is empty or no text; repair or remove the row"
        right = _is_number(gold, len(choices))
        return "" if right else f"the right choice is {gold!r}, not one of 0 to {len(choices) - 1}"

    def in_words(self, gold: Any, choices: Sequence[str]) -> str:
        return choices[gold]

    def stratum(self, gold: Any) -> Hashable:
        return int(gold) if self.most else 0

    def strata(self) -> dict[Hashable, str]:
        return {place: f"choice {place}" for place in range(max(1, self.most))}

    def arranged(self, logits: Any, batch: Any) -> Any:
        """(inputs,) or (inputs, 1) → (rows, most choices of a row); where a row has fewer, -inf."""
        slots = batch.slots
        grid = logits.new_full((slots.rows * slots.width,), -float("inf"))
        grid[slots.at] = logits.reshape(-1)
        return grid.reshape(slots.rows, slots.width)

    def score_shape(self, batch: Any) -> tuple[int, ...]:
        return batch.rows, batch.slots.width

    def logit_shapes(self, batch: Any) -> tuple[tuple[int, ...], ...]:
        return (len(batch),), (len(batch), 1)

    def constant_answers(self, gold: Answers) -> list[Answers]:
        return [np.full(len(gold), choice) for choice in range(int(np.max(gold)) + 1)]

    def described(self) -> dict[str, Any]:
        return {**super().described(), "most": self.most}


@dataclass(frozen=True)
class TokenLabelling(Problem):
    """A tag for each word of a row: `texts` are the words, `gold` a tag's number for each, `labels` the tags.

    With tags that begin with B- the metric is the F1 of spans, else accuracy. K rows in all are K shots.
    """

    metrics: tuple[str, ...] = ()

    kind: ClassVar[str] = "token-labelling"
    rows_are_apart: ClassVar[bool] = False  # rows differ in words, and the loss is the mean over words
    translates: ClassVar[bool] = False  # a translation has other words

    def __post_init__(self) -> None:
        if not self.metrics:
            spanned = any(tag.startswith("B-") for tag in self.labels)
            object.__setattr__(self, "metrics", ("span-F1",) if spanned else ("accuracy",))
        super().__post_init__()

    def sentences(self, texts: Sequence[str]) -> tuple[str, ...]:
        return (" ".join(texts),)

    def fault(self, texts: Sequence[str], gold: Any, choices: Sequence[str]) -> str:
        if not isinstance(gold, Sequence | np.ndarray):
            return f"its tags are {gold!r}, not one for each word"
        if len(gold) != len(texts):
            return f"it has {len(texts)} words and {len(gold)} tags; each word has one"
        wrong = [tag for tag in gold if not _is_number(tag, len(self.labels))]
        return f"unknown tag {wrong[0]!r}; known: 0 to {len(self.labels) - 1}" if wrong else ""

    def in_words(self, gold: Any, choices: Sequence[str]) -> str:
        return " ".join(self.labels[tag] for tag in gold)

    def stratum(self, gold: Any) -> Hashable:
        return 0

    def strata(self) -> dict[Hashable, str]:
        return {0: "rows"}

    def score_shape(self, batch: Any) -> tuple[int, ...]:
        return (*batch.read_at.shape, len(self.labels))

    def where_read(self, log_probs: Any, batch: Any) -> Any:
        return log_probs.masked_fill((batch.read_at < 0)[..., None], -float("inf"))

    def label_array(self, gold: Sequence[Any], width: int) -> NDArray[np.int64]:
        """(rows, width): the tags of the words that are read; -1 where a row has fewer words."""
        labels = np.full((len(gold), width), -1, dtype=np.int64)
        for row, tags in enumerate(gold):
            labels[row, : min(width, len(tags))] = tags[:width]
        return labels

    def loss(self, scores: np.ndarray, gold: Sequence[Any]) -> float:
        labels = self.label_array(gold, scores.shape[1])
        asked = np.nonzero(labels >= 0)
        return -float(np.maximum(scores[(*asked, labels[asked])], LEAST).mean())

    def given(self, gold: Sequence[Any], scores: np.ndarray) -> Answers:
        """Each row's answers, as many as it has words; -1 for words that were not read."""
        answers, width = self.answers(scores), scores.shape[1]
        return [
            np.pad(row[: len(tags)], (0, max(0, len(tags) - width)), constant_values=-1)
            for row, tags in zip(answers, gold, strict=True)
        ]

    def as_answers(self, gold: Sequence[Any]) -> Answers:
        return [np.array(tags, dtype=np.int64) for tags in gold]

    def columns(self, gold: Sequence[Any], scores: np.ndarray) -> dict[str, Any]:
        import pyarrow as pa

        kind = pa.list_(pa.int16())
        given = [tags.tolist() for tags in self.given(gold, scores)]
        return {"gold": pa.array([list(tags) for tags in gold], kind), "answer": pa.array(given, kind)}

    def read(self, table: Any, place: str) -> tuple[Answers, Answers]:
        sides = []
        for name, least in (("gold", 0), ("answer", -1)):
            _there(table, (name,), place)
            tags = [np.array(row, dtype=np.int64) for row in table[name].to_pylist()]
            if any(((row < least) | (row >= len(self.labels))).any() for row in tags):
                raise XlbenchError(f"{place} have a tag outside {least} to {len(self.labels) - 1} in the column {name}")
            sides.append(tags)
        if not np.array_equal(answer_counts(sides[0]), answer_counts(sides[1])):
            raise XlbenchError(f"{place} have rows of which not every word has an answer; run it again")
        return sides[0], sides[1]

    def constant_answers(self, gold: Answers) -> list[Answers]:
        return [[np.full(len(tags), label) for tags in gold] for label in range(len(self.labels))]


KINDS: dict[str, type[Problem]] = {kind.kind: kind for kind in (Classification, MultipleChoice, TokenLabelling)}


def problem_of(described: Mapping[str, Any]) -> Problem:
    """The problem that `Problem.described` described. Raises XlbenchError for one of no known kind."""
    kind = KINDS.get(str(described.get("kind")))
    if kind is None:
        raise unknown("kind of problem", str(described.get("kind")), KINDS)
    more = {"most": described["most"]} if "most" in described else {}
    return kind(tuple(described.get("labels", ())), tuple(described.get("metrics", ())), **more)


def label_number(
    value: Any, labels: Sequence[str], class_names: Sequence[str] = (), values: Mapping[str, str] | None = None
) -> int:
    """The number among `labels` of a label as a file holds it.

    A number of a ClassLabel stands for its name there (`class_names`), unless those are digits too; `values` says which
    label a file's value is; a text is a label's name, or its number. Raises ValueError saying what is wrong.
    """
    written = value
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    named = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if named and class_names and not all(name.isdigit() for name in class_names):
        if not 0 <= value < len(class_names):
            raise ValueError(f"its label {written!r} is none of the {len(class_names)} that the file names")
        value = class_names[value]
        if value not in labels and value not in (values or {}):
            raise ValueError(
                f"the file calls label {written!r} {value!r}, which is none of the task's labels "
                f"({', '.join(labels)}); say which one it is in the task's label_values"
            )
    key = re.sub(r"\.0+$", "", str(value).strip())
    if values is not None and key in values:
        return labels.index(values[key])
    if key in labels:
        return labels.index(key)
    number = int(key) if values is None and key.isascii() and key.removeprefix("-").isdigit() else value
    fault = label_fault(number, labels)
    if fault:
        known = f"; the task maps {', '.join(map(repr, values))}" if values is not None else ""
        missing = value is None or value == "" or key == "-1"
        reason = fault.replace(repr(number), repr(written))
        raise ValueError(f"{reason}{known}{'; it has no label' if missing else ''}")
    return int(number)


def label_fault(label: Any, labels: Sequence[str]) -> str:
    """What is wrong with a label's number; empty where nothing is."""
    if _is_number(label, len(labels)):
        return ""
    return f"unknown label {label!r}; known: {', '.join(f'{number} {name}' for number, name in enumerate(labels))}"


def _is_number(value: Any, below: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= int(value) < below


def _there(table: Any, names: Sequence[str], place: str) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise XlbenchError(f"{place} lack the column {', '.join(missing)}; they need {', '.join(names)}")


def _log_probabilities(table: Any, place: str, labels: int | None) -> tuple[NDArray[np.int64], np.ndarray]:
    """Gold answers, (rows,), and log-probabilities, (rows, alternatives). Raises XlbenchError for odd ones.

    `labels`: how many alternatives every row has; None where rows differ: then an empty cell is one that a row lacks.
    """
    import pyarrow as pa

    columns = sum(name.startswith("log_prob_") for name in table.column_names)
    scored = [f"log_prob_{number}" for number in range(max(2, columns if labels is None else labels))]
    _there(table, ("gold", *scored), place)
    kinds = dict.fromkeys(scored, pa.types.is_floating) | {"gold": pa.types.is_integer}
    for name, fits in kinds.items():
        if not fits(table[name].type):
            raise XlbenchError(f"{place} have a column {name} of {table[name].type}, which is no number; run it again")
        if table[name].null_count and (labels is not None or name == "gold"):
            raise XlbenchError(f"{place} have an empty cell in the column {name}; run it again")
    if columns > len(scored):
        raise XlbenchError(f"{place} have {columns} log-probabilities a row for {len(scored)} labels; run it again")
    scores = np.stack([table[name].fill_null(-np.inf).to_numpy() for name in scored], axis=1)
    gold = table["gold"].to_numpy().astype(np.int64)
    for wrong, words in (
        (np.isnan(scores).any(axis=1), "has a log-probability that is NaN"),
        ((gold < 0) | (gold >= len(scored)), f"has a gold label outside 0 to {len(scored) - 1}"),
    ):
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            row, language = (table[name][at].as_py() for name in ("row_id", "language"))
            raise XlbenchError(f"in {place}, row {row} in {language} {words}; run it again")
    return gold, scores
