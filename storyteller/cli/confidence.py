"""How likely the model thought each token, in colours or in marks."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby

from storyteller.engine.steps import Step
from storyteller.palette import PROBABILITY, Tone

ATTRIBUTES = {"bold": 1, "underline": 4}
RESET = "\x1b[0m"


def painted(text: str, tone: Tone) -> str:
    """``text`` in the colour and attributes of ``tone``, as ANSI escapes; line breaks stay outside of them."""
    codes = [str(ATTRIBUTES[word]) for word in tone.attribute.split()]
    if tone.ansi is not None:
        codes.append(f"38;5;{tone.ansi}")
    if not codes:
        return text
    start = f"\x1b[{';'.join(codes)}m"
    return "\n".join(f"{start}{line}{RESET}" if line else "" for line in text.split("\n"))


def marked(text: str, tone: Tone) -> str:
    """``text`` with the mark of ``tone`` after its last character that is no space."""
    end = len(text.rstrip())
    return f"{text[:end]}{tone.mark}{text[end:]}" if end else text


class Confidence:
    """Shows each piece of text, made ``safe``, by the probability of its token under the model's own distribution."""

    def __init__(self, *, color: bool, safe: Callable[[str], str] = str) -> None:
        self._show = painted if color else marked
        self._safe = safe
        self._tones: dict[int, Tone] = {}

    def show(self, step: Step) -> str:
        """The text of ``step``, which may have come from earlier tokens, too."""
        self._tones[step.index] = PROBABILITY.tone(math.exp(step.logprob))
        shown = ""
        for index, pieces in groupby(step.pieces, key=lambda piece: piece[1]):
            text = "".join(text for text, _ in pieces)
            shown += self._show(self._safe(text), self._tones.get(index, PROBABILITY.tone(1.0)))
        return shown

    def legend(self) -> str:
        """One line that explains the colours or marks."""
        return "probability: " + ", ".join(self._show(f"{tone.name} ({range})", tone) for tone, range in PROBABILITY.legend())
