"""A plug-in package, installed as any other, is found by its entry points, checked and run; a file as well."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_data import plugin, registry_as_it_was
from typer.testing import CliRunner

from xlbench.cli import app

PACKAGE = Path(__file__).parents[1] / "plugin_package"
QUICK = ("--shots", "2", "--model", "tiny", "--steps", "2", "--checkpoints", "1", "--quiet")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip installed the package, with no network."""
    pytest.importorskip("setuptools", reason="setuptools builds the plug-in package")
    pytest.importorskip("pip", reason="pip installs the plug-in package")
    copy = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "package")  # pip builds in the folder
    target = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(copy)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return target


def xlbench(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The console script in a process of its own, from another folder, with the package on its path."""
    script = Path(sys.executable).parent / "xlbench"
    command = [str(script)] if script.is_file() else [sys.executable, "-m", "xlbench.cli"]
    return subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_an_installed_package_is_listed_without_importing_it(installed, tmp_path):
    methods, tasks = (xlbench(installed, tmp_path, "list", what) for what in ("methods", "tasks"))
    assert "mean-pool" in methods.stdout
    assert "entry point small_plugin.mean_pool of xlbench-small-plugin" in methods.stdout
    assert "harvest" in tasks.stdout
    assert "finetune" in methods.stdout


def test_an_installed_method_runs_on_an_installed_task(installed, tmp_path):
    done = xlbench(
        installed, tmp_path, "run", "--method", "mean-pool", "--task", "harvest", "--set", "dropout=0.1", *QUICK
    )
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = (tmp_path / "runs").glob("*/record.json")
    record = json.loads(file.read_text())
    assert record["status"] == "finished"
    assert record["method_config"] == {"dropout": 0.1}
    assert set(record["scores"]["accuracy"]) == {"en", "fr"}
    assert record["test"] == {"rows": 48, "units": 8, "languages": 2}


BOTH_CHECKED = """
from typer.testing import CliRunner
from xlbench.cli import app
shown = ["show", "mean-pool", "--task", "harvest"]
for arguments in (["check", "mean-pool", "--task", "harvest"], ["check", "harvest"], shown):
    result = CliRunner().invoke(app, arguments)
    print(result.exit_code, result.output)
"""


def test_an_installed_package_keeps_the_contract(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BOTH_CHECKED], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "FAILS" not in done.stdout
    assert [line[0] for line in done.stdout.splitlines() if line[:2] in {"0 ", "1 ", "2 "}] == ["0", "0", "0"]
    assert [done.stdout.count(f"→ {label}") for label in ("entailment", "neutral", "contradiction")] == [1, 1, 1]


def test_a_name_that_the_package_takes_is_refused_to_a_plugin_file(installed, tmp_path):
    file = plugin(tmp_path / "mine.py", "mean-pool")
    done = xlbench(installed, tmp_path, "list", "methods", "--plugin", str(file))
    assert done.returncode == 2
    assert "'mean-pool' is registered twice: in entry point small_plugin.mean_pool" in done.stderr
    assert "mine.py:" in done.stderr


def test_a_plugin_file_runs(tmp_path):
    file = plugin(tmp_path / "mine.py", "mine")
    arguments = ("run", "--plugin", str(file), "--method", "mine", "--task", "logic", *QUICK)
    with registry_as_it_was():
        done = CliRunner().invoke(
            app, [*arguments, "--languages", "en,fr", "--test-units", "3", "--runs", str(tmp_path / "runs")]
        )
    assert done.exit_code == 0, done.output
    assert "mine on logic" in done.output
