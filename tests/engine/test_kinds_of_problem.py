"""Runs of every kind of problem, with rows that are aligned over languages and rows that are not."""

import numpy as np
import pytest
from small_data import registry_as_it_was

from xlbench import NotSupported, RunSpec, Store, register_task, run
from xlbench.problem import Classification, MultipleChoice, TokenLabelling
from xlbench.records.vetting import vet
from xlbench.task import Row, Task


@pytest.fixture(autouse=True)
def _tasks():
    """Three tasks: two or three choices, tags of words, and two labels of rows that are fewer in French."""
    with registry_as_it_was():

        @register_task("choose")
        class Choose(Task):
            problem, unit = MultipleChoice(most=2), "story"
            languages, fields = ("en", "fr"), ("start",)

            def rows(self, split, language, source):
                return [
                    Row(
                        f"{split}-{number}", (f"{language} {split} {number}",), number % 2, language,
                        f"{split}-{number // 2}", choices=("yes", "no", "maybe")[: 2 + (number % 3 == 0)],
                    )
                    for number in range(24)
                ]  # fmt: skip

        @register_task("tags")
        class Tags(Task):
            problem, unit, aligned = TokenLabelling(("O", "B-name", "I-name")), "sentence", False
            languages, fields = ("en", "fr"), ("words",)

            def rows(self, split, language, source):
                return [
                    Row(
                        f"{number}", tuple(f"{language}{split}{word}" for word in range(2 + number % 4)),
                        tuple((word + number) % 3 for word in range(2 + number % 4)), language, f"{number}",
                    )
                    for number in range(24 if language == "en" else 20)
                ]  # fmt: skip

        @register_task("apart")
        class Apart(Choose):
            problem = Classification(("odd", "even"), ("macro-F1", "accuracy"))

            def rows(self, split, language, source):
                return super().rows(split, language, source)[: 24 if language == "en" else 20]

        yield


def asked(task: str, **fields) -> RunSpec:
    budget = {"steps": 4, "checkpoints": 2, "learning_rate": 1e-3}
    return RunSpec(**{"method": "finetune", "task": task, "model": "tiny", "shots": 3, "training": budget, **fields})


@pytest.mark.parametrize("fields", [{}, {"shots": "all", "target_shots": 1}, {"trials": 2}], ids=str)
@pytest.mark.parametrize(
    ("task", "metrics", "units"),
    [("choose", ["accuracy"], 12), ("tags", ["span-F1"], 44), ("apart", ["macro-F1", "accuracy"], 22)],
)
def test_a_run_is_scored_by_its_metrics_and_its_predictions_show_as_much(runtime, task, metrics, units, fields):
    record = run(asked(task, **fields), runtime)
    assert list(record.scores) == metrics
    assert record.by_language.keys() == {"en", "fr"}
    assert (record.aligned, record.test["units"]) == (task == "choose", units)
    (judged,) = vet(Store(runtime.runs)).results  # it has worked the scores out again, of what stands on the disk
    assert judged.record == record
    assert judged.summary is not None
    assert judged.summary.values.mean() == pytest.approx(record.mean)  # each language counts the same


def test_the_right_choices_are_counted_by_hand(runtime):
    record = run(asked("choose"), runtime)
    table = Store(runtime.runs).predictions(record.id)
    scores = np.stack([table[f"log_prob_{choice}"].to_numpy() for choice in range(3)], axis=1)
    right = scores.argmax(axis=1) == table["gold"].to_numpy()
    english = np.array(table["language"].to_pylist()) == "en"
    assert record.by_language == {"en": right[english].mean(), "fr": right[~english].mean()}
    lacking = np.array([int(row.rpartition("-")[2]) % 3 != 0 for row in table["row_id"].to_pylist()])
    assert np.isneginf(scores[lacking, 2]).all()
    assert np.isfinite(scores[~lacking]).all()


def test_rows_that_are_not_aligned_have_units_of_their_language_and_a_note_where_the_task_says_otherwise(runtime):
    said, unsaid = (run(asked(task), runtime) for task in ("tags", "apart"))
    assert not any("aligned" in note for note in said.notes)
    (note,) = [note for note in unsaid.notes if "aligned" in note]
    assert note.endswith("each of which is tested on rows of its own: en has 24 and fr 20")
    table = Store(runtime.runs).predictions(unsaid.id)
    owned = zip(table["unit_id"].to_pylist(), table["language"].to_pylist(), strict=True)
    assert all(unit.startswith(f"{language}/test-") for unit, language in owned)


@pytest.mark.parametrize("method", ["soft-prompt", "pct", "mpt"])
def test_a_method_that_does_not_solve_a_kind_of_problem_says_so(runtime, method):
    with pytest.raises(NotSupported, match=f"method {method} .* solves classification, and task tags is token-label"):
        run(asked("tags", method=method), runtime)
