"""Length-sorted batches under a token budget, and padding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xlbench.batching import by_token_budget, collate
from xlbench.prompts import Encoded

PAD = 99


@given(st.lists(st.integers(0, 60), max_size=80), st.integers(1, 200))
def test_batches_hold_every_row_once_within_the_budget_longest_first(lengths, budget):
    lengths = np.array(lengths, dtype=np.int64)
    batches = by_token_budget(lengths, budget)
    flat = [int(index) for batch in batches for index in batch]
    assert sorted(flat) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[batch]) <= budget
    assert all(first >= second for first, second in zip(lengths[flat], lengths[flat][1:], strict=False))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 200))
def test_no_batch_could_take_the_next_row(lengths, budget):
    lengths = np.array(lengths, dtype=np.int64)
    batches = by_token_budget(lengths, budget)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > budget


def test_rows_of_one_length_keep_their_order():
    assert [batch.tolist() for batch in by_token_budget(np.array([5, 7, 5, 7]), 10)] == [[1], [3], [0, 2]]
    assert by_token_budget(np.array([], dtype=np.int64), 10) == []


@pytest.fixture
def encoded() -> Encoded:
    return Encoded(
        [np.array([0, 5, 2]), np.array([0, -1, -2, 7, 2]), np.array([0, 2])],
        read_at=np.array([1, 3, -1]),
        second_at=np.array([2, 3, 2]),
        language=np.array([4, 0, 2]),
        labels=np.array([2, 0, 1]),
    )


def test_rows_are_padded_on_the_right_to_the_longest_of_the_batch(encoded):
    batch = collate(encoded, [0, 1], PAD, "cpu")
    assert batch.ids.tolist() == [[0, 5, 2, PAD, PAD], [0, -1, -2, 7, 2]]
    assert batch.attention.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.segments.tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 1]]
    assert collate(encoded, [0, 2], PAD, "cpu").ids.shape == (2, 3)


def test_what_belongs_to_a_row_stays_with_it(encoded):
    batch = collate(encoded, np.array([2, 1, 1]), PAD, "cpu")
    assert batch.ids[:, :2].tolist() == [[0, 2], [0, -1], [0, -1]]
    assert batch.read_at.tolist() == [-1, 3, 3]
    assert batch.language.tolist() == [2, 0, 0]
    assert batch.languages == {0, 2}
    assert batch.labels.tolist() == [1, 0, 0]
    assert len(batch) == 3
    assert {tensor.dtype for tensor in (batch.ids, batch.attention, batch.read_at, batch.labels)} == {torch.int64}


def test_unlabelled_rows_have_the_label_minus_one(encoded):
    bare = Encoded(encoded.ids, encoded.read_at, encoded.second_at, encoded.language)
    assert collate(bare, [0, 2], PAD, "cpu").labels.tolist() == [-1, -1]


def test_streams_ride_along_and_leave_the_batch_as_it_was(encoded):
    batch = collate(encoded, [0], PAD, "cpu")
    with_other = batch.with_streams({"other": collate(encoded, [1], PAD, "cpu")})
    assert batch.streams == {}
    assert with_other.streams["other"].language.tolist() == [0]
    assert torch.equal(with_other.ids, batch.ids)


def test_what_the_host_knows_of_a_batch_is_of_the_tensors_that_it_has(tiny):
    rows = Encoded([np.arange(5, 9), np.arange(5, 9)], *[np.zeros(2, dtype=np.int64)] * 3)
    batch = collate(rows, range(2), 1, "cpu")
    assert (batch.languages, batch.padding) == ({0}, 0)
    other = replace(batch, language=torch.tensor([3, 4]), attention=torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]))
    assert (other.languages, other.padding) == ({3, 4}, 3)
    assert other.with_streams({"more": batch}).languages is other.languages
    hidden, unmasked = (tiny.hidden(one)[:, 0] for one in (replace(batch, attention=other.attention), batch))
    assert not torch.allclose(hidden, unmasked, atol=1e-4)
