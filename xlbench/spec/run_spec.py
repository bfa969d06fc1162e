"""One run: what is asked for, and its budget."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, field_validator, model_validator

from xlbench.spec.parsing import Frozen, Scalar, digest, merged
from xlbench.spec.protocol import MATCHED, under_protocol

Selection = Literal["source-dev", "last", "average-last", "average-all", "oracle-target-dev"]
ORACLE = "oracle-target-dev"  # the selection that looks at labels of target languages
Tune = Literal["all", "lora", "frozen"]
Precision = Literal["auto", "fp32", "bf16"]
TestDesign = Literal["parallel", "sharded"]
TrainOn = Literal["source", "translated", "both"]
Read = Literal["own", "translation", "both"]
AXES = ("method", "config", "shots", "draw", "seed")  # along which the cells of a comparison differ
ALL = 0  # shots: every labelled row of the source language
NONE = -1  # shots: no row; nothing is trained
FEW_EPOCHS = 10  # passes over the shots below which a budget is said to be short
FEW_SHOTS = 16  # a class: up to here configurations are chosen by dev loss, and a comparison shows `last` too


class Training(Frozen):
    """The budget and the optimiser, the same for every method of a comparison.

    The budget is epochs with a floor in steps. Past that floor training ends sooner, where the loss on the rows that
    select has not fallen for `patience` checkpoints. One rule for all methods and numbers of shots.
    """

    learning_rate: float | None = Field(
        None,
        gt=0,
        description="step size of pretrained weights; none: what the backbone recommends, or 1e-5 as published",
    )
    fresh_learning_rate: float = Field(
        1e-3,
        gt=0,
        description="step size of what a method adds and draws anew: head, prompt encoder, translators, adapters",
    )
    optimiser: Literal["adamw", "adam"] = Field(
        "adamw", description="adamw: decoupled weight decay; adam: weight decay added to the gradient (L2)"
    )
    weight_decay: float = Field(0.01, ge=0, description="the optimiser's weight decay")
    decay_biases: bool = Field(True, description="whether weight decay falls on biases and LayerNorm too")
    steps: int | None = Field(
        None, ge=1, description="optimiser steps at most; none: as many as `epochs` make, or `least_steps`"
    )
    epochs: int = Field(50, ge=1, description="passes over the shots, where `steps` is not given")
    least_steps: int = Field(
        400, ge=1, description="steps that few shots are given too, and before which no patience ends it"
    )
    patience: int = Field(
        5, ge=0, description="checkpoints without a lower loss on the rows that select, after which it ends; 0: never"
    )
    batch_size: int = Field(16, ge=1, description="labelled examples a step")
    accumulate: int = Field(1, ge=1, description="equal parts that a step's batch goes through memory in, one by one")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps in which the rate rises from 0")
    schedule: Literal["constant", "linear"] = Field(
        "constant", description="after the warm-up: the rate stays, or falls evenly to `final_rate` of it"
    )
    final_rate: float = Field(0.1, ge=0, le=1, description="share of the rate at the last step, where it falls")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: any")
    checkpoints: int = Field(20, ge=1, description="evenly spaced points at which a state may be selected")
    average_last: int = Field(3, ge=1, description="checkpoints whose weights `average-last` averages")

    def planned_steps(self, rows: int) -> int:
        """The most steps that training from so many labelled rows takes."""
        return self.steps or max(self.least_steps, self.epochs * math.ceil(rows / self.batch_size))

    def too_short(self, rows: int) -> str | None:
        """That the budget passes so many labelled rows fewer than FEW_EPOCHS times, in a sentence; None where not."""
        steps = self.planned_steps(rows)
        passes = steps * self.batch_size / max(1, rows)
        if passes >= FEW_EPOCHS:
            return None
        return (
            f"{steps} steps of {self.batch_size} pass {rows:,} rows {passes:.1f} times: fewer than {FEW_EPOCHS}, so "
            "that methods may not have converged; ask for more --epochs, or leave --steps out"
        )

    def rate(self, step: int, steps: int) -> float:
        """The share of the learning rates that holds at a step, the first of `steps` being 1."""
        warmup = max(1, round(self.warmup * steps))
        if step < warmup or self.schedule == "constant":
            return min(1.0, step / warmup)
        return 1.0 - (1.0 - self.final_rate) * (step - warmup) / max(1, steps - warmup)

    @model_validator(mode="after")
    def _equal_parts(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} makes no {self.accumulate} equal parts (accumulate)")
        return self


class Lora(Frozen):
    """Low-rank adapters (Hu et al., arXiv 2106.09685), used where tune is `lora`."""

    rank: int = Field(8, ge=1, description="rank of the update, r")
    alpha: float = Field(16, gt=0, description="scale of the update, divided by the rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the adapter")
    target: Literal["attention", "all-linear"] = Field(
        "attention",
        description="layers with an adapter: query and value, or every linear one; where peft knows no query and value "
        "of an architecture, every linear one too",
    )


def _or_all(shots: Any) -> Any:
    if isinstance(shots, int | float) and not isinstance(shots, bool) and shots < 1:
        raise ValueError(f"shots must be 1 or more, all or none, not {shots}")
    return SHOTS_IN_WORDS.get(shots, shots) if isinstance(shots, str) else shots


SHOTS_IN_WORDS = {"all": ALL, "none": NONE}
AllInWords = PlainSerializer(lambda shots: written(shots), return_type=int | str)
# `all` and `none` are numbers that stand for them, which nobody may write.
Shots = Annotated[int, Field(ge=NONE), BeforeValidator(_or_all), AllInWords]


def written(shots: int) -> int | str:
    """A number of shots as a spec writes it: a number, all or none."""
    return {number: word for word, number in SHOTS_IN_WORDS.items()}.get(shots, shots)


class RunSpec(Frozen):
    """One run: which method learns which task from which shots, and how it is trained and selected."""

    task: str = Field("xnli", description="registered task; see `xlbench list tasks`")
    method: str = Field(description="registered method; see `xlbench list methods`")
    config: dict[str, Scalar] = Field({}, description="the method's own settings that differ from its defaults")
    shots: Shots = Field(
        description="labelled examples per class, for training and again for dev, or all",
        json_schema_extra={"option": {"text": True, "metavar": "N|all"}},
    )
    draw: int = Field(0, ge=0, description="number of the few-shot draw")
    seed: int = Field(0, ge=0, description="seed of initialisation, order and dropout")
    protocol: str = Field(
        MATCHED, description="a published bundle of settings, zhao-schuetze, pct or dpa; matched: the same for all"
    )
    split: str | None = Field(None, description="a published fixed draw in place of our own, such as zhao-schuetze")
    languages: tuple[str, ...] | None = Field(None, description="test languages, as en,fr,sw; none: all the task has")
    test_units: int | None = Field(
        None,
        ge=1,
        description="a fixed subset of the test's units (premises, sentences, …); none: all",
        json_schema_extra={"option": {"names": ["--test-units", "--test-premises"]}},
    )
    test_design: TestDesign = Field(
        "parallel",
        description="parallel: every language is tested on the same units; sharded: each unit in one language alone",
    )
    source: tuple[str, ...] | None = Field(
        None, description="languages of the shots, as de, or en,de for so many of each; none: the task's own"
    )
    target_shots: int = Field(
        0, ge=0, description="labelled examples per class of each target language, beside the shots"
    )
    target_mode: Literal["joint", "sequential"] = Field(
        "joint", description="target shots: trained on with the source's, or after them, alone, for as many steps"
    )
    train_on: TrainOn = Field(
        "source", description="the shots as they are, their translations to the target languages, or both"
    )
    read: Read = Field(
        "own", description="test rows in their own language, translated to the source, or both (mean probabilities)"
    )
    untranslated: Literal["refuse", "own"] = Field(
        "refuse", description="languages without a translation: refused, or read as they are and left out of training"
    )
    translations: str | None = Field(
        None,
        description="a file with test rows translated to the source (columns language, id and the texts); none: those "
        "that the task brings",
    )
    model: str = Field("xlm-roberta-base", description="masked language model: hub id, folder, or `tiny`")
    revision: str | None = Field(None, description="commit, branch or tag of a hub model")
    tune: Tune = Field(
        "all",
        description="what trains of the backbone",
        json_schema_extra={
            "option": {
                "several": True,
                "metavar": "WHAT|N",
                "help": "what trains of the backbone: all, lora or frozen; or how many configurations to try of each "
                "method, chosen by source dev; may be given twice, once for each",
            }
        },
    )
    lora: Lora = Field(Lora(), description="the adapters, where tune is `lora`")
    max_length: int = Field(128, ge=16, description="longest input in tokens; the longer text is shortened")
    precision: Precision = Field("auto", description="auto: bf16 on a GPU that has it, fp32 on a CPU")
    selection: Selection = Field("source-dev", description="which checkpoint is tested")
    trials: int = Field(1, ge=1, description="configurations tried of the method, chosen by source dev")
    resources: dict[str, dict[str, Scalar]] = Field(
        {}, description="settings of what methods learn from beside the shots, by name: parallel.corpus, parallel.size"
    )
    training: Training = Field(Training(), description="budget and optimiser")

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, fields: Any) -> Any:
        return under_protocol(of_today(fields))

    @field_validator("languages", "source")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None, field: ValidationInfo) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) != len(value)):
            raise ValueError(f"{field.field_name} must be one or more, each once, not {list(value)}")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.shots in (ALL, NONE) and (self.draw or self.split):
            what = "takes every labelled row" if self.shots == ALL else "takes no labelled row"
            raise ValueError(f"shots {written(self.shots)} {what}: there is one draw (--draws 1), and no split")
        if self.shots == NONE and (self.target_shots or self.trials > 1 or self.train_on != "source" or self.oracle):
            raise ValueError(
                "shots none trains nothing: leave out --target-shots, --train-on, a number for --tune, and the oracle"
            )
        if self.target_mode == "sequential" and not self.target_shots:
            raise ValueError("target_mode sequential trains on target shots last; ask for --target-shots N")
        if self.translations is not None and self.read == "own":
            raise ValueError("translations are of test rows, which are read as they are; add --read translation")
        if self.trials > 1 and self.oracle:
            raise ValueError(
                f"{self.trials} configurations (--tune {self.trials}) are chosen among by source dev alone, and "
                "selection oracle-target-dev looks at the targets; use another selection, or try 1"
            )
        return self

    @property
    def settings(self) -> str:
        """The method's settings that differ from its defaults, in words; empty where none does."""
        return ", ".join(f"{name}={value}" for name, value in sorted(self.config.items()))

    @property
    def oracle(self) -> bool:
        """Whether the checkpoint is chosen on target labels, which few-shot transfer lacks: never ranked."""
        return self.selection == ORACLE

    @property
    def random_seed(self) -> int:
        """What every generator of a run begins with: of seed and draw together, so that two draws of one seed share
        neither initialisation nor order, and seeds are nested in their draw, as the statistics have them."""
        return int(digest(["generators", self.seed, self.draw])[:15], 16)

    @property
    def few(self) -> bool:
        """Whether dev has too few rows for the metric on them to choose well: see FEW_SHOTS."""
        return 0 < self.shots <= FEW_SHOTS

    @property
    def model_name(self) -> str:
        """The model as records name it: a folder by its own name, which says nothing of this machine."""
        folder = os.path.expanduser(self.model)  # as Path's, but for a user or a name that cannot be
        return Path(folder).resolve().name if os.path.isdir(folder) else self.model

    @property
    def identity(self) -> dict[str, Any]:
        """What is hashed of a spec: the fields that are not at their defaults, so that a new field changes no id."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again (unlike pydantic's own copy)."""
        return type(self).model_validate({**self.model_dump(), **changes})


