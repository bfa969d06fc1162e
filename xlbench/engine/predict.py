"""The one prediction engine: encoded rows → log-probabilities of their answers, in the rows' order."""

from collections import deque
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from xlbench.batching import by_token_budget, collate
from xlbench.engine.flops import FlopMeter
from xlbench.engine.session import Session
from xlbench.engine.token_budget import TokenBudget
from xlbench.errors import Diverged, OutOfMemory, XlbenchError
from xlbench.host import memory
from xlbench.method import Method
from xlbench.prompts import Encoded


def predict(method: Method, encoded: Encoded, session: Session, stage: str = "evaluation") -> np.ndarray:
    """Log-probabilities, (rows, alternatives) or (rows, words, tags) float32, of encoded rows in their order.

    Rows are batched by length, longest first, under the session's token budget; where a batch does not fit in memory,
    in smaller ones (see TokenBudget). Scores do not depend on the batches. FLOPs are counted as of `stage`. Raises
    XlbenchError where the method's scores have the wrong shape, Diverged where they are not numbers, OutOfMemory where
    one row does not fit.
    """
    budget = TokenBudget(session.tokens, session.device, method.backbone.name)
    kept: list[tuple[np.ndarray, Tensor]] = []
    waiting, tokens = deque([np.arange(len(encoded))] if len(encoded) else []), 0
    with autocast(session.device, session.precision):
        while waiting:
            if budget.tokens != tokens:  # at first, and where it turns out how many fit
                tokens, rest = budget.tokens, np.concatenate(waiting)
                waiting = deque(rest[part] for part in by_token_budget(encoded.lengths[rest], tokens))
            indices, width = waiting[0], int(encoded.lengths[waiting[0][0]])
            with budget.watched(len(indices) * width):
                scored = _scored(method, encoded, indices, session.device, session.meters[stage])
            if scored is None:
                memory.release()
                _shorten(budget, method, len(indices), width)
                continue
            kept.append((waiting.popleft(), scored))
            if stage == "test":  # elsewhere it is steps of training that are counted
                session.progress.step(len(indices))
    scores = _laid_out(kept, len(encoded))
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores).reshape(len(scores), -1).any(axis=1))[0])
        raise Diverged(f"method {method.name}: score gave NaN (first for row {row} of {len(scores)})")
    return scores


def _laid_out(kept: list[tuple[np.ndarray, Tensor]], rows: int) -> np.ndarray:
    """The scores of batches in the order of rows; as wide as the widest, with -inf where others are narrower."""
    shapes = np.array([scored.shape[1:] for _, scored in kept]) if kept else np.zeros((1, 1), dtype=int)
    scores = np.full((rows, *shapes.max(axis=0).tolist()), -np.inf, dtype=np.float32)
    for indices, scored in kept:
        if scored.dim() == 2:
            scores[indices, : scored.shape[1]] = scored.cpu().numpy()
        else:
            scores[indices, : scored.shape[1], :] = scored.cpu().numpy()
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
    wanted = method.task.problem.score_shape(batch)
    if tuple(found.shape) != wanted:
        raise XlbenchError(
            f"method {method.name}: score gave {tuple(found.shape)} for a batch of {len(indices)} rows; "
            f"for task {method.task.name} it must give {wanted}"
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


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 where the run's precision says so; nothing in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
