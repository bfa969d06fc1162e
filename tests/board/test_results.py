"""One record found, two compared, all exported, whom to cite."""

import io
import json

import pandas as pd
import pytest
from hand_made import record, sound
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from xlbench import Store, XlbenchError
from xlbench.board.export import citations, export
from xlbench.board.results import csv_of, results
from xlbench.cli import app
from xlbench.host.plain_text import csv_cell
from xlbench.records.lookup import differences, find_record

ONE = record("finetune", {"en": 0.5, "fr": 0.4}, selection={"step": 2})
OTHER = record("mpt", {"en": 0.5, "fr": 0.3}, {"draw": 1, "config": {"alpha": 0.3}}, selection={"step": 1})


@pytest.fixture
def runs(tmp_path):
    for one in (ONE, OTHER):
        Store(tmp_path / "runs").write(one, sound(one))
    return tmp_path / "runs"


def asked(*words):
    done = CliRunner().invoke(app, [*map(str, words)])
    return done.exit_code, done.output


def test_a_record_is_found_by_the_beginning_of_its_id_or_its_folder(runs):
    assert find_record(ONE.id[:6], runs) == ONE
    assert find_record(str(runs / ONE.id), runs) == ONE


@pytest.mark.parametrize("name", ["zzz", "", "../x"])
def test_a_record_that_is_not_there_is_said_to_be_missing(runs, name):
    with pytest.raises(XlbenchError, match=r"there is no record .* in .*, which has 2"):
        find_record(name, runs)


def test_an_id_that_begins_several_records_is_refused(tmp_path):
    for number in range(2):
        folder = tmp_path / f"ab{number}"
        folder.mkdir()
        (folder / "record.json").write_text(ONE.model_dump_json())
    with pytest.raises(XlbenchError, match="ab is the beginning of 2 records, ab0, ab1"):
        find_record("ab", tmp_path)


def test_what_two_records_differ_in():
    found = {field: (here, there) for field, here, there in differences(ONE, OTHER)}
    assert found["spec.method"] == ("finetune", "mpt")
    assert found["spec.config.alpha"] == ("–", "0.3000")
    assert found["scores.accuracy.fr"] == ("0.4000", "0.3000")
    assert found["steps tested"] == ("2", "1")
    assert "scores.accuracy.en" not in found
    assert differences(ONE, ONE.model_copy(update={"seconds": 99.0})) == []


def test_results_have_a_row_per_run_and_language():
    table = results([OTHER, ONE])
    assert table[["method", "language", "score", "source"]].to_numpy().tolist() == [
        ["finetune", "en", 0.5, True], ["finetune", "fr", 0.4, False],
        ["mpt", "en", 0.5, True], ["mpt", "fr", 0.3, False],
    ]  # fmt: skip
    assert set(table.metric) == {"accuracy"}
    assert table.config.tolist()[2] == "alpha=0.3"


def test_exports_can_be_read_back_and_latex_escapes_names(runs):
    table = results(Store(runs).records())
    assert pd.read_csv(io.StringIO(export(runs, "csv")[0])).score.tolist() == table.score.tolist()
    assert [row["record"] for row in json.loads(export(runs, "json")[0])] == table.record.tolist()
    mine = record("my_method", {"en": 0.5, "fr": 0.4})
    Store(runs).write(mine, sound(mine))
    latex, left_out = export(runs, "latex")
    assert left_out == ()
    assert r"my\_method" in latex
    assert "50.0 & 40.0" in latex


def test_whom_to_cite():
    lines = citations([ONE, OTHER, record("elsewhere")])
    assert any(line.startswith("method mpt: Qiu et al.") for line in lines)
    assert any(line.startswith("task logic: ") for line in lines)
    assert "method elsewhere: not registered here; load its plug-in with --plugin" in lines
    assert len(lines) == len(set(lines)) == 5


def test_the_commands(runs):
    assert "49.0" not in asked("show", ONE.id, "--runs", runs)[1]
    assert "record: " in asked("show", ONE.id[:8], "--runs", runs)[1]
    assert "spec.method" in asked("diff", ONE.id, OTHER.id, "--runs", runs)[1]
    assert "differ in nothing but time" in asked("diff", ONE.id, ONE.id, "--runs", runs)[1]
    assert asked("export", "--runs", runs)[1].startswith("task,model,method,")
    assert "Conneau" in asked("cite", "--runs", runs)[1]


def test_a_record_that_is_left_out_is_named_beside_what_is_exported_and_cited(runs):
    (runs / "torn").mkdir()
    (runs / "torn" / "record.json").write_text('{"id": "torn", "sta')
    for words in (("export",), ("cite",)):
        done = CliRunner().invoke(app, [*words, "--runs", str(runs)])
        assert done.exit_code == 0
        assert "left out: the record torn/record.json cannot be read" in done.stderr
        assert "torn" not in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("diff", "zzz", "yyy"), "there is no record 'zzz'"),
        (("export", "--format", "xlsx"), "cannot export 'xlsx'; formats are csv, json and latex"),
        (("show", "zzz"), "zzz"),
    ],
)
def test_mistakes_are_one_sentence(runs, words, sentence):
    code, said = asked(*words, "--runs", runs)
    assert (code, said.count("\n")) == (2, 1)
    assert sentence in said


def test_nothing_to_export(tmp_path):
    with pytest.raises(XlbenchError, match="no folder of records"):
        export(tmp_path / "none", "csv")


CELLS = st.one_of(
    st.text(max_size=6), st.sampled_from(["=1+1", "-2", 'a "b", c', "", "-", "é\u202e", "1e5", "NaN", "None"])
)


@given(
    st.lists(
        st.tuples(CELLS, st.integers(-5, 5), st.floats(allow_nan=True), st.booleans(), st.none() | st.floats(0, 1)),
        min_size=1,
    )
)
def test_csv_is_what_pandas_writes_of_cells_made_safe(rows):
    table = pd.DataFrame(rows, columns=["text, odd", "int", "float", "bool", "maybe"])
    shown = table.assign(**{"text, odd": [csv_cell(text) for text in table["text, odd"]]})
    assert csv_of(table) == shown.to_csv(index=False, lineterminator="\n")
