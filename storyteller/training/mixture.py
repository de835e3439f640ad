"""How often each story is told, and in which order: pure functions of the stories' 64-bit keys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mixed(keys: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """64-bit numbers drawn from 64-bit keys, independent for each ``salt``: the finaliser of SplitMix64 (Steele et al. 2014)."""
    values = keys + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def copies_by_weight(keys: NDArray[np.uint64], weights: NDArray[np.float64]) -> NDArray[np.uint16]:
    """How often to tell each of N stories: weight w tells it ⌊w⌋ times, and once more if a hash of its key falls below the rest of w."""
    chance = mixed(keys, 1) * 2.0**-64
    return (np.floor(weights) + (chance < weights % 1)).astype(np.uint16)


def order_by_key(keys: NDArray[np.uint64], copies: NDArray[np.uint16]) -> NDArray[np.int64]:
    """The places of the stories, each as often as ``copies`` says, (Σ copies,), in the order of a hash of key and number of the copy.

    A fair shuffle that depends on nothing but the contents, in which the copies of a story lie far apart.
    """
    places = np.repeat(np.arange(len(keys)), copies)
    ranks = keys[places]
    if len(copies) and copies.max() > 1:
        ends = np.cumsum(copies, dtype=np.int64)
        nth = np.arange(len(places)) - np.repeat(ends - copies, copies)
        ranks ^= mixed(nth.astype(np.uint64), 2)
    order: NDArray[np.int64] = places[np.argsort(mixed(ranks, 3))]
    return order
