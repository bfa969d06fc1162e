"""The wheel: what stands in it, and that it works from a folder that is no checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from xlbench import registry

ROOT = Path(__file__).parents[2]
SHIPPED = {
    "py.typed": "xlbench/py.typed",
    "methods": "xlbench/methods/{finetune,soft_prompt,pct,mpt}.py",
    "tasks": "xlbench/tasks/{xnli,logic/__init__,logic/grammar,logic/languages/zh}.py",
    "names": "xlbench/tasks/logic/names.tsv",
    "page": "xlbench/board/assets/page.{html,css,js}",
    "languages": "xlbench/analysis/languages.tsv",
    "words": "xlbench/words.tsv",
    "tiny": "xlbench/tiny/{model.safetensors,config.json,tokenizer.json,tokenizer_config.json}",
    "suites": "xlbench/suites/{demo,xnli-quick,mpt-paper}.toml",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build", reason="build makes the wheel")
    pytest.importorskip("setuptools", reason="setuptools builds the wheel")
    out, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in (
        "xlbench",
        "methods",
        "tasks",
        "suites",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ):  # not the checkout,
        if (ROOT / name).exists():  # in which a build leaves files
            os.symlink(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def names(pattern: str) -> list[str]:
    """`a{b,c}d` as abd and acd."""
    before, brace, rest = pattern.partition("{")
    middle, _, after = rest.partition("}")
    return [before + one + after for one in middle.split(",")] if brace else [pattern]


@pytest.mark.parametrize("what", SHIPPED)
def test_the_wheel_holds(unpacked, what):
    assert [name for name in names(SHIPPED[what]) if not (unpacked / name).is_file()] == []


def test_the_wheel_holds_every_module_of_the_package(unpacked):
    ours = {file.relative_to(ROOT) for file in (ROOT / "xlbench").rglob("*.py")}
    assert {file for file in ours if not (unpacked / file).exists()} == set()


def test_the_wheel_takes_no_global_name_and_no_test(wheel, unpacked):
    roots = {path.name for path in unpacked.iterdir()}
    assert {name for name in roots if not name.endswith(".dist-info")} == {"xlbench"}
    assert not list(unpacked.rglob("test_*"))
    assert not list(unpacked.rglob("__pycache__"))
    assert wheel.stat().st_size < 10 * 2**20


def test_the_tiny_model_is_under_8_mb(unpacked):
    files = [path for path in (unpacked / "xlbench" / "tiny").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8 * 10**6


OUTSIDE = """
import sys
from pathlib import Path
import xlbench
from xlbench import registry
assert Path(xlbench.__file__).is_relative_to(sys.argv[1]), xlbench.__file__
assert registry.names("method") == sys.argv[2].split(","), registry.names("method")
assert registry.names("task") == sys.argv[3].split(","), registry.names("task")
assert registry.get("task", "sib-200")().template("question", "eu") == "{text}<sep>Erantzuna: <mask>"  # from words.tsv
assert Path(sys.modules["xlbench"].__file__).is_relative_to(sys.argv[1])
from xlbench.backbone import Backbone
assert Backbone.load("tiny").has_masked_lm_head
assert Path(registry.get("method", "mpt").__module__.replace(".", "/")) == Path("xlbench/methods/mpt")
rows = registry.get("task", "logic")().parallel_pairs("fr", 3, None)
assert len(rows) == 3
print(xlbench.__version__)
"""


def test_the_unpacked_wheel_works_outside_the_checkout(unpacked, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, str(unpacked), *(",".join(registry.names(what)) for what in ("method", "task"))],  # noqa: E501
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_version_is_the_package_s(wheel):
    from xlbench import __version__

    assert wheel.name.startswith(f"xlbench-{__version__}-py3-none-any")


def test_the_minimum_job_installs_the_oldest_versions_that_the_package_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["plots"]]
    lines = (ROOT / "constraints-min.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} == {name.replace(">=", "==") for name in asked}
