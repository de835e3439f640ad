"""How sure the model was, in five buckets: one source of limits, colours and marks for terminal, TUI, HTML and figures.

The colours were chosen so that neighbours stay apart for readers with protanopia and deuteranopia and can be read on black and on white;
each has a mark and, from the third on, an attribute, so that colour is never the only sign.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Tone:
    """How a bucket looks.

    ``color`` is ``#rrggbb``, empty for the reader's own text colour; ``ansi`` is the same colour in the 256 of xterm;
    ``attribute`` is written as in a Rich or Textual style; ``mark`` stands after a word where there is no colour.
    """

    name: str
    color: str
    ansi: int | None
    attribute: str
    mark: str


TONES: tuple[Tone, ...] = (
    Tone("sure", "", None, "", ""),
    Tone("likely", "#0087af", 31, "", "°"),
    Tone("open", "#d78700", 172, "", "°°"),
    Tone("unlikely", "#d75f5f", 167, "bold", "°°°"),
    Tone("surprising", "#875fff", 99, "bold underline", "°°°°"),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """A figure cut into the five :data:`TONES` by four rising ``limits``; a value on a limit belongs above it.

    ``falling`` says that a high value is the sure one, as with probabilities.
    """

    name: str
    unit: str
    limits: tuple[float, float, float, float]
    falling: bool = False

    def tone(self, value: float) -> Tone:
        """The tone of ``value``."""
        place = bisect_right(self.limits, value)
        return TONES[len(self.limits) - place if self.falling else place]

    def legend(self) -> tuple[tuple[Tone, str], ...]:
        """Each tone, the surest first, with its range in words."""
        limits = [f"{limit:g}" for limit in self.limits]
        ranges = [f"below {limits[0]}", *(f"{low} to {high}" for low, high in pairwise(limits)), f"from {limits[-1]}"]
        return tuple(zip(TONES, reversed(ranges) if self.falling else ranges, strict=True))


PROBABILITY = Scale("probability", "", (0.02, 0.1, 0.3, 0.7), falling=True)
RANK = Scale("rank", "", (1, 10, 100, 1000))
"""Rank counts from 0. The limits 10, 100 and 1,000 are those of GLTR (Gehrmann, Strobelt and Rush 2019)."""
ENTROPY = Scale("entropy", "nats", (0.5, 1.5, 2.5, 4.0))
SURPRISAL = Scale("surprisal", "nats", (0.36, 1.2, 2.3, 3.9))
"""The limits of :data:`PROBABILITY`, as ``-ln p``, rounded."""
