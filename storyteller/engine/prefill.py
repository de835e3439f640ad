"""Reading a given text: many ids at once, in pieces of constant size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from storyteller.engine.runtime import Logits, Runtime, State

CHUNK = 256


def prefill(runtime: Runtime, ids: Sequence[int], state: State) -> Iterator[tuple[Logits, State]]:
    """Read one sequence of at least one id from ``state`` ``(num_layers, 1, hidden_dim)``.

    Yields, for each piece of :data:`CHUNK` ids (the last may be shorter), the logits after each id ``(length, vocab_size)`` and the
    state after the last. The pieces depend on the number of ids alone, so that equal ids give equal bits; memory does not grow with it.
    """
    sequence = np.array(ids, np.int64)[None]
    for start in range(0, sequence.shape[1], CHUNK):
        logits, state = runtime.prefill(sequence[:, start : start + CHUNK], state)
        yield logits[0], state
