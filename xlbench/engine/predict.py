"""The one prediction engine: encoded rows → log-probabilities of the labels, in the rows' order."""

from collections import deque
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from xlbench.batching import by_token_budget, collate
from xlbench.engine.flops import NOT_COUNTED, FlopMeter
from xlbench.engine.token_budget import TokenBudget
from xlbench.errors import Diverged, OutOfMemory, XlbenchError
from xlbench.host import memory
from xlbench.host.progress import Progress
from xlbench.method import Method
from xlbench.prompts import Encoded


def predict(
    method: Method,
    encoded: Encoded,
    device: torch.device,
    precision: str,
    token_budget: int,
    progress: Progress | None = None,
    flops: FlopMeter = NOT_COUNTED,
) -> np.ndarray:
    """Log-probabilities, (n, labels) float32, one row for each encoded row in its order.

    Rows are batched by length, longest first, under the token budget; where a batch does not fit in memory, in
    smaller ones (see TokenBudget). Scores do not depend on the batches. Raises XlbenchError where the method's
    scores have the wrong shape, Diverged where they are not numbers, OutOfMemory where one row does not fit.
    """
    scores = np.empty((len(encoded), len(method.task.labels)), dtype=np.float32)
    budget = TokenBudget(token_budget, device, method.backbone.name)
    kept: list[tuple[np.ndarray, Tensor]] = []
    waiting, tokens = deque([np.arange(len(encoded))] if len(encoded) else []), 0
    with autocast(device, precision):
        while waiting:
            if budget.tokens != tokens:  # at first, and where it turns out how many fit
                tokens, rest = budget.tokens, np.concatenate(waiting)
                waiting = deque(rest[part] for part in by_token_budget(encoded.lengths[rest], tokens))
            indices, width = waiting[0], int(encoded.lengths[waiting[0][0]])
            with budget.watched(len(indices) * width):
                found = _scored(method, encoded, indices, device, flops)
            if found is None:
                memory.release()
                _shorten(budget, method, len(indices), width)
                continue
            kept.append((waiting.popleft(), found))
            if progress is not None:
                progress.step(len(indices))
    for indices, found in kept:
        scores[indices] = found.cpu().numpy()
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise Diverged(f"method {method.name}: score gave NaN (first for row {row} of {len(scores)})")
    return scores


def _scored(
    method: Method, encoded: Encoded, indices: np.ndarray, device: torch.device, flops: FlopMeter
) -> Tensor | None:
    """Log-probabilities of some rows, on the device; None where they do not fit in memory."""
    try:
        batch = collate(encoded, indices, method.backbone.tokenizer.pad_token_id, device)
        with torch.inference_mode(), flops.step(batch):
            found = method.score(batch)
    except (RuntimeError, MemoryError) as fault:
        if not memory.ran_out(fault):
            raise
        return None
    if found.shape != (len(indices), len(method.task.labels)):
        raise XlbenchError(
            f"method {method.name}: score gave {tuple(found.shape)} for a batch of {len(indices)} rows "
            f"and {len(method.task.labels)} labels; it must give (rows, labels)"
        )
    return found.float()


def _shorten(budget: TokenBudget, method: Method, rows: int, width: int) -> None:
    """Smaller batches from now on. Raises OutOfMemory where a batch is one row already."""
    if rows == 1:
        free = memory.gib(memory.free_bytes(budget.device))
        raise OutOfMemory(
            f"method {method.name}: one row of {width} tokens does not fit in the memory of {budget.device} ({free} "
            "free) when it is scored; use a shorter --max-length, a smaller model, or a device with more memory"
        )
    budget.halve(rows * width)


def default_token_budget(device: torch.device) -> int:
    """The most tokens in a batch, padding included: what stays in a CPU's cache, or what fills a GPU."""
    return 32768 if device.type == "cuda" else 1024


def accuracy(scores: np.ndarray, gold: np.ndarray) -> float:
    """Share of rows whose most likely label is the gold one, 0 to 1. scores: (n, labels), gold: (n,).

    A row whose labels all score -inf chose none of them, and is wrong.
    """
    return float(((scores.argmax(axis=1) == gold) & np.isfinite(scores.max(axis=1))).mean())


def mean_loss(scores: np.ndarray, gold: np.ndarray) -> float:
    """Mean of -log-probability of the gold label, each at most 100 (a label may score -inf)."""
    return -float(np.maximum(scores[np.arange(len(scores)), gold], -100.0).mean())


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 where the run's precision says so; nothing in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
