"""xlbench beside the scripts of `rivals`: same machine, same run, interleaved; predictions are checked first.

    python benchmarks/side_by_side.py [--quick] [--model FOLDER --data-root DIR]

With a model folder and a data root it measures on XNLI, else on `logic` with random weights of the shape of
multilingual-e5-small and a vocabulary of 250,002 (speed does not care). Prints one table; without --quick it
writes benchmarks/README.md and benchmarks/measured.json, with --quick it prints the ratios beside those.
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
from rivals import B0, B0_CPU, B1, B2, Classifier, Kind, Prompted, evaluate, load
from rivals import run as run_rival

import xlbench
from xlbench.backbone import TINY, Backbone
from xlbench.inference import default_token_budget, predict
from xlbench.method import Method
from xlbench.preparing import Prepared, prepare
from xlbench.registry import get
from xlbench.task import Row, Task

HERE = Path(__file__).parent
AGREE = 1e-3  # fp32 log-probabilities of two programs
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
    """Seconds of each contender in each round, all of them in turn, so that a busy moment is everybody's."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, act in contenders.items():
            start = time.perf_counter()
            act()
            seconds[name].append(time.perf_counter() - start)
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
    """A method of xlbench, built as a run builds it, and the rival script with the very same weights."""

    def __init__(self, kind: Kind, prepared: Prepared, model: str) -> None:
        torch.manual_seed(0)
        spec, device = prepared.spec, prepared.device
        assert spec.languages is not None
        backbone = prepared.backbone.fresh()
        self.kind, self.device, self.precision, self.tests = kind, device, spec.precision, prepared.test
        self.method: Method = prepared.method_class(prepared.config, backbone, prepared.task, spec.languages, 128)
        self.method.build(backbone, prepared.task).to(device).eval()
        backbone.to(device)
        self.rival, self.tokenizer = self._twin(model, False)
        self.everywhere = self._twin(model, True)[0] if kind == "soft-prompt" else self.rival

    def _twin(self, model: str, everywhere: bool) -> tuple[torch.nn.Module, Any]:
        twin, tokenizer = load(self.kind, model, everywhere)
        if isinstance(twin, Prompted):
            twin.prompt.load_state_dict(self.method.prompt_encoder.state_dict())  # type: ignore[attr-defined]
        elif isinstance(twin, Classifier):
            twin.head.load_state_dict(self.method.head.state_dict())  # type: ignore[attr-defined]
        return twin.eval(), tokenizer

    def score(self) -> dict[str, np.ndarray]:
        """All test rows, from text to log-probabilities."""
        budget = default_token_budget(self.device)
        inputs = {language: self.method.encode_labelled(rows, language) for language, rows in self.tests.items()}
        return {
            language: predict(self.method, one, self.device, self.precision, budget) for language, one in inputs.items()
        }


def evaluation(kind: Kind, model: str, root: Path | None, premises: int, rounds: int, found: Measured) -> None:
    """Scoring the test in 15 languages: xlbench, B0, B1 and (prompts) B2."""
    task = "xnli" if root else "logic"
    spec = xlbench.RunSpec(
        task=task, method=kind, shots=4, model=model, test_premises=premises, languages=LANGUAGES,
        parallel="ntrex-128" if root else None,
    )  # fmt: skip
    prepared = prepare(spec, xlbench.Runtime(data_root=root))
    ours = Ours(kind, prepared, model)
    honest = B0 if ours.device.type == "cuda" else B0_CPU
    contenders: dict[str, Callable[[], dict[str, np.ndarray]]] = {
        "xlbench": ours.score,
        "B0": lambda: evaluate(kind, ours.rival, ours.tokenizer, ours.tests, honest),
        "B1": lambda: evaluate(kind, ours.rival, ours.tokenizer, ours.tests, B1),
    }
    if kind == "soft-prompt":
        contenders["B2"] = lambda: evaluate(kind, ours.everywhere, ours.tokenizer, ours.tests, B2)
    scores = {name: act() for name, act in contenders.items()}
    for name, theirs in scores.items():
        apart = max(float(np.abs(theirs[code] - scores["xlbench"][code]).max()) for code in LANGUAGES)
        if apart > (AGREE if ours.device.type == "cpu" else 0.2):
            raise SystemExit(f"{kind}: {name}'s log-probabilities differ from xlbench's by {apart:.4f}: not comparable")
    seconds = interleaved(contenders, rounds)
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


def suite(
    model: str, root: Path | None, premises: int, steps: int, shots: tuple[int, ...], draws: int, found: Measured
) -> None:
    """Fine-tuning and soft prompting × shots × draws: `xlbench compare`, and the script run by run (B0)."""
    kinds: tuple[Kind, ...] = ("finetune", "soft-prompt")
    task_name = "xnli" if root else "logic"
    training = {"steps": steps, "batch_size": 16, "checkpoints": 2, "learning_rate": 5e-5}
    asked = {"task": task_name, "model": model, "test_premises": premises, "training": training}
    task: Task = get("task", task_name)()
    source = xlbench.sources.DataSource(root)
    tests: dict[str, Sequence[Row]] = {code: task.test(code, source, premises) for code in LANGUAGES}
    honest = B0 if torch.cuda.is_available() else B0_CPU

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            here = xlbench.Runtime(runs=Path(folder), data_root=root, quiet=True)
            table = xlbench.compare(xlbench.Suite(methods=kinds, shots=shots, draws=draws, run=asked), here)
            if len(table) != len(kinds) * len(shots) * draws:
                raise SystemExit(f"the suite failed: {table.attrs}")

    def theirs() -> None:
        for draw in range(draws):
            for count in shots:
                drawn = task.draw(count, draw, source)
                for kind in kinds:
                    run_rival(kind, model, drawn.train, drawn.dev, tests, steps, 16, 5e-5, 2, honest, 0)

    seconds = interleaved({"xlbench": ours, "B0": theirs}, 1)
    for name, taken in seconds.items():
        found.say(f"suite of {len(kinds) * len(shots) * draws} runs: {name}", taken[0], "s")
    found.say("suite: xlbench beside B0", ratios(seconds, "xlbench")["B0"], "×")


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
    parser.add_argument("--model", help="folder of a masked language model; random weights where left out")
    parser.add_argument("--data-root", type=Path, help="folder with XNLI; the task logic where left out")
    asked = parser.parse_args()
    found = Measured()
    with tempfile.TemporaryDirectory() as folder:
        model = asked.model or random_model(Path(folder))
        Backbone.load(model)
        for kind in ("soft-prompt", "finetune"):
            evaluation(kind, model, asked.data_root, 1 if asked.quick else 4, 1 if asked.quick else 3, found)
        if not asked.quick:
            suite(model, asked.data_root, 8, 12, (4, 16, 64), 2, found)
            start_up(found)
    kept = HERE / "measured.json"
    if asked.quick:
        before = json.loads(kept.read_text(encoding="utf-8"))["figures"] if kept.is_file() else {}
        for name, now in found.items():
            if now["unit"] == "×" and name in before:
                print(f"{name:62} {before[name]['value']:10.2f} × committed, {now['value']:.2f} × now")
        return 0
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    what = {
        "machine": f"{machine}, {platform.machine()}",
        "torch": torch.__version__,
        "model": Path(model).name if asked.model else "random weights, 12 layers of 384",
        "task": "xnli" if asked.data_root else "logic",
    }
    kept.write_text(json.dumps({"of": what, "figures": found}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
