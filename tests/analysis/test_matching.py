"""Groups that may share no table: what differs, field by field, and what is said of it."""

from hand_made import group, record, sound
from typer.testing import CliRunner

from xlbench import Store
from xlbench.analysis.matching import apart, mismatches
from xlbench.board.markdown import write
from xlbench.cli import app

THREE = (
    record("finetune"),
    record("finetune", spec={"draw": 1}),
    record("mpt", spec={"training": {"learning_rate": 1e-3, "steps": 9}}),
    record("pct", spec={"max_length": 64, "training": {"learning_rate": 1e-3, "steps": 9}}),
)


def leaderboard(tmp_path, records, *options):
    for one in records:
        Store(tmp_path / "runs").write(one, sound(one))
    words = ["leaderboard", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "board"), *options]
    return CliRunner().invoke(app, words)


def test_each_field_that_differs_is_named_with_its_values_and_how_many_records_have_them():
    groups = group(THREE)
    number = {line.method: at for at, one in enumerate(groups, 1) for line in one.tables[0].lines}
    found = {(one.field, one.value): (set(one.groups), one.records) for one in mismatches(groups)}
    assert found == {
        ("max_length", "128"): ({number["finetune"], number["mpt"]}, 3),
        ("max_length", "64"): ({number["pct"]}, 1),
        ("training.steps", "2"): ({number["finetune"]}, 2),
        ("training.steps", "9"): ({number["mpt"], number["pct"]}, 2),
    }


def test_one_group_differs_in_nothing_and_nothing_is_said():
    groups = group(THREE[:2])
    assert mismatches(groups) == []
    assert apart(groups) is None


def test_languages_and_identity_are_compared_as_well():
    groups = group([record(), record("mpt", {"en": 0.5}), record("pct", identity={"test_data": "t1"})])
    assert {(one.field, one.value) for one in mismatches(groups)} == {
        ("languages", "en, fr"), ("languages", "en"), ("test_data", "t0"), ("test_data", "t1"),
    }  # fmt: skip


def test_a_comparison_that_is_not_matched_is_refused_with_what_differs_and_nothing_is_written(tmp_path):
    done = leaderboard(tmp_path, THREE, "--together")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: the records make 3 groups that may share no table; ")
    assert done.stderr.count("\n") == 1
    rows = [line.strip("│ ").split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row[:2] + row[3:] for row in cells if row[0] == "max_length"] in (
        [["max_length", "128", "3"], ["max_length", "64", "1"]],
        [["max_length", "64", "1"], ["max_length", "128", "3"]],
    )
    assert {row[0] for row in cells} == {"max_length", "training.steps"}
    assert "logic on tiny, 2 records; finetune" in done.stdout
    assert not (tmp_path / "board").exists()


def test_a_matched_comparison_is_written_as_ever(tmp_path):
    done = leaderboard(tmp_path, THREE[:2], "--together")
    assert done.exit_code == 0
    assert (tmp_path / "board" / "README.md").is_file()
    assert "groups" not in done.output


def test_several_groups_are_said_in_one_line_with_the_way_to_see_what_differs(tmp_path):
    done = leaderboard(tmp_path, THREE)
    assert done.exit_code == 0
    said = [line for line in done.output.splitlines() if line.startswith("note: the records")]
    assert said == [
        "note: the records make 3 groups that may share no table; `xlbench leaderboard --together` prints what differs "
        "between them"
    ]


def test_runs_of_two_versions_of_a_method_in_one_mean_are_said(tmp_path):
    records = [record(spec={"draw": draw}, identity={"method_source": f"m{draw}"}) for draw in range(2)]
    for name, kept in (("mixed", records), ("alike", [records[0], record(spec={"draw": 1})])):
        store = Store(tmp_path / name)
        for one in kept:
            store.write(one, sound(one))
        text = write(group(store), tmp_path / f"{name}-board").read_text(encoding="utf-8")
        assert ("Mixed: the runs of finetune are of 2 versions of the method's source." in text) == (name == "mixed")
