"""Sparse changes of a model's weights (Ansell et al. 2022): which of them train, and what was added to those.

A weight's place is its number among all that may change, one tensor after the other: a row of them, (entries,).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor, nn


class Change(nn.Module):
    """What is `added` to k weights: at which places, in their order, and what they were before, `start`; (k,) each."""

    place: Tensor
    start: Tensor
    added: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("place", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("start", torch.zeros(size))
        self.register_buffer("added", torch.zeros(size))


class Mask(nn.Module):
    """Which of some weights train, `open` (entries,), all to begin with: the gradients of the others are made 0.

    `start`: the weights when it was made. The weights stay where they are registered, and are no part of it.
    """

    open: Tensor

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.weights, self.ends = list(weights), [*accumulate(value.numel() for value in weights)]
        self.start = self.row()
        self.register_buffer("open", torch.ones(self.ends[-1], dtype=torch.bool))
        for value, end in zip(self.weights, self.ends, strict=True):
            value.register_hook(partial(self._masked, slice(end - value.numel(), end)))

    def _masked(self, own: slice, gradient: Tensor) -> Tensor:
        return gradient * self.open[own].view_as(gradient)

    def row(self) -> Tensor:
        """A copy of the weights as they are, (entries,)."""
        return torch.cat([value.detach().flatten() for value in self.weights])

    def base(self, change: Change | None = None) -> Tensor:
        """The weights when it was made, with a change, (entries,)."""
        base = self.start.to(self.open.device, copy=True)
        if change is not None:
            base[change.place] += change.added
        return base

    def put(self, row: Tensor) -> None:
        """Make the weights those of a row, (entries,)."""
        with torch.no_grad():
            for value, part in zip(self.weights, row.split([value.numel() for value in self.weights]), strict=True):
                value.copy_(part.view_as(value))

    def choose(self, base: Tensor, k: int) -> None:
        """Open it where the k weights are that are furthest from a base, (entries,)."""
        self.open.copy_(largest((self.row() - base).abs_(), k))

    def keep(self, change: Change) -> None:
        """Make a change what was added, where it is open, to the weights when it was made."""
        change.place.copy_(self.open.nonzero()[:, 0])
        change.start.copy_(self.base()[change.place])
        change.added.copy_(self.row()[change.place] - change.start)

    @contextmanager
    def changed(self, less: Change | None, plus: Change | None) -> Iterator[None]:
        """Within it `less`, which is in the weights, is taken out of them, and `plus` is put in.

        A weight that is nothing but its start and `less` is its start again, to the bit; and afterwards all are what
        they were, to the bit.
        """
        before: list[tuple[Tensor, Tensor, Tensor]] = []
        with torch.no_grad():
            for value, at, start, added in self._pieces(less):
                before.append((value, at, value[at]))
                value[at] = start + (value[at] - (start + added))
            for value, at, _, added in self._pieces(plus):
                before.append((value, at, value[at]))
                value[at] += added
            try:
                yield
            finally:
                for value, at, kept in reversed(before):
                    value[at] = kept

    def _pieces(self, change: Change | None) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """By tensor: its numbers in a row, at which of them a change is, and of those `start` and `added`."""
        if change is None:
            return
        cuts = torch.searchsorted(change.place, torch.tensor(self.ends, device=change.place.device)).tolist()
        for value, end, low, high in zip(self.weights, self.ends, [0, *cuts], cuts, strict=False):
            if low < high:
                at = change.place[low:high] - (end - value.numel())
                yield value.detach().view(-1), at, change.start[low:high], change.added[low:high]


def largest(sizes: Tensor, k: int) -> Tensor:
    """Which are the k largest, (n,) bool; of equal ones the first, so that it is always k."""
    if not k:
        return torch.zeros_like(sizes, dtype=torch.bool)
    least = sizes.kthvalue(len(sizes) - k + 1).values
    chosen = sizes > least
    chosen[(sizes == least).nonzero()[: k - int(chosen.sum()), 0]] = True
    return chosen
