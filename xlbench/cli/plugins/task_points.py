"""The contract of a task, point by point, and which methods run on it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

from xlbench import registry
from xlbench.cli.plugins.method_points import SHOTS, Finding, Point, Sample, is_documented, method_points
from xlbench.corpora import CORPORA
from xlbench.engine.contamination import TestSentences, texts_of
from xlbench.errors import NotSupported, XlbenchError, one_line
from xlbench.pools import SPLITS
from xlbench.prompts import Template, Verbalizer
from xlbench.sources import DataSource
from xlbench.table_task import TableTask
from xlbench.task import Row, SplitName, Task, TestRows

SHOWN = 60  # languages whose data are looked at
LABELS_SHOWN = 8


def task_points(sample: Sample) -> Iterator[Point]:
    """What a task promises, as `method_points`; the last ones are the methods, each of which runs on it or says why
    not."""
    task, source = sample.task, sample.source
    yield "its class is a Task with a docstring", lambda: is_documented(type(task), Task)
    lacking = [f"no {name}" for name in ("license", "citation", "version") if not getattr(task, name)]
    yield "it names licence, citation and version", lambda: ", ".join(lacking)
    yield "the source language is one of its languages", lambda: "" if task.source in task.languages else task.source
    yield "every template fills in every language", lambda: _templates(task)
    yield (
        "every row of the source has its texts, an answer and an id of its own, each time it is read",
        lambda: _read_alike(task, source),
    )
    yield "every split has rows of every class", lambda: "; ".join(_classes_lacking(task, source))
    yield "test rows are aligned over the languages", lambda: _aligned(task, source)
    yield "a draw is balanced, disjoint and always the same", lambda: _drawn(task, source)
    yield "no test sentence is among train, validation or parallel text", lambda: _clean(task, source)
    for language in task.languages[:SHOWN] if isinstance(task, TableTask) else ():
        yield f"data in {language}", partial(_data, task, language, source)
    yield "every language with label words has one for each label", lambda: _one_word_a_label(task)
    yield f"the model {sample.model or 'tiny'} knows the source's label words", lambda: _words(sample)
    for name in registry.names("method"):
        yield f"{name} runs", partial(_runs, name, sample)


def _data(task: Task, language: str, source: DataSource) -> Finding:
    """What the data of a language are, split by split: rows, rows a label, texts that recur, rows left out."""
    sentences = TestSentences.of(task.problem, _rows_or_none(task, "test", task.source, source))
    parts, fault = [], ""
    for split in SPLITS:
        try:
            rows = task.read(split, language, source)
        except XlbenchError as lacking:
            if split == "test" or language == task.source:
                fault = fault or one_line(lacking)
            parts.append(f"{split}: none")
            continue
        counts = Counter(task.problem.in_words(row.gold, row.choices) for row in rows) if task.labels else Counter()
        by_label = ", ".join(f"{number} {label}" for label, number in counts.most_common(LABELS_SHOWN))
        words = task.problem.kind == "token-labelling" or not by_label
        again = len(rows) - len({row.texts for row in rows})
        tested = len(sentences.shared_with(texts_of(task.problem, rows))) if split != "test" else 0
        facts = [f"{len(rows)} rows{'' if words else f' ({by_label})'}", *task.reading_notes(split, language, source)]
        facts += [f"{again} that recur"] if again else []
        facts += [f"{tested} texts that stand in the test too, whose rows are not drawn"] if tested else []
        parts.append(f"{split}: {', '.join(facts)}")
    return Finding(f"data in {language}", not fault, fault or "; ".join(parts), note=not fault)


def _rows_or_none(task: Task, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
    try:
        return task.read(split, language, source)
    except XlbenchError:
        return ()


def _runs(name: str, sample: Sample) -> str | Finding:
    """Whether a method runs on a task. What it refuses is a fault of the task's; a task that it does not support is
    none, and neither is a method that breaks its own contract."""
    see = f"see `xlbench check {name} --task {sample.task.name}`"
    try:
        method_class: Any = registry.get("method", name)
        for point, hold in method_points(method_class, sample):
            if answer := hold():
                return Finding(f"{name} breaks", True, f"not so: {point} ({answer}); {see}", note=True)
    except NotSupported as reason:
        return Finding(f"{name} does not run", True, one_line(reason), note=True)
    except XlbenchError as fault:
        if sample.model is None and one_line(fault) == _word_lacking(sample, "mean"):
            return Finding(f"{name} does not run on the model tiny", True, one_line(fault), note=True)
        if "resources.unlabelled" in str(fault):  # text is the user's to give, and its lack no fault of the task's
            return Finding(f"{name} runs", True, f"with text: {one_line(fault)}", note=True)
        return one_line(fault)
    except Exception as fault:
        return Finding(f"{name} breaks", True, f"{type(fault).__name__}: {one_line(fault)}; {see}", note=True)
    if "parallel" in method_class.needs and sample.task.parallel is None:
        return Finding(f"{name} runs", True, "with parallel text: give --parallel, the task names none", note=True)
    return ""


def _templates(task: Task) -> str:
    for name, by_language in task.templates.items():
        for language in task.languages:
            if language not in by_language:
                return f"template {name!r} is missing in {language}"
            Template(by_language[language], task.problem.fields(task.fields), f"template {name!r}, {language}")
    return ""


def _read_alike(task: Task, source: DataSource) -> str:
    """Raises XlbenchError for a row that is odd; `read` asks a task once a process, and so cannot show what differs."""
    for split in SPLITS:
        if list(task.read(split, task.source, source)) != list(task.rows(split, task.source, source)):
            return f"another reading of {split} gives other rows"
    return ""


def _classes_lacking(task: Task, source: DataSource) -> Iterator[str]:
    for split in SPLITS:
        there = {task.problem.stratum(row.gold) for row in task.read(split, task.source, source)}
        yield from (f"{split} has none of {name}" for key, name in task.problem.strata().items() if key not in there)


def _aligned(task: Task, source: DataSource) -> str | Finding:
    rows = TestRows.of(task, task.languages, source)
    if rows.aligned:
        return ""
    note = rows.note or "the task says that they are not: each language is tested on rows of its own"
    return Finding("test rows are not aligned over the languages", True, note, note=True)


def _drawn(task: Task, source: DataSource) -> str:
    draw, again = task.draw(SHOTS, 1, source), task.draw(SHOTS, 1, source)
    if draw != again:
        return "two draws with the same number differ"
    for rows in (draw.train, draw.dev):
        counts = set(Counter(task.problem.stratum(row.gold) for row in rows).values())
        if counts != {SHOTS} and (task.rare == "refuse" or max(counts) > SHOTS):
            return "a draw does not have the shots of each label"
    shared = {row.texts for row in draw.train} & {row.texts for row in draw.dev}
    return "train and dev share rows" if shared else ""


def _clean(task: Task, source: DataSource) -> str:
    test = TestSentences.of(task.problem, task.read("test", task.source, source))
    rows = [row for split in ("train", "validation") for row in task.read(split, task.source, source)]
    learning = texts_of(task.problem, rows)
    if task.parallel is not None:
        language = next(language for language in task.languages if language != task.source)
        corpus = task.parallel_pairs if task.parallel == task.name else partial(CORPORA[task.parallel], task.source)
        learning += [(pair.id, text) for pair in corpus(language, 500, source) for text in pair.source]
    shared = test.shared_with(learning)
    return f"{shared[0][0]} is in test row {shared[0][1]}" if shared else ""


def _one_word_a_label(task: Task) -> str:
    labels, numbers = len(task.labels), {language: len(words) for language, words in task.label_words.items()}
    wrong = [f"{language} has {number} words for {labels} labels" for language, number in numbers.items()
             if number != labels]  # fmt: skip
    return "; ".join(wrong)


def _words(sample: Sample) -> str | Finding:
    """Why a model lacks the source's label words: a note where nobody asked for that model."""
    why = _word_lacking(sample, sample.settings.get("multi_token", "error"))
    if not why or sample.model is not None:
        return why
    hint = f"{why} (the task may be right: name the model that you will use, --model)"
    return Finding("the model tiny lacks a label word of the source's", True, hint, note=True)


def _word_lacking(sample: Sample, multi_token: Literal["error", "mean"]) -> str:
    """Why the source's label words cannot be scored; empty where they can, or there are none."""
    try:
        Verbalizer.of(sample.backbone.tokenizer, sample.task.label_words.get(sample.task.source, ()), multi_token)
    except XlbenchError as fault:
        return one_line(fault)
    return ""
