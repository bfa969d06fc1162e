"""What tests share: the tiny backbone, the logic task, and a runtime whose records go to a folder of their own."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reads from a hub

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from small_data import registry_as_it_was

from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.spec import Runtime
from xlbench.task import Task

settings.register_profile("fuzz", max_examples=10_000, deadline=None)  # `make fuzz`
settings.register_profile("test", deadline=None)  # how long an example takes says more of the machine than of us
settings.load_profile("test")

torch.set_num_threads(1)  # the models are small, and results must not depend on the machine's cores


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads from the user's cache, or writes into it; subprocesses inherit this."""
    os.environ["XLBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """The shipped backbone as it was loaded; a test that trains takes `tiny.fresh()`."""
    return Backbone.load("tiny")


@pytest.fixture(scope="session")
def logic() -> Task:
    task: Task = registry.get("task", "logic")()
    return task


@pytest.fixture
def own_registry() -> Iterator[None]:
    """What a test registers is gone after it."""
    with registry_as_it_was():
        yield


@pytest.fixture
def store_folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def runtime(store_folder: Path) -> Runtime:
    return Runtime(runs=store_folder, device="cpu", quiet=True)
