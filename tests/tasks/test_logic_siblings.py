"""logic-choice and logic-tags: what their rows promise, in every language."""

import pytest

from xlbench import RunSpec, registry, run
from xlbench.metric import spans
from xlbench.sources import DataSource
from xlbench.task import TestRows

NOWHERE = DataSource()
CHOICE, TAGS = (registry.get("task", name) for name in ("logic-choice", "logic-tags"))


@pytest.mark.parametrize("task", [CHOICE, TAGS], ids=["choice", "tags"])
def test_rows_are_aligned_over_the_languages_and_splits_share_no_sentence(task):
    rows = TestRows.of(task(), task.languages, NOWHERE)
    assert rows.aligned
    read = {split: task().read(split, "en", NOWHERE) for split in ("train", "validation", "test")}
    texts = {split: {task.problem.sentences(row.texts) for row in side} for split, side in read.items()}
    assert not texts["test"] & (texts["train"] | texts["validation"])
    assert min(map(len, read.values())) > 50


@pytest.mark.parametrize("language", CHOICE.languages)
def test_one_choice_is_right_and_places_are_balanced(language):
    rows = CHOICE().read("test", language, NOWHERE)
    assert all(len(set(row.choices)) == len(row.choices) for row in rows)
    places = [sum(row.gold == place for row in rows) for place in range(max(len(row.choices) for row in rows))]
    assert max(places) - min(places) <= 0.1 * len(rows)


@pytest.mark.parametrize("language", TAGS.languages)
def test_tags_name_the_same_people_and_places_in_every_language(language):
    labels = TAGS.problem.labels
    ours, theirs = (
        [
            sorted(kind for _, _, kind in spans([labels[tag] for tag in row.gold]))
            for row in TAGS().read("test", name, NOWHERE)
        ]
        for name in ("en", language)
    )
    assert ours == theirs
    assert any(ours)


@pytest.mark.parametrize("task", ["logic-choice", "logic-tags"])
def test_fine_tuning_runs_on_both(task, runtime):
    budget = {"steps": 6, "checkpoints": 2, "learning_rate": 1e-3}
    spec = RunSpec(
        method="finetune", task=task, model="tiny", shots=4, languages=("en", "th"), test_units=10, training=budget
    )
    record = run(spec, runtime)
    assert record.status == "finished"
    assert set(record.by_language) == {"en", "th"}
