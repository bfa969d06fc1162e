"""xlbench beside the scripts of `rivals`: same machine, same run, interleaved; predictions are checked first.

    python benchmarks/side_by_side.py [--quick | --parts evaluation,suite] [--model FOLDER --data-root DIR]

With a model folder and a data root it measures on XNLI, else on `logic` with random weights of the shape of
multilingual-e5-small and a vocabulary of 250,002 (speed does not care). Prints one table; without --quick it
writes measured.json and README.md beside this file, with --quick it prints the ratios beside those written last.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from growth import growth, untouched
from report import write_report
from rivals import B0, B0_CPU, B1, B2, Classifier, Kind, Prompted, Style, evaluate, load, train
from rivals import run as run_rival

import xlbench
from xlbench.backbone import TINY, Backbone
from xlbench.inference import default_token_budget, predict
from xlbench.method import Method
from xlbench.preparing import Prepared, prepare
from xlbench.prompts import Encoded
from xlbench.registry import get
from xlbench.task import Row, Task

Part = Callable[[str, Path | None, "Measured"], None]
HERE = Path(__file__).parent
AGREE = 1e-3  # fp32 log-probabilities of two programs
BATCH, RATE = 16, 5e-5
KINDS: tuple[Kind, ...] = ("soft-prompt", "finetune")
PRECISION: Any = "bf16" if torch.cuda.is_available() else "fp32"
LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")


class Measured(dict[str, Any]):
    """Figures by name; `say` prints as it keeps."""

    def say(self, name: str, value: float, unit: str) -> None:
        self[name] = {"value": round(value, 4), "unit": unit}
        print(f"{name:62} {value:10.2f} {unit}", flush=True)


def random_model(folder: Path) -> str:
    """A model of multilingual-e5-small's shape with random weights, tiny's tokenizer and XLM-R's vocabulary size."""
    from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaForMaskedLM

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    config = XLMRobertaConfig(
        vocab_size=250_002, hidden_size=384, num_hidden_layers=12, num_attention_heads=12, intermediate_size=1536,
        max_position_embeddings=514, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, type_vocab_size=1,
    )  # fmt: skip
    torch.manual_seed(0)
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round, all of them in turn, so that a busy moment is everybody's.

    A contender that gives a number has measured its seconds itself.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, act in contenders.items():
            start = time.perf_counter()
            told = act()
            taken = time.perf_counter() - start
            seconds[name].append(told if isinstance(told, float) else taken)
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], ours: str) -> dict[str, float]:
    """How many times as long as ours each takes: the median of the rounds' ratios."""
    return {
        name: statistics.median(theirs / our for theirs, our in zip(taken, seconds[ours], strict=True))
        for name, taken in seconds.items()
        if name != ours
    }


def ceiling(width: int, inner: int, tokens: int, device: torch.device, seconds: float = 2.0) -> float:
    """Floating-point operations a second of the matrix products of one layer, and of nothing else."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    inputs = {size: torch.randn(tokens, size, device=device, dtype=dtype) for size in (width, inner)}
    shapes = [(width, width)] * 4 + [(width, inner), (inner, width)]
    weights = [torch.randn(out, into, device=device, dtype=dtype) for into, out in shapes]
    done, start = 0, time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - start < seconds:
            for (into, _), weight in zip(shapes, weights, strict=True):
                torch.nn.functional.linear(inputs[into], weight)
            done += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return done * sum(2 * tokens * into * out for into, out in shapes) / (time.perf_counter() - start)


class Ours:
    """A method of xlbench, built as a run builds it, and the rival script's model with the very same weights."""

    def __init__(self, kind: Kind, prepared: Prepared, model: str) -> None:
        torch.manual_seed(0)
        spec, device = prepared.spec, prepared.device
        assert spec.languages is not None
        backbone = prepared.backbone.fresh()
        self.kind, self.device, self.precision, self.tests = kind, device, spec.precision, prepared.test
        self.method: Method = prepared.method_class(prepared.config, backbone, prepared.task, spec.languages, 128)
        self.method.build(backbone, prepared.task).to(device).eval()
        backbone.to(device)
        self.model = model
        self._twins: dict[bool, torch.nn.Module] = {}
        self.tokenizer = backbone.tokenizer

    def rival(self, everywhere: bool = False) -> torch.nn.Module:
        """The script's model with our weights; made once."""
        if everywhere not in self._twins:
            twin, _ = load(self.kind, self.model, everywhere)
            if isinstance(twin, Prompted):
                twin.prompt.load_state_dict(self.method.prompt_encoder.state_dict())  # type: ignore[attr-defined]
            elif isinstance(twin, Classifier):
                twin.head.load_state_dict(self.method.head.state_dict())  # type: ignore[attr-defined]
            self._twins[everywhere] = twin.eval()
        return self._twins[everywhere]

    def score(self) -> dict[str, np.ndarray]:
        """All test rows, from text to log-probabilities."""
        budget = default_token_budget(self.device)
        inputs = [self.method.encode_labelled(rows, language) for language, rows in self.tests.items()]
        scores = predict(self.method, Encoded.join(inputs), self.device, self.precision, budget)
        ends = np.cumsum([len(one) for one in inputs])
        return dict(zip(self.tests, np.split(scores, ends[:-1]), strict=True))


