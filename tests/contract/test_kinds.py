"""One probe of each kind, small and real, through everything: run, compare, board, export, check, resume."""

import importlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_data import registry_as_it_was
from typer.testing import CliRunner

import xlbench
from xlbench import RunSpec, Runtime, Training, XlbenchError, registry
from xlbench.analysis.matching import group
from xlbench.board.markdown import markdown
from xlbench.cli import app
from xlbench.engine.prepare import prepare
from xlbench.method import Method
from xlbench.problem import METRICS
from xlbench.records.vetting import vet

PROBES = Path(__file__).parents[1] / "probes.py"
LEARNS = Training(steps=40, checkpoints=2, learning_rate=1e-3)
KINDS = {  # task → the metric that leads, and what is above it where the task is learnt
    "probe-tone": ("macro-F1", 0.6),
    "probe-choice": ("accuracy", 0.6),
    "probe-names": ("span-F1", 0.4),
}


@pytest.fixture(autouse=True)
def _own_registry():
    with registry_as_it_was():
        registry.load_plugin(str(PROBES))
        yield


@pytest.fixture
def runtime(tmp_path) -> Runtime:
    return Runtime(runs=tmp_path / "runs", device="cpu", quiet=True, plugins=(str(PROBES),))


def spec(task: str, method: str = "finetune", **fields) -> RunSpec:
    return RunSpec(**{"task": task, "method": method, "model": "tiny", "shots": 4, "training": LEARNS, **fields})


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("task", KINDS)
def test_a_kind_is_learnt_compared_shown_exported_and_not_computed_twice(task, runtime, tmp_path):
    metric, least = KINDS[task]
    record = xlbench.run(spec(task), runtime)
    assert record.metric == metric
    assert record.by_language["en"] > least
    assert record.test["languages"] == 3
    again = xlbench.run(spec(task), runtime)
    assert again == record
    asked = ("--task", task, "--methods", "finetune", "--model", "tiny", "--shots", "4", "--draws", "2", "--seeds", "1",
             "--steps", "2", "--checkpoints", "1", "--plugin", str(PROBES), "--runs", str(runtime.runs),
             "--selection", "source-dev")  # fmt: skip
    assert f"mean {metric}" in said("compare", *asked)
    assert "0 runs computed, 2 in the table" in said("compare", *asked)
    vetted = vet(xlbench.store_at(runtime.runs))
    assert (len(vetted.results), vetted.left_out) == (3, ())
    said("leaderboard", "--runs", str(runtime.runs), "--out", str(tmp_path / "board"))
    board = (tmp_path / "board" / "README.md").read_text(encoding="utf-8")
    assert f"| method | mean {metric} |" in board
    assert "sentences in 3 languages" in board
    table = pd.read_csv(tmp_path / "board" / "results.csv")
    assert set(table.metric) == {metric}
    assert metric in said("export", "languages", "--runs", str(runtime.runs))


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("method", ["finetune", "probe-centroids"])
def test_a_kind_keeps_the_contract(task, method):
    listed = said("check", method, "--task", task, "--plugin", str(PROBES), code=0)
    assert "FAILS" not in listed
    assert ("skipped" in listed) == (method == "probe-centroids" and task != "probe-tone")


@pytest.mark.parametrize("task", [*KINDS, "probe-apart"])
def test_a_task_of_each_kind_keeps_the_contract(task):
    assert "FAILS" not in said("check", task, "--plugin", str(PROBES))


@pytest.mark.parametrize("task", KINDS)
def test_scores_do_not_depend_on_the_batch(task, runtime, tmp_path):
    small = runtime.model_copy(update={"runs": tmp_path / "small", "token_budget": 64})
    tables = []
    for here in (runtime, small):
        record = xlbench.run(spec(task, training=Training(steps=2, checkpoints=1)), here)
        tables.append(pq.read_table(Path(here.runs) / record.id / "predictions.parquet").to_pandas())
    one, other = tables
    if "answer" in one:
        assert [list(row) for row in one.answer] == [list(row) for row in other.answer]
        return
    for name in [name for name in one if name.startswith("log_prob")]:
        assert one[name].to_numpy() == pytest.approx(other[name].to_numpy(), abs=2e-5)


def test_choices_that_a_row_lacks_score_nothing_and_are_never_given(runtime):
    record = xlbench.run(spec("probe-choice"), runtime)
    table = pq.read_table(Path(runtime.runs) / record.id / "predictions.parquet").to_pandas()
    two = table.row_id.str.endswith("-0")
    assert (table.log_prob_2[two] == float("-inf")).all()
    assert (table.log_prob_2[~two] > float("-inf")).all()


# A method without gradients


