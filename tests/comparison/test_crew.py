"""Cells in several processes: the same numbers, one worker's death is its own, and Ctrl-C is heard."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_data import LINE, plugin, registry_as_it_was
from typer.testing import CliRunner

from xlbench import RunSpec, Runtime, Store, Suite, XlbenchError
from xlbench.cli import app
from xlbench.comparison import crew as executors
from xlbench.comparison import jobs
from xlbench.comparison.compare import run_suite, shard
from xlbench.comparison.watch import Watch, duration
from xlbench.host.ctrl_c import Stop
from xlbench.host.progress import Progress
from xlbench.spec import parse

SHARED = {
    "task": "logic", "model": "tiny", "languages": ("en", "fr"), "test_units": 4,
    "training": {"steps": 1, "checkpoints": 1},
}  # fmt: skip
LOSS = "return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)"
IMPORTS = ("from torch import nn", "import os, time\nfrom pathlib import Path\n\nfrom torch import nn")
PATIENCE = 120  # seconds until a test gives up on a process


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that workers have as many threads as this process, on any machine
    with registry_as_it_was():
        yield


def suite(*methods: str, **fields) -> Suite:
    return Suite(**{"methods": methods, "shots": (1,), "run": SHARED, **fields})


def in_workers(runtime: Runtime, number: int, *plugins: Path, **fields) -> Runtime:
    return Runtime.model_validate(
        {**runtime.model_dump(), "executor": "processes", "jobs": number, "plugins": tuple(map(str, plugins)), **fields}
    )


def test_workers_give_the_same_bytes_as_this_process(runtime, tmp_path):
    """And leave their events in the log: each cell's start and end, in one line each."""
    asked, log = suite("finetune", "mpt"), tmp_path / "log.jsonl"
    here = run_suite(asked, runtime)
    there = run_suite(asked, in_workers(runtime, 2, runs=tmp_path / "others", log_json=log))
    assert [record.id for record in there.records] == [record.id for record in here.records]
    for record in here.records:
        mine, theirs = (root / record.id / "predictions.parquet" for root in (runtime.runs, tmp_path / "others"))
        assert mine.read_bytes() == theirs.read_bytes()
    assert there.computed == 2
    assert {record.environment["threads"] for record in there.records} == {1}
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert Counter(event["event"] for event in events) == {"started": 2, "finished": 2}
    ends = {event["id"]: (event["method"], event["mean"]) for event in events if event["event"] == "finished"}
    assert ends == {record.id: (record.spec.method, record.mean) for record in here.records}


def test_one_worker_with_small_batches_scores_as_this_process_does(runtime, tmp_path):
    """fp32 log-probabilities agree to 1e-5, whoever computes them and in whatever batches."""
    asked = suite("mpt")
    (here,) = run_suite(asked, runtime).records
    (there,) = run_suite(asked, in_workers(runtime, 1, runs=tmp_path / "others", token_budget=64)).records
    ours, theirs = (
        Store(root).predictions(record.id).select([f"log_prob_{label}" for label in range(3)]).to_pandas().to_numpy()
        for root, record in ((runtime.runs, here), (tmp_path / "others", there))
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=2e-6)


ONCE = """print("{")  # what a plug-in prints is no answer of its worker's
        flag = Path(__file__).with_suffix(".flag")
        if not flag.exists():
            flag.touch()
"""


