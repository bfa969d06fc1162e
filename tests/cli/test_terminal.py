"""What the commands print: in a pipe, in a narrow terminal, of one record, and where nobody reads it."""

import os
import re
import subprocess
import sys

import pytest
from hand_made import record, sound
from rich.console import Console
from typer.testing import CliRunner

from xlbench import Store
from xlbench.cli import app
from xlbench.cli.terminal import table_of

QUICK = (
    "--task", "logic", "--model", "tiny", "--languages", "en,fr", "--test-units", "4", "--steps", "2",
    "--checkpoints", "1", "--device", "cpu", "--shots", "1", "--selection", "source-dev",
)  # fmt: skip
LONG = "a-method-with-a-name-of-forty-letters-abcd"


@pytest.fixture
def runs(tmp_path):
    store = Store(tmp_path / "runs")
    for method in (LONG, "mpt"):
        kept = record(
            method, spec={"config": {"alpha": 0.3}, "seed": 5}, method_config={"alpha": 0.3, "word": "source"}
        )
        store.write(kept, sound(kept))
    return store


def ids(store: Store) -> list[str]:
    return sorted(one.id for one in store.records())


def program(*arguments: str, **options) -> subprocess.Popen:
    """The command line as a program of its own, in a terminal said to be 20 letters wide."""
    command = [sys.executable, "-c", "from xlbench.cli import main; main()", *arguments]
    return subprocess.Popen(command, env={**os.environ, "COLUMNS": "20"}, text=True, **options)


# Width


@pytest.mark.parametrize("width", [30, 60, 100])
def test_a_narrow_terminal_cuts_no_name_and_no_number(width):
    head, rows = (
        ["method", "mean accuracy", "range of runs"],
        [["soft-prompt", "71.7", "70.8 – 72.5"], ["mpt", "9", "8"]],
    )
    console = Console(width=width)
    with console.capture() as shown:
        console.print(table_of("logic on tiny", head, rows))
    text = shown.get()
    assert "soft-prompt" in text
    assert "…" not in text
    assert all(part in text for part in ("71.7", "70.8", "72.5")) or width == 30


def test_in_a_pipe_no_line_is_wrapped(runs):
    first, second = ids(runs)
    shown = program("diff", first, second, "--runs", str(runs.root), stdout=subprocess.PIPE)
    text, _ = shown.communicate(timeout=60)
    (row,) = [line for line in text.splitlines() if "spec.method" in line]
    assert LONG in row
    assert "mpt" in row


# One record


def test_show_says_which_record_it_is_and_how_it_was_trained(runs):
    for run_id in ids(runs):
        shown = CliRunner().invoke(app, ["show", run_id[:8], "--runs", str(runs.root)]).stdout
        assert shown.splitlines()[-1] == f"record: {runs.root}/{run_id}"
        assert (
            "model tiny, seed 5, 2 steps, learning rate 0.001, of fresh parts 0.001, batch size 16, precision fp32\n"
            in shown
        )
        assert re.search(r"^settings of \S+: alpha=0.3, word=source$", shown, flags=re.MULTILINE)


def test_show_of_a_folder_names_it(runs):
    (first, _) = ids(runs)
    shown = CliRunner().invoke(app, ["show", str(runs.root / first)]).stdout
    assert shown.splitlines()[-1] == f"record: {runs.root}/{first}"


def test_show_says_how_a_run_that_failed_was_trained(runs):
    failed = record("mpt", status="failed", error="it broke", spec={"draw": 3})
    runs.write(failed.model_copy(update={"scores": {}}))
    shown = CliRunner().invoke(app, ["show", failed.id, "--runs", str(runs.root)]).stdout
    assert "mpt on logic, 4 shots, draw 3: failed, it broke\n" in shown
    assert "learning rate 0.001" in shown
    assert shown.splitlines()[-1] == f"record: {runs.root}/{failed.id}"


def test_the_rate_of_the_trial_that_was_chosen_is_shown(runs):
    trials = [
        {"training": {"learning_rate": rate}, "config": {}, "dev_score": 0.5, "dev_loss": 1.0, "seconds": 1.0}
        for rate in (1e-3, 2e-3)
    ]
    tuned = record("pct", spec={"trials": 2}, selection={"trials": trials, "chosen": 1})
    runs.write(tuned, sound(tuned))
    assert "learning rate 0.002" in CliRunner().invoke(app, ["show", tuned.id, "--runs", str(runs.root)]).stdout


def test_a_run_that_is_there_already_says_that_nothing_was_computed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again, quiet = (
        CliRunner().invoke(app, ["run", "--method", "finetune", *QUICK, *more]) for more in ((), (), ("--quiet",))
    )
    assert "nothing was computed" not in first.stderr
    (run_id,) = re.findall(r"the record (\w+) is there already, from 20\S+: nothing was computed", again.stderr)
    assert first.stdout.endswith(f"record: runs/{run_id}\n")
    assert again.stdout == first.stdout
    assert quiet.stderr == ""


# Nobody reads


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",), ("list", "records"), ("show", "finetune"), ("diff", "ID", "OTHER"), ("export",),
        ("leaderboard", "--no-figures"), ("compare", "--methods", "finetune", "--quiet", "--draws", "1", *QUICK),
    ],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_a_pipe_that_is_closed_ends_a_command_without_a_word(runs, tmp_path, arguments):
    known = dict(zip(("ID", "OTHER"), ids(runs), strict=True))
    read, write = os.pipe()
    os.close(read)
    words = [known.get(word, word) for word in arguments]
    with os.fdopen(write, "w") as closed:
        done = program(*words, stdout=closed, stderr=subprocess.PIPE, cwd=tmp_path)
    _, said = done.communicate(timeout=120)
    assert (done.returncode, said) == (141, "")
