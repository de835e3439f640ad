"""Timing contestants against each other on a computer that does other things, too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

Work = Callable[[], int]
"""Does some work and returns how much: tokens, or bytes."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Work per second: the ``median`` of the rounds, and the slowest and the fastest round."""

    median: float
    slowest: float
    fastest: float

    def to_dict(self) -> dict[str, float]:
        """As plain JSON values."""
        return {"median": self.median, "slowest": self.slowest, "fastest": self.fastest}


@dataclass(frozen=True, slots=True)
class Race:
    """The rounds of contestants that took turns: work per second of each, round by round."""

    rates: Mapping[str, tuple[float, ...]]

    def rate(self, name: str) -> Rate:
        """One contestant's work per second."""
        rates = self.rates[name]
        return Rate(median(rates), min(rates), max(rates))

    def ratio(self, name: str, other: str) -> float:
        """How many times as much work ``name`` does as ``other``: the median of the rounds' ratios, for what slows a round slows both."""
        return median(ours / theirs for ours, theirs in zip(self.rates[name], self.rates[other], strict=True))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a race may last: ``rounds``, or fewer once ``seconds`` are over, but never less than one."""

    rounds: int
    seconds: float = math.inf


def race(contestants: Mapping[str, Work], patience: Patience, clock: Callable[[], float] = time.perf_counter) -> Race:
    """Let each contestant work once to warm up, and then all of them in turn, round after round."""
    start = clock()
    for work in contestants.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(patience.rounds):
        if number and clock() - start > patience.seconds:
            break
        for name, work in contestants.items():
            begin = clock()
            done = work()
            rates[name].append(done / (clock() - begin))
    return Race({name: tuple(values) for name, values in rates.items()})
