"""Whether torch.compile, and CUDA graphs under it, pay in few-shot training: steps timed, with their warm-up.

The layers of the encoder are compiled one by one, for rows of any length, so that one compilation serves all. A run of
few shots makes 50 to 1,000 steps: what compiling takes has to be paid back by the steps of its process.
"""

import shutil
import statistics
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from equals import PRECISION
from rivals import Kind
from timing import Measured

import xlbench
from xlbench.engine.costs import trained_parameters
from xlbench.engine.predict import autocast
from xlbench.engine.prepare import Prepared, prepare
from xlbench.engine.train import training_batches

BATCH, WARM = 16, 10  # rows a step; steps of each variant that are its warm-up
MODES = {"layers compiled": "default", "layers compiled, CUDA graphs": "reduce-overhead"}


def compiling(kind: Kind, model: str, root: Path | None, steps: int, found: Measured) -> None:
    """Say what a step is worth when the layers are compiled, what it takes before, and when that is paid back."""
    if shutil.which("g++") is None:
        print("compiled layers are not measured: torch.compile needs g++, which is not there", flush=True)
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    spec = xlbench.RunSpec(
        method=kind, task="xnli" if root else "logic", model=model, shots=64, languages=("en",), test_premises=1,
        precision=PRECISION,
    )  # fmt: skip
    prepared = prepare(spec, xlbench.Runtime(data_root=root, device=device))
    plain = statistics.median(_seconds(prepared, None, WARM + steps)[WARM:])
    for name, mode in MODES.items():
        if mode == "reduce-overhead" and device == "cpu":
            continue
        taken = _seconds(prepared, mode, WARM + steps)
        step = statistics.median(taken[WARM:])
        extra = sum(taken[:WARM]) - WARM * step
        found.say(f"training, {kind}: {name}, beside a step as it is", plain / step, "×")
        found.say(f"training, {kind}: {name}, warm-up", extra, "s")
        if step < plain:
            found.say(f"training, {kind}: {name}, paid back after", extra / (plain - step), "steps")


def _seconds(prepared: Prepared, mode: str | None, steps: int) -> list[float]:
    """Of each of so many training steps of fresh weights; the encoder's layers compiled in a mode, or not."""
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
