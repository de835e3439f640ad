"""How a training is shown: live on a terminal, in plain lines elsewhere, or as JSON lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Protocol

from storyteller.cli.output import is_terminal, say, write_json
from storyteller.training.beginning import is_main_process
from storyteller.training.events import TrainEvent
from storyteller.training.lines import LineWriter


class Display(Protocol):
    """Where the events of a training go."""

    def show(self, event: TrainEvent) -> None:
        """Show an event."""
        ...

    def preparing(self, what: str, stories: int) -> None:
        """Show how far the preparation of the corpus is."""
        ...


@contextmanager
def open_display(*, as_json: bool = False, plain: bool = False) -> Iterator[Display]:
    """The display that fits the terminal and what was asked for; of several processes only the main one shows anything."""
    if not is_main_process():
        yield NoDisplay()
    elif as_json:
        yield JsonDisplay()
    elif plain or not is_terminal(sys.stderr):
        yield LineDisplay()
    else:
        from storyteller.cli.train_live import LiveDisplay

        with LiveDisplay() as live:
            yield live


class NoDisplay:
    """Nothing is shown."""

    def show(self, event: TrainEvent) -> None:
        """Show nothing."""

    def preparing(self, what: str, stories: int) -> None:
        """Show nothing."""


class JsonDisplay:
    """One JSON object a line to stdout: ``event`` is the kind, the rest its fields."""

    def show(self, event: TrainEvent) -> None:
        """Write an event."""
        kind = type(event).__name__.lower()
        write_json({"event": kind, **_plain(asdict(event))}, indent=None)

    def preparing(self, what: str, stories: int) -> None:
        """Preparation has no events."""


class LineDisplay:
    """Plain lines to stderr."""

    def __init__(self) -> None:
        self.writer = LineWriter()
        self.told = ""

    def show(self, event: TrainEvent) -> None:
        """Write the lines of an event."""
        for line in self.writer.lines(event):
            say(line)

    def preparing(self, what: str, stories: int) -> None:
        """One line for each kind of work."""
        if what != self.told:
            self.told = what
            say(f"{what} …")


def _plain(values: dict[str, object]) -> dict[str, object]:
    """Paths as texts, numbers that JSON does not know as null."""
    plain: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            plain[name] = _plain(value)
        elif isinstance(value, float) and value - value != 0:
            plain[name] = None
        else:
            plain[name] = value if isinstance(value, str | int | float | list | tuple | None) else str(value)
    return plain
