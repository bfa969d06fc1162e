"""The one prediction engine: encoded rows → log-probabilities of their answers, in the rows' order."""

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from xlbench.batching import by_token_budget, collate
from xlbench.engine.flops import FlopMeter
from xlbench.engine.session import Session
from xlbench.errors import Diverged, OutOfMemory, XlbenchError
from xlbench.host import memory
from xlbench.host.memory import PEAK, USABLE
from xlbench.method import Method
from xlbench.prompts import Encoded

FIRST = 2048  # tokens of the batch that is measured on a GPU, before larger ones


class TokenBudget:
    """Tokens in one evaluation batch, padding included: at most `most`, fewer where memory is short.

    Where a batch does not fit, the budget becomes half of what it held, for this backbone on this device and for the
    rest of the process. On a GPU a first batch of `FIRST` tokens tells how many fit in the memory that is free;
    batches go longest rows first, so that a token of a later batch takes no more. Scores depend on none of this.
    """

    fitting: ClassVar[dict[tuple[str, str], int]] = {}  # (device, backbone) → what fits, where that is known

    def __init__(self, most: int, device: torch.device, backbone: str) -> None:
        self.most, self.device, self.key = most, device, (str(device), backbone)

    @property
    def to_measure(self) -> bool:
        """Whether nobody knows yet how much fits."""
        return self.device.type == "cuda" and self.key not in self.fitting

    @property
    def tokens(self) -> int:
        """How many they are now."""
        return min(self.most, FIRST if self.to_measure else self.fitting.get(self.key, self.most))

    def halve(self, tokens: int) -> None:
        """A batch of so many tokens did not fit."""
        self.fitting[self.key] = max(1, min(self.tokens, tokens) // 2)

    @contextmanager
    def watched(self, tokens: int) -> Iterator[None]:
        """Within it a batch of so many tokens is scored, and measured if it is the first large one on a GPU."""
        if not self.to_measure or 2 * tokens < FIRST:
            yield
            return
        free = memory.free_bytes(self.device)
        with PEAK.of_part(self.device) as taken:
            yield
            bytes_a_token = max(1, taken()) / tokens
        self.fitting[self.key] = max(FIRST, int(USABLE * free / bytes_a_token))

    @property
    def note(self) -> str:
        """A sentence for the record where batches held fewer than `most`, for memory; empty where they did not."""
        fits = self.fitting.get(self.key, self.most)
        smaller = f"evaluation batches held at most {fits} tokens, not {self.most}: no more fit in memory"
        return smaller if fits < self.most else ""


def predict(method: Method, encoded: Encoded, session: Session, stage: str = "evaluation") -> np.ndarray:
    """Log-probabilities, (rows, alternatives) or (rows, words, tags) float32, of encoded rows in their order.

    Rows are batched by length, longest first, under the session's token budget; where a batch does not fit in memory,
    in smaller ones (see TokenBudget). Scores do not depend on the batches. FLOPs are counted as of `stage`. Raises
    XlbenchError where the method's scores have the wrong shape, Diverged where they are not numbers, OutOfMemory where
    one row does not fit.
    """
    device = session.device
    budget = TokenBudget(session.tokens, device, method.backbone.name)
    scored: list[tuple[np.ndarray, Tensor]] = []
    waiting, tokens = deque([np.arange(len(encoded))] if len(encoded) else []), 0
    with autocast(device, session.precision):
        while waiting:
            if budget.tokens != tokens:  # at first, and where it turns out how many fit
                tokens, rest = budget.tokens, np.concatenate(waiting)
                waiting = deque(rest[part] for part in by_token_budget(encoded.lengths[rest], tokens))
            rows, width = waiting[0], int(encoded.lengths[waiting[0][0]])
            with budget.watched(len(rows) * width):
                scores = _scores(method, encoded, rows, device, session.meters[stage])
            if scores is None:
                memory.release()
                if len(rows) == 1:
                    free = memory.gib(memory.free_bytes(device))
                    raise OutOfMemory(
                        f"method {method.name}: one row of {width} tokens does not fit in the memory of {device} "
                        f"({free} free) when it is scored; use a shorter --max-length, a smaller model, or a device "
                        "with more memory"
                    )
                budget.halve(len(rows) * width)
                continue
            scored.append((waiting.popleft(), scores))
            if stage == "test":  # elsewhere it is steps of training that are counted
                session.progress.step(len(rows))
    return _in_order(scored, len(encoded), method.name)


def _in_order(scored: list[tuple[np.ndarray, Tensor]], rows: int, method: str) -> np.ndarray:
    """The scores of batches in the order of rows; as wide as the widest, with -inf where others are narrower."""
    shapes = np.array([scores.shape[1:] for _, scores in scored]) if scored else np.zeros((1, 1), dtype=int)
    table = np.full((rows, *shapes.max(axis=0).tolist()), -np.inf, dtype=np.float32)
    for numbers, scores in scored:
        table[numbers, : scores.shape[1]] = scores.cpu().numpy()
    odd = np.flatnonzero(np.isnan(table).any(axis=tuple(range(1, table.ndim))))
    if len(odd):
        raise Diverged(f"method {method}: score gave NaN (first for row {odd[0]} of {rows})")
    return table


def _scores(
    method: Method, encoded: Encoded, rows: np.ndarray, device: torch.device, flops: FlopMeter
) -> Tensor | None:
    """Log-probabilities of some rows, on the device; None where they do not fit in memory."""
    try:
        batch = collate(encoded, rows, method.backbone.tokenizer.pad_token_id, device)
        with torch.inference_mode(), flops.step(batch):
            scores = method.score(batch)
    except (RuntimeError, MemoryError) as fault:
        if not memory.ran_out(fault):
            raise
        return None
    shape = method.task.problem.score_shape(batch)
    if tuple(scores.shape) != shape:
        raise XlbenchError(
            f"method {method.name}: score gave {tuple(scores.shape)} for a batch of {len(rows)} rows; "
            f"for task {method.task.name} it must give {shape}"
        )
    return scores.float()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 where the run's precision says so; nothing in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