def test_a_worker_that_is_killed_costs_its_cell_one_retry_and_the_others_nothing(tmp_path):
    """`dies` is killed each time; `dies-once` the first time; exit code 1, for one cell failed."""
    kill = "os.kill(os.getpid(), 9)"
    dies = plugin(tmp_path / "dies.py", "dies", IMPORTS, (LOSS, kill))
    first = f"{ONCE}            {kill}\n        {LOSS}"
    once = plugin(tmp_path / "once.py", "dies-once", IMPORTS, (LOSS, first))
    runs = tmp_path / "runs"
    arguments = ("--methods", "dies,dies-once,finetune", "--plugin", dies, "--plugin", once, "--jobs", 2)
    done = CliRunner().invoke(app, [*LINE, *map(str, arguments), "--executor", "processes", "--runs", str(runs)])
    assert done.exit_code == 1, done.output
    why = "the worker died: killed by signal 9, as the system does when the host's memory runs out"
    assert f"failed: dies, logic, 1 shots, draw 0, seed 0: {why}" in done.stderr
    assert "2 runs computed, 2 in the table" in done.stdout
    found = {record.spec.method: (record.status, why in record.error) for record in Store(runs).records()}
    assert found == {"dies": ("failed", True), "dies-once": ("finished", False), "finetune": ("finished", False)}
    assert all((path / "record.json").exists() for path in runs.iterdir())  # nothing half-written


def test_a_cell_that_hangs_is_ended_and_recorded(runtime, tmp_path):
    hangs = plugin(tmp_path / "hangs.py", "hangs", IMPORTS, (LOSS, "time.sleep(10_000)"))
    found = run_suite(suite("hangs"), in_workers(runtime, 1, hangs, cell_timeout=1))
    assert len(found.failed) == 1
    assert "it took longer than 1 s (--cell-timeout) and was ended" in found.failed[0]
    (record,) = Store(runtime.runs).records()
    assert record.status == "failed"
    assert "--cell-timeout" in record.error


# Ctrl-C, with real processes and real signals

WAITS = """here = Path(__file__).parent
        (here / "pid").write_text(str(os.getpid()))
        while not (here / "go").exists():
            time.sleep(0.05)
        """


def started(tmp_path: Path, *arguments: str) -> subprocess.Popen:
    """A comparison whose first cell, which waits for the file `go`, has begun; `finetune` is to follow."""
    waits = plugin(tmp_path / "waits.py", "waits", IMPORTS, (LOSS, WAITS + LOSS))
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from xlbench.cli import main; main()"
    )
    line = [*LINE, "--methods", "waits,finetune", "--plugin", str(waits), "--runs", str(tmp_path / "runs"), *arguments]
    driver = subprocess.Popen(
        [sys.executable, "-c", code, *line], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), driver)
    return driver


def until(true, driver: subprocess.Popen | None = None) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert driver is None or driver.poll() is None, driver.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has, whoever is to fetch it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "processes"])
def test_ctrl_c_once_finishes_what_runs_and_starts_nothing(tmp_path, executor):
    driver = started(tmp_path, "--executor", executor, *(("--jobs", "1") if executor == "processes" else ()))
    os.killpg(driver.pid, signal.SIGINT)
    said = driver.stderr.readline()
    while said and "stopping when what runs now is finished" not in said:
        said = driver.stderr.readline()
    (tmp_path / "go").touch()
    said = driver.communicate(timeout=PATIENCE)[1]
    assert driver.returncode == 130
    assert "stopped; what was finished is kept, and the same command goes on from there" in said
    assert "Traceback" not in said
    assert [(record.spec.method, record.status) for record in Store(tmp_path / "runs").records()] == [
        ("waits", "finished")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "processes"])
def test_ctrl_c_twice_stops_at_once_and_leaves_nothing_half_written(tmp_path, executor):
    driver = started(tmp_path, "--executor", executor)
    worker = int((tmp_path / "pid").read_text())
    os.killpg(driver.pid, signal.SIGINT)
    while "stopping when what runs now is finished" not in driver.stderr.readline():
        assert driver.poll() is None
    os.killpg(driver.pid, signal.SIGINT)
    said = driver.communicate(timeout=PATIENCE)[1]
    assert driver.returncode == 130
    assert "Traceback" not in said
    assert gone(worker)
    assert not [path for path in (tmp_path / "runs").iterdir() if not (path / "record.json").exists()]
    assert "waits" not in {record.spec.method for record in Store(tmp_path / "runs").records()}


@pytest.mark.slow
def test_no_worker_outlives_its_driver(tmp_path):
    driver = started(tmp_path, "--executor", "processes", "--jobs", "1")
    worker = int((tmp_path / "pid").read_text())
    assert worker != driver.pid
    driver.kill()
    driver.communicate(timeout=PATIENCE)
    until(lambda: gone(worker))
    assert list((tmp_path / "runs").iterdir()) == []


