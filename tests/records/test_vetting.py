"""Bad records: each is named in one sentence and left out, and the rest of the board stands."""

import json
import math
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_made import record, sound
from typer.testing import CliRunner

from xlbench import Store, XlbenchError
from xlbench.board.publish import publish
from xlbench.cli import app
from xlbench.records.vetting import vet

ROOT = Path(__file__).parents[2]
GOOD, BAD = record("finetune"), record("mpt")


@pytest.fixture
def store(tmp_path):
    """A sound record, and one that a test spoils."""
    kept = Store(tmp_path / "runs")
    for one in (GOOD, BAD):
        kept.write(one, sound(one))
    return kept


def edit(store: Store, **changes: object) -> None:
    """Write other fields into the bad record's file."""
    file = store.path(BAD.id) / "record.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def rescore(store: Store, **by_language: float) -> None:
    """Write another accuracy by language into the bad record's file."""
    edit(store, scores={"accuracy": by_language})


def predict(store: Store, change) -> None:
    """Write other predictions beside the bad record."""
    pq.write_table(change(sound(BAD)), store.path(BAD.id) / "predictions.parquet")


def cell(table: pa.Table, column: str, value: object) -> pa.Table:
    """Predictions with another value in the first row."""
    values = [value, *table[column].to_pylist()[1:]]
    return table.set_column(table.column_names.index(column), column, pa.array(values, table[column].type))


def truncated(store: Store) -> None:
    file = store.path(BAD.id) / "record.json"
    file.write_bytes(file.read_bytes()[:195])


def without_predictions(store: Store) -> None:
    (store.path(BAD.id) / "predictions.parquet").unlink()


def truncated_predictions(store: Store) -> None:
    file = store.path(BAD.id) / "predictions.parquet"
    file.write_bytes(file.read_bytes()[:300])


