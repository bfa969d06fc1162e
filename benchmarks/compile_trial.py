"""Whether torch.compile, and CUDA graphs under it, pay in few-shot training: steps timed, with their warm-up.

    python benchmarks/compile_trial.py [--model FOLDER] [--data-root DIR] [--method finetune] [--steps 40]

The layers of the encoder are compiled one by one, for any length of rows, so that one compilation serves all. A run of
few shots makes 50 to 1,000 steps, and every run begins with weights of its own: what is compiled has to be paid back
by the steps of its process. On a GPU CUDA graphs are tried as well, which a length of their own each need a recording.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import xlbench
from xlbench.costs import trained_parameters
from xlbench.inference import autocast
from xlbench.preparing import Prepared, prepare
from xlbench.registry import names
from xlbench.training import training_batches

BATCH, WARM = 16, 10  # rows a step; steps that are warm-up, of each variant
KINDS = {"as it is": None, "layers compiled": "default", "layers compiled, CUDA graphs": "reduce-overhead"}


def seconds_a_step(prepared: Prepared, mode: str | None, steps: int) -> list[float]:
    """Of each of so many training steps, of fresh weights; the encoder's layers compiled in a mode, or not."""
    torch.manual_seed(0)
    torch.compiler.reset()
    backbone, device, spec = prepared.backbone.fresh(), prepared.device, prepared.spec
    assert spec.languages is not None
    method = prepared.method_class(prepared.config, backbone, prepared.task, spec.languages, spec.max_length)
    module = method.build(backbone, prepared.task).to(device).train()
    backbone.to(device)
    if mode is not None:
        layers: Any = backbone.encoder.get_submodule("encoder.layer")
        for layer in layers:
            layer.compile(dynamic=True, mode=mode)
    optimiser = torch.optim.AdamW(trained_parameters(module).values(), lr=1e-5, fused=True)
    shots = method.encode_labelled(prepared.shots.train, "en")
    taken = []
    for batch in islice(training_batches(method, shots, {}, BATCH, 0, device), steps):
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with autocast(device, spec.precision):
            loss = method.loss(batch)
        loss.backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, of each variant, its warm-up, its step, the ratio of steps, and after how many steps it has paid."""
    parser = argparse.ArgumentParser(description="torch.compile in few-shot training")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--data-root", type=Path, help="folder with XNLI; the task logic where left out")
    parser.add_argument("--method", default="finetune", choices=names("method"))
    parser.add_argument("--steps", type=int, default=40)
    asked = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    spec = xlbench.RunSpec(
        method=asked.method, task="xnli" if asked.data_root else "logic", model=asked.model, shots=64,
        languages=("en",), test_premises=1, precision="bf16" if device == "cuda" else "fp32",
    )  # fmt: skip
    prepared = prepare(spec, xlbench.Runtime(data_root=asked.data_root, device=device))
    plain = 0.0
    for name, mode in KINDS.items():
        if mode == "reduce-overhead" and device == "cpu":
            continue
        taken = seconds_a_step(prepared, mode, WARM + asked.steps)
        step = statistics.median(taken[WARM:])
        extra = sum(taken[:WARM]) - WARM * step
        plain = plain or step
        saved = plain - step
        paid = f"paid back after {extra / saved:,.0f} steps" if saved > 0 and mode else ""
        print(f"{name:30} warm-up {extra:7.1f} s, a step {step:8.4f} s, {plain / step:5.2f} × {paid}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
