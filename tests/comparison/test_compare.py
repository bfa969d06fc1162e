"""A comparison: only what is missing is computed, one cell's fault is its own, and Ctrl-C keeps what is done."""

import json

import pytest
from small_data import plugin
from typer.testing import CliRunner

from xlbench import RunSpec, Runtime, Store, Suite, XlbenchError, compare
from xlbench.cli import app
from xlbench.comparison.compare import run_suite

SHARED = {
    "task": "logic", "model": "tiny", "languages": ("en", "fr"), "test_units": 4,
    "training": {"steps": 2, "checkpoints": 1},
}  # fmt: skip
LOSS = "return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)"
RAISES = (LOSS, 'raise RuntimeError("the method broke")')
WITH_PATH = ("from torch import nn", "from pathlib import Path\n\nfrom torch import nn")
FLAG = "Path(__file__).with_name('repaired').exists()"


pytestmark = pytest.mark.usefixtures("own_registry")


def suite(*methods: str, **fields) -> Suite:
    return Suite(**{"methods": methods, "shots": (1, 2), "run": SHARED, **fields})


def with_plugins(runtime: Runtime, *files) -> Runtime:
    return runtime.model_copy(update={"plugins": tuple(map(str, files))})


def test_a_comparison_is_a_frame_with_a_row_a_cell(runtime):
    table = compare(suite("finetune", "soft-prompt", draws=2), runtime)
    assert list(zip(table["draw"], table["shots"], table["method"], strict=True)) == [
        (draw, shots, method) for draw in (0, 1) for shots in (1, 2) for method in ("finetune", "soft-prompt")
    ]
    for row in table.itertuples():
        assert row.mean == pytest.approx((row.accuracy_en + row.accuracy_fr) / 2)
        assert row.gap == pytest.approx(row.accuracy_en - row.accuracy_fr)
        assert Store(runtime.runs).finished(row.record) is not None
    assert table.attrs == {"failed": [], "skipped": []}


def test_only_what_is_missing_is_computed(runtime):
    first = run_suite(suite("finetune"), runtime)
    again = run_suite(suite("finetune"), runtime)
    wider = run_suite(suite("finetune", seeds=2), runtime)
    assert (first.computed, again.computed, wider.computed) == (2, 0, 2)
    assert again.records == first.records
    assert wider.records[:2] == first.records


def test_a_record_that_was_taken_away_is_computed_again_alone(runtime):
    first = run_suite(suite("finetune"), runtime)
    (runtime.runs / first.records[0].id / "record.json").unlink()
    again = run_suite(suite("finetune"), runtime)
    assert again.computed == 1
    assert again.records[0].by_language == first.records[0].by_language
    assert again.records[1] == first.records[1]


def test_a_cell_that_is_named_twice_is_computed_once(runtime):
    found = run_suite(suite("finetune", "finetune", shots=(1, 1)), runtime)
    assert found.computed == 1
    assert len(found.frame()) == 1


def test_one_method_s_exception_is_recorded_and_the_others_go_on(runtime, tmp_path):
    broken = plugin(tmp_path / "broken.py", "broken", RAISES)
    found = run_suite(suite("broken", "finetune"), with_plugins(runtime, broken))
    assert found.computed == 2
    assert {record.spec.method for record in found.records} == {"finetune"}
    assert len(found.failed) == 2
    assert "broken, logic, 1 shots, draw 0, seed 0: RuntimeError: the method broke (broken.py:" in found.failed[0]
    failed = [record for record in Store(runtime.runs).records() if record.status == "failed"]
    assert len(failed) == 2
    assert all("RuntimeError: the method broke (broken.py:" in record.error for record in failed)


def test_a_cell_that_failed_is_computed_again(runtime, tmp_path):
    """The fault goes away without a change of the method's source, as one of the machine would."""
    flaky = plugin(
        tmp_path / "flaky.py", "flaky", WITH_PATH,
        (LOSS, f'if not {FLAG}:\n            raise RuntimeError("the machine broke")\n        {LOSS}'),
    )  # fmt: skip
    asked = with_plugins(runtime, flaky)
    first = run_suite(suite("flaky", shots=(1,)), asked)
    assert (first.computed, len(first.failed)) == (0, 1)
    (tmp_path / "repaired").touch()
    again = run_suite(suite("flaky", shots=(1,)), asked)
    assert (again.computed, again.failed) == (1, [])
    assert [record.status for record in Store(runtime.runs).records()] == ["finished"]


def test_a_loss_that_is_no_number_is_one_failed_cell(runtime, tmp_path):
    broken = plugin(tmp_path / "nan.py", "nan", (LOSS, LOSS + ' * float("nan")'))
    found = run_suite(suite("nan", "finetune", shots=(1,)), with_plugins(runtime, broken))
    assert found.computed == 1
    assert "method nan: the loss is nan at step 2" in found.failed[0]


