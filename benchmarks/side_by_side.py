"""xlbench beside the scripts of `rivals`: same machine, same run, interleaved; predictions are checked first.

    python benchmarks/side_by_side.py [--quick | --parts evaluation,suite] [--model FOLDER --data-root DIR]

With a model folder and a data root it measures on XNLI, else on `logic` with random weights of the shape of
multilingual-e5-small and a vocabulary of 250,002 (speed does not care). Prints one table; without --quick it
writes what it measured into this processor's part of measured.json, and README.md beside this file; with --quick it
prints the ratios beside those that were last written of this processor.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from equals import PRECISION, check_equal, contenders
from growth import growth
from paper_grid import random_model
from report import keep, measured_on, write_report
from rivals import B1, HONEST, Kind, Style, load, train
from suite import BATCH, RATE, suite
from timing import Measured, ceiling, interleaved, ratios

import xlbench
from xlbench.backbone import Backbone
from xlbench.host.provenance import environment
from xlbench.registry import get

Part = Callable[[str, Path | None, Measured], None]
HERE = Path(__file__).parent
TIMED: tuple[Kind, ...] = ("soft-prompt", "finetune")  # a prompt method and the other; the suite has all


def evaluation(kind: Kind, model: str, root: Path | None, premises: int, rounds: int, found: Measured) -> None:
    """Scoring the test in 15 languages, from text to log-probabilities."""
    ours, by = contenders(kind, model, root, premises)
    check_equal(ours, {name: act() for name, act in by.items()})
    width, inner = ours.method.backbone.config.hidden_size, ours.method.backbone.config.intermediate_size
    seconds = interleaved({**by, "a product": lambda: 1 / ceiling(width, inner, 1024, ours.device)}, rounds)
    of_a_product = seconds.pop("a product")
    pairs = sum(len(rows) for rows in ours.tests.values())
    for name, taken in seconds.items():
        found.say(f"evaluation, {kind}: {name}", pairs / statistics.median(taken), "pairs/s")
    for name, ratio in ratios(seconds, "xlbench").items():
        found.say(f"evaluation, {kind}: xlbench beside {name}", ratio, "×")
    lengths = [ours.method.encode_labelled(rows).lengths for rows in ours.tests.values()]
    tokens = int(np.concatenate(lengths).sum())
    at_one_position = 2 * width * (width + inner)  # of the last layer: all but keys and values
    products = 2 * (ours.method.backbone.weights_a_token * tokens - at_one_position * (tokens - pairs))
    shares = [products * least / taken for least, taken in zip(of_a_product, seconds["xlbench"], strict=True)]
    reached = products / statistics.median(seconds["xlbench"])
    found.say(f"evaluation, {kind}: matrix products reached", reached / 1e9, "GFLOP/s")
    found.say(f"evaluation, {kind}: share of the measured ceiling", 100 * statistics.median(shares), "%")


def training(kind: Kind, model: str, root: Path | None, steps: int, rounds: int, found: Measured) -> None:
    """Steps of 16 pairs, evaluation and loading apart: xlbench, B0 and B1."""
    task_name = "xnli" if root else "logic"
    source, task = xlbench.sources.DataSource(root), get("task", task_name)()
    shots = task.draw(64, 0, source)

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            here = xlbench.Runtime(runs=Path(folder), data_root=root, quiet=True)
            budget = xlbench.Training(steps=steps, batch_size=BATCH, checkpoints=1, learning_rate=RATE)
            spec = xlbench.RunSpec(
                task=task_name, method=kind, shots=64, model=model, languages=("en",), test_units=1,
                selection="last", training=budget, precision=PRECISION,
            )  # fmt: skip
            return xlbench.run(spec, here).costs["training_seconds"]

    def theirs(style: Style) -> float:
        return train(kind, *load(kind, model), shots.train, None, {}, steps, BATCH, RATE, 1, style, 0).seconds

    seconds = interleaved({"xlbench": ours, "B0": lambda: theirs(HONEST), "B1": lambda: theirs(B1)}, rounds)
    for name, taken in seconds.items():
        found.say(f"training, {kind}: {name}", steps * BATCH / statistics.median(taken), "pairs/s")
    for name, ratio in ratios(seconds, "xlbench").items():
        found.say(f"training, {kind}: xlbench beside {name}", ratio, "×")


def memory(kind: Kind, model: str, root: Path | None, premises: int, found: Measured) -> None:
    """What scoring the test takes beside what is there before it, in a fresh process of each contender."""
    asked = [sys.executable, __file__, "--kind", kind, "--premises", str(premises), "--model", model]
    asked += ["--data-root", str(root)] if root else []
    for name in ("xlbench", "B0", "B1", *(["B2"] if kind == "soft-prompt" else [])):
        said = subprocess.run([*asked, "--alone", name], check=True, capture_output=True, text=True).stdout
        found.say(f"memory to score, {kind}: {name}", float(said.split()[-1]) / 2**20, "GiB")


def alone(name: str, kind: Kind, model: str, root: Path | None, premises: int) -> None:
    """What `memory` starts: one contender in a process of its own, which prints the KiB that it took at most, on a GPU
    of the GPU's."""
    ours, by = contenders(kind, model, root, premises)
    if name != "xlbench":
        ours.rival(everywhere=name == "B2")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        by[name]()
        print((torch.cuda.max_memory_allocated() - held) // 1024)
        return
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what is there now
    before = _status("VmRSS")
    by[name]()
    print(_status("VmHWM") - before)


def _status(name: str) -> int:
    """A figure of Linux's on this process, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def start_up(found: Measured) -> None:
    """Seconds of the command line before it answers, and to the first prediction on the embedded model."""
    script = "from xlbench.cli import main; main()"
    for name, asked in (("--help", ["--help"]), ("list", ["list"])):
        seconds = interleaved({name: lambda asked=asked: _quietly(script, asked)}, 3)[name]  # type: ignore[misc]
        found.say(f"start-up: xlbench {name}", statistics.median(seconds), "s")
    with tempfile.TemporaryDirectory() as folder:
        asked = ["run", "--method", "finetune", "--task", "logic", "--model", "tiny", "--shots", "1", "--steps", "1",
                 "--checkpoints", "1", "--languages", "en", "--test-units", "1", "--runs", folder]  # fmt: skip
        start = time.perf_counter()
        _quietly(script, asked)
        found.say("start-up: a run of one step and three predictions", time.perf_counter() - start, "s")


def _quietly(script: str, asked: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-c", script, *asked], check=True, capture_output=True)


def main() -> int:
    """Measure, print, and keep or compare."""
    parser = argparse.ArgumentParser(description="xlbench beside what a user would write instead")
    parser.add_argument("--quick", action="store_true", help="under two minutes; compared with what is committed")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; the others stay as they are")
    parser.add_argument("--model", help="folder of a masked language model; random weights where left out")
    parser.add_argument("--data-root", type=Path, help="folder with XNLI; the task logic where left out")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="soft-prompt", help=argparse.SUPPRESS)
    parser.add_argument("--premises", type=int, default=8, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        alone(asked.alone, asked.kind, asked.model, asked.data_root, asked.premises)
        return 0
    unknown = [part for part in asked.parts.split(",") if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; parts are {', '.join(PARTS)}")
    kept = HERE / "measured.json"
    with tempfile.TemporaryDirectory() as folder:
        model = asked.model or random_model(Path(folder), width=384)  # as multilingual-e5-small
        root = asked.data_root
        Backbone.load(model)
        if asked.quick:
            quick(model, root, kept)
            return 0
        name = Path(model).name if asked.model else "random weights, 12 layers of 384, 250,002 words"
        processor, of = conditions(name, "xnli" if root else "logic")
        for part in asked.parts.split(","):
            found = Measured()
            PARTS[part](model, root, found)
            keep(kept, processor, of, found)
    print(f"wrote {kept.name} and {write_report(kept).name}")
    return 0


def conditions(model: str, task: str) -> tuple[str, dict[str, str]]:
    """The processor, and on what else it is measured: figures of other conditions do not stand beside these."""
    here = environment(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    machine = "a GPU" if here["device"] == "cuda" else f"{here['threads']} CPU threads"
    return here["device_name"], {
        "machine": f"{machine}, {platform.machine()}", "torch": torch.__version__, "model": model, "task": task,
        "precision": PRECISION,
    }  # fmt: skip


def quick(model: str, root: Path | None, kept: Path) -> None:
    """The ratios that a change is most likely to move, beside those that were kept of this processor."""
    found = Measured()
    evaluation("soft-prompt", model, root, 1, 1, found)
    training("soft-prompt", model, root, 4, 1, found)
    processor, _ = conditions("", "")
    before = measured_on(kept, processor).get("figures", {})
    if not before:
        print(f"{kept.name} holds no figures of {processor}; `make bench` measures them")
    for name, now in found.items():
        if now["unit"] == "×" and name in before:
            print(f"{name:62} {before[name]['value']:10.2f} × committed, {now['value']:.2f} × now")


def _of_each(measure: Callable[..., None], *sizes: int) -> Part:
    def both(model: str, root: Path | None, found: Measured) -> None:
        for kind in TIMED:
            measure(kind, model, root, *sizes, found)

    return both


PARTS: dict[str, Part] = {  # each with all its contenders in turn
    "start-up": lambda _model, _root, found: start_up(found),
    "evaluation": _of_each(evaluation, 4, 3),
    "training": _of_each(training, 4, 3),
    "memory": _of_each(memory, 2),
    "suite": lambda model, root, found: suite(model, root, 8, 4, (4, 16, 64), 2, found),
    "growth": lambda _model, _root, found: growth(found.say),
}


if __name__ == "__main__":
    sys.exit(main())
