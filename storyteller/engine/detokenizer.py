"""Streaming decode: ids in, text out, bytes of an unfinished character held back."""

from __future__ import annotations

from codecs import utf_8_decode
from dataclasses import dataclass

from storyteller.engine.steps import Piece
from storyteller.engine.tokenizer import Tokenizer

Held = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Detokenizer:
    """An immutable value: the bytes read so far that are no whole character yet.

    Law: the texts of all pieces of ``add`` … ``add``, ``finish`` join to ``Tokenizer.decode`` of the ids, however many there are.
    A character belongs to the id that its first byte came from. End tokens give nothing. Bytes that can be no UTF-8 give U+FFFD, as
    soon as that is certain, one for each maximal subpart (Unicode 16.0, section 3.9), as ``tokenizers`` and Python decode them.
    """

    tokenizer: Tokenizer
    held: Held = ()

    def add(self, id: int, index: int) -> tuple[Detokenizer, tuple[Piece, ...]]:
        """Read the id at ``index`` of the sequence; returns the next detokenizer and the text released, each piece with its index."""
        if not self.held:
            text = self.tokenizer.token_texts[id]
            if text is not None:
                return self, ((text, index),) if text else ()
        bytes_read = *self.held, *((byte, index) for byte in self.tokenizer.token_bytes[id])
        pieces, rest = _decode(bytes_read, final=False)
        return Detokenizer(self.tokenizer, rest), pieces

    def finish(self) -> tuple[Piece, ...]:
        """The text still owed when no id follows: U+FFFD for a character that was broken off."""
        return _decode(self.held, final=True)[0]


def _decode(read: Held, *, final: bool) -> tuple[tuple[Piece, ...], Held]:
    data = bytes(byte for byte, _ in read)
    pieces: list[Piece] = []
    place = 0
    while place < len(data):
        try:
            text, _ = utf_8_decode(data[place:], "strict", final)
            broken = 0
        except UnicodeDecodeError as error:
            text = data[place : place + error.start].decode()
            broken = error.end - error.start
        for char in text:
            pieces.append((char, read[place][1]))
            place += len(char.encode())
        if broken:
            pieces.append(("\ufffd", read[place][1]))
            place += broken
        elif place < len(data):
            break
    return _joined(pieces), read[place:]


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    joined: list[Piece] = []
    for text, index in pieces:
        if joined and joined[-1][1] == index:
            joined[-1] = (joined[-1][0] + text, index)
        else:
            joined.append((text, index))
    return tuple(joined)