def contenders(
    kind: Kind, model: str, root: Path | None, premises: int
) -> tuple["Ours", dict[str, Callable[[], dict[str, np.ndarray]]]]:
    """Who scores the test in 15 languages: xlbench, B0, B1 and (prompts) B2, all with the same weights."""
    spec = xlbench.RunSpec(
        task="xnli" if root else "logic", method=kind, shots=4, model=model, test_premises=premises,
        languages=LANGUAGES, precision=PRECISION,
    )  # fmt: skip
    ours = Ours(kind, prepare(spec, xlbench.Runtime(data_root=root)), model)
    honest = B0 if ours.device.type == "cuda" else B0_CPU
    by: dict[str, Callable[[], dict[str, np.ndarray]]] = {
        "xlbench": ours.score,
        "B0": lambda: evaluate(kind, ours.rival(), ours.tokenizer, ours.tests, honest),
        "B1": lambda: evaluate(kind, ours.rival(), ours.tokenizer, ours.tests, B1),
    }
    if kind == "soft-prompt":
        by["B2"] = lambda: evaluate(kind, ours.rival(everywhere=True), ours.tokenizer, ours.tests, B2)
    return ours, by


def evaluation(kind: Kind, model: str, root: Path | None, premises: int, rounds: int, found: Measured) -> None:
    """Scoring the test in 15 languages, from text to log-probabilities."""
    ours, by = contenders(kind, model, root, premises)
    scores = {name: act() for name, act in by.items()}
    for name, theirs in scores.items():
        apart = max(float(np.abs(theirs[code] - scores["xlbench"][code]).max()) for code in LANGUAGES)
        if apart > (AGREE if ours.device.type == "cpu" else 0.2):
            raise SystemExit(f"{kind}: {name}'s log-probabilities differ from xlbench's by {apart:.4f}: not comparable")
    seconds = interleaved(by, rounds)
    pairs = sum(len(rows) for rows in ours.tests.values())
    for name, taken in seconds.items():
        found.say(f"evaluation, {kind}: {name}", pairs / statistics.median(taken), "pairs/s")
    for name, ratio in ratios(seconds, "xlbench").items():
        found.say(f"evaluation, {kind}: xlbench beside {name}", ratio, "×")
    backbone = ours.method.backbone
    lengths = [ours.method.encode_labelled(rows, code).lengths for code, rows in ours.tests.items()]
    tokens = int(np.concatenate(lengths).sum())
    config = backbone.config
    top = ceiling(config.hidden_size, config.intermediate_size, 1024, ours.device)
    reached = 2 * backbone.weights_a_token * tokens / statistics.median(seconds["xlbench"])
    found.say(f"evaluation, {kind}: matrix products reached", reached / 1e9, "GFLOP/s")
    found.say(f"evaluation, {kind}: share of the measured ceiling", 100 * reached / top, "%")


def training(kind: Kind, model: str, root: Path | None, steps: int, rounds: int, found: Measured) -> None:
    """Steps of 16 pairs, evaluation and loading apart: xlbench, B0 and B1."""
    task_name = "xnli" if root else "logic"
    source, task = xlbench.sources.DataSource(root), get("task", task_name)()
    shots = task.draw(64, 0, source)
    honest = B0 if torch.cuda.is_available() else B0_CPU

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            here = xlbench.Runtime(runs=Path(folder), data_root=root, quiet=True)
            budget = xlbench.Training(steps=steps, batch_size=BATCH, checkpoints=1, learning_rate=RATE)
            spec = xlbench.RunSpec(
                task=task_name, method=kind, shots=64, model=model, languages=("en",), test_premises=1,
                selection="last", training=budget, precision=PRECISION,
            )  # fmt: skip
            return xlbench.run(spec, here).costs["training_seconds"]

    def theirs(style: Style) -> float:
        return train(kind, *load(kind, model), shots.train, None, steps, BATCH, RATE, 1, style, 0).seconds

    seconds = interleaved({"xlbench": ours, "B0": lambda: theirs(honest), "B1": lambda: theirs(B1)}, rounds)
    for name, taken in seconds.items():
        found.say(f"training, {kind}: {name}", steps * BATCH / statistics.median(taken), "pairs/s")
    for name, ratio in ratios(seconds, "xlbench").items():
        found.say(f"training, {kind}: xlbench beside {name}", ratio, "×")