class ParallelSettings(Frozen):
    """Settings of the resource `parallel`: which translated text, and how much of it."""

    corpus: str | None = Field(
        None,
        description="parallel corpus, as paws-x or ntrex-128; none: the task's own choice",
        json_schema_extra={"option": {"names": ["--parallel"]}},
    )
    size: int = Field(
        1000,
        ge=1,
        description="translated pairs per target language, at most",
        json_schema_extra={"option": {"names": ["--parallel-size"]}},
    )


class ResolvedTraining(Training):
    """A budget with its learning rate known."""

    learning_rate: float = Field(gt=0, description="AdamW's step size")


class ResolvedSpec(RunSpec):
    """A run with every choice made: what is hashed, computed and kept."""

    languages: tuple[str, ...]
    training: ResolvedTraining


OLD_NAMES = {"test_premises", "parallel", "parallel_size"}


def of_today(fields: Any) -> Any:
    """Fields of a run under the names that they have today; a value under its name of today holds before an old one.

    `test_premises` was a task's one word for units, `parallel` and `parallel_size` what are settings of a resource now.
    """
    if not isinstance(fields, Mapping) or not OLD_NAMES & fields.keys():
        return fields
    new = {name: value for name, value in fields.items() if name not in OLD_NAMES}
    if "test_premises" in fields:
        new.setdefault("test_units", fields["test_premises"])
    old = {"corpus": fields.get("parallel"), "size": fields.get("parallel_size")}
    old = {setting: value for setting, value in old.items() if value is not None}
    if old and fields.get("parallel", old) is not None:  # else the size that stood beside it said nothing
        new["resources"] = merged({"parallel": old}, new.get("resources") or {})
    return new


def in_words(shots: int, after: str = "") -> str:
    """A number of shots as it is said: 16 shots per class, 16 shots, all rows; `after` is said of a number alone."""
    return {ALL: "all rows", NONE: "no shots"}.get(shots) or f"{shots} shots{after}"


def by_shots(shots: int) -> float:
    """What numbers of shots are sorted by: all rows come last."""
    return math.inf if shots == ALL else shots
