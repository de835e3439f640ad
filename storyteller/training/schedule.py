"""The learning rate and the length of a training: pure functions of the iteration."""

from __future__ import annotations

import math

FIXED_AT = 50
FLOOR = 0.01


def learning_rate(iteration: int, peak: float, warmup: int, total: int | None) -> float:
    """Linear warm-up to ``peak``, then half a cosine down to ``FLOOR * peak`` (Loshchilov & Hutter 2017, without restarts).

    ``iteration`` counts from 0. ``total`` is None while the length of the training is not known yet: then the rate stays at
    ``peak`` after the warm-up. The warm-up never takes more than a fifth of a known total.
    """
    if total is not None:
        warmup = min(warmup, total // 5)
    if iteration < warmup:
        return peak * (iteration + 1) / warmup
    if total is None:
        return peak
    share = min(1.0, (iteration - warmup) / max(1, total - 1 - warmup))
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * share)))


def total_by_time(iteration: int, seconds: float, limit: float, seconds_per_iteration: float) -> int:
    """How many iterations fit into ``limit`` seconds, when ``iteration`` of them and everything else took ``seconds`` so far.

    At least one more than were made.
    """
    return iteration + max(1, int((limit - seconds) / seconds_per_iteration))


def average_decay(iteration: int, decay: float) -> float:
    """Decay of the averaged weights at ``iteration`` (from 0): a running mean at first, so that the start is forgotten.

    min(decay, (1 + i) / (10 + i)), as in Abadi et al. 2016, ``ExponentialMovingAverage``.
    """
    return min(decay, (1 + iteration) / (10 + iteration))
