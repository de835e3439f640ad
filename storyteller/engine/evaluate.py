"""How well a model predicts a text: nats per token, perplexity, bits per byte."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.runtime import StoryModel
from storyteller.engine.statistics import perplexity
from storyteller.engine.tokenizer import without_surrogates
from storyteller.errors import CorpusEmpty

# Logits are the largest thing in memory, float32 (batch, positions, vocab_size): this many bytes at a time.
LOGIT_BYTES = 64 << 20
# Stories are sorted by length among so many batches, so that a batch holds stories of nearly one length.
BATCHES_SORTED = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures of a model over stories; ``tokens`` counts the end tokens, ``bytes`` the UTF-8 bytes of the stories as given."""

    nats_per_token: float
    perplexity: float
    bits_per_byte: float
    tokens: int
    bytes: int
    stories: int


def evaluate(model: StoryModel, texts: Iterable[str], *, batch: int = 64) -> Evaluation:
    """Score each text from an end token and a zero state, its own end token included, ``batch`` texts at a time.

    nats = -Σ ln p(id | ids before it); nats_per_token = nats / tokens; perplexity = exp(nats_per_token);
    bits_per_byte = nats / ln 2 / bytes. Memory does not grow with the number of texts.
    Raises :class:`~storyteller.errors.CorpusEmpty` if there is no text, or none with a character.
    """
    nats: list[float] = []
    tokens = size = 0
    remaining = iter(texts)
    while window := list(islice(remaining, batch * BATCHES_SORTED)):
        size += sum(len(without_surrogates(text).encode()) for text in window)
        stories = sorted(model.tokenizer.encode_batch(window), key=len, reverse=True)
        tokens += sum(len(ids) + 1 for ids in stories)
        for start in range(0, len(stories), batch):
            nats += _nats(model, stories[start : start + batch])
    if not size:
        raise CorpusEmpty("there is no text to evaluate", "name a file with stories: storyteller eval --data FILE")
    total = math.fsum(nats)
    return Evaluation(
        nats_per_token=total / tokens,
        perplexity=perplexity(total / tokens),
        bits_per_byte=total / math.log(2) / size,
        tokens=tokens,
        bytes=size,
        stories=len(nats),
    )


def _nats(model: StoryModel, stories: Sequence[Sequence[int]]) -> list[float]:
    """Surprisal of each story in nats; ``stories`` are ids without end tokens, the longest first."""
    end = model.tokenizer.end_id
    lengths = np.array([len(ids) + 1 for ids in stories])
    # Rows are padded with end tokens: what comes after a story's own is read, but not counted.
    padded = np.full((len(stories), lengths[0] + 1), end, np.int64)
    for row, ids in zip(padded, stories, strict=True):
        row[1 : len(ids) + 1] = ids
    nats = np.zeros(len(stories))
    for start, logits in _logits(model, padded[:, :-1], lengths):
        for place in range(logits.shape[1]):
            rows = int(np.count_nonzero(lengths > start + place))
            nats[:rows] += _surprisal(logits[:rows, place], padded[:rows, start + place + 1])
    return nats.tolist()


def _logits(model: StoryModel, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Logits after each id, (rows, positions, vocab_size), in pieces of :data:`LOGIT_BYTES`; rows that are over are left out."""
    state = model.runtime.initial_state(len(ids))
    start, longest = 0, ids.shape[1]
    while start < longest:
        rows = int(np.count_nonzero(lengths > start))
        positions = max(1, LOGIT_BYTES // (4 * rows * model.runtime.vocab_size))
        logits, state = model.runtime.prefill(ids[:rows, start : start + positions], state[:, :rows])
        yield start, logits
        start += positions


def _surprisal(logits: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """-ln softmax(logits)[id] for each row, stable for logits of any size."""
    best = logits.max(axis=1)
    totals = np.exp(logits - best[:, None]).sum(axis=1, dtype=np.float64)
    chosen = logits[np.arange(len(ids)), ids].astype(np.float64)
    surprisal: NDArray[np.float64] = best + np.log(totals) - chosen
    return surprisal
