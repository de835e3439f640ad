"""What the model itself made of a token: log-probability, entropy, rank and the most likely alternatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.runtime import Logits
from storyteller.engine.steps import Alternative

# exp(-80) is the last comfortable float32: terms below it are no part of any sum, and -inf times 0 would be nan.
NOTHING = np.float32(-80)


class Reading(NamedTuple):
    """One id under softmax(logits): ``logprob`` and ``entropy`` in nats, ``rank`` from 0, and the most likely (id, logprob), best first."""

    logprob: float
    entropy: float
    rank: int
    top: list[tuple[int, float]]


def read(logits: Logits, ids: Sequence[int], top: int) -> list[Reading]:
    """Read ``logits`` ``(batch, vocab_size)`` with one id a row; ``top`` is the number of alternatives wanted, 0 is cheaper.

    entropy = -Σ p ln p. A rank counts the ids that are more likely, and of equally likely ones those with a lower id. A row's result
    is the same, bit for bit, in any batch.
    """
    best = logits.max(axis=1, keepdims=True)
    shifted = np.maximum(logits - best, NOTHING)
    weights = np.exp(shifted)
    totals = weights.sum(axis=1, dtype=np.float64).tolist()
    spread = (weights * shifted).sum(axis=1, dtype=np.float64).tolist()
    top = min(top, logits.shape[1])
    readings = []
    for row, id, peak, total, weighted in zip(logits, ids, best[:, 0].tolist(), totals, spread, strict=True):
        log_total = math.log(total)
        norm = peak + log_total
        chosen = row[id]
        rank = int(np.count_nonzero(row > chosen)) + int(np.count_nonzero(row[:id] == chosen))
        readings.append(Reading(float(chosen) - norm, log_total - weighted / total, rank, _most_likely(row, top, norm) if top else []))
    return readings


def alternatives(top: list[tuple[int, float]], kept: NDArray[np.int64], vocab_size: int) -> tuple[Alternative, ...]:
    """Alternatives from a reading's ``top``, marked with whether they are among the ids ``kept`` (ascending)."""
    if len(kept) == vocab_size:
        return tuple([Alternative(id, logprob, True) for id, logprob in top])
    ids = [id for id, _ in top]
    places = np.searchsorted(kept[:-1], ids)
    survived = (kept[places] == ids).tolist()
    return tuple([Alternative(id, logprob, keep) for (id, logprob), keep in zip(top, survived, strict=True)])


def _most_likely(row: NDArray[np.float32], count: int, norm: float) -> list[tuple[int, float]]:
    least = np.partition(row, len(row) - count)[len(row) - count]
    ids = np.flatnonzero(row >= least)
    logits = row[ids]
    # A stable sort leaves equally likely ids in ascending order.
    order = np.argsort(-logits, kind="stable")[:count]
    return [(id, logit - norm) for id, logit in zip(ids[order].tolist(), logits[order].tolist(), strict=True)]
