"""DRY, "don't repeat yourself": going on with a repeated phrase gets less likely the longer the phrase is."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.runtime import Logits
from storyteller.engine.tokenizer import Tokenizer

# The definition's own limit on the length of a repetition.
LONGEST = 50
# Far beyond any logit, yet harmless to float32 when it is divided by a temperature.
STRONGEST = 1e6
BREAKERS = ("\n", ":", '"', "*", "“", "”")


def dry(
    logits: Logits,
    ids: NDArray[np.int64],
    multiplier: float,
    base: float,
    allowed_length: int,
    breakers: NDArray[np.bool_],
) -> Logits:
    """Take ``multiplier`` · ``base`` ** (length − ``allowed_length``) off the logit of each id that would go on with a repetition.

    ``length`` counts the last ids that stand, in the same order, before an earlier occurrence of that id; the longest counts, up to 50;
    one below ``allowed_length`` is free. No repetition reaches over an id marked in ``breakers`` ``(vocab_size,)``, and no such id is
    penalised. The definition is p-e-w's (text-generation-webui, pull request 5677). ``ids`` is the window that is looked at.
    """
    if not len(ids) or breakers[ids[-1]]:
        return logits
    # Places where the last id stood before, each with the length of what it ends.
    places = np.flatnonzero(ids[:-1] == ids[-1])
    places = places[~breakers[ids[places + 1]]]
    result = logits.copy()
    limit = min(LONGEST, len(ids) - 1)
    length = 1
    while len(places):
        if length >= allowed_length:
            penalty = min(multiplier * base ** (length - allowed_length), STRONGEST)
            following = ids[places + 1]
            # A longer repetition of the same id comes later and overwrites.
            result[following] = logits[following] - np.float32(penalty)
        previous = ids[-1 - length] if length < limit else None
        if previous is None or breakers[previous]:
            break
        places = places[places >= length]
        places = places[ids[places - length] == previous]
        length += 1
    return result


@lru_cache(maxsize=4)
def breaker_ids(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Which ids no repetition reaches over, ``(vocab_size,)``: the end token, and those whose text has one of ``BREAKERS`` in it."""
    marks = [mark.encode() for mark in BREAKERS]
    return np.array([not raw or any(mark in raw for mark in marks) for raw in tokenizer.token_bytes])
