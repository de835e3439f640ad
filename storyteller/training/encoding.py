"""Stories as ids in a file: ``END story END story … END``, uint16, written piece by piece and read as a memory map."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.tokenizer import Tokenizer

MAX_VOCAB = 65_535
_BATCH_BYTES = 1 << 18
_PIECE_CHARACTERS = 1 << 16
_WORD_END = re.compile(r"(?<=[A-Za-z.,!?])(?=[ \n])")


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """How much a stream holds: stories, repeats among them; tokens that are predicted: all but the first end token; UTF-8 bytes of text."""

    stories: int
    tokens: int
    bytes: int

    def to_json(self) -> dict[str, int]:
        """The counts as JSON values."""
        return asdict(self)


def write_stream(path: Path, stories: Iterable[bytes], tokenizer: Tokenizer) -> SplitCounts:
    """Encode UTF-8 stories into a uint16 file, an end token before each and one at the very end; holds 256 kB of text at a time."""
    count = size = tokens = 0
    with path.open("wb") as file:
        for batch in _batches(stories):
            ids = _ids(batch, tokenizer)
            ids.tofile(file)
            count += len(batch)
            size += sum(map(len, batch))
            tokens += len(ids)
        np.array([tokenizer.end_id], np.uint16).tofile(file)
        os.fsync(file.fileno())
    return SplitCounts(count, tokens, size)


def open_stream(path: Path) -> NDArray[np.uint16]:
    """A stream as a read-only memory map, uint16 (tokens + 1,)."""
    return np.memmap(path, np.uint16, mode="r")


def _ids(stories: list[bytes], tokenizer: Tokenizer) -> NDArray[np.uint16]:
    pieces = [list(_pieces(raw.decode("utf-8"))) for raw in stories]
    encoded = iter(tokenizer.encode_batch([piece for parts in pieces for piece in parts]))
    ids: list[int] = []
    for parts in pieces:
        ids.append(tokenizer.end_id)
        for _ in parts:
            ids.extend(next(encoded))
    return np.array(ids, np.uint16)


def _batches(stories: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for story in stories:
        batch.append(story)
        size += len(story)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _pieces(text: str) -> Iterator[str]:
    """A long story in parts that encode to the ids of the whole: BPE over all of it at once would take many times its size in memory.

    Byte-level BPE first parts a text into words, each with the space before it (GPT-2's pattern): no token spans a letter and the space
    after it.
    """
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        cut = _WORD_END.search(text, start + _PIECE_CHARACTERS)
        if cut is None:
            break
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]
