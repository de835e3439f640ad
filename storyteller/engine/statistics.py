"""Figures of generation: speed, time to the first token, perplexity."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

from storyteller.engine.steps import FinishReason, Step


def perplexity(nats_per_token: float) -> float:
    """exp(mean surprisal); infinite where a float ends."""
    return math.exp(nats_per_token) if nats_per_token < math.log(sys.float_info.max) else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStats:
    """What one story, or all stories of a batch together, took.

    ``seconds`` is the engine's own time: what the consumer does between two steps is not counted. ``time_to_first_token`` (seconds, the
    reading of the prompt included) is None before there is one; ``tokens_per_second`` counts the tokens after each story's first, and is
    None as long as there are none. ``perplexity`` = exp of the mean surprisal of the told tokens, the end token included, under the
    model's own distribution; None without tokens. ``finish_reason`` is None for several stories: each row's meter has its own.
    """

    tokens: int
    seconds: float
    time_to_first_token: float | None
    tokens_per_second: float | None
    perplexity: float | None
    finish_reason: FinishReason | None


class Meter:
    """Counts what passes: ``for step in meter.watch(stream(…))``, or ``meter.watch_batch(stream_batch(…))``; then :meth:`stats`.

    :attr:`rows` holds a meter for each row of a batch: its seconds are those of the batch until the row's last token.
    """

    def __init__(self) -> None:
        self.rows: dict[int, Meter] = {}
        self._tokens = 0
        self._seconds = 0.0
        self._first_seconds: float | None = None
        self._nats = 0.0
        self._finish_reason: FinishReason | None = None

    def watch(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Yield the steps of one story, timing each."""
        for _, step in self.watch_batch((0, step) for step in steps):
            yield step

    def watch_batch(self, steps: Iterator[tuple[int, Step]]) -> Iterator[tuple[int, Step]]:
        """Yield the steps of a batch, timing each."""
        seconds = 0.0
        while True:
            begin = perf_counter()
            item = next(steps, None)
            seconds += perf_counter() - begin
            if item is None:
                return
            row, step = item
            self._count(step, seconds)
            self.rows.setdefault(row, Meter())._count(step, seconds)
            yield item

    def stats(self) -> GenerationStats:
        """The figures so far."""
        later = self._seconds - (self._first_seconds or 0.0)
        later_tokens = self._tokens - max(1, len(self.rows))
        return GenerationStats(
            tokens=self._tokens,
            seconds=self._seconds,
            time_to_first_token=self._first_seconds,
            tokens_per_second=later_tokens / later if later_tokens > 0 and later > 0 else None,
            perplexity=perplexity(self._nats / self._tokens) if self._tokens else None,
            finish_reason=self._finish_reason if len(self.rows) <= 1 else None,
        )

    def _count(self, step: Step, seconds: float) -> None:
        if self._first_seconds is None:
            self._first_seconds = seconds
        self._tokens += 1
        self._seconds = seconds
        self._nats -= step.logprob
        self._finish_reason = step.finish_reason
