"""Which ids survive temperature, top_k, typical_p, top_p and min_p: for many rows at once, looking at the head of each row only.

The same ids as those of the pure functions of :mod:`storyteller.engine.logits` in their order, found without sorting whole rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storyteller.engine import logits as formulas
from storyteller.engine.params import SamplingParams
from storyteller.engine.runtime import Logits

# How many of the most likely ids are looked at first where no top_k says it.
HEAD = 256


def survivors(rows: Logits, highest: NDArray[np.float32], params: SamplingParams) -> list[NDArray[np.int64]]:
    """The ids that survive in each row, ascending.

    ``rows`` ``(batch, vocab_size)`` are logits after the temperature, ``highest`` ``(batch,)`` is the
    :func:`~storyteller.engine.logits.peak` of each.
    """
    vocab_size = rows.shape[1]
    cuts = params.top_p < 1 or params.min_p > 0
    if params.typical_p < 1:
        return [np.flatnonzero(truncate(row, params) > -np.inf) for row in rows]
    if not params.top_k and not cuts:
        return [np.flatnonzero(row > -np.inf) for row in rows]
    width = min(params.top_k or HEAD, vocab_size)
    ranked = formulas.most_likely(rows, width)
    head = rows[np.arange(len(rows))[:, None], ranked]
    masses = formulas.mass(head, highest)
    lengths = (head > -np.inf).sum(axis=1)
    if params.top_p < 1:
        total = (masses if params.top_k else formulas.mass(rows, highest)).sum(axis=1)
        lengths = np.minimum(lengths, formulas.nucleus(masses, total, params.top_p))
    if params.min_p > 0:
        lengths = np.minimum(lengths, (formulas.weights(head, highest) >= params.min_p).sum(axis=1))
    whole = params.top_k or width == vocab_size
    return [
        np.sort(ids[:length]) if whole or length < width else np.flatnonzero(truncate(row, params) > -np.inf)
        for ids, length, row in zip(ranked, lengths.tolist(), rows, strict=True)
    ]


def truncate(logits: Logits, params: SamplingParams) -> Logits:
    """Mask what does not survive in ``logits`` ``(vocab_size,)``, after the temperature: the pure functions one after the other."""
    for stage in STAGES:
        logits = apply(stage, logits, params)
    return logits


# The stages of ORDER that look at nothing but the logits.
STAGES = ("top_k", "typical_p", "top_p", "min_p")


def apply(stage: str, logits: Logits, params: SamplingParams) -> Logits:
    """One of ``STAGES``; a stage that is switched off gives its input back."""
    value = getattr(params, stage)
    if stage == "top_k":
        return formulas.top_k(logits, value) if value else logits
    if stage == "min_p":
        return formulas.min_p(logits, value) if value else logits
    formula = formulas.typical_p if stage == "typical_p" else formulas.top_p
    return formula(logits, value) if value < 1 else logits
