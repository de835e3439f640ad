"""The tempo of reading: how fast a story appears to somebody who watches."""

from __future__ import annotations

import time
from collections.abc import Callable


class Tempo:
    """Holds the caller back to ``rate`` tokens per second; 0 never does. What comes late is not made up for in a rush."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._pause = 1 / rate if rate else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    def wait(self) -> None:
        """Return when the next token may appear."""
        if not self._pause:
            return
        now = self._clock()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + self._pause
