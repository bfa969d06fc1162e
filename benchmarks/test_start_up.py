"""Seconds until the command line answers: the bar is half a second.

python -m pytest benchmarks/test_start_up.py
"""

import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.parametrize("asked", ["--help", "list"])
def test_start_up(benchmark: Any, asked: str) -> None:
    command = [sys.executable, "-c", "from xlbench.cli import main; main()", asked]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=5, warmup_rounds=1)
