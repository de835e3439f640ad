"""Encoded stories to training windows: batch k is a pure function of (data, seed, k).

The corpus is one array ``END story END story … END``. In each epoch the stories are put into a new order, laid end to end and cut into
``batch_size`` streams of equal length, side by side; batch k holds the next ``seq_len`` tokens of every stream. Row b of batch k + 1
goes on where row b of batch k ended, so the state can be carried (truncated backpropagation through time, Williams & Peng 1990).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from storyteller.errors import CorpusEmpty

Tokens = NDArray[np.uint16]
Ids = NDArray[np.int64]
CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class Batch:
    """``ids`` and ``targets``, (seq_len, streams) each: the target of an id is the id after it. ``first`` marks an epoch's first batch."""

    ids: Ids
    targets: Ids
    first: bool


class Batches:
    """The windows of a corpus, by number. Memory: 24 bytes a story; the tokens stay where they are (a memory map, usually)."""

    def __init__(self, tokens: Tokens, end_id: int, *, batch_size: int, seq_len: int, seed: int) -> None:
        """Raises :class:`CorpusEmpty` if the corpus does not fill one window of every stream."""
        self.tokens: NDArray[np.uint16] = np.asarray(tokens)
        self.starts = story_starts(tokens, end_id)
        self.lengths = np.diff(self.starts)
        self.batch_size = batch_size
        self.seq_len = seq_len
        self.seed = seed
        self.stream_len = (len(tokens) - 1) // batch_size if len(self.starts) > 1 else 0
        self.per_epoch = self.stream_len // seq_len
        if not self.per_epoch:
            raise CorpusEmpty(
                f"{max(0, len(tokens) - 1):,} tokens do not fill one window of {batch_size} streams × {seq_len} tokens",
                "give more text, or a smaller --batch-size or --seq-len",
            )
        self._order = lru_cache(maxsize=1)(self._order_of)

    def batch(self, number: int, rows: slice = slice(None)) -> Batch:
        """Batch ``number``, counted from 0 over all epochs; ``rows`` takes some of its streams."""
        epoch, window = divmod(number, self.per_epoch)
        order, ends = self._order(epoch)
        first = np.arange(self.batch_size, dtype=np.int64)[rows] * self.stream_len + window * self.seq_len
        places = np.arange(self.seq_len + 1, dtype=np.int64)[:, None] + first
        story = np.searchsorted(ends, places, side="right")
        # The last target of the last stream may lie one past the last story: that is the corpus' final end token.
        past = story == len(order)
        story[past] -= 1
        story_id = order[story]
        found = self.tokens[self.starts[story_id] + places - (ends[story] - self.lengths[story_id])].astype(np.int64)
        found[past] = int(self.tokens[-1])
        return Batch(found[:-1], found[1:], window == 0)

    def _order_of(self, epoch: int) -> tuple[Ids, Ids]:
        """The stories' order in ``epoch``, and where each ends in the line that they make."""
        order = shuffled(len(self.lengths), self.seed, epoch)
        return order, np.cumsum(self.lengths[order])


def story_starts(tokens: Tokens, end_id: int) -> Ids:
    """The place of every end token; the memory map is read piece by piece."""
    found = [np.flatnonzero(tokens[place : place + CHUNK] == end_id) + place for place in range(0, len(tokens), CHUNK)]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def shuffled(count: int, seed: int, epoch: int) -> Ids:
    """A permutation of ``count`` that depends on nothing but the arguments, not on a library's generator or its version.

    Numbers are sorted by the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
    """
    with np.errstate(over="ignore"):
        key = _mix(_mix(np.array([seed], np.uint64)) + np.uint64(epoch))
        order: Ids = np.argsort(_mix(np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key), kind="stable")
    return order


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
