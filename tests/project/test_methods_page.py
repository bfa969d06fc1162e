"""docs/methods.md is what its command writes, from the methods that ship and the records that are committed."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from xlbench import registry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("methods_page", ROOT / "scripts" / "methods_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_its_command_writes(script: Any) -> None:
    assert script.page() == (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def test_the_page_has_every_method_and_its_citation(script: Any) -> None:
    page = script.page()
    for name in registry.names("method"):
        method: Any = registry.get("method", name)
        assert f"| `{name}` |" in page
        assert method.citation in page


def test_costs_are_beside_fine_tuning_s(script: Any) -> None:
    costs = {"finetune": {"training_seconds": 2.0, "test_seconds": 4.0, "trained_bytes": 2.0**20},
             "mpt": {"training_seconds": 5.0, "test_seconds": 4.0, "trained_bytes": 3 * 2.0**20}}  # fmt: skip
    assert script.row("mpt", costs)[-3:] == ["2.5 ×", "1 ×", "3 MiB"]
    assert script.row("pct", costs)[-3:] == ["–", "–", "–"]