def test_a_method_without_gradients_learns_in_fit_and_is_no_matter_of_tune(runtime):
    record = xlbench.run(spec("probe-tone", "probe-centroids"), runtime)
    assert record.selection["steps"] == 0
    assert record.by_language["en"] > 1 / 3
    frozen = xlbench.run(spec("probe-tone", "probe-centroids", tune="frozen"), runtime)
    assert frozen.scores == record.scores


def test_a_method_without_gradients_is_not_tried_over_learning_rates(runtime, monkeypatch):
    with pytest.raises(XlbenchError) as fault:
        xlbench.run(spec("probe-tone", "probe-centroids", trials=3), runtime)
    assert str(fault.value) == (
        "method probe-centroids has 1 configuration to try, not 3 (it learns without gradients and searches no "
        "setting); use --tune 1 or less for all methods, or declare more values in its Config's search"
    )
    monkeypatch.setattr(registry.get("method", "probe-centroids").Config, "search", {"scale": (0.5, 1.0, 2.0)})
    record = xlbench.run(spec("probe-tone", "probe-centroids", trials=3), runtime)
    assert [trial["training"] for trial in record.trials] == [{}] * 3
    assert sorted(trial["config"]["scale"] for trial in record.trials) == [0.5, 1.0, 2.0]
    assert "learning rate: none: it learns without" in said("show", "probe-centroids", "--plugin", str(PROBES))


def test_a_method_with_neither_gradients_nor_fit_is_told_so(runtime, tmp_path):
    file = tmp_path / "still.py"
    file.write_text(PROBES.read_text().replace("def fit(", "def unfit(").replace('"probe-', '"still-'))
    with pytest.raises(XlbenchError, match=r"still-centroids has nothing that trains: .* and it has no `fit`"):
        xlbench.run(spec("still-tone", "still-centroids"), runtime.model_copy(update={"plugins": (str(file),)}))


# Target-language shots


def test_target_shots_are_trained_on_in_their_own_language_and_their_units_are_in_no_dev_row(runtime):
    prepared = prepare(spec("probe-tone", target_shots=2), runtime)
    shots = prepared.episode.shots
    assert {language: len(rows) for language, rows in shots.target_train.items()} == {"fr": 6, "sw": 6}
    assert [row.language for row in shots.learnt] == ["en"] * 12 + ["fr"] * 6 + ["sw"] * 6
    held_out = {row.unit for rows in shots.target_train.values() for row in rows}
    assert not held_out & {row.unit for row in shots.dev}
    assert [row.id for row in shots.target_train["fr"]] == [row.id for row in shots.target_train["sw"]]
    method = prepared.method_class(prepared.config, prepared.backbone, prepared.task, ("en", "fr", "sw"))
    encoded = method.encode_labelled(shots.learnt)
    assert encoded.language.tolist() == [0] * 12 + [1] * 6 + [2] * 6
    record, without = (xlbench.run(spec("probe-tone", target_shots=number), runtime) for number in (2, 0))
    assert record.contamination["compared"]["target shots"] == 12
    assert record.target_mean > without.target_mean


def test_target_shots_of_languages_that_are_not_aligned_are_even_and_a_note_says_so(runtime, monkeypatch):
    record = xlbench.run(spec("probe-tone", target_shots=2), runtime)
    assert not [note for note in record.notes if "target shots" in note]
    asked = spec("probe-apart", target_shots=2, languages=("fr", "sw"))
    golds = [[row.gold for row in rows] for rows in prepare(asked, runtime).episode.shots.target_train.values()]
    assert [sorted(gold) for gold in golds] == [[0, 0, 1, 1]] * 2
    (note,) = [note for note in xlbench.run(asked, runtime).notes if "target shots" in note]
    assert note == "target shots drawn apart, for the rows to draw from are not aligned over languages: sw"


# A resource of a plug-in's own


def test_a_resource_of_a_plug_in_is_given_hashed_and_guarded(runtime):
    one, other = (
        prepare(spec("probe-tone", "probe-switching", resources={"probe-glossary": {"size": size}}), runtime)
        for size in (1, 2)
    )
    assert one.id != other.id
    assert set(one.resources["probe-glossary"]) == {"fr", "sw"}
    record = xlbench.run(one.asked, runtime)
    assert record.spec.resources == {"probe-glossary": {"size": 1}}
    assert record.contamination["compared"]["probe-glossary"] == 4
    with pytest.raises(XlbenchError, match="unknown field 'sise' for the settings of resource probe-glossary"):
        prepare(spec("probe-tone", "probe-switching", resources={"probe-glossary": {"sise": 1}}), runtime)
    with pytest.raises(XlbenchError, match=r"unknown resource 'probe-glosary'; did you mean 'probe-glossary'"):
        prepare(spec("probe-tone", resources={"probe-glosary": {}}), runtime)


