"""Rows → tensors: length-sorted batches under a token budget, padded to their longest row."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from xlbench.prompts import Encoded


@dataclass(frozen=True)
class Batch:
    """Some rows as tensors, their inputs padded on the right.

    `ids`: (n, t), below zero for prompt vectors. `attention`: (n, t), 1 for a token, 0 for padding. `segments`: (n, t),
    0 or 1. `read_at`: (n,) or (n, words), where the answer is read, as in Encoded; `language`: (n,). `labels`: (rows,)
    or (rows, words), -1 for what is unlabelled. `slots`: where several inputs make a row; None where each is one.
    `streams`: what else a step needs, by the names that the method gave (aligned rows, translations).
    `languages` of the rows and `padding`, the number of its tokens, are known of a batch as it was collated; of one
    made by hand, or by `replace`, they are asked of the tensors, which waits for a device that has them.
    """

    ids: Tensor
    attention: Tensor
    read_at: Tensor
    segments: Tensor
    language: Tensor
    labels: Tensor
    slots: "Slots | None" = None
    streams: dict[str, "Batch"] = field(default_factory=dict)

    @cached_property
    def languages(self) -> frozenset[int]:
        """The languages of the rows, by their index."""
        return frozenset(self.language.tolist())

    @cached_property
    def padding(self) -> int:
        """How many of the tokens are padding."""
        return self.attention.numel() - int(self.attention.bool().sum())

    def __len__(self) -> int:
        """How many inputs."""
        return self.ids.shape[0]

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self) if self.slots is None else self.slots.rows

    def with_streams(self, streams: dict[str, "Batch"]) -> "Batch":
        batch = copy(self)
        vars(batch)["streams"] = streams
        return batch

    def with_ids(self, ids: Tensor) -> "Batch":
        """The same inputs with other tokens, (n, t); what is known of the batch stays known."""
        batch = copy(self)
        vars(batch)["ids"] = ids
        return batch


@dataclass(frozen=True, eq=False)
class Slots:
    """Where the inputs of a batch stand in a grid of rows × most inputs of a row: `at`, (n,), row by row."""

    at: Tensor
    rows: int
    width: int


def collate(encoded: Encoded, indices: Sequence[int] | np.ndarray, pad: int, device: torch.device | str) -> Batch:
    """The rows at `indices`, their inputs padded to the longest of them, on a device."""
    chosen_rows = np.asarray(indices)
    chosen = encoded.inputs(chosen_rows)
    rows = [encoded.ids[index] for index in chosen]
    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    attention = np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        attention[number, : len(row)] = 1
    segments = (np.arange(width)[None, :] >= encoded.second_at[chosen][:, None]).astype(np.int64) * attention
    labels = np.full(len(chosen_rows), -1) if encoded.labels is None else encoded.labels[chosen_rows]
    read_at = encoded.read_at[chosen]
    if read_at.ndim == 2:
        words = 1 + int(np.flatnonzero((read_at >= 0).any(axis=0)).max(initial=0))
        read_at, labels = read_at[:, :words], labels[:, :words] if labels.ndim == 2 else labels
    pinned, language, slots = torch.device(device).type == "cuda", encoded.language[chosen], None

    def put(array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
        return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=True)

    if encoded.row is not None:
        counts = encoded.counts[chosen_rows]
        places = np.concatenate([np.arange(count) for count in counts])
        at = np.repeat(np.arange(len(chosen_rows)), counts) * counts.max() + places
        slots = Slots(put(at), len(chosen_rows), int(counts.max()))
    batch = Batch(put(ids), put(attention), put(read_at), put(segments), put(language), put(labels), slots)
    vars(batch)["languages"] = frozenset(language.tolist())
    vars(batch)["padding"] = int((1 - attention).sum())
    return batch


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
