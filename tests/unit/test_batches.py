"""Streams of stories: contiguous, complete, and a pure function of data, seed and number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storyteller.errors import CorpusEmpty
from storyteller.training.batches import Batches, shuffled, story_starts

END = 0


def corpus(lengths: list[int]) -> NDArray[np.uint16]:
    """Stories of these lengths; no token but END comes twice."""
    tokens, next_id = [END], 1
    for length in lengths:
        tokens += [*range(next_id, next_id + length), END]
        next_id += length
    return np.array(tokens, np.uint16)


LENGTHS = st.lists(st.integers(0, 9), min_size=6, max_size=30)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(1, 7), st.integers(0, 2**63 - 1))
def test_rows_go_on_where_they_ended(lengths: list[int], batch_size: int, seq_len: int, seed: int) -> None:
    tokens = corpus(lengths)
    if (len(tokens) - 1) // batch_size < seq_len:
        return
    batches = Batches(tokens, END, batch_size=batch_size, seq_len=seq_len, seed=seed)
    for epoch in range(2):
        line = np.concatenate(
            [tokens[batches.starts[s] : batches.starts[s + 1]] for s in shuffled(len(lengths), seed, epoch)] + [tokens[-1:]]
        )
        numbers = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        found = [batches.batch(number) for number in numbers]
        assert [batch.first for batch in found] == [True] + [False] * (batches.per_epoch - 1)
        ids, targets = (np.concatenate([getattr(batch, name) for batch in found]) for name in ("ids", "targets"))
        for row in range(batch_size):
            begin = row * batches.stream_len
            np.testing.assert_array_equal(ids[:, row], line[begin : begin + len(ids)])
            np.testing.assert_array_equal(targets[:, row], line[begin + 1 : begin + 1 + len(ids)])


def test_nothing_is_left_out_but_less_than_a_window_per_stream() -> None:
    tokens = corpus([5] * 200)
    batches = Batches(tokens, END, batch_size=4, seq_len=16, seed=1)
    seen = np.concatenate([batches.batch(number).ids.ravel() for number in range(batches.per_epoch)])
    others = seen[seen != END]
    assert len(set(others)) == len(others)
    assert len(tokens) - 1 - len(seen) < 4 * 16 + 4


def test_a_batch_is_a_pure_function_of_data_seed_and_number() -> None:
    tokens = corpus([3, 8, 1, 4, 9, 2, 6] * 5)
    one, two = (Batches(tokens, END, batch_size=3, seq_len=5, seed=9) for _ in range(2))
    forward = [one.batch(number) for number in range(20)]
    for number in reversed(range(20)):
        np.testing.assert_array_equal(two.batch(number).ids, forward[number].ids)
    other = Batches(tokens, END, batch_size=3, seq_len=5, seed=10)
    assert any((other.batch(number).ids != forward[number].ids).any() for number in range(3))


def test_epochs_have_orders_of_their_own() -> None:
    batches = Batches(corpus([4] * 40), END, batch_size=2, seq_len=10, seed=3)
    assert (batches.batch(0).ids != batches.batch(batches.per_epoch).ids).any()


def test_the_streams_can_be_dealt() -> None:
    batches = Batches(corpus([6] * 60), END, batch_size=6, seq_len=7, seed=3)
    for number in (0, 3, batches.per_epoch + 1):
        whole = batches.batch(number)
        parts = [batches.batch(number, slice(begin, begin + 2)) for begin in (0, 2, 4)]
        np.testing.assert_array_equal(np.concatenate([part.ids for part in parts], axis=1), whole.ids)
        np.testing.assert_array_equal(np.concatenate([part.targets for part in parts], axis=1), whole.targets)


@pytest.mark.parametrize("lengths", [[], [3], [2, 2]])
def test_too_little_text_is_said(lengths: list[int]) -> None:
    with pytest.raises(CorpusEmpty, match="2 streams × 8 tokens"):
        Batches(corpus(lengths), END, batch_size=2, seq_len=8, seed=0)


def test_starts_are_found_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storyteller.training.batches.CHUNK", 4)
    tokens = corpus([2, 3, 0, 5])
    np.testing.assert_array_equal(story_starts(tokens, END), np.flatnonzero(tokens == END))


def test_a_shuffle_is_a_permutation_and_never_changes() -> None:
    np.testing.assert_array_equal(np.sort(shuffled(1000, 5, 2)), np.arange(1000))
    assert shuffled(8, 1, 0).tolist() == [7, 4, 2, 0, 3, 6, 5, 1]
    assert len({tuple(shuffled(8, seed, epoch)) for seed in range(5) for epoch in range(5)}) == 25
