"""Facts about the source itself that no linter states."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("xlbench", "methods", "tasks") for path in (ROOT / folder).rglob("*.py"))
PLUGINS = [path for path in SOURCES if path.is_relative_to(ROOT / "methods") or path.is_relative_to(ROOT / "tasks")]


def imported(path: Path) -> set[str]:
    """Names of the modules that a file imports; relative ones begin with a dot."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_passes_450_lines(path: Path):
    """One concept may take as many; folders take the pressure, not more files."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_the_harness_and_never_another_plugin(path: Path):
    for name in imported(path):
        assert not name.startswith(("xlbench.methods", "xlbench.tasks", "methods", "tasks"))
        in_a_folder_of_its_own = path.parent.name not in {"methods", "tasks"}
        assert in_a_folder_of_its_own or not name.startswith(".")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_and_no_remote_code_is_run(path: Path):
    text = path.read_text(encoding="utf-8")
    assert not {"pickle", "dill", "cloudpickle"} & {name.split(".")[0] for name in imported(path)}
    assert "torch.load(" not in text
    assert "trust_remote_code=True" not in text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_that_is_named_is_in_the_repository(path: Path):
    pages = set(re.findall(r"[A-Za-z_-]+\.md\b", path.read_text(encoding="utf-8")))
    assert pages <= {file.name for file in ROOT.rglob("*.md") if ".venv" not in file.parts}
