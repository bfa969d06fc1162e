"""How long a large store takes to be listed, filtered, exported, shown and made a board of, with peak memory.

    python benchmarks/store_scale.py [--records 100000] [--folder DIR] [--keep] [--only list board …]

Simulated records as `compare` leaves them: a record.json of 3 KiB with accuracies in 15 languages, beside it the
predictions of 4,500 test rows (100 premises of three rows, 15 languages). A group is 20 methods, 5 numbers of shots,
10 draws and 5 seeds, so that 100,000 records are 20 groups and 100 tables. The predictions are hard links to 64 files,
and are read, parsed and checked one by one all the same (`--only indexed` makes the index that the first board would
leave from one reading of each file). Every command runs in a process of its own, as a user would run it; the first
board has nothing to go by but the records, the second finds the index that the first left.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xlbench.records.index import SETTLED
from xlbench.records.record import upgraded

METHODS = [(method, size) for method in ("finetune", "mpt", "pct", "soft-prompt") for size in range(5)]
SHOTS, DRAWS, SEEDS = (1, 4, 16, 64, 256), 10, 5
A_GROUP = len(METHODS) * len(SHOTS) * DRAWS * SEEDS
LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
PREMISES, ROWS = 100, 3
FILES = 64  # of predictions
COMMAND = "from xlbench.cli import main; main()"
WORK = {
    "list": (COMMAND, "list", "records", "--runs", "{runs}"),
    "filter": (COMMAND, "list", "records", "--where", "method=mpt", "--where", "score>0.5", "--runs", "{runs}"),
    "indexed": ("import store_scale; store_scale.indexed({runs!r})",),
    "board-first": (COMMAND, "leaderboard", "--runs", "{runs}", "--out", "{board}", "--no-figures"),
    "board": (COMMAND, "leaderboard", "--runs", "{runs}", "--out", "{board}", "--no-figures"),
    "show": (COMMAND, "show", "{one}", "--runs", "{runs}"),
    "export": (COMMAND, "export", "--runs", "{runs}"),
    "resume": ("import store_scale; store_scale.resume({runs!r})",),
}


def predictions(random: np.random.Generator) -> tuple[pa.Table, dict[str, float]]:
    """Predictions of one run, and their accuracies by language."""
    rows = PREMISES * ROWS
    gold = np.tile(np.arange(rows) % ROWS, len(LANGUAGES))
    scores = random.normal(0, 1, (len(gold), ROWS)).astype(np.float32)
    scores[np.arange(len(gold)), gold] += random.normal(0.7, 0.2)
    right = (scores.argmax(axis=1) == gold).reshape(len(LANGUAGES), rows).mean(axis=1)
    names = [f"test-{row // ROWS:05d}" for row in range(rows)]
    text = {
        "row_id": [f"{name}-{row % ROWS}" for row, name in enumerate(names)] * len(LANGUAGES),
        "unit_id": names * len(LANGUAGES),
        "language": [language for language in LANGUAGES for _ in range(rows)],
    }
    columns: dict[str, Any] = {name: pa.array(values).dictionary_encode() for name, values in text.items()}
    columns |= {"gold": pa.array(gold, pa.int8())} | {f"log_prob_{at}": scores[:, at] for at in range(ROWS)}
    table = pa.table(columns)
    return table, dict(zip(LANGUAGES, right.tolist(), strict=True))


def cells(number: int) -> Iterator[dict[str, Any]]:
    """What each of so many records was asked for; whole groups first."""
    for at in range(number):
        group, place = divmod(at, A_GROUP)
        (method, size), place = METHODS[place % len(METHODS)], place // len(METHODS)
        yield {
            "task": f"task-{group % 4}", "model": f"model-{group // 4}", "method": method,
            "config": {"prompt_length": size} if size else {}, "shots": SHOTS[place % len(SHOTS)],
            "draw": place // len(SHOTS) % DRAWS, "seed": place // len(SHOTS) // DRAWS, "split": None,
            "languages": LANGUAGES, "test_units": PREMISES, "revision": None, "tune": "all",
            "lora": {"rank": 8, "alpha": 16.0, "dropout": 0.0}, "max_length": 128, "precision": "bf16",
            "selection": "source-dev", "resources": {},
            "training": {"learning_rate": 5e-05, "weight_decay": 0.01, "steps": 120, "epochs": 50, "batch_size": 16,
                         "warmup": 0.1, "clip": 1.0, "checkpoints": 3, "average_last": 3},
        }  # fmt: skip


def fields(spec: dict[str, Any], accuracy: dict[str, float]) -> dict[str, Any]:
    """A record of the size and shape that a run on XNLI leaves."""
    name = hashlib.sha256(json.dumps(spec, default=list).encode()).hexdigest()
    history = [{"step": step, "loss": 1.2, "dev_accuracy": 0.5, "dev_loss": 1.1} for step in (40, 80, 120)]
    return upgraded({
        "schema_version": 1, "id": name[:12], "status": "finished", "spec": spec,
        "identity": {"protocol": "1", "task_version": "1", "data": "e10a088e943abed4", "test_data": spec["task"],
                     "shots": f"{spec['shots']}-{spec['draw']}", "revision": f"sha256:{spec['model']}",
                     "method_source": "78505f80af7d496a"},
        "method_config": {"label_words": "source", "multi_token": "error", "prompt_length": 4},
        "source_language": "en", "labels": ["entailment", "neutral", "contradiction"], "unit": "premise",
        "versions": {"xlbench": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0",
                     "tokenizers": "0.23.3", "peft": "0.21.2", "numpy": "2.4.6", "datasets": "5.2.0"},
        "commit": "601bfe14030a",
        "environment": {"device": "cpu", "device_name": "a processor", "threads": 1, "cores": 2},
        "test": {"rows": PREMISES * ROWS * len(LANGUAGES), "premises": PREMISES, "languages": len(LANGUAGES)},
        "accuracy": accuracy, "phenomena": {},
        "selection": {"policy": "source-dev", "step": 120, "steps": 120, "history": history},
        "costs": {"encoding_seconds": 0.8, "evaluation_seconds": 38.8, "setup_seconds": 0.4, "test_seconds": 78.6,
                  "training_seconds": 210.7, "test_rows_per_second": 57.3, "trainable_parameters": 71175956.0,
                  "total_parameters": 71175956.0, "trained_bytes": 284703824.0, "peak_host_bytes": 2.1e9,
                  "training_flops": 4.1e12, "evaluation_flops": 1.1e12, "test_flops": 2.2e12},
        "contamination": {"train_in_test": 0, "parallel_in_test": 0}, "notes": [], "error": "",
        "started": "2026-01-01T00:00:00+00:00", "seconds": 329.5,
    })  # fmt: skip


def simulate(number: int, root: Path) -> str:
    """Fill a store with so many records and return the id of the last one."""
    random, shared = np.random.default_rng(0), root.parent / "shared"
    shared.mkdir(parents=True)
    kinds = []
    for file in (shared / f"{at}.parquet" for at in range(FILES)):
        table, accuracy = predictions(random)
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        kinds.append((file, accuracy))
    name = ""
    for at, spec in enumerate(cells(number)):
        file, accuracy = kinds[at * 7919 % FILES]
        record = fields(spec, accuracy)
        name = record["id"]
        (root / name).mkdir(parents=True)
        (root / name / "record.json").write_text(json.dumps(record, indent=1) + "\n")
        os.link(file, root / name / "predictions.parquet")
    return name


def indexed(runs: str) -> None:
    """Leave the index that a first board leaves, with each of the 64 files of predictions read once."""
    from xlbench import Store
    from xlbench.problem import Classification
    from xlbench.records.index import Index, Result, seal_of
    from xlbench.records.predictions import Summary, unit_scores
    from xlbench.records.record import read_record

    index, known = Index(Path(runs)), dict[int, Summary]()
    for folder in Store(Path(runs)).folders():
        seal = seal_of(folder)
        index.begin()
        number = (folder / "predictions.parquet").stat().st_ino
        if number not in known:
            known[number] = unit_scores(folder, Classification(tuple("abc"))).summary
        index.add(seal, Result(read_record(folder / "record.json"), known[number]))
    index.save()


def resume(runs: str) -> None:
    """A suite of 2,000 cells that are all done: the records are made on the first call, and found on the second."""
    import torch

    from xlbench import Record, Runtime, Store, Suite
    from xlbench.comparison.compare import Comparison, prepare_all, run_suite

    torch.set_num_threads(1)
    asked = Suite(
        methods=("finetune", "mpt", "pct", "soft-prompt"), shots=(1, 2, 4, 8, 16), draws=10, seeds=10,
        run={"task": "logic", "model": "tiny", "languages": LANGUAGES, "test_units": 40},
    )  # fmt: skip
    runtime = Runtime(runs=Path(runs), device="cpu", quiet=True)
    start = time.perf_counter()
    prepared = prepare_all(asked, runtime, Comparison(asked))
    print(f"{len(prepared)} cells prepared in {time.perf_counter() - start:.1f} s", flush=True)
    table, accuracy = predictions(np.random.default_rng(1))
    store = Store(Path(runtime.runs))
    for cell in prepared:
        if not (store.path(cell.id) / "record.json").exists():
            spec = cell.spec.model_dump(mode="json")
            whole = {**fields(spec, accuracy), "id": cell.id, "identity": cell.identity}
            store.write(Record.model_validate(whole), table)
    start = time.perf_counter()
    done = run_suite(asked, runtime)
    assert (done.computed, len(done.records)) == (0, len(prepared))
    print(f"resumed, with nothing to compute, in {time.perf_counter() - start:.1f} s")


def measure(name: str, places: dict[str, str]) -> tuple[str, int]:
    """Seconds, seconds of processor time and peak memory of one piece of work, in words; and its exit code."""
    code, *arguments = (text.format(**places) for text in WORK[name])
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    start = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=os.environ | {"PYTHONPATH": path},
            stdout=None if name == "resume" else nowhere,
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds, process.returncode = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    used, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20
    return f"{name:12} {seconds:8.1f} s, {used:7.1f} s of processor, peak {peak:5.2f} GiB", process.returncode


def main() -> int:
    """Simulate, measure, clean up; 1 where a command failed."""
    parser = argparse.ArgumentParser(description="How long a large store takes")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to put the store; a temporary folder if left out")
    parser.add_argument("--keep", action="store_true", help="leave the store there, and use one that is there")
    parser.add_argument("--only", nargs="*", default=[name for name in WORK if name != "indexed"], choices=list(WORK))
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="store-scale-"))
    runs, failed = folder / "runs", 0
    try:
        if runs.is_dir():
            one = max(path.name for path in runs.iterdir() if not path.name.startswith("."))
        else:
            start = time.perf_counter()
            one = simulate(asked.records, runs)
            print(f"{asked.records:,} records simulated in {time.perf_counter() - start:.0f} s", flush=True)
            time.sleep(2 * SETTLED)  # the links' files are as young as the last of them, and no index keeps what is
        for name in asked.only:
            said, code = measure(name, {"runs": str(runs), "board": str(folder / "board"), "one": one})
            failed += code != 0
            print(said + (f", exit code {code}" if code else ""), flush=True)
    finally:
        if not asked.keep:
            shutil.rmtree(folder)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