SPOILT = {
    "truncated": (truncated, "the record {id}/record.json cannot be read (Unterminated string"),
    "a field nobody knows": (lambda s: edit(s, surprise=1), "cannot be read (surprise: extra inputs are not"),
    "made of nothing": (lambda s: edit(s, combined={"how": "vote", "runs": "a"}), "is made of other records"),
    "a newer schema": (lambda s: edit(s, schema_version=99), "the record {id}/record.json has schema 99; this xlbench"),
    "failed": (lambda s: edit(s, status="failed"), "record {id} ({cell}) failed, and has no result"),
    "a lost fingerprint": (lambda s: edit(s, identity={"protocol": "1"}), "lacks task_version, test_data, revision;"),
    "no test rows": (lambda s: edit(s, test={}), "lacks the number of test rows, the number of test units; run it"),
    "a NaN score": (lambda s: rescore(s, en=math.nan, fr=0.4), "has accuracy of nan in en, which is"),
    "a score above 1": (lambda s: rescore(s, en=0.5, fr=40), "has accuracy of 40.0 in fr, which is"),
    "no score": (lambda s: rescore(s), "has no accuracy; run it again"),
    "a lost language": (lambda s: rescore(s, en=0.5), "lacks the accuracy of fr; run it again"),
    "a language too many": (
        lambda s: rescore(s, en=0.5, fr=0.4, sw=0.1), "has accuracy in sw, which its spec does not",
    ),
    "no predictions": (without_predictions, "record {id} ({cell}) lacks its predictions; run it again"),
    "truncated predictions": (truncated_predictions, "cannot be used: the predictions in {id} cannot be read ("),
    "another score than predicted": (
        lambda s: rescore(s, en=0.5, fr=0.6), "says 60.00 % in fr, its predictions 40.00 %; run it again",
    ),
    "a NaN prediction": (lambda s: predict(s, lambda t: cell(t, "log_prob_0", math.nan)), "has a log-probability th"),
    "a row twice": (lambda s: predict(s, lambda t: pa.concat_tables([t, t.slice(3, 1)])), "row 3 in en is there twice"),
    "a row less": (lambda s: predict(s, lambda t: t.slice(0, 119)), "lack row 59 of unit 19 in fr (1 such gaps)"),
    "row ids that are bytes": (
        lambda s: predict(s, lambda t: t.set_column(0, "row_id", t["row_id"].cast(pa.binary()))),
        "have a column row_id of binary, neither text nor whole numbers; run it again",
    ),
    "no learning rate": (
        lambda s: edit(s, spec={**BAD.spec.model_dump(mode="json"), "training": {"steps": 2}}),
        "cannot be read (spec.training.learning_rate: field required); remove it",
    ),
    "trials of which none was chosen": (
        lambda s: edit(s, selection={"trials": [{"dev_score": 0.5, "dev_loss": 1.0, "seconds": 1.0}]}),
        "record {id} ({cell}) has trials that cannot be read; run it again",
    ),
    "labels that are none": (
        lambda s: edit(s, problem={**BAD.problem, "labels": [[], "neutral"]}),
        "record {id} ({cell}) has a problem that cannot be read; run it again",
    ),
    "no list of labels": (lambda s: edit(s, problem={**BAD.problem, "labels": None}), "has a problem that cannot be"),
    "a language less": (lambda s: predict(s, lambda t: t.slice(0, 60)), "has predictions in en and accuracy in"),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_bad_record_is_left_out_and_named_in_one_sentence_and_the_rest_stands(store, tmp_path, spoil):
    change, words = SPOILT[spoil]
    change(store)
    found = vet(store)
    assert [one.id for one in found.records] == [GOOD.id]
    (sentence,) = found.left_out
    assert words.format(id=BAD.id, cell="mpt, logic, 4 shots, draw 0, seed 0") in sentence
    assert BAD.id in sentence
    assert str(tmp_path) not in sentence
    assert "\n" not in sentence

    board = publish(store.root, tmp_path / "board")
    assert f"left out: {sentence}" in board.notes
    shown = (tmp_path / "board" / "README.md").read_text(encoding="utf-8")
    assert "- Left out: " in shown
    assert "| finetune | 45.0 |" in shown
    assert "| mpt |" not in shown
    assert f"<li>Left out: {'the record' if 'the record' in sentence[:10] else 'record'} {BAD.id}" in (
        tmp_path / "board" / "index.html"
    ).read_text(encoding="utf-8")
    assert BAD.id not in (tmp_path / "board" / "results.csv").read_text(encoding="utf-8")


def test_sound_records_are_all_kept(store):
    assert {one.id for one in vet(store).records} == {GOOD.id, BAD.id}
    assert vet(store).left_out == ()


def test_a_copy_of_a_record_counts_once_and_is_named(store):
    shutil.copytree(store.path(BAD.id), store.root / "copy")
    found = vet(store)
    assert len(found.records) == 2
    assert found.left_out == (
        f"record copy (mpt, logic, 4 shots, draw 0, seed 0) is a copy of the record {BAD.id}, whose name its folder "
        "should have; rename or remove it",
    )


def test_a_task_whose_languages_have_rows_of_their_own_is_held_against_them(tmp_path):
    kept = record(aligned=False)
    Store(tmp_path).write(kept, sound(kept).slice(0, 60))  # English alone, though the record says French too
    other = record("mpt", aligned=False)
    Store(tmp_path).write(other, sound(other))
    found = vet(Store(tmp_path))
    assert [one.id for one in found.records] == [other.id]
    assert "has predictions in en and accuracy in" in found.left_out[0]


@pytest.mark.parametrize("folder", ["leaderboard/2026-11-first/records", "leaderboard/2026-11-first/ablation/records"])
def test_every_record_of_schema_1_on_the_leaderboard_is_read_and_sound(folder):
    """Read by `upgraded` from what is in the file: one metric, premises as units, dev_accuracy in its history."""
    store = Store(ROOT / folder)
    found = vet(store)
    assert (len(found.results), found.left_out) == (len(store.folders()), ())
    for one in found.records:
        old = json.loads((store.path(one.id) / "record.json").read_text(encoding="utf-8"))
        assert old["schema_version"] == 1
        assert {file.name for file in store.path(one.id).iterdir()} == {"record.json", "predictions.parquet"}
        assert (one.metric, one.by_language) == ("accuracy", old["accuracy"])
        assert one.test["units"] == old["test"]["premises"]
        assert [at["dev_score"] for at in one.selection["history"]] == [
            at["dev_accuracy"] for at in old["selection"]["history"]
        ]


def test_a_folder_with_nothing_that_can_be_used_is_refused_and_the_first_reason_given(store, tmp_path):
    shutil.rmtree(store.path(GOOD.id))
    without_predictions(store)
    with pytest.raises(XlbenchError, match=r"no record in .*runs can be used; the first of 1: record .* lacks its"):
        publish(store.root, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(XlbenchError, match=r"there is no folder of records .*none; name one with --runs DIR"):
        vet(Store(tmp_path / "none"))


def test_the_command_line_names_what_is_left_out_and_ends_well(store, tmp_path):
    without_predictions(store)
    done = CliRunner().invoke(app, ["leaderboard", "--runs", str(store.root), "--out", str(tmp_path / "board")])
    assert done.exit_code == 0
    assert f"note: left out: record {BAD.id} (mpt, logic, 4 shots, draw 0, seed 0) lacks its predictions" in done.output


def test_the_same_bad_records_give_the_same_bytes(store, tmp_path):
    truncated(store)
    boards = []
    for name in ("one", "other"):
        shutil.copytree(store.root, tmp_path / name / "runs")
        publish(tmp_path / name / "runs", tmp_path / name / "board")
        boards.append([(tmp_path / name / "board" / file).read_bytes() for file in ("README.md", "index.html")])
    assert boards[0] == boards[1]


def test_a_problem_without_labels_is_named(tmp_path):
    """Found by the fuzz: there is no answer that could always be given."""
    store = Store(tmp_path)
    store.write(GOOD, sound(GOOD))
    bad = BAD.model_copy(update={"problem": {"kind": "classification", "metrics": ["accuracy"]}})
    store.write(bad, sound(bad))
    (sentence,) = vet(store).left_out
    assert sentence.endswith("has a problem without labels; run it again")