def test_needs_of_one_text_are_told_what_they_should_be(tmp_path):
    file = tmp_path / "needy.py"
    file.write_text(
        PROBES.read_text().replace('frozenset({"probe-glossary"})', '"weights"').replace('"probe-', '"needy-')
    )
    with pytest.raises(
        XlbenchError, match=r"the method 'needy-switching': its `needs` is a tuple of names, as needs = \('weights',\)"
    ):
        registry.load_plugin(str(file))


# A template of a method's own


@pytest.mark.parametrize(
    ("templates", "language", "words"),
    [
        ({"mine": {"en": "{text} <mask>"}}, "fr", "method soft-prompt has no template 'mine' in 'fr'"),
        (
            {"mine": "{premise} <mask>"},
            "fr",
            "method soft-prompt, template 'mine', fr: {premise} is no field of the task",
        ),
        ({}, "fr", "task probe-tone has no template 'mine' in 'fr'"),
        ({"mine": {"fr": "{text} <mask>"}}, None, "method soft-prompt has no template 'mine' in 'en'"),
        ({}, None, "task probe-tone has no template 'mine' in 'en'"),
    ],
)
def test_what_is_wrong_with_a_template_is_said_of_its_owner(runtime, monkeypatch, templates, language, words):
    prepared = prepare(spec("probe-tone", "soft-prompt"), runtime)
    method = prepared.method_class(prepared.config, prepared.backbone, prepared.task, ("en", "fr"))
    monkeypatch.setattr(prepared.method_class, "template", "mine")
    monkeypatch.setattr(prepared.method_class, "templates", templates)
    if language is None:
        assert Method.supports.__func__(prepared.method_class, prepared.task) == words
        return
    with pytest.raises(XlbenchError, match=re.escape(words)):
        method.template_in("mine", language)


# Languages with rows of their own


def test_languages_with_rows_of_their_own_are_units_of_their_own_and_computed_once(runtime, tmp_path):
    record = xlbench.run(spec("probe-apart"), runtime)
    assert not record.aligned
    assert any("not aligned over languages" in note and "en has 20 and fr 16" in note for note in record.notes)
    assert record.test["units"] == 20 + 16 + 12
    line = ("compare", "--task", "probe-apart", "--methods", "finetune", "--model", "tiny", "--shots", "4", "--draws",
            "2", "--seeds", "1", "--steps", "2", "--plugin", str(PROBES), "--runs", str(tmp_path / "more"),
            "--selection", "source-dev")  # fmt: skip
    assert "2 runs computed" in said(*line)
    assert "0 runs computed" in said(*line)
    assert not [file for file in (tmp_path / "more").iterdir() if "damaged" in file.name]
    said("leaderboard", "--runs", str(tmp_path / "more"), "--out", str(tmp_path / "board"))


# Identity


