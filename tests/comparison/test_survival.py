"""kill -9 at random moments of a suite, and several at once: nothing half-written or lost, the same bytes in the end.

A handful of moments here; `make faults` tries XLBENCH_MOMENTS of them.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hand_made import group

from xlbench import Record, Runtime, Store, Suite
from xlbench.board.markdown import markdown
from xlbench.board.results import csv_of, results
from xlbench.comparison.compare import run_suite
from xlbench.records.vetting import vet

MOMENTS = int(os.environ.get("XLBENCH_MOMENTS", "2"))
SEED = int(os.environ.get("XLBENCH_MOMENTS_SEED", "0"))
KINDS = ("local", "worker", "local", "driver", "local", "both")  # who is killed, in turn
PATIENCE = 300  # seconds until a test gives up on a process
ASKED = {
    "methods": ["finetune", "soft-prompt"], "shots": [1, 2], "draws": 2,
    "run": {"task": "logic", "model": "tiny", "languages": ["en", "fr"], "test_units": 20,
            "training": {"steps": 2, "checkpoints": 1}},
}  # fmt: skip
TIMED = ("seconds", "per_second", "peak_host_bytes")  # how the names of measured costs end

# Has read and imported all that a driver needs, and forks one for each line that it is given: so a moment takes what
# its cells take. Nothing was trained before the fork, and no thread of torch is running.
NURSERY = """
import json, os, signal, sys
import torch
from xlbench import Runtime, Suite
from xlbench.comparison.compare import Comparison, prepare_all, run_suite
torch.set_num_threads(1)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
asked = Suite.model_validate(json.loads(sys.argv[1]))
prepare_all(asked, Runtime(device="cpu"), Comparison(asked))
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        code = 1
        try:
            runtime = Runtime.model_validate_json(line)
            done = run_suite(asked, runtime)
            code = int(bool(done.failed) or len(done.records) != 8)
            runtime.runs.with_name(f"{os.getpid()}.code").write_text(str(code))
        finally:
            os._exit(code)
    print(pid, flush=True)
"""


class Nursery:
    """Starts drivers of the suite, each in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, json.dumps(ASKED)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=Path(__file__).parents[2], env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._line() == "ready"

    def start(self, runtime: Runtime) -> psutil.Process:
        assert self.process.stdin is not None
        self.process.stdin.write(runtime.model_dump_json() + "\n")
        self.process.stdin.flush()
        return psutil.Process(int(self._line()))

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def nursery():
    found = Nursery()
    yield found
    found.close()


@pytest.fixture(scope="module")
def undisturbed(nursery, tmp_path_factory):
    """The store of a run that nobody disturbed, and how long it took from its first sign of life."""
    runs = tmp_path_factory.mktemp("undisturbed") / "runs"
    driver = nursery.start(Runtime(runs=runs, device="cpu", quiet=True))
    until(runs.is_dir, driver)
    start = time.monotonic()
    until(lambda: gone(driver))
    return Store(runs), time.monotonic() - start


def until(true, driver: psutil.Process | None = None) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert driver is None or not gone(driver)
        assert time.monotonic() < end
        time.sleep(0.01)


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return


def workers_of(driver: psutil.Process) -> list[psutil.Process]:
    try:
        return driver.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def disturbed(kind: str, nursery: Nursery, runs: Path, chance: random.Random, seconds: float) -> str:
    """Start the suite and kill who is to be killed at some moment; returns when all of it is over."""
    where = {} if kind == "local" else {"executor": "processes", "jobs": 2}
    driver = nursery.start(Runtime(runs=runs, device="cpu", quiet=True, **where))
    until(runs.is_dir, driver)
    if kind != "local":  # workers take their time to start, in which nothing can be lost
        until(lambda: len(list(runs.iterdir())) >= 1 or gone(driver))
    moment = chance.uniform(0, seconds if kind == "local" else seconds / 2)
    time.sleep(moment)
    workers = workers_of(driver)
    if kind == "worker":
        for one in chance.sample(workers, min(1, len(workers))):
            kill(one)
    elif kind == "both":
        for one in chance.sample([driver, *workers], 1 + len(workers)):
            kill(one)
    else:
        kill(driver)
    while not (gone(driver) and all(map(gone, workers))):  # others may be reading meanwhile
        whole(Store(runs))
        time.sleep(0.05)
    return f"{kind}, {moment:.3f} s after the first sign of life"


def whole(store: Store) -> set[str]:
    """The ids of the finished records; all that can be seen must be whole."""
    found = vet(store)
    assert found.left_out == ()
    assert all((store.root / name / "record.json").is_file() for name in os.listdir(store.root) if name[0] != ".")
    return {record.id for record in found.records}


def untimed(record: Record) -> Record:
    costs = {name: value for name, value in record.costs.items() if not name.endswith(TIMED)}
    at_other_times = {"seconds": 0.0, "started": "", "commit": ""}  # somebody may commit while the test runs
    return record.model_copy(update={"costs": costs, **at_other_times})


def board(store: Store) -> tuple[str, str]:
    records = [untimed(record) for record in vet(store).records]
    return markdown(group(records)), csv_of(results(records))


def same(store: Store, other: Store) -> None:
    """Predictions, scores and board are those of the other store to the byte, measured times apart."""
    ours, theirs = ([untimed(record) for record in one.records()] for one in (store, other))
    assert [json.dumps(one.model_dump(mode="json")) for one in ours] == [
        json.dumps(one.model_dump(mode="json")) for one in theirs
    ]
    for record in ours:
        mine, its = (one.path(record.id) / "predictions.parquet" for one in (store, other))
        assert mine.read_bytes() == its.read_bytes()
    assert board(store) == board(other)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_suite_that_is_killed_goes_on_where_it_was(number, nursery, undisturbed, tmp_path):
    reference, seconds = undisturbed
    chance = random.Random(SEED + number)
    kind = KINDS[number % len(KINDS)]
    store = Store(tmp_path / "runs")
    said = disturbed(kind, nursery, store.root, chance, seconds)
    before = whole(store)
    asked = Suite.model_validate(ASKED)
    assert kind != "worker" or len(before) == 8, said  # its cell got another
    done = run_suite(asked, Runtime(runs=store.root, device="cpu", quiet=True))
    assert (done.computed, done.failed) == (8 - len(before), []), said
    assert len(whole(store)) == 8
    same(store, reference)
    if done.computed:
        assert not [name for name in os.listdir(store.root) if name.startswith(".")], said
    shutil.rmtree(store.root)


@pytest.mark.slow
def test_four_comparisons_of_one_store_at_once_lose_nothing_and_agree(nursery, undisturbed, tmp_path):
    store = Store(tmp_path / "runs")
    drivers = [nursery.start(Runtime(runs=store.root, device="cpu", quiet=True)) for _ in range(4)]
    while not all(map(gone, drivers)):
        if store.root.is_dir():
            whole(store)
        time.sleep(0.05)
    codes = {file.name: file.read_text() for file in tmp_path.glob("*.code")}
    assert codes == {f"{driver.pid}.code": "0" for driver in drivers}
    assert len(whole(store)) == 8
    same(store, undisturbed[0])
    assert not [name for name in os.listdir(store.root) if name.startswith(".")]