# Shards, jobs, and what is said of the time left


@given(draws=st.integers(1, 4), shots=st.integers(1, 3), methods=st.integers(1, 3), of=st.integers(1, 40))
def test_shards_are_a_partition(draws, shots, methods, of):
    asked = Suite(methods=[f"m{number}" for number in range(methods)], shots=range(1, shots + 1), draws=draws)
    parts = [list(shard(asked.cells(), Runtime(shard=f"{number}/{of}"))) for number in range(1, of + 1)]
    cells = list(asked.cells())
    assert [parts[place % of][place // of] for place in range(len(cells))] == cells
    assert sum(map(len, parts)) == len(cells)


def test_a_shard_says_what_part_it_was_and_one_without_cells_is_no_fault(tmp_path):
    line = [*LINE, "--methods", "finetune,soft-prompt", "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, [*line, "--shard", "2/3"])
    assert done.exit_code == 0, done.output
    assert f"records in {tmp_path / 'runs'}; shard 2/3, 1 of the suite's 2 cells" in done.stdout
    assert [record.spec.method for record in Store(tmp_path / "runs").records()] == ["soft-prompt"]
    none = CliRunner().invoke(app, [*line, "--shard", "3/3"])
    assert none.exit_code == 0, none.output
    assert "0 runs computed, 0 in the table" in none.stdout


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"cell_timeout": 5}, r"cannot be ended after 5 s \(--cell-timeout\); add --executor processes"),
        ({"executor": "local", "jobs": "auto"}, "runs one cell after the other, not auto at once; use processes"),
        ({"jobs": "0"}, "jobs must be auto or a number of workers, 1 or more"),
        ({"jobs": "many"}, "jobs must be auto or a number of workers, 1 or more"),
        ({"shard": "3/2"}, "a shard is i/n with i from 1 to n, as 2/8"),
        ({"shard": "1"}, "a shard is i/n with i from 1 to n, as 2/8"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(fields, sentence):
    with pytest.raises(XlbenchError, match=sentence):
        parse(Runtime, fields, "the command line")


def test_a_log_that_cannot_be_written_is_said_before_anything_runs(runtime, tmp_path):
    asked = runtime.model_copy(update={"log_json": tmp_path / "nowhere" / "log.jsonl"})
    with pytest.raises(XlbenchError, match=r"cannot write the log .*\(--log-json\): No such file"):
        run_suite(suite("finetune"), asked)
    assert not runtime.runs.exists()


@pytest.mark.parametrize(
    ("cores", "gib", "cells", "number", "threads"),
    [(8, 100, 20, 8, 1), (8, 2.5, 20, 2, 4), (8, 100, 3, 3, 2), (2, 0.1, 20, 1, 2)],
)
def test_auto_takes_what_cores_memory_and_cells_allow(monkeypatch, cores, gib, cells, number, threads):
    """A worker takes 1 GiB here, and nine tenths of what is free may be taken."""
    monkeypatch.setattr(jobs, "cores", lambda: cores)
    monkeypatch.setattr(jobs, "host_need", lambda *_: float(jobs.GIB))
    monkeypatch.setattr(jobs, "free_bytes", lambda _: gib * jobs.GIB)
    prepared = [SimpleNamespace(device=SimpleNamespace(type="cpu"))] * cells
    found = jobs.jobs_for(prepared, [], Runtime(jobs="auto"))
    assert (found.number, found.threads) == (number, threads)


def test_on_gpus_a_worker_each_and_on_a_cpu_one_a_core(monkeypatch):
    monkeypatch.setattr(jobs, "cores", lambda: 4)
    for name in ("host_need", "device_need"):
        monkeypatch.setattr(jobs, name, lambda *_: float(jobs.GIB))
    monkeypatch.setattr(jobs, "free_bytes", lambda _: 100 * jobs.GIB)
    spec = [RunSpec(method=method, shots=1, draw=draw) for draw in range(5) for method in ("mpt", "pct")]
    for device, number in (("cuda:0", 1), ("cpu", 4)):
        cells = [SimpleNamespace(device=torch.device(device), spec=one) for one in spec]
        assert jobs.jobs_for(cells, [], Runtime(jobs="auto", device=device)).number == number


def test_a_crew_deals_out_devices_and_computes_every_cell_once(tmp_path):
    """Workers that answer at once, two for each of three devices."""
    asked: list[str] = []

    class Quick:
        def __init__(self, cell, runtime, threads, heard):
            self.heard, self.dead, self.seconds = heard, False, 0.0
            self.cell = cell
            heard.put((self, {"ready": True}))

        def begin(self, cell):
            self.cell = cell
            asked.append(cell.id)
            self.heard.put((self, {"error": "", "skipped": False}))

        def close(self): ...

        def end(self, patience=0.0): ...

    cells = iter([SimpleNamespace(id=str(number)) for number in range(60)])
    places = ("cuda:0", "cuda:1", "cuda:2")
    crew = executors.Crew(cells, Runtime(runs=tmp_path), jobs.Jobs(6, 1, places, "auto"), Quick)
    crew.store = SimpleNamespace(finished=lambda _: SimpleNamespace(costs={"test_flops": 1.0}))
    ended = [outcome.prepared.id for outcome in crew.outcomes()]
    assert sorted(ended, key=int) == sorted(asked, key=int) == [str(number) for number in range(60)]
    assert sorted(crew.place.values()) == sorted(places * 2)


def test_where_several_run_at_once_what_takes_longest_comes_first_within_a_draw():
    """a takes 10 s and b 30 s, four times as long at 4 shots: known once one of such cells has ended."""
    cells = [
        SimpleNamespace(id=f"{name}{shots}{draw}", spec=RunSpec(method=name, shots=shots, draw=draw))
        for draw in (0, 1) for shots in (1, 4) for name in "ab"
    ]  # fmt: skip

    def order(at_once: int) -> list[str]:
        watch, taken = Watch(cells, at_once, Progress(), None), []
        for cell in watch.starting(cells, Stop()):
            taken.append(cell.id)
            record = SimpleNamespace(mean=0.5, seconds={"a": 10, "b": 30}[cell.spec.method] * cell.spec.shots)
            watch.ended(SimpleNamespace(prepared=cell, record=record, skipped=False, error=""))
        return taken

    assert order(1) == [cell.id for cell in cells]
    assert order(2) == ["a10", "b10", "a40", "b40", "b41", "a41", "b11", "a11"]


def test_the_time_left_goes_by_what_such_cells_took(monkeypatch):
    """Two at once: of a (10 s) and b (30 s) two each are left, and one b has run for 10 s: (10+10+20+30) / 2."""
    spec = {name: RunSpec(method=name, shots=1) for name in "ab"}
    cells = [SimpleNamespace(id=f"{name}{number}", spec=spec[name]) for number in range(3) for name in "ab"]
    watch = Watch(cells, 2, Progress(), None)
    assert watch.seconds_left() is None
    for cell, seconds in zip(cells[:2], (10, 30), strict=True):
        watch.since[cell.id] = 0.0
        record = SimpleNamespace(mean=0.5, seconds=seconds)
        watch.ended(SimpleNamespace(prepared=cell, record=record, skipped=False, error=""))
    monkeypatch.setattr("xlbench.comparison.watch.time.monotonic", lambda: 50.0)
    watch.since["b1"] = 40.0
    assert watch.seconds_left() == pytest.approx(35)
    watch.at_once = 100  # of which two have begun: more are hired only as they pay
    assert watch.seconds_left() == pytest.approx(35)
    watch.since |= {"a1": 50.0, "a2": 50.0, "b2": 50.0}
    assert watch.seconds_left() == pytest.approx(30)
    assert [duration(value) for value in (None, 35, 600, 9000)] == [
        "an unknown time", "about 35 s", "about 10 min", "about 2 h",
    ]  # fmt: skip