def test_a_method_that_does_not_run_on_the_task_is_skipped_with_its_reason(runtime, tmp_path):
    picky = plugin(tmp_path / "picky.py", "picky", ("return None", 'return "it wants another task"'))
    found = run_suite(suite("picky", "finetune"), with_plugins(runtime, picky))
    assert found.skipped == ["method picky does not run on task logic: it wants another task"]
    assert {record.spec.method for record in found.records} == {"finetune"}
    assert found.failed == []


def test_a_suite_of_which_no_method_runs_is_a_mistake(runtime, tmp_path):
    picky = plugin(tmp_path / "picky.py", "picky", ("return None", 'return "it wants another task"'))
    with pytest.raises(XlbenchError, match="no method can run: method picky does not run on task logic"):
        run_suite(suite("picky"), with_plugins(runtime, picky))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"methods": ("finetune", "nosuch")}, "unknown method 'nosuch'"),
        ({"run": {**SHARED, "task": "nosuch"}}, "unknown task 'nosuch'"),
        ({"shots": (1, 100_000)}, "--shots 100000 is more than the"),
        ({"methods": ("finetune", {"method": "mpt", "config": {"alhpa": 1}})}, "unknown field 'alhpa'"),
    ],
)
def test_a_mistake_in_the_last_cell_is_said_before_the_first_is_computed(runtime, fields, sentence):
    with pytest.raises(XlbenchError, match=sentence):
        run_suite(suite(**{"methods": ("finetune",), **fields}), runtime)
    assert not runtime.runs.exists()


def test_a_method_that_has_nothing_to_train_is_skipped_and_leaves_no_record(runtime):
    found = run_suite(suite("pct", "finetune", run={**SHARED, "tune": "frozen"}), runtime)
    assert found.skipped == ["method pct has nothing to train with --tune frozen; use all or lora"]
    assert found.failed == []
    assert {record.spec.method for record in Store(runtime.runs).records()} == {"finetune"}


# On the command line

COMPARE = (
    "compare", "--task", "logic", "--model", "tiny", "--languages", "en,fr", "--test-units", "4", "--shots", "1",
    "--draws", "1", "--seeds", "1", "--steps", "2", "--checkpoints", "1", "--device", "cpu", "--selection",
    "source-dev",
)  # fmt: skip


def command(tmp_path, *arguments):
    return CliRunner().invoke(app, [*COMPARE, "--runs", str(tmp_path / "runs"), *map(str, arguments)])


def test_a_failed_cell_is_exit_code_1_and_the_board_is_printed_all_the_same(tmp_path):
    broken = plugin(tmp_path / "broken.py", "broken", RAISES)
    done = command(tmp_path, "--methods", "broken,finetune", "--plugin", broken)
    assert done.exit_code == 1
    assert "logic on tiny, 1 shots per class" in done.stdout
    assert "1 runs computed, 1 in the table" in done.stdout
    assert "failed: broken, logic, 1 shots, draw 0, seed 0: RuntimeError: the method broke" in done.stderr
    assert "Traceback" not in done.output


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path):
    stopped = plugin(
        tmp_path / "stopped.py", "stopped", WITH_PATH,
        (LOSS, f"if not {FLAG}:\n            raise KeyboardInterrupt\n        {LOSS}"),
    )  # fmt: skip
    asked = ("--methods", "finetune,stopped,soft-prompt", "--plugin", stopped)
    done = command(tmp_path, *asked)
    assert done.exit_code == 130
    assert "stopped; what was finished is kept, and the same command goes on from there" in done.stderr
    assert "Traceback" not in done.output
    (file,) = (tmp_path / "runs").glob("*/record.json")
    assert json.loads(file.read_text())["spec"]["method"] == "finetune"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [file.parent.name]
    (tmp_path / "repaired").touch()
    again = command(tmp_path, *asked)
    assert again.exit_code == 0, again.output
    assert "2 runs computed, 3 in the table" in again.stdout


def test_a_skipped_method_is_said(tmp_path):
    picky = plugin(tmp_path / "picky.py", "picky", ("return None", 'return "it wants another task"'))
    done = command(tmp_path, "--methods", "finetune,picky", "--plugin", picky)
    assert done.exit_code == 0
    assert "skipped: method picky does not run on task logic: it wants another task" in done.stdout


def test_methods_with_no_seed_in_common_are_no_crash(tmp_path):
    """Each of two methods fails at another seed of the one draw: they are compared by it, and the failures named."""
    files = []
    for seed in (0, 1):
        begun = RunSpec(method="mpt", shots=1, draw=0, seed=seed).random_seed
        seeded = f"import torch\n        self.ours = torch.initial_seed() == {begun}\n        self.head = nn"
        fails = f"if not self.ours:\n            raise RuntimeError\n        {LOSS}"
        file = tmp_path / f"half{seed}.py"
        files.append(plugin(file, f"half{seed}", ("self.head = nn", seeded), (LOSS, fails)))
    plugins = [part for file in files for part in ("--plugin", file)]
    done = command(tmp_path, "--methods", "half0,half1", "--seeds", "2", *plugins)
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert "2 runs computed, 2 in the table" in done.stdout
    assert done.stderr.count("failed: half") == 4  # two as they happen, and again at the end
