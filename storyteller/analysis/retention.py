"""An exact split of a GRU layer's state into one part per past token.

From h_t = (1 − z_t) ⊙ n_t + z_t ⊙ h_{t−1} follows h_t = Σ_s (Π_{k=s+1..t} z_k) ⊙ (1 − z_s) ⊙ n_s + (Π_{k=1..t} z_k) ⊙ h_0:
what token s wrote, times what every later token left of it. The parts are those of the direct path of *that layer* only: what a token
does to later gates and candidates, or through the layers below, is booked on the tokens at which it shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.network import Trace

Doubles = NDArray[np.float64]


def retained(trace: Trace, layer: int = -1) -> Iterator[Doubles]:
    """After each of T tokens the parts of the state, float64 (1 + tokens so far, hidden_dim): the initial state's, then each token's.

    Their sum is the layer's state. Memory is O(T × hidden_dim); an array is written to again when the next one is asked for.
    """
    update, candidate = trace.update[layer].astype(np.float64), trace.candidate[layer].astype(np.float64)
    parts = np.zeros((len(update) + 1, update.shape[-1]))
    parts[0] = trace.states[layer, 0]
    for place, (z, n) in enumerate(zip(update, candidate, strict=True)):
        parts[: place + 1] *= z
        parts[place + 1] = (1 - z) * n
        yield parts[: place + 2]


def memory(trace: Trace, layer: int = -1) -> Doubles:
    """How much of what each token wrote is left after each later one, float64 (T, T): row = token, column = time, nan before it.

    ‖(Π z) ⊙ w‖ / ‖w‖ with w = (1 − z) ⊙ n, what the token wrote; 1 at its own time, never rising.
    """
    length = trace.update.shape[1]
    left = np.full((length, length), np.nan)
    written = np.empty(length)
    for time, parts in enumerate(retained(trace, layer)):
        norms = np.linalg.norm(parts[1:], axis=1)
        written[time] = norms[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            left[: time + 1, time] = norms / written[: time + 1]
    return left


def half_lives(left: Doubles) -> Doubles:
    """After how many further tokens half of what each token wrote is left, from :func:`memory`; inf where the text ends before.

    Between two tokens the decay is taken as exponential.
    """
    lives = np.full(len(left), np.inf)
    for token, row in enumerate(left):
        kept = row[token:]
        below = np.flatnonzero(kept <= 0.5)
        if len(below):
            after = int(below[0])
            high, low = kept[after - 1], kept[after]
            lives[token] = after if low <= 0 else after - 1 + np.log(high / 0.5) / np.log(high / low)
    return lives
