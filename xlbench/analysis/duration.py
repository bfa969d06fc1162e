"""How long runs would take, stage by stage, by what earlier runs took for a step, a row, a set-up."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from xlbench.records.record import Record
from xlbench.spec import ALL, NONE, RunSpec


@dataclass(frozen=True)
class Pace:
    """What a method took in earlier runs, in seconds: for what is done once a run, for a training step of one row, for
    scoring a dev row and a test row. `rows_a_unit` are test rows of a unit in one language."""

    once: float
    step_of_a_row: float
    dev_row: float
    test_row: float
    rows_a_unit: float

    @classmethod
    def of(cls, record: Record) -> "Pace | None":
        """That of one run; None where its record lacks what it took."""
        costs, test = record.costs, record.test
        steps, history = record.selection.get("steps") or record.spec.training.steps, record.selection.get("history")
        needed = ("training_seconds", "test_seconds")
        if not steps or not test.get("rows") or not test.get("units") or any(name not in costs for name in needed):
            return None
        looks = len([entry for entry in history if "dev_loss" in entry]) if isinstance(history, list) else 0
        rows = record.spec.shots * _classes(record)
        dev_rows = max(1, looks) * rows
        parallel = len(record.by_language) if record.aligned else 1
        counted = sum(costs.get(f"{stage}_seconds", 0.0) for stage in ("training", "evaluation", "test"))
        return cls(
            max(0.0, record.seconds - counted),
            costs["training_seconds"] / steps / _batch(record.spec, rows),
            costs.get("evaluation_seconds", 0.0) / dev_rows if dev_rows else 0.0,
            costs["test_seconds"] / test["rows"],
            test["rows"] / test["units"] / parallel,
        )

    @classmethod
    def median(cls, paces: Sequence["Pace"]) -> "Pace":
        """The median of several, stage by stage: a run beside others on one machine may take many times as long."""
        names = ("once", "step_of_a_row", "dev_row", "test_row", "rows_a_unit")
        return cls(*(median(getattr(pace, name) for pace in paces) for name in names))

    def seconds(self, spec: RunSpec, classes: int, units: int, languages: int) -> float | None:
        """Of a run, if no patience ends it early: `units` in all where they are dealt out, else in each language. None
        where all shots are asked for by epochs, for how many rows these are is not known before they are read."""
        if spec.shots == ALL and spec.training.steps is None:
            return None
        rows = max(0, spec.shots) * classes
        steps = 0 if spec.shots == NONE else spec.training.planned_steps(rows)
        looks = min(spec.training.checkpoints, steps) if spec.selection in LOOKING else 0
        tested = units * self.rows_a_unit * (1 if spec.test_design == "sharded" else languages)
        training = steps * _batch(spec, rows) * self.step_of_a_row
        return self.once + training + looks * rows * self.dev_row + tested * self.test_row


LOOKING = ("source-dev", "oracle-target-dev")  # selections that score dev at every checkpoint


def paces(records: Sequence[Record], shots: int) -> dict[str, Pace]:
    """By method, the pace of its runs with the nearest number of shots."""
    found: dict[str, Pace] = {}
    for method in {record.spec.method for record in records}:
        own = [(record.spec.shots, pace) for record in records if record.spec.method == method
               if (pace := Pace.of(record)) is not None]  # fmt: skip
        if own:
            nearest = min({number for number, _ in own}, key=lambda number: abs(number - shots))
            found[method] = Pace.median([pace for number, pace in own if number == nearest])
    return found


def _batch(spec: RunSpec, rows: int) -> int:
    """The rows of a step, of so many in all; 0 is not known."""
    return min(spec.training.batch_size, rows) if rows else spec.training.batch_size


def _classes(record: Record) -> int:
    labels = record.problem.get("labels")
    return len(labels) if isinstance(labels, list) and labels else 1