def suite(
    model: str, root: Path | None, premises: int, steps: int, shots: tuple[int, ...], draws: int, found: Measured
) -> None:
    """Fine-tuning and soft prompting × shots × draws: `xlbench compare`, and the script run by run (B0).

    `XLBENCH_CACHE` is an empty folder each time: tokenisation is part of it, as for the script.
    """
    task_name = "xnli" if root else "logic"
    budget = {"steps": steps, "batch_size": BATCH, "checkpoints": 2, "learning_rate": RATE}
    asked = {
        "task": task_name, "model": model, "test_premises": premises, "training": budget, "precision": PRECISION,
    }  # fmt: skip
    task: Task = get("task", task_name)()
    source = xlbench.sources.DataSource(root)
    tests: dict[str, Sequence[Row]] = {code: task.test(code, source, premises) for code in LANGUAGES}
    honest = B0 if torch.cuda.is_available() else B0_CPU
    runs = len(KINDS) * len(shots) * draws

    def ours(**where: Any) -> None:
        with untouched() as folder:
            here = xlbench.Runtime(runs=folder / "runs", data_root=root, quiet=True, **where)
            table = xlbench.compare(xlbench.Suite(methods=KINDS, shots=shots, draws=draws, run=asked), here)
            if len(table) != runs:
                raise SystemExit(f"the suite failed: {table.attrs}")

    def theirs() -> None:
        for draw in range(draws):
            for count in shots:
                drawn = task.draw(count, draw, source)
                for kind in KINDS:
                    run_rival(kind, model, drawn.train, drawn.dev, tests, steps, BATCH, RATE, 2, honest, 0)

    contenders = {
        "xlbench, --jobs auto": lambda: ours(executor="processes", jobs="auto"),
        "xlbench, one process": ours,
        "B0": theirs,
    }
    seconds = interleaved(contenders, 1)
    for name, taken in seconds.items():
        found.say(f"suite of {runs} runs: {name}", taken[0], "s")
    for ours_by in list(contenders)[:2]:
        found.say(f"suite: {ours_by}, beside B0", ratios(seconds, ours_by)["B0"], "×")


def memory(kind: Kind, model: str, root: Path | None, premises: int, found: Measured) -> None:
    """What scoring the test takes beside what is there before it, in a fresh process of each contender."""
    asked = [sys.executable, __file__, "--kind", kind, "--premises", str(premises), "--model", model]
    asked += ["--data-root", str(root)] if root else []
    for name in ("xlbench", "B0", "B1", *(["B2"] if kind == "soft-prompt" else [])):
        said = subprocess.run([*asked, "--alone", name], check=True, capture_output=True, text=True).stdout
        found.say(f"memory to score, {kind}: {name}", float(said.split()[-1]) / 2**20, "GiB")


def alone(name: str, kind: Kind, model: str, root: Path | None, premises: int) -> None:
    """What `memory` starts: one contender in a process of its own, which prints the KiB that it took at most."""
    ours, by = contenders(kind, model, root, premises)
    if name != "xlbench":
        ours.rival(everywhere=name == "B2")
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
                 "--checkpoints", "1", "--languages", "en", "--test-premises", "1", "--runs", folder]  # fmt: skip
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
        model, root = asked.model or random_model(Path(folder)), asked.data_root
        Backbone.load(model)
        if asked.quick:
            quick(model, root, kept)
            return 0
        name = Path(model).name if asked.model else "random weights, 12 layers of 384, 250,002 words"
        of = conditions(name, "xnli" if root else "logic")
        for part in asked.parts.split(","):
            found = Measured()
            PARTS[part](model, root, found)
            write(kept, of, found)
    print(f"wrote {kept.name} and {write_report(kept).name}")
    return 0


def conditions(model: str, task: str) -> dict[str, str]:
    """On what it is measured: figures of other conditions do not stand beside these."""
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    return {
        "machine": f"{machine}, {platform.machine()}", "torch": torch.__version__, "model": model, "task": task,
        "precision": PRECISION,
    }  # fmt: skip


def write(kept: Path, of: dict[str, str], found: Measured) -> None:
    """Put a part's figures into measured.json; what was measured under other conditions leaves it."""
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {"of": of, "figures": {}}
    figures = {**(before["figures"] if before["of"] == of else {}), **found}
    kept.write_text(json.dumps({"of": of, "figures": figures}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def quick(model: str, root: Path | None, kept: Path) -> None:
    """The ratios that a change is most likely to move, beside those that were kept."""
    found = Measured()
    evaluation("soft-prompt", model, root, 1, 1, found)
    training("soft-prompt", model, root, 4, 1, found)
    before = json.loads(kept.read_text(encoding="utf-8"))["figures"] if kept.is_file() else {}
    for name, now in found.items():
        if now["unit"] == "×" and name in before:
            print(f"{name:62} {before[name]['value']:10.2f} × committed, {now['value']:.2f} × now")


def _of_each(measure: Callable[..., None], *sizes: int) -> Part:
    def both(model: str, root: Path | None, found: Measured) -> None:
        for kind in KINDS:
            measure(kind, model, root, *sizes, found)

    return both


PARTS: dict[str, Part] = {  # each with all its contenders in turn
    "start-up": lambda _model, _root, found: start_up(found),
    "evaluation": _of_each(evaluation, 4, 3),
    "training": _of_each(training, 4, 3),
    "memory": _of_each(memory, 2),
    "suite": lambda model, root, found: suite(model, root, 4, 6, (4, 16, 64), 2, found),
    "growth": lambda _model, _root, found: growth(found.say),
}


if __name__ == "__main__":
    sys.exit(main())
