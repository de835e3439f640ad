"""How different the stories are that one prompt begins, and how much each repeats itself, by temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.record import Record
from storyteller.engine.generate import sample_seeds, stream_batch
from storyteller.engine.names import name_drift
from storyteller.engine.params import SamplingParams
from storyteller.engine.repetition import distinct_n, repeated_ngram_share, words_of
from storyteller.errors import UsageInvalid

if TYPE_CHECKING:
    from storyteller.engine.runtime import StoryModel

PROMPT = "One day, Lily went to the park and"
TEMPERATURES = (0.5, 0.8, 1.5)
SAMPLES = 20
NEW_TOKENS = 250
RESAMPLES = 1000
MOST_SAMPLES = 200

MEASURES: Mapping[str, str] = {
    "distinct_1": "different words / words of a story",
    "distinct_2": "different word pairs / word pairs of a story",
    "self_bleu": "BLEU of a story against all others of its temperature, 0 to 100: high = all alike",
    "repeated_4": "share of a story's runs of four words that say again what it said",
    "perplexity": "of a story's told tokens under the model's own distribution (temperature 1): high = unlikely text",
    "drift": "share of stories in which a name comes up late, as a subject and unintroduced",
    "length": "told tokens",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class GenerationDiversity(Record):
    """S stories from one prompt at each of K temperatures, told by sampling from the whole distribution.

    ``stories`` (K × S): the continuations. ``values[measure]``: float64 (K, S), one number a story, see :data:`MEASURES`; ``means``,
    ``low`` and ``high`` (K, measures): their means and 95 % bootstrap intervals over stories, in the order of ``measures``; the mean of
    ``perplexity`` is geometric. ``similarity``: float64 (K × S, K × S), shared word pairs / all word pairs of two stories (Jaccard),
    temperature by temperature. ``ended`` (K,): share of stories that ended by themselves within ``new_tokens``.
    """

    prompt: str
    seed: int
    new_tokens: int
    temperatures: tuple[float, ...]
    measures: tuple[str, ...]
    stories: tuple[tuple[str, ...], ...]
    values: Mapping[str, NDArray[np.float64]]
    means: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    similarity: NDArray[np.float64]
    ended: NDArray[np.float64]


def generation_diversity(
    model: StoryModel,
    prompt: str = PROMPT,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    samples: int = SAMPLES,
    new_tokens: int = NEW_TOKENS,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> GenerationDiversity:
    """Tell ``samples`` stories at each temperature, sample i with ``seed + i``, and measure them.

    Raises :class:`~storyteller.errors.UsageInvalid` for fewer than 2 or more than 200 samples, or no temperature, and
    :class:`~storyteller.errors.InvalidParams` for one out of range. ``progress`` hears each temperature when it begins.
    """
    if not 2 <= samples <= MOST_SAMPLES or not temperatures:
        raise UsageInvalid(f"diversity needs 2 to {MOST_SAMPLES} samples at one temperature or more, not {samples} at {len(temperatures)}")
    settings = [SamplingParams(temperature=temperature, max_len=new_tokens) for temperature in temperatures]
    values = {measure: np.zeros((len(settings), samples)) for measure in MEASURES}
    stories: list[tuple[str, ...]] = []
    ended = np.zeros(len(settings))
    for row, params in enumerate(settings):
        progress(params.temperature)
        told, surprisals, ends = _tell(model, prompt, params, sample_seeds(seed, samples))
        stories.append(told)
        ended[row] = np.mean(ends)
        words = [words_of(text) for text in told]
        values["distinct_1"][row] = [distinct_n(one, 1) for one in words]
        values["distinct_2"][row] = [distinct_n(one, 2) for one in words]
        values["self_bleu"][row] = self_bleu(told)
        values["repeated_4"][row] = [repeated_ngram_share(one) for one in words]
        values["perplexity"][row] = [math.exp(min(math.fsum(one) / len(one), 700.0)) for one in surprisals]
        values["drift"][row] = [bool(name_drift(prompt.rstrip() + text)) for text in told]
        values["length"][row] = [len(one) for one in surprisals]
    intervals = [[_interval(values[measure][row], measure, seed) for measure in MEASURES] for row in range(len(settings))]
    means, low, high = np.moveaxis(np.array(intervals), -1, 0)
    return GenerationDiversity(
        prompt=prompt.rstrip(" \t"),
        seed=seed,
        new_tokens=new_tokens,
        temperatures=tuple(float(temperature) for temperature in temperatures),
        measures=tuple(MEASURES),
        stories=tuple(stories),
        values=values,
        means=means,
        low=low,
        high=high,
        similarity=pair_similarity([text for told in stories for text in told]),
        ended=ended,
    )


def self_bleu(texts: Sequence[str]) -> NDArray[np.float64]:
    """BLEU-4 of each text against all the others (Zhu et al. 2018), by sacrebleu, 0 to 100."""
    from sacrebleu.metrics import BLEU  # type: ignore[attr-defined]  # exported without saying so

    bleu = BLEU(effective_order=True)
    return np.array([bleu.sentence_score(text, [*texts[:place], *texts[place + 1 :]]).score for place, text in enumerate(texts)])


def pair_similarity(texts: Sequence[str]) -> NDArray[np.float64]:
    """Jaccard similarity of the sets of word pairs of each two texts, 0 to 1; 1 on the diagonal, and between texts without any."""
    pairs = [set(pairwise(words)) for words in map(words_of, texts)]
    table = np.ones((len(texts), len(texts)))
    for row, one in enumerate(pairs):
        for column, other in enumerate(pairs[:row]):
            union = len(one | other)
            table[row, column] = table[column, row] = len(one & other) / union if union else 1.0
    return table


def _tell(
    model: StoryModel, prompt: str, params: SamplingParams, seeds: Sequence[int]
) -> tuple[tuple[str, ...], list[list[float]], list[bool]]:
    texts = [""] * len(seeds)
    surprisals: list[list[float]] = [[] for _ in seeds]
    ends = [False] * len(seeds)
    for row, step in stream_batch(model, [prompt] * len(seeds), params, seeds, alternatives=0):
        texts[row] += step.text
        surprisals[row].append(-step.logprob)
        ends[row] = step.finish_reason == "end"
    return tuple(texts), surprisals, ends


def _interval(values: NDArray[np.float64], measure: str, seed: int) -> tuple[float, float, float]:
    """Mean and its 95 % interval: percentile bootstrap, of logarithms for perplexity; Wilson's for a share of stories."""
    if measure == "drift":
        return _wilson(float(values.mean()), len(values))
    if measure == "perplexity":
        mean, low, high = _interval(np.log(values), "", seed)
        return math.exp(mean), math.exp(low), math.exp(high)
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def _wilson(share: float, count: int) -> tuple[float, float, float]:
    """A share with Wilson's score interval (1927), which is honest at 0 and 1, too."""
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return share, max(0.0, middle - half), min(1.0, middle + half)
