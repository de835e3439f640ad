"""Stop strings: a story is cut before them, and no part of one is ever told."""

from __future__ import annotations

from dataclasses import dataclass

from storyteller.engine.steps import Piece


@dataclass(frozen=True, slots=True)
class StopMatcher:
    """Text held back because it may be the beginning of a stop string; an immutable value.

    Of several stop strings the one that is complete first counts (of two complete at once, the longer), so that the result does not
    depend on how the text is cut into pieces. The first ``passed`` characters held belong to no further match: after a match the stop
    string and what followed it stay here, and whoever continues tells them.
    """

    held: tuple[Piece, ...] = ()
    passed: int = 0

    def feed(self, pieces: tuple[Piece, ...], stops: tuple[str, ...]) -> tuple[StopMatcher, tuple[Piece, ...], bool]:
        """Read ``pieces``; returns the next matcher, the pieces that may be told, and whether a stop string is complete.

        The strings may differ from call to call; what was told before is not looked at again.
        """
        pieces = self.held + pieces
        text = "".join(text for text, _ in pieces)
        match = _first_match(text, stops, self.passed)
        if match is not None:
            start, end = match
            told, held = _split(pieces, start)
            return StopMatcher(held, end - start), told, True
        told, held = _split(pieces, _first_possible(text, stops, self.passed))
        return StopMatcher(held), told, False


def _first_match(text: str, stops: tuple[str, ...], since: int) -> tuple[int, int] | None:
    found = [(start + len(stop), start) for stop in stops if (start := text.find(stop, since)) >= 0]
    if not found:
        return None
    end, start = min(found)
    return start, end


def _first_possible(text: str, stops: tuple[str, ...], since: int) -> int:
    """Where the longest end of ``text`` begins that is the beginning of a stop string; the length of ``text`` if none is."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text) - since), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return len(text) - longest


def _split(pieces: tuple[Piece, ...], place: int) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Cut pieces before the character at ``place``."""
    for number, (text, index) in enumerate(pieces):
        if place < len(text):
            if place == 0:
                return pieces[:number], pieces[number:]
            return (*pieces[:number], (text[:place], index)), ((text[place:], index), *pieces[number + 1 :])
        place -= len(text)
    return pieces, ()