def copied(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The probes in a file of their own, with some of their text changed, and names of their own."""
    text = PROBES.read_text().replace('"probe-', '"other-')
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    (folder / "probes.py").write_text(text)
    return folder / "probes.py"


def identity(tmp_path: Path, runtime: Runtime, method: str, *changes: tuple[str, str]) -> str:
    with registry_as_it_was():
        file = copied(tmp_path, *changes)
        return prepare(spec("other-tone", method), runtime.model_copy(update={"plugins": (str(file),)})).id


SOFT = '"soft": dict.fromkeys(LANGUAGES, "{text.} . <prompt> <mask> .")'
UNCHANGING = {
    "a comment": ('"""What the probes share."""', '"""What they share, said otherwise."""\n    # and a comment'),
    "another template": (SOFT, SOFT + ', "question": dict.fromkeys(LANGUAGES, "{text} ? <mask>")'),
    "a template of another method": (SOFT, SOFT.replace(" . <prompt>", " ! <prompt>")),
    "a description": ('description="how much a distance weighs"', 'description="a weight"'),
    "a citation": ('license = citation = "the tests of xlbench"', 'license = citation = "others"'),
}


@pytest.mark.parametrize("change", UNCHANGING)
def test_what_cannot_change_a_number_changes_no_id(change, tmp_path, runtime):
    first = identity(tmp_path, runtime, "finetune")
    assert identity(tmp_path, runtime, "finetune", UNCHANGING[change]) == first


def test_a_template_that_a_method_reads_changes_its_id_and_so_does_its_code(tmp_path, runtime):
    for method, change in (
        ("soft-prompt", UNCHANGING["a template of another method"]),
        ("soft-prompt", ('("no", "maybe", "yes")}', '("yes", "maybe", "no")}')),
        ("other-centroids", ("-self.config.scale *", "-2 * self.config.scale *")),
    ):
        assert identity(tmp_path, runtime, method) != identity(tmp_path, runtime, method, change)


@pytest.mark.parametrize(
    ("method", "change"),
    {
        "the leading metric": ("finetune", ('("macro-F1", "accuracy", "MCC")', '("accuracy", "macro-F1", "MCC")')),
        "a label's name": ("finetune", ('(("bad", "plain", "good"), ', '(("bad", "so-so", "good"), ')),
        "a resource's code": ("other-switching", ("[(ours, GREETING[language])", "1 * [(ours, GREETING[language])")),
    }.values(),
)
def test_what_can_change_a_number_changes_the_id(method, change, tmp_path, runtime):
    assert identity(tmp_path, runtime, method) != identity(tmp_path, runtime, method, change)


def test_code_is_that_of_the_classes_below_too_and_not_of_this_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "below_it.py").write_text("class Base:\n    pooled = 'mean'\n")
    (tmp_path / "above_it.py").write_text(
        "from below_it import Base\nfrom xlbench.method import Method\nclass Mine(Base, Method):\n    pass\n"
    )
    mine = importlib.import_module("above_it").Mine
    assert [file.name for file in registry.files_of(mine)] == ["above_it.py", "below_it.py"]
    before = registry.code_of(mine)
    (tmp_path / "below_it.py").write_text("class Base:\n    pooled = 'first'\n")
    assert registry.code_of(mine) != before
    templates = "class Mine(Base, Method):\n    templates = {'mine': {'en': '{text}'}}\n"
    (tmp_path / "above_it.py").write_text(
        (tmp_path / "above_it.py").read_text().replace("class Mine(Base, Method):\n", templates)
    )
    assert registry.code_of(mine).count("templates") == 0


def test_a_field_at_its_default_changes_no_id(runtime):
    one = prepare(spec("probe-tone"), runtime)
    assert "max_length" not in one.spec.identity
    assert one.id == prepare(spec("probe-tone", max_length=128, target_shots=0), runtime).id
    assert one.id != prepare(spec("probe-tone", max_length=64), runtime).id


# Schema 1


def test_a_record_of_schema_1_is_read_as_one_of_schema_2(tmp_path):
    first = Path(__file__).parents[2] / "leaderboard" / "2026-11-first" / "records"
    folder = min(
        path for path in first.iterdir() if json.loads((path / "record.json").read_text())["schema_version"] == 1
    )
    shutil.copytree(folder, tmp_path / folder.name)
    (result,) = vet(xlbench.Store(tmp_path)).results
    old = json.loads((folder / "record.json").read_text())
    assert result.record.id == old["id"] == folder.name
    assert result.record.by_language == old["accuracy"]
    assert result.record.spec.test_units == old["spec"]["test_premises"]
    assert result.record.test["units"] == old["test"]["premises"]
    assert result.summary.scores["accuracy"] == pytest.approx(old["accuracy"])
    assert [entry["dev_score"] for entry in result.record.selection["history"]] == [
        entry["dev_accuracy"] for entry in old["selection"]["history"]
    ]


def test_metrics_that_lead_are_the_ones_that_rank():
    assert {METRICS[metric].name for metric, _ in KINDS.values()} == {"macro-F1", "accuracy", "span-F1"}


@pytest.mark.parametrize("folder", ["leaderboard/2026-11-first", "leaderboard/2026-11-first/ablation"])
def test_records_of_schema_1_give_the_board_lines_that_they_gave(folder):
    """The committed board was written when schema 1 was the only one: every line of every table is there again."""
    here = Path(__file__).parents[2] / folder
    again = markdown(group(vet(xlbench.Store(here / "records")).results)).splitlines()
    lines = [line for line in (here / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(lines) > 40
    assert [line for line in lines if line not in again] == []


def test_the_metric_of_a_probe_is_what_its_predictions_say_counted_by_hand(runtime):
    record = xlbench.run(spec("probe-tone"), runtime)
    table = pq.read_table(Path(runtime.runs) / record.id / "predictions.parquet").to_pandas()
    given = table[["log_prob_0", "log_prob_1", "log_prob_2"]].to_numpy().argmax(axis=1)
    for language, value in record.by_language.items():
        mine = (table.language == language).to_numpy()
        f1 = []
        for label in range(3):
            gold, said_so = (table.gold.to_numpy()[mine] == label), (given[mine] == label)
            if gold.sum() + said_so.sum():
                f1.append(2 * (gold & said_so).sum() / (gold.sum() + said_so.sum()))
        assert value == pytest.approx(sum(f1) / len(f1))
