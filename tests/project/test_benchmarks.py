"""What the benchmarks keep: figures by processor, and the page written from them."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("report")


def _of(model: str) -> dict[str, str]:
    return {"machine": "2 CPU threads, x86_64", "torch": "2", "model": model, "task": "logic", "precision": "fp32"}


def _figure(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "s"}


def test_a_second_processor_has_its_own_table_and_leaves_the_first(report: Any, tmp_path: Path) -> None:
    kept = tmp_path / "measured.json"
    report.keep(kept, "slow", _of("tiny"), {"start-up": _figure(2.5)})
    report.keep(kept, "fast", _of("tiny"), {"start-up": _figure(0.5), "growth, 5 draws: test": _figure(0.75)})
    slow, fast = report.write_report(kept).read_text(encoding="utf-8").split("## slow")[1].split("## fast", 1)
    assert "| start-up | 2.50 s |" in slow
    assert "0.50" not in slow
    assert "| start-up | 0.50 s |" in fast
    assert "### How the cost grows: fast" in fast


def test_parts_of_a_processor_add_up_until_its_conditions_change(report: Any, tmp_path: Path) -> None:
    kept = tmp_path / "measured.json"
    report.keep(kept, "one", _of("tiny"), {"start-up": _figure(1)})
    report.keep(kept, "one", _of("tiny"), {"suite": _figure(2)})
    assert set(report.measured_on(kept, "one")["figures"]) == {"start-up", "suite"}
    report.keep(kept, "one", _of("larger"), {"suite": _figure(3)})
    assert report.measured_on(kept, "one") == {"of": _of("larger"), "figures": {"suite": _figure(3)}}
    assert report.measured_on(kept, "another") == {}


def test_the_page_in_the_repository_is_written_from_the_figures_in_it(report: Any, tmp_path: Path) -> None:
    shutil.copy(BENCHMARKS / "measured.json", tmp_path)
    written = report.write_report(tmp_path / "measured.json").read_text(encoding="utf-8")
    assert written == (BENCHMARKS / "README.md").read_text(encoding="utf-8")
