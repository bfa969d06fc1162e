"""Training on every labelled row of the source language: `shots` all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import SENTENCES, write, write_xnli, xnli_file, xnli_rows
from typer.testing import CliRunner

from xlbench import RunSpec, Store, Suite, prompts, registry
from xlbench.cli import app
from xlbench.engine.prepare import prepare
from xlbench.errors import XlbenchError
from xlbench.prompts import Template, TextEncoder
from xlbench.spec import ALL, by_shots, digest, digest_of_list, in_words, parse
from xlbench.spec.words import whole_number, whole_numbers

TRAINING = {"steps": 2, "checkpoints": 1}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(registry.get("task", "xnli"), "languages", tuple(SENTENCES))
    return write_xnli(tmp_path / "data")


def spec(**fields) -> RunSpec:
    return RunSpec(
        **{"method": "finetune", "task": "xnli", "model": "tiny", "shots": "all", "training": TRAINING, **fields}
    )


def test_all_is_a_word_in_every_text_and_nobody_writes_the_number():
    asked = spec()
    assert asked.shots == ALL
    assert asked.model_dump()["shots"] == asked.model_dump(mode="json")["shots"] == "all"
    assert RunSpec.model_validate_json(asked.model_dump_json()) == asked.with_() == asked
    assert [one.shots for one in Suite(methods=("finetune",), shots=(4, "all")).cells()] == [4, ALL]
    assert spec(shots=4).model_dump()["shots"] == 4
    for wrong in (0, -1, "some"):
        with pytest.raises(XlbenchError, match="shots"):
            parse(RunSpec, {"method": "finetune", "shots": wrong}, "the command line")


@pytest.mark.parametrize("more", [{"draw": 1}, {"split": "zhao-schuetze"}])
def test_all_rows_are_one_draw(more):
    with pytest.raises(XlbenchError, match="shots all takes every labelled row: there is one draw"):
        parse(RunSpec, {"method": "finetune", "shots": "all", **more}, "the command line")


def test_all_rows_come_last_and_are_said_in_words():
    assert sorted([ALL, 4, 256], key=by_shots) == [4, 256, ALL]
    assert [in_words(shots, " per class") for shots in (16, ALL)] == ["16 shots per class", "all rows"]
    assert whole_numbers("4, all") == [4, "all"]
    assert whole_number("all") == "all"
    for wrong in ("4,16", "", "most"):
        with pytest.raises(XlbenchError, match="--shots takes"):
            whole_number(wrong)


def test_every_row_of_train_and_validation_is_taken(root, runtime):
    prepared = prepare(spec(), runtime.model_copy(update={"data_root": root}))
    assert [row.id for row in prepared.episode.shots.train] == [f"train-{number}" for number in range(24)]
    assert [row.id for row in prepared.episode.shots.dev] == [f"validation-{number}" for number in range(12)]
    assert "left_out" not in prepared.contamination


def test_rows_that_are_in_the_test_are_left_out_and_counted(root, runtime):
    """The first test premise, with its three hypotheses, as training rows."""
    train, test = xnli_rows("en", range(8, 16)), xnli_rows("en", range(1))
    write(xnli_file(root, "en", "train"), **{name: train[name] + test[name] for name in train})
    done = CliRunner().invoke(
        app,
        ["run", "--method", "finetune", "--model", "tiny", "--shots", "all", "--steps", "2", "--checkpoints", "1",
         "--device", "cpu", "--data-root", str(root), "--runs", str(runtime.runs), "--quiet"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "finetune on xnli, all rows" in done.stdout
    (record,) = Store(runtime.runs).records()
    assert record.contamination["left_out"] == 3
    assert "rows left out of all labelled ones, for they share a sentence with the test: 3" in record.notes
    assert record.contamination["compared"]["train"] == 48


@pytest.mark.parametrize("lost", ["train", "dev"])
def test_all_rows_that_leave_none_to_train_on_or_to_select_by_are_refused(root, runtime, lost):
    if lost == "train":
        write(xnli_file(root, "en", "train"), **xnli_rows("en", range(4)))  # the test's own
    target_shots = 4 if lost == "dev" else 0  # then a row of each dev unit is among them
    with pytest.raises(XlbenchError, match=f"--shots all leaves no {lost} row of task xnli: each shares a sentence"):
        prepare(spec(target_shots=target_shots), runtime.model_copy(update={"data_root": root}))


def test_ids_made_in_parts_are_those_made_at_once(tiny, logic, monkeypatch):
    texts = [row.texts for row in logic.rows("test", "de", None)[:100]]
    template = Template(logic.template("soft", "de"), logic.fields, "the template")
    whole = TextEncoder(tiny.tokenizer, 24)._encode(template, texts, 4)
    monkeypatch.setattr(prompts, "AT_A_TIME", 7)
    parts = TextEncoder(tiny.tokenizer, 24)._in_parts(template, texts, 4)
    assert [row.tolist() for row in parts.ids] == [row.tolist() for row in whole.ids]
    assert parts.read_at.tolist() == whole.read_at.tolist()
    assert parts.second_at.tolist() == whole.second_at.tolist()


@given(st.lists(st.one_of(st.text(), st.integers(), st.tuples(st.text(), st.integers()))))
def test_a_long_lists_digest_is_the_lists_digest(values):
    assert digest_of_list(iter(values)) == digest(values)
