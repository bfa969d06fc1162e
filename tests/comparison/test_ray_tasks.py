"""Cells as tasks of a Ray cluster: what is asked of it, and, where Ray is installed, a real cluster on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_data import LINE, plugin, registry_as_it_was
from test_crew import IMPORTS, LOSS, ONCE, WAITS, gone, in_workers, suite, until

from xlbench import Runtime, Store, XlbenchError
from xlbench.comparison import ray_tasks as ray_executor
from xlbench.comparison.compare import run_suite
from xlbench.spec import parse

PATIENCE = 400  # seconds: a Ray on a busy machine takes its time
AUTO = SimpleNamespace(precision="auto")


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with registry_as_it_was():
        yield


def on_ray(runtime: Runtime, *plugins: Path, **fields) -> Runtime:
    return in_workers(runtime, 1, *plugins, **{"executor": "ray", **fields})


# What is asked of a cluster


def test_without_ray_one_sentence_says_how_to_install_it(runtime, monkeypatch):
    monkeypatch.setattr(ray_executor, "find_spec", lambda _: None)
    with pytest.raises(XlbenchError, match=r"--executor ray needs Ray, .* extra: xlbench\[ray\]"):
        run_suite(suite("finetune"), on_ray(runtime))
    assert not runtime.runs.exists()


def test_what_only_a_ray_cluster_knows_is_refused_elsewhere():
    with pytest.raises(XlbenchError, match="--address, --cell-gpus is said to a Ray cluster alone; add --executor ray"):
        parse(Runtime, {"address": "auto", "cell_gpus": 0.5}, "the command line")


def test_a_cell_takes_no_part_of_a_second_gpu():
    with pytest.raises(XlbenchError, match=r"cell_gpus = 1.5: a cell takes a fraction of one GPU, as 0.25, or "):
        parse(Runtime, {"executor": "ray", "cell_gpus": 1.5}, "the command line")


def node(cpus: float, gpus: float = 0.0, alive: bool = True) -> dict:
    return {"Alive": alive, "Resources": {"CPU": cpus} | ({"GPU": gpus} if gpus else {})}


@pytest.mark.parametrize(
    ("nodes", "asked", "expected"),
    [
        ([node(8), node(4), node(64, alive=False)], {}, (12, 1, "cpu")),
        ([node(8), node(3)], {"cell_cpus": 4}, (2, 4, "cpu")),
        ([node(8, 2), node(8)], {}, (2, 1, "cuda")),
        ([node(8, 2), node(1, 1)], {"cell_gpus": 0.25}, (9, 1, "cuda")),
        ([node(64, 1)], {"cell_gpus": 0.1}, (10, 1, "cuda")),
        ([node(8, 2)], {"device": "cpu"}, (8, 1, "cpu")),
        ([node(0)], {"jobs": 7}, (7, 1, "cpu")),
    ],
)
def test_there_are_as_many_tasks_as_the_living_nodes_hold(nodes, asked, expected):
    jobs, _ = ray_executor._on_cluster(nodes, [None] * 100, Runtime(executor="ray", **asked))
    assert (jobs.number, jobs.threads, *jobs.devices) == expected


def test_a_cell_that_no_node_holds_is_refused_with_what_to_change():
    asked = Runtime(executor="ray", cell_cpus=16)
    with pytest.raises(XlbenchError, match=r"has 16 CPUs and 0 GPUs on 2 nodes, and no node has room .*--cell-cpus"):
        ray_executor._on_cluster([node(8), node(8)], [None], asked)


def test_auto_precision_is_refused_where_cells_run_on_another_kind_of_device():
    cells = [SimpleNamespace(device=SimpleNamespace(type="cpu"), asked=AUTO)]
    ray_executor._told_precision(cells, "cpu")
    with pytest.raises(XlbenchError, match="which is cpu here and cuda where cells run; say --precision bf16 or"):
        ray_executor._told_precision(cells, "cuda")


def test_a_task_in_another_folder_finds_the_same_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    found = ray_executor.anchored(
        Runtime(runs="runs", data_root="data", plugins=("mine.py", "a.module"), tracker="tensorboard=t")
    )
    assert (found.runs, found.data_root) == (tmp_path / "runs", tmp_path / "data")
    assert found.plugins == (str(tmp_path / "mine.py"), "a.module")
    assert found.tracker == f"tensorboard={tmp_path / 't'}"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port", "127.0.0.1:99999999", "ray://127.0.0.1:1"])
def test_an_address_where_no_cluster_answers_is_said_at_once(address):
    with pytest.raises(XlbenchError, match=rf"the Ray cluster {address} \(--address\)( does not answer)?: "):
        ray_executor._answers(address)


# A real cluster


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with a CPU each, on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed: make extras")
    from ray.cluster_utils import Cluster

    found = Cluster()
    for args in ({"num_cpus": 1, "include_dashboard": False}, {"num_cpus": 1}):
        for left in (2, 1, 0):
            try:
                found.add_node(**args)
                break
            except Exception:  # on a busy machine a node takes longer than the 30 s that Ray gives it
                if not left:
                    raise
    yield found
    found.shutdown()


@pytest.mark.slow
def test_two_nodes_give_the_same_bytes_as_this_process_whatever_dies(cluster, runtime, tmp_path):
    """`dies` kills its worker each time, `dies-once` the first time; the others go on."""
    here = run_suite(suite("finetune", "mpt"), runtime)
    kill = "os.kill(os.getpid(), 9)"
    codes = {"dies": kill, "dies-once": f"{ONCE}            {kill}\n        {LOSS}"}
    plugins = [plugin(tmp_path / f"{name}.py", name, IMPORTS, (LOSS, code)) for name, code in codes.items()]
    asked, log = suite("dies", "finetune", "dies-once", "mpt"), tmp_path / "log.jsonl"
    fields = {"address": cluster.address, "jobs": 2, "runs": tmp_path / "others", "log_json": log}
    there = run_suite(asked, on_ray(runtime, *plugins, **fields))
    assert {record.spec.method for record in there.records} == {"finetune", "dies-once", "mpt"}, there.failed
    for record in here.records:
        mine, theirs = (root / record.id / "predictions.parquet" for root in (runtime.runs, tmp_path / "others"))
        assert mine.read_bytes() == theirs.read_bytes()
    errors = {record.spec.method: record.error for record in Store(tmp_path / "others").records() if record.error}
    assert errors.keys() == {"dies"}
    assert "the worker died: WorkerCrashedError" in errors["dies"]
    steps = [1 if json.loads(line)["event"] == "started" else -1 for line in log.read_text().splitlines()]
    assert max(accumulate(steps)) == 2  # no cell is handed out before there is room for it


@pytest.mark.slow
def test_a_task_that_hangs_is_ended_and_recorded(cluster, runtime, tmp_path):
    hangs = plugin(tmp_path / "hangs.py", "hangs", IMPORTS, (LOSS, "time.sleep(10_000)"))
    found = run_suite(suite("hangs"), on_ray(runtime, hangs, address=cluster.address, cell_timeout=1))
    (record,) = Store(runtime.runs).records()
    assert "it took longer than 1 s (--cell-timeout) and was ended" in record.error
    assert len(found.failed) == 1


@pytest.fixture
def started(tmp_path):
    """A comparison whose first cell, which waits for the file `go`, has begun; `finetune` is to follow."""
    drivers: list[subprocess.Popen] = []

    def start(*arguments: str) -> subprocess.Popen:
        waits = plugin(tmp_path / "waits.py", "waits", IMPORTS, (LOSS, WAITS + LOSS))
        code = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from xlbench.cli import main; main()"
        line = [*LINE, "--methods", "waits,finetune", "--plugin", str(waits), "--runs", str(tmp_path / "runs")]
        outside = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        driver = subprocess.Popen(
            [sys.executable, "-c", code, *line, "--executor", "ray", "--jobs", "1", *arguments], env=outside, text=True,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        drivers.append(driver)
        begun, end = tmp_path / "pid", time.monotonic() + PATIENCE
        while not (begun.exists() and begun.read_text()):
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < end
            time.sleep(0.1)
        return driver

    yield start
    for driver in drivers:
        driver.kill()


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_once_finishes_what_runs_and_twice_stops_at_once(started, tmp_path, times):
    """With a Ray of the driver's own, which Ctrl-C reaches too."""
    pytest.importorskip("ray", reason="Ray is not installed: make extras")
    driver = started()
    worker = int((tmp_path / "pid").read_text())
    os.killpg(driver.pid, signal.SIGINT)
    while "stopping when what runs now is finished" not in driver.stderr.readline():
        assert driver.poll() is None
    if times == 1:
        (tmp_path / "go").touch()
    else:
        os.killpg(driver.pid, signal.SIGINT)
    said = driver.communicate(timeout=PATIENCE)[1]
    assert driver.returncode == 130, said
    assert "stopped; what was finished is kept, and the same command goes on from there" in said
    assert "Traceback" not in said
    until(lambda: gone(worker))
    kept = [(record.spec.method, record.status) for record in Store(tmp_path / "runs").records()]
    assert kept == ([("waits", "finished")] if times == 1 else [])


@pytest.mark.slow
def test_no_task_outlives_its_driver(started, cluster, tmp_path):
    driver = started("--address", cluster.address)
    worker = int((tmp_path / "pid").read_text())
    assert worker != driver.pid
    driver.kill()
    driver.communicate(timeout=PATIENCE)
    until(lambda: gone(worker))
    assert list((tmp_path / "runs").iterdir()) == []
