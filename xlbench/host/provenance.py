"""What made a number: versions, commit, machine."""

import functools
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from xlbench.version import __version__


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what can change a number."""
    packages = ("torch", "transformers", "tokenizers", "peft", "numpy", "datasets")
    return {"xlbench": __version__, "python": platform.python_version()} | {name: version(name) for name in packages}


@functools.cache
def commit() -> str:
    """The commit of the checkout that xlbench runs from, with `-dirty` where it differs; empty outside one. Where code
    is copied without its history (a container, a lent machine), XLBENCH_COMMIT says it."""
    if said := os.environ.get("XLBENCH_COMMIT"):
        return said
    here = Path(__file__).resolve().parents[1]
    if not (here.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def environment(device: torch.device) -> dict[str, Any]:
    """What the run was computed on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    threads = torch.get_num_threads()
    return {"device": device.type, "device_name": name, "threads": threads, "cores": os.cpu_count()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
