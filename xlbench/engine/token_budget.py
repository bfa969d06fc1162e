"""The token budget of evaluation: as many tokens in a batch as memory holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch

from xlbench.host import memory
from xlbench.host.memory import PEAK, USABLE

FIRST = 2048  # tokens of the batch that is measured on a GPU, before larger ones


Key = tuple[str, str]  # device, backbone


class TokenBudget:
    """Tokens in one evaluation batch, padding included: at most `most`, fewer where memory is short.

    Where a batch does not fit, the budget becomes half of what it held, for this backbone on this device and for the
    rest of the process. On a GPU a first batch of `FIRST` tokens tells how many fit in the memory that is free;
    batches go longest rows first, so that a token of a later batch takes no more. Scores depend on none of this.
    """

    fitting: ClassVar[dict[Key, int]] = {}  # what fits, where that is known to be less than was asked
    measured: ClassVar[set[Key]] = set()

    def __init__(self, most: int, device: torch.device, backbone: str) -> None:
        self.most, self.device, self.key = most, device, (str(device), backbone)

    @property
    def to_measure(self) -> bool:
        """Whether nobody knows yet how much fits."""
        return self.device.type == "cuda" and self.key not in self.measured

    @property
    def tokens(self) -> int:
        """How many they are now."""
        return min(self.most, self.fitting.get(self.key, self.most), FIRST if self.to_measure else self.most)

    def halve(self, held: int) -> None:
        """A batch that held so many tokens did not fit."""
        self.fitting[self.key] = max(1, min(self.tokens, held) // 2)
        self.measured.add(self.key)

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
        self.measured.add(self.key)
        self.fitting[self.key] = max(FIRST, int(USABLE * free / bytes_a_token))

    @property
    def note(self) -> str:
        """A sentence for the record where batches held fewer than `most`, for memory; empty where they did not."""
        held = self.fitting.get(self.key, self.most)
        if held >= self.most:
            return ""
        return f"evaluation batches held at most {held} tokens, not {self.most}: no more fit in memory"
