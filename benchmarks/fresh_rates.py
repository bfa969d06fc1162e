"""Which learning rate suits what a method adds and draws anew: a small study, from which the default is taken.

    python benchmarks/fresh_rates.py --model FOLDER --data-root DIR [--device cuda] [--rates 5e-5 3e-4 1e-3 3e-3]

Each rate trains the four methods on the same shots, on draws that no suite has, and is judged by English dev accuracy
alone, the mean over methods; test accuracy on few units stands beside it. A rate's suites run side by side in
processes. Prints a table and writes it to fresh_rates.md beside this file.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import xlbench

METHODS = ("finetune", "soft-prompt", "pct", "mpt")
HERE = Path(__file__).parent
KEPT = HERE / "fresh_rates_records"


def suite_of(rate: float, asked: argparse.Namespace) -> xlbench.Suite:
    """The four methods at one rate of fresh parts."""
    training = {"learning_rate": asked.learning_rate, "warmup": 0.1, "epochs": asked.epochs}
    training |= {"fresh_learning_rate": rate}
    run = {
        "task": "xnli", "model": asked.model, "test_design": "sharded", "test_units": asked.test_units,
        "selection": "source-dev", "resources": {"parallel": {"corpus": "ntrex-128"}}, "precision": asked.precision,
        "training": training,
    }  # fmt: skip
    return xlbench.Suite(
        name=f"fresh-rate-{rate:g}", methods=METHODS, shots=tuple(asked.shots), draws=asked.draws,
        first_draw=asked.first_draw, run=run,
    )  # fmt: skip


def table(records: Sequence[xlbench.Record]) -> list[str]:
    """Lines of a Markdown table: by shots and rate, each method's dev and test accuracy."""
    cells: dict[tuple[int, float], dict[str, list[xlbench.Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        key = record.spec.shots, record.spec.training.fresh_learning_rate
        cells[key][record.spec.method].append(record)
    lines = [
        "| shots | rate of fresh parts | " + " | ".join(f"{name}: dev, test" for name in METHODS) + " | mean dev |",
        "|---:|---:|" + "---:|" * len(METHODS) + "---:|",
    ]
    for (shots, rate), by_method in sorted(cells.items()):
        devs, texts = [], []
        for name in METHODS:
            if name not in by_method:  # did not end
                texts.append("–")
                continue
            dev = fmean(best_dev(one) for one in by_method[name])
            devs.append(dev)
            texts.append(f"{100 * dev:.1f}, {100 * fmean(one.mean for one in by_method[name]):.1f}")
        lines.append(f"| {shots} | {rate:g} | {' | '.join(texts)} | {100 * fmean(devs):.1f} of {len(devs)} |")
    return lines


def best_dev(record: xlbench.Record) -> float:
    """Dev accuracy of the state that was tested."""
    at = record.selection["step"]
    return next(entry["dev_score"] for entry in record.selection["history"] if entry["step"] == at)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, print and write its table."""
    parser = argparse.ArgumentParser(description="learning rates of fresh parts")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-5, 3e-4, 1e-3, 3e-3])
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--shots", type=int, nargs="+", default=[16, 256])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--first-draw", type=int, default=18)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--test-units", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=1, help="workers of each rate")
    parser.add_argument("--runs", type=Path, default=KEPT, help="where records are kept")
    parser.add_argument("--table", action="store_true", help="run nothing: write the table of the records in --runs")
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)  # what the processes are told
    asked = parser.parse_args(arguments)
    if asked.rate is not None:
        here = xlbench.Runtime(
            runs=asked.runs, data_root=asked.data_root, device=asked.device, jobs=asked.jobs, quiet=True,
            executor="processes",
        )  # fmt: skip
        found = xlbench.compare(suite_of(asked.rate, asked), here)
        print(json.dumps(found.attrs))
        return 0
    rates = [] if asked.table else asked.rates
    words = list(arguments or sys.argv[1:])
    started = [subprocess.Popen([sys.executable, __file__, *words, "--rate", f"{rate:g}"]) for rate in rates]
    codes = [process.wait() for process in started]
    if any(codes):
        return 1
    records = [one for one in xlbench.store_at(asked.runs).records() if one.status == "finished"]
    device = records[0].environment.get("device_name", "?")
    lines = [
        "# Learning rates of fresh parts", "",
        f"Written by `benchmarks/fresh_rates.py`: {Path(asked.model).name}, XNLI, pretrained weights at "
        f"{asked.learning_rate:g}, {asked.epochs} epochs, draws {asked.first_draw} to "
        f"{asked.first_draw + asked.draws - 1}, {asked.precision}, {device}; accuracy in percent on English dev (which "
        f"chooses) and on {asked.test_units} test premises dealt out over 15 languages.", "", *table(records), "",
    ]  # fmt: skip
    print("\n".join(lines))
    (HERE / "fresh_rates.md").write_text("\n".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
