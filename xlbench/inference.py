"""The one prediction engine: encoded rows → log-probabilities of the labels, in the rows' order."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from xlbench.batching import by_token_budget, collate
from xlbench.errors import Diverged, XlbenchError
from xlbench.flops import NOT_COUNTED, FlopMeter
from xlbench.method import Method
from xlbench.progress import Progress
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

    Rows are batched by length under the token budget; scores do not depend on the batches. Raises
    XlbenchError where the method's scores have the wrong shape, Diverged where they are not numbers.
    """
    shape = (len(encoded), len(method.task.labels))
    scores = np.empty(shape, dtype=np.float32)
    pad = method.backbone.tokenizer.pad_token_id
    kept: list[tuple[np.ndarray, torch.Tensor]] = []
    with autocast(device, precision):
        for indices in by_token_budget(encoded.lengths, token_budget):
            batch = collate(encoded, indices, pad, device)
            with torch.inference_mode(), flops.step(batch):
                found = method.score(batch)
            if found.shape != (len(indices), shape[1]):
                raise XlbenchError(
                    f"method {method.name}: score gave {tuple(found.shape)} for a batch of {len(indices)} rows "
                    f"and {shape[1]} labels; it must give (rows, labels)"
                )
            kept.append((indices, found.float()))
            if progress is not None:
                progress.step(len(indices))
        for indices, found in kept:
            scores[indices] = found.cpu().numpy()
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise Diverged(f"method {method.name}: score gave NaN (first for row {row} of {len(scores)})")
    return scores


def default_token_budget(device: torch.device) -> int:
    """Tokens in a batch, padding included: what stays in a CPU's cache, or what fills a GPU."""
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
