"""How sure the model is of what comes next, and whether it is right as often as it is sure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.labels import token_label
from storyteller.analysis.network import log_softmax
from storyteller.analysis.record import Record
from storyteller.engine.generate import prime
from storyteller.engine.prefill import prefill
from storyteller.errors import CorpusEmpty, UsageInvalid

if TYPE_CHECKING:
    from storyteller.engine.runtime import StoryModel

PROMPTS = ("Once upon a time there was a", "Lily was very happy because", "The little girl wanted to", "Her mom said")
TOP = 10
MASS = 0.9
BINS = 15
RESAMPLES = 1000
LEAST_STORIES = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenConfidence(Record):
    """The model's own distribution (temperature 1, no truncation) after P prompts.

    ``tokens`` (P × k): labels of the k most likely next tokens, most likely first; ``probabilities``: float64 (P, k). ``entropy`` (P,), in
    nats, of the whole distribution; ``nucleus`` (P,): how many of the most likely tokens it takes to make 90 % of the probability.
    """

    prompts: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]
    ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    entropy: NDArray[np.float64]
    nucleus: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration(Record):
    """How often the most likely token was right, against its probability, over N predictions in ``stories`` stories.

    ``edges`` (B + 1,): limits of bins of confidence, of equal width. ``counts`` (B,): predictions in each; ``confidence`` and ``accuracy``
    (B,): their means, nan in an empty bin; ``low`` and ``high`` (B,): 95 % interval of the accuracy. ``error``: expected calibration error
    Σ_b N_b/N |accuracy_b − confidence_b| (Guo et al. 2017), between ``error_low`` and ``error_high`` (95 %). All intervals are percentiles
    of a bootstrap over whole stories, for the predictions within a story depend on each other.
    """

    stories: int
    predictions: int
    mean_confidence: float
    mean_accuracy: float
    error: float
    error_low: float
    error_high: float
    seed: int
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def token_confidence(model: StoryModel, prompts: Sequence[str] = PROMPTS, *, top: int = TOP) -> TokenConfidence:
    """The distribution of the next token after each prompt.

    Raises :class:`~storyteller.errors.UsageInvalid` without prompts or with ``top`` out of range.
    """
    if not prompts:
        raise UsageInvalid("there is no prompt to look at", 'give one: storyteller figures confidence --prompt "Once upon a time"')
    if not 1 <= top <= model.runtime.vocab_size:
        raise UsageInvalid(f"top must be a whole number from 1 to {model.runtime.vocab_size}, not {top}")
    logprobs = log_softmax(np.stack([prime(model, prompt).logits for prompt in prompts]))
    probabilities = np.exp(logprobs)
    order = np.argsort(-logprobs, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    return TokenConfidence(
        prompts=tuple(prompt.rstrip(" \t") for prompt in prompts),
        tokens=tuple(tuple(token_label(model.tokenizer, id) for id in row) for row in order[:, :top].tolist()),
        ids=order[:, :top],
        probabilities=ranked[:, :top],
        entropy=-(probabilities * logprobs).sum(axis=1),
        # As many as lie before the place where the sum reaches the mass, and that one.
        nucleus=(ranked.cumsum(axis=1) < MASS).sum(axis=1) + 1,
    )


def calibration(model: StoryModel, texts: Iterable[str], *, seed: int = 0) -> Calibration:
    """Confidence against being right over ``texts``, which the model must not have been trained on; each is read from a zero state.

    Raises :class:`~storyteller.errors.CorpusEmpty` for fewer than five texts with a character.
    """
    tallies = [_tally(*_predictions(model, text)) for text in texts if text.strip()]
    if len(tallies) < LEAST_STORIES:
        raise CorpusEmpty(f"{len(tallies)} stories are too few to measure calibration; {LEAST_STORIES} is the least", "give a longer file")
    each = np.stack(tallies)
    counts, confidence, accuracy, error = _summary(each.sum(axis=0))
    random = np.random.default_rng(seed)
    drawn = [_summary(each[random.integers(0, len(each), len(each))].sum(axis=0)) for _ in range(RESAMPLES)]
    some = counts > 0
    low, high = np.full(BINS, np.nan), np.full(BINS, np.nan)
    low[some], high[some] = np.nanpercentile(np.stack([accuracies[some] for _, _, accuracies, _ in drawn]), (2.5, 97.5), axis=0)
    error_low, error_high = np.percentile([error for *_, error in drawn], (2.5, 97.5))
    total = each.sum(axis=(0, 1))
    return Calibration(
        stories=len(each),
        predictions=int(total[0]),
        mean_confidence=float(total[1] / total[0]),
        mean_accuracy=float(total[2] / total[0]),
        error=error,
        error_low=float(error_low),
        error_high=float(error_high),
        seed=seed,
        edges=np.linspace(0, 1, BINS + 1),
        counts=counts.astype(np.int64),
        confidence=confidence,
        accuracy=accuracy,
        low=low,
        high=high,
    )


def _predictions(model: StoryModel, text: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """For each token of ``text`` and the end token: the probability of the most likely one, and whether that was it."""
    end = model.tokenizer.end_id
    ids = [end, *model.tokenizer.encode(text), end]
    confidences, right, place = [], [], 1
    for logits, _ in prefill(model.runtime, ids[:-1], model.runtime.initial_state(1)):
        following = np.array(ids[place : place + len(logits)])
        confidences.append(np.exp(log_softmax(logits).max(axis=1)))
        right.append(logits.argmax(axis=1) == following)
        place += len(logits)
    return np.concatenate(confidences), np.concatenate(right)


def _tally(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count, sum of confidence and number of right ones in each bin, (bins, 3); a confidence on a limit belongs below it."""
    places = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)
    columns = (np.ones(len(places)), confidences, right.astype(np.float64))
    return np.stack([np.bincount(places, weights=column, minlength=BINS) for column in columns], axis=1)


def _summary(tally: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    counts = tally[:, 0]
    some = counts > 0
    confidence, accuracy = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    confidence[some], accuracy[some] = tally[some, 1] / counts[some], tally[some, 2] / counts[some]
    error = float((counts[some] * np.abs(accuracy[some] - confidence[some])).sum() / counts.sum())
    return counts, confidence, accuracy, error
