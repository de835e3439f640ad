"""Ctrl-C and SIGTERM as a question that a training asks between iterations."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While it is entered, a first SIGINT or SIGTERM is noted only (:meth:`requested`); a second one raises KeyboardInterrupt at once.

    Outside the main thread, where Python hears no signals, it changes nothing.
    """

    def __init__(self) -> None:
        self._heard = False
        self._before: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """Whether a signal came."""
        return self._heard

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._heard:
            raise KeyboardInterrupt
        self._heard = True
