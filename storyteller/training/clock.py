"""The time that a training takes, and what a time limit makes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from storyteller.training.schedule import FIXED_AT, total_by_time

SPEED_FROM = 10
LARGEST_RESERVE = 0.2


class Clock:
    """Counts the seconds of a training over all its sessions, and apart those that were no iterations.

    ``before`` are the seconds of earlier sessions, ``limit`` those that all may take together, None without one.
    """

    def __init__(self, before: float, limit: float | None) -> None:
        self.limit = limit
        self.before = before
        self.reserve = 0.0
        self.aside = 0.0
        self.begun = time.monotonic()
        self.saved = self.begun
        self._mark: tuple[int, float] | None = None

    def begin(self) -> None:
        """Begin to count now."""
        self.begun = self.saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.before + time.monotonic() - self.begun

    @property
    def is_over(self) -> bool:
        """Whether no more than the reserve for the last evaluation is left."""
        return self.limit is not None and self.seconds >= self.limit - self.reserve

    def keep(self, seconds: float) -> None:
        """Keep so many seconds for the end, though never more than a fifth of the limit."""
        self.reserve = 0.0 if self.limit is None else min(seconds, LARGEST_RESERVE * self.limit)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Time that is no iteration's."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.aside += time.monotonic() - begun

    def note_save(self) -> None:
        """A save has ended."""
        self.saved = time.monotonic()

    def since_save(self) -> float:
        """Seconds since the last save."""
        return time.monotonic() - self.saved

    def total(self, iteration: int, seconds_each_besides: float) -> int | None:
        """How many iterations there will be within the limit, known from iteration ``FIXED_AT`` on; None before.

        ``seconds_each_besides``: what evaluations add to each iteration.
        """
        if self._mark is None and iteration >= SPEED_FROM:
            self._mark = (iteration, self.seconds - self.aside)
        if self.limit is None or self._mark is None or iteration < FIXED_AT:
            return None
        mark, then = self._mark
        each = (self.seconds - self.aside - then) / max(1, iteration - mark) + seconds_each_besides
        return total_by_time(iteration, self.seconds, self.limit - self.reserve, max(each, 1e-6))
