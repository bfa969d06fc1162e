"""Rows, and few shots drawn from pools of them: a function of (task, shots, number) alone."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from xlbench.errors import XlbenchError
from xlbench.sources import DataSource

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled example in one language. Rows with the same id are translations of each other.

    `texts` holds one text for each of the task's fields (premise, hypothesis), or the words of a row whose words are
    labelled; `gold` the answer, as the task's problem has it: a label's number, a choice's, or a tag's for each word;
    `unit` names what statistics resample (rows that share a premise are not independent); `phenomenon` is what
    the row tests, where a task says; `choices` are the texts among which one is right; `beside` are its texts in the
    source language, where a method reads both at once.
    """

    id: str
    texts: tuple[str, ...]
    gold: Any
    language: str
    unit: str
    phenomenon: str = ""
    choices: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class FewShot:
    """What a method may learn from: train and dev rows, shots per class each, in the source language.

    `target_train` holds labelled rows of target languages, where a run asks for some. `target_dev` holds the dev rows
    in the other languages where the task has them; only the selection policy `oracle-target-dev` looks at it, and its
    results are never ranked.
    """

    train: tuple[Row, ...]
    dev: tuple[Row, ...]
    target_dev: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    target_train: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    left_out: int = 0  # rows of the pools that share a sentence with the test, and were not drawn from
    notes: tuple[str, ...] = ()

    @property
    def learnt(self) -> tuple[Row, ...]:
        """All rows to train on, the source language's first."""
        return (*self.train, *(row for rows in self.target_train.values() for row in rows))


@dataclass(frozen=True)
class Pools:
    """The pools of one draw, and what is found of them: rows that are dropped, and classes that are rare."""

    task: Any  # a Task
    shots: int
    number: int
    source: DataSource
    is_tested: Callable[[Row], bool] | None
    tested: list[int] = field(default_factory=list)  # how many rows of each class and pool share with the test
    notes: list[str] = field(default_factory=list)

    def drawn(
        self, split: SplitName, language: str, purpose: tuple[str, ...], without: Collection[str] = ()
    ) -> tuple[Row, ...]:
        """`shots` rows of each class, in a drawn order. Raises XlbenchError where a class has fewer, unless the task
        takes all that there are."""
        task, pool = self.task, self.task.read(split, language, self.source)
        members: dict[Hashable, list[int]] = defaultdict(list)
        for index, row in enumerate(pool):
            if row.unit not in without:
                members[task.problem.stratum(row.gold)].append(index)
        chosen: list[int] = []
        random = generator(task.name, *purpose, self.shots, self.number)
        for stratum, name in task.problem.strata().items():
            there = members[stratum]
            if self.is_tested is not None:
                order = random.permutation(len(there)).tolist()
                clean = [there[place] for place in order if not self.is_tested(pool[there[place]])]
                self.tested.append(len(there) - len(clean))
                found = clean[: self.shots]
            elif len(there) >= self.shots:
                found = random.choice(there, size=self.shots, replace=False).tolist()
            else:
                found = random.permutation(there).tolist() if there else []
            if len(found) < self.shots:
                self._rare(split, language, name, len(found), purpose)
            chosen.extend(found)
        if not chosen:
            raise XlbenchError(f"the {split} pool of task {task.name} in {language} has no row to draw")
        random.shuffle(chosen)
        return tuple(pool[index] for index in chosen)

    def _rare(self, split: str, language: str, name: str, there: int, purpose: tuple[str, ...]) -> None:
        option, task = "--target-shots" if purpose[0] == "target" else "--shots", self.task
        if task.rare == "refuse":
            raise XlbenchError(
                f"{option} {self.shots} is more than the {there} rows of class {name} "
                f"in the {split} pool of task {task.name} in {language}"
            )
        self.notes.append(
            f"of class {name} the {split} pool in {language} has {there} rows, fewer than the {self.shots} shots: all "
            "of them are taken"
        )


def generator(*parts: object) -> np.random.Generator:
    """A random generator that depends on `parts` alone, on every machine and in every process."""
    seed = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed[:16], "little")))
