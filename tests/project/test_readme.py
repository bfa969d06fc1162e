"""The README's examples are run, not only read."""

import re
from pathlib import Path

import pytest

from xlbench import RunSpec, Runtime, Training, registry, run
from xlbench.cli.plugins.check import check

README = Path(__file__).parents[2] / "README.md"


def block(first_line: str) -> str:
    """The README's Python block that begins with a line."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (found,) = [text for text in blocks if text.startswith(first_line)]
    return found


pytestmark = pytest.mark.usefixtures("own_registry")


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    exec(compile(block("import xlbench"), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "'sw'" in printed
    assert "finetune" in printed
    assert len(list((tmp_path / "runs").glob("[!.]*/record.json"))) == 4  # one cell of the comparison was there already


def test_the_example_method_keeps_the_contract_and_runs(tmp_path: Path):
    file = tmp_path / "my_method.py"
    file.write_text(block("# my_method.py"), encoding="utf-8")
    registry.load_plugin(str(file))
    assert [finding.point for finding in check("mean-pooling") if not finding.ok] == []
    spec = RunSpec(method="mean-pooling", task="logic", model="tiny", shots=2, test_units=5, training=Training(steps=2))
    assert set(run(spec, Runtime(runs=tmp_path)).by_language) == set(registry.get("task", "logic").languages)


def test_the_example_task_keeps_the_contract(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    file = tmp_path / "my_task.py"
    file.write_text(block("# my_task.py"), encoding="utf-8")
    for language, visited in (("en", "visited"), ("fr", "a visité")):
        for split in ("train", "validation", "test"):
            rows = [
                {
                    "premise": f"{split} {number} {visited} Oslo",
                    "hypothesis": f"{split} {number}{label} Oslo",
                    "label": label,
                }
                for number in range(8)
                for label in range(3)
            ]
            target = tmp_path / "me" / "my-nli" / language / f"{split}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            pandas.DataFrame(rows).to_parquet(target)
    registry.load_plugin(str(file))
    assert [finding for finding in check("my-nli", data_root=tmp_path) if not finding.ok] == []
