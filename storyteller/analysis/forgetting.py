"""How long each kind of word stays in memory, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.network import Network
from storyteller.analysis.record import Record
from storyteller.analysis.retention import half_lives, memory
from storyteller.analysis.words import OTHER, PUNCTUATION, group_of, whole_words
from storyteller.errors import UsageInvalid

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel
    from storyteller.engine.tokenizer import Tokenizer

LAGS = 16
LONGEST = 256
LEAST = 10
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class ForgettingCurve(Record):
    """What is left of a token after later ones, by kind of word, over ``stories`` texts: L layers, G groups, K lags.

    ``counts`` (G,): tokens of each group; groups with fewer than ten are left out. ``lags`` (K,): 0 to K − 1 further tokens.
    ``curves``: float64 (L, G, K), the geometric mean over tokens of the share ‖Π z ⊙ w‖ / ‖w‖ that is left of what a token wrote
    (:func:`storyteller.analysis.retention.memory`, direct path of the layer). ``half_life``, ``low``, ``high`` (L, G): the median
    half-life in tokens and its 95 % bootstrap interval over tokens; a token whose text ends too soon counts as longer than it.
    """

    model: str
    stories: int
    seed: int
    groups: tuple[str, ...]
    counts: NDArray[np.int64]
    lags: NDArray[np.int64]
    curves: NDArray[np.float64]
    half_life: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def forgetting_curve(model: LoadedModel, texts: Iterable[str], *, lags: int = LAGS, seed: int = 0) -> ForgettingCurve:
    """Read each of ``texts`` (its first 256 tokens) from a zero state and follow what each token wrote for ``lags`` tokens.

    Only tokens that have as many after them are counted. Raises :class:`~storyteller.errors.UsageInvalid` for ``lags`` out of range or
    texts in which no kind of word comes ten times.
    """
    if not 2 <= lags <= LONGEST // 2:
        raise UsageInvalid(f"lags must be a whole number from 2 to {LONGEST // 2}, not {lags}")
    network = Network.of(model)
    groups: list[str] = []
    followed: list[NDArray[np.float64]] = []
    lives: list[NDArray[np.float64]] = []
    stories = 0
    for text in texts:
        ids = [model.tokenizer.end_id, *model.tokenizer.encode(text)][:LONGEST]
        if len(ids) <= lags:
            continue
        stories += 1
        trace = network.read_ids(ids)
        counted = range(1, len(ids) - lags + 1)
        left = [memory(trace, layer) for layer in range(model.config.num_layers)]
        followed.append(np.array([[table[token, token : token + lags] for token in counted] for table in left]))
        lives.append(np.array([half_lives(table)[counted.start : counted.stop] for table in left]))
        groups += token_groups(model.tokenizer, ids)[counted.start : counted.stop]
    names = sorted({group for group in groups if groups.count(group) >= LEAST}, key=lambda group: (group == OTHER, group))
    if not names:
        raise UsageInvalid("the texts are too short to see any kind of word ten times", "give more or longer stories")
    every, every_life = np.concatenate(followed, axis=1), np.concatenate(lives, axis=1)
    chosen = [np.flatnonzero(np.array(groups) == name) for name in names]
    medians = [[_median(every_life[layer, places], seed) for places in chosen] for layer in range(len(every))]
    half_life, low, high = np.moveaxis(np.array(medians), -1, 0)
    return ForgettingCurve(
        model=model.name,
        stories=stories,
        seed=seed,
        groups=tuple(names),
        counts=np.array([len(places) for places in chosen]),
        lags=np.arange(lags),
        curves=np.array([[np.exp(np.log(np.maximum(layer[places], 1e-30)).mean(0)) for places in chosen] for layer in every]),
        half_life=half_life,
        low=low,
        high=high,
    )


def token_groups(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The kind of each token: that of its word if it is a whole one, "punctuation", or "other" for pieces of words."""
    words = whole_words(tokenizer)
    kinds = []
    for id in ids:
        text = (tokenizer.token_texts[id] or "").strip()
        if id in words:
            kinds.append(group_of(words[id]))
        else:
            kinds.append(PUNCTUATION if text and not any(char.isalnum() for char in text) else OTHER)
    return kinds


def _median(values: NDArray[np.float64], seed: int) -> tuple[float, float, float]:
    """Median and its 95 % percentile bootstrap interval, by order statistics, so that infinite values may be among them."""
    ordered = np.sort(values)
    drawn = np.sort(np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values))), axis=1)[:, len(values) // 2]
    low, high = (ordered[int(place)] for place in np.percentile(drawn, (2.5, 97.5), method="nearest"))
    return float(ordered[len(values) // 2]), float(low), float(high)
