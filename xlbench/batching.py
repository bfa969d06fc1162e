"""Rows → tensors: length-sorted batches under a token budget, padded to their longest row."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from xlbench.prompts import Encoded


@dataclass(frozen=True)
class Batch:
    """Some rows as tensors, padded on the right.

    `ids`: (n, t), below zero for prompt vectors. `attention`: (n, t), 1 for a token, 0 for padding.
    `mask_at`, `language`, `labels`: (n,); labels are -1 for unlabelled text. `segments`: (n, t), 0 or 1.
    `streams`: what else a step needs, by the names that the method gave (aligned rows, translations).
    `languages` of the rows and `padding`, the number of its tokens, are known without asking the device, except where
    a batch is made by hand, or with another `language` or `attention` than it was collated with.
    """

    ids: Tensor
    attention: Tensor
    mask_at: Tensor
    segments: Tensor
    language: Tensor
    labels: Tensor
    streams: dict[str, "Batch"] = field(default_factory=dict)
    known: "Known | None" = None

    def __post_init__(self) -> None:
        known = self.known
        if known is None or known.language is not self.language or known.attention is not self.attention:
            object.__setattr__(self, "known", Known.asked(self.language, self.attention))

    @property
    def languages(self) -> frozenset[int]:
        """The languages of the rows, by their index."""
        assert self.known is not None
        return self.known.languages

    @property
    def padding(self) -> int:
        """How many of the tokens are padding."""
        assert self.known is not None
        return self.known.padding

    def __len__(self) -> int:
        return self.ids.shape[0]

    def with_streams(self, streams: dict[str, "Batch"]) -> "Batch":
        return replace(self, streams=streams)


@dataclass(frozen=True, eq=False)
class Known:
    """What the host knows of a batch's `language` and `attention`, as long as they are these tensors."""

    language: Tensor
    attention: Tensor
    languages: frozenset[int]
    padding: int

    @classmethod
    def asked(cls, language: Tensor, attention: Tensor) -> "Known":
        """The same, asked of the tensors themselves, which waits for a device that has them."""
        padding = attention.numel() - int(attention.bool().sum())
        return cls(language, attention, frozenset(language.tolist()), padding)


def collate(encoded: Encoded, indices: Sequence[int] | np.ndarray, pad: int, device: torch.device | str) -> Batch:
    """The rows at `indices`, padded to the longest of them, on a device."""
    rows = [encoded.ids[index] for index in indices]
    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    attention = np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        attention[number, : len(row)] = 1
    chosen = np.asarray(indices)
    segments = (np.arange(width)[None, :] >= encoded.second_at[chosen][:, None]).astype(np.int64) * attention
    labels = np.full(len(rows), -1) if encoded.labels is None else encoded.labels[chosen]
    arrays = (ids, attention, encoded.mask_at[chosen], segments, encoded.language[chosen], labels)
    pinned = torch.device(device).type == "cuda"
    tensors = [torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)) for array in arrays]
    moved = [(tensor.pin_memory() if pinned else tensor).to(device, non_blocking=True) for tensor in tensors]
    ids_, attention_, mask_at, segments_, language, labels_ = moved
    languages, padding = frozenset(encoded.language[chosen].tolist()), int((1 - attention).sum())
    known = Known(language, attention_, languages, padding)
    return Batch(ids_, attention_, mask_at, segments_, language, labels_, known=known)


def by_token_budget(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Indices of the rows in batches of at most `budget` tokens with padding, longest rows first.

    Every row is in one batch; a row longer than the budget makes a batch of its own. Longest first, so that
    memory trouble shows at once.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        count = max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + count])
        start += count
    return batches
