"""Gumbel noise as a pure function of (seed, position, id), independent of numpy's generators.

Sampling is argmax(logit + Gumbel noise) (Gumbel 1954; Maddison et al. 2014). The noise is counted, not drawn: the same id at the same
place of the same seed always has the same noise, whatever else survives, in any row of any batch, and after undo or branch.

The hash is SplitMix64 (Steele et al. 2014) with Stafford's finaliser, once for the seed, once for the position, once for the id. It uses
only xor, shift, multiply and add modulo 2**64, so that any 64-bit integer arithmetic gives the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def key(seed: int, position: int) -> int:
    """The 64-bit word that stands for ``seed`` (any whole number, taken modulo 2**64) and a ``position`` in the sequence of ids."""
    word = _finalise((seed + GAMMA) & WORD)
    return _finalise((word + GAMMA * (position + 1)) & WORD)


def uniform(keys: int | NDArray[np.uint64], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Numbers evenly spread over the open interval (0, 1): odd multiples of 2**-53, so never 0 and never 1.

    ``keys`` from :func:`key`, one for all ``ids`` or one each; the result has the shape of ``ids``.
    """
    words = ids.astype(np.uint64)
    words += np.uint64(1)
    words *= np.uint64(GAMMA)
    words += np.uint64(keys) if isinstance(keys, int) else keys
    words ^= words >> np.uint64(30)
    words *= np.uint64(FIRST)
    words ^= words >> np.uint64(27)
    words *= np.uint64(SECOND)
    words ^= words >> np.uint64(31)
    words >>= np.uint64(11)
    # 52 bits of hash and a last bit that is always 1; 53 bits and a half would round up to 1 at the top.
    words |= np.uint64(1)
    return np.multiply(words, 2.0**-53, dtype=np.float64)


def gumbel(keys: int | NDArray[np.uint64], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard Gumbel noise −ln(−ln u) of ``ids``, of their shape; see :func:`uniform`."""
    noise = uniform(keys, ids)
    np.log(noise, out=noise)
    np.negative(noise, out=noise)
    np.log(noise, out=noise)
    return np.negative(noise, out=noise)


def _finalise(word: int) -> int:
    word = ((word ^ (word >> 30)) * FIRST) & WORD
    word = ((word ^ (word >> 27)) * SECOND) & WORD
    return word ^ (word >> 31)
