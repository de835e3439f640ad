"""Repair, while it streams, of text told by a model whose tokenizer loses spaces.

Such a model tells ``" I didn ' t see D av id ! " said Tim .`` where a person writes ``"I didn't see David!" said Tim.``
:class:`StoryFilter` takes the spaces out again that nobody writes, and gives back capitals; other characters are never
touched, and text that is clean goes through unchanged. By which rules, :mod:`storyteller.engine.mending` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from storyteller.engine import quotes
from storyteller.engine.mending import HELD_MOST as HELD_MOST
from storyteller.engine.mending import Mender

if TYPE_CHECKING:
    from storyteller.engine.steps import Piece


class StoryFilter:
    """Streaming repair of spaces, quotes, contractions, split words and lost capitals.

    ``feed`` what is told, piece by piece, and ``finish``; the joined output is the same for every chunking of the same text. At most
    :data:`HELD_MOST` characters are held back until more text decides about them. ``feed_pieces`` and ``finish_pieces`` do the same
    and give each character with the index of the id it came from.

    >>> story = StoryFilter().prime("Once upon a time")
    >>> story.feed(" D av id didn ' t sleep .") + story.finish()
    " David didn't sleep."
    """

    __slots__ = ("_held", "_last_index", "_mender", "_spans")

    def __init__(self) -> None:
        self._mender = Mender()
        self._held = ""
        self._spans: tuple[tuple[int, int], ...] = ()
        self._last_index = 0

    def copy(self) -> StoryFilter:
        """A filter that goes on from here by itself."""
        twin = StoryFilter.__new__(StoryFilter)
        twin._mender = self._mender.copy()
        twin._held, twin._spans, twin._last_index = self._held, self._spans, self._last_index
        return twin

    def prime(self, prompt: str) -> StoryFilter:
        """Read ``prompt`` as what comes before the text to be fed; returns the filter itself.

        The prompt is a person's, so nothing of it is changed, held back or given out, and its spaces say little about the model's.
        """
        self._mender.read(prompt, final=True)
        self._mender.end_prompt()
        return self

    def feed(self, text: str) -> str:
        """Take more text; gives what is decided now."""
        return "".join(text for text, _ in self.feed_pieces(((text, self._last_index),)))

    def finish(self, cut: bool = False) -> str:
        """The rest, at the end of the text; ``cut`` says that it was cut by length, and closes the quotes that are open."""
        return "".join(text for text, _ in self.finish_pieces(cut))

    def feed_pieces(self, pieces: Iterable[Piece]) -> tuple[Piece, ...]:
        """:meth:`feed` for text in pieces, each with the index of the id it came from."""
        buffer, spans = self._held, list(self._spans)
        for text, index in pieces:
            buffer += text
            spans.append((len(text), index))
            self._last_index = index
        return self._advance(buffer, spans, final=False)

    def finish_pieces(self, cut: bool = False) -> tuple[Piece, ...]:
        """:meth:`finish` in pieces; a quotation mark put in has the index of the last id, and stands before held white space."""
        pieces = self._advance(self._held, list(self._spans), final=True)
        marks = quotes.closers(self._mender.open) if cut else ""
        if not marks:
            return pieces
        self._mender.open = ""
        before, after = list(pieces), list[tuple[str, int]]()
        while before and before[-1][0][-1].isspace():
            text, index = before.pop()
            told = text.rstrip()
            after.insert(0, (text[len(told) :], index))
            if told:
                before.append((told, index))
        return (*before, (marks, self._last_index), *after)

    def _advance(self, buffer: str, spans: list[tuple[int, int]], final: bool) -> tuple[Piece, ...]:
        done, edits = self._mender.read(buffer, final)
        if len(spans) == 1 and not edits and done:
            (length, index), self._held = spans[0], buffer[done:]
            self._spans = ((length - done, index),) if done < length else ()
            return ((buffer[:done], index),)
        released, start, place = list[tuple[str, int]](), 0, 0
        left = list[tuple[int, int]]()
        for length, index in spans:
            end = start + length
            stop = min(end, done)
            text, at = "", start
            while place < len(edits) and edits[place][0] < stop:
                where, instead = edits[place]
                text += buffer[at:where] + instead
                at = where + 1
                place += 1
            if at < stop:
                text += buffer[at:stop]
            if text:
                released.append((text, index))
            if end > done:
                left.append((end - max(start, done), index))
            start = end
        self._held, self._spans = buffer[done:], tuple(left)
        return tuple(released)
