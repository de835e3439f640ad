"""One pure function for each formula of sampling: logits in, new logits out, the input never written to.

``logits`` is float32 ``(vocab_size,)``; a masked id has -inf. What is removed becomes -inf, what is kept keeps its logit. Each function
agrees with the processor of the same name in ``transformers`` where there is one, and is exact where logits are equal: of equally likely
ids the lower one comes first. A row with every id masked raises :class:`~storyteller.errors.InvalidParams`, logits that are no numbers
:class:`~storyteller.errors.CheckpointInvalid`; nan never comes out.

Probabilities are added as whole numbers (see :func:`mass`), whose sums are exact in any order: what survives does not depend on how a
row is laid out, sorted, padded or batched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.runtime import Logits
from storyteller.errors import CheckpointInvalid, InvalidParams

# The order in which a sampler applies the stages. "penalties" are repetition, presence and frequency, in this order; "no_repeat_ngram"
# bans what Past.followers gives, "ban" what Bans.completing gives.
ORDER = ("penalties", "dry", "no_repeat_ngram", "ban", "temperature", "top_k", "typical_p", "top_p", "min_p")

# A probability of 1 (of the most likely id) as a whole number. 65,535 times it stays below 2**53, so that float64 adds it exactly.
UNIT = 2.0**36

# At this temperature 0.001 between two logits is already a factor of e**1000; far below it a float32 overflows.
COLDEST = 1e-6

Mass = NDArray[np.float64]


def repetition_penalty(logits: Logits, counts: NDArray[np.int64], penalty: float) -> Logits:
    """Make used ids less likely (Keskar et al. 2019, CTRL): a logit above 0 is divided by ``penalty``, one below is multiplied.

    ``counts`` ``(vocab_size,)`` says how often each id was used; those with 0 stay as they are.
    """
    used = np.flatnonzero(counts)
    result = logits.copy()
    before = logits[used]
    result[used] = np.where(before < 0, before * np.float32(penalty), before / np.float32(penalty))
    return result


def presence_penalty(logits: Logits, counts: NDArray[np.int64], penalty: float) -> Logits:
    """Take ``penalty`` off the logit of each used id, once (OpenAI's definition); ``counts`` as in :func:`repetition_penalty`."""
    result = logits.copy()
    result[np.flatnonzero(counts)] -= np.float32(penalty)
    return result


def frequency_penalty(logits: Logits, counts: NDArray[np.int64], penalty: float) -> Logits:
    """Take ``penalty`` off the logit of an id for each time that it was used (OpenAI's definition); ``counts`` as above."""
    used = np.flatnonzero(counts)
    result = logits.copy()
    result[used] -= np.float32(penalty) * counts[used].astype(np.float32)
    return result


def ban(logits: Logits, ids: NDArray[np.int64]) -> Logits:
    """Mask ``ids``."""
    result = logits.copy()
    result[ids] = -np.inf
    return result


def only(logits: Logits, ids: NDArray[np.int64]) -> Logits:
    """Mask all but ``ids``."""
    result = np.full_like(logits, -np.inf)
    result[ids] = logits[ids]
    return result


def temperature(logits: Logits, value: float) -> Logits:
    """Divide by ``value``; up to ``COLDEST`` keep the most likely id alone, as 0 is the limit of ever colder choices."""
    peak(logits)
    if value > COLDEST:
        return logits / np.float32(value)
    return only(logits, logits.argmax(axis=0, keepdims=True))


def top_k(logits: Logits, k: int) -> Logits:
    """Keep the ``k`` most likely ids, exactly ``k`` even where logits are equal (Fan et al. 2018)."""
    peak(logits)
    return only(logits, most_likely(logits, k))


def top_p(logits: Logits, p: float) -> Logits:
    """Keep the smallest set of most likely ids whose probabilities add up to at least ``p`` (Holtzman et al. 2019); never none."""
    ranked = most_likely(logits, len(logits))
    masses = mass(logits[ranked], peak(logits))
    return only(logits, ranked[: nucleus(masses, masses.sum(), p)])


def min_p(logits: Logits, share: float) -> Logits:
    """Keep the ids at least ``share`` times as likely as the most likely one (Nguyen et al. 2024)."""
    kept = weights(logits, peak(logits)) >= share
    return only(logits, np.flatnonzero(kept))


def typical_p(logits: Logits, p: float) -> Logits:
    """Keep the ids whose surprisal is nearest to the entropy, until their probabilities add up to ``p`` (Meister et al. 2022).

    Of ids equally near to it the more likely one comes first.
    """
    highest = peak(logits)
    ranked = most_likely(logits, len(logits))
    ranked = ranked[logits[ranked] > -np.inf]
    below = highest - logits[ranked].astype(np.float64)
    masses = mass(logits[ranked], highest)
    total = masses.sum()
    # With the surprisal below + ln(total / UNIT) of each id the entropy is the mean of below, plus the same constant.
    distance = np.abs(below - np.rint(np.exp(-below) * below * UNIT).sum() / total)
    order = np.argsort(distance.astype(np.float32), kind="stable")
    return only(logits, ranked[order[: nucleus(masses[order], total, p)]])


def peak(rows: Logits) -> Any:
    """The highest logit of each row, ``(…, vocab_size)`` -> ``(…)``; raises if every id of a row is masked, or one is no number."""
    highest = rows.max(axis=-1)
    if not np.isfinite(highest).all():
        if (highest == -np.inf).any():
            raise InvalidParams(
                "no token is left to choose: together the bans and limits mask every one",
                "ban less, or let the story end (no --ignore-end)",
            )
        raise CheckpointInvalid("the model's logits are not finite numbers", "try another model: storyteller models")
    return highest


def most_likely(rows: Logits, k: int) -> NDArray[np.int64]:
    """The ``k`` most likely ids of each row, all if there are fewer, best first, of equals the lower id first.

    ``(…, vocab_size)`` -> ``(…, k)``.
    """
    vocab_size = rows.shape[-1]
    # Adding 0 makes -0.0 the 0.0 that it equals. The bits of a float32, those of negative ones flipped, are ordered as the numbers are.
    bits = (rows + np.float32(0)).view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    # One whole number holds the logit, falling, and the id, rising: any sort of it is the stable one.
    keys = np.invert(bits).astype(np.int64)
    keys <<= 32
    keys |= np.arange(vocab_size)
    if k < vocab_size:
        keys = np.partition(keys, k - 1, axis=-1)[..., :k]
    keys.sort(axis=-1)
    return keys & 0xFFFFFFFF


def weights(rows: Logits, highest: Any) -> NDArray[np.float64]:
    """exp(logit − highest), ``(…, n)``: probability in units of the most likely id's; ``highest`` ``(…)`` from :func:`peak`."""
    shifted = rows.astype(np.float64)
    shifted -= highest if rows.ndim == 1 else highest[..., None]
    return np.exp(shifted, out=shifted)


def mass(rows: Logits, highest: Any) -> Mass:
    """:func:`weights` as whole numbers, in units of 1 / ``UNIT``; what is rounded away is below 1e-11 of the most likely id."""
    masses = weights(rows, highest)
    masses *= UNIT
    return np.rint(masses, out=masses)


def nucleus(masses: Mass, total: Any, p: float) -> Any:
    """How many of the first ``masses`` ``(…, n)`` it takes to reach ``p`` times ``total`` ``(…)``: 1 to n, n also if it is not reached."""
    needed = p * total if masses.ndim == 1 else (p * total)[..., None]
    return 1 + (masses.cumsum(axis=-1)[..., :-1] < needed).sum(axis=-1)
