"""The ids so far, and what the penalties need of them, kept running so that a token costs the same late in a story as early."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Past:
    """A sequence of ids that grows at its end.

    All that it answers depends on the ids alone, never on when it was asked or on how the sequence was cut into pushes. Counts and
    n-grams are built when they are first asked for and kept up to date from then on: O(1) an id.
    """

    def __init__(self, ids: Sequence[int], vocab_size: int, end_id: int) -> None:
        self._ids = np.empty(max(256, 2 * len(ids)), np.int64)
        self._ids[: len(ids)] = ids
        self._length = len(ids)
        self._vocab_size = vocab_size
        self._end_id = end_id
        self._window = 0
        self._counts: NDArray[np.int64] | None = None
        self._n = 0
        self._followers: dict[tuple[int, ...], list[int]] = {}

    def push(self, id: int) -> None:
        """Append ``id``."""
        if self._length == len(self._ids):
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
        self._ids[self._length] = id
        self._length += 1
        if self._counts is not None:
            self._counts[id] += 1
            if self._window and self._length > self._window:
                self._counts[self._ids[self._length - 1 - self._window]] -= 1
        if self._n:
            self._index(self._ids[max(0, self._length - self._n) : self._length].tolist())

    def last(self, window: int) -> NDArray[np.int64]:
        """The last ``window`` ids, 0 for all: a view, good until the next push."""
        return self._ids[max(0, self._length - window) if window else 0 : self._length]

    def counts(self, window: int) -> NDArray[np.int64]:
        """How often each id, save the end token's, is among the last ``window`` (0: among all), ``(vocab_size,)``; do not write to it."""
        if self._counts is None or window != self._window:
            self._window = window
            self._counts = np.bincount(self.last(window), minlength=self._vocab_size)
        # The end token stands before each story; a penalty on it would keep stories from ending.
        self._counts[self._end_id] = 0
        return self._counts

    def followers(self, n: int) -> NDArray[np.int64]:
        """The ids that would make the last ``n`` ids a sequence that was there before (Paulus et al. 2017); never the end token."""
        if n != self._n:
            self._n = n
            self._followers = {}
            for ngram in zip(*(self.last(0)[start:].tolist() for start in range(n)), strict=False):
                self._index(ngram)
        return np.array(self._followers.get(tuple(self.last(n - 1).tolist()) if n > 1 else (), []), np.int64)

    def _index(self, ngram: Sequence[int]) -> None:
        if len(ngram) == self._n and ngram[-1] != self._end_id:
            self._followers.setdefault(tuple(ngram[:-1]), []).append(ngram[-1])
