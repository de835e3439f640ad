"""The sample corpus that comes with the package: stories written for this project (MIT), read without a network."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import IO

SAMPLE_FILE = "own.jsonl.xz"


@dataclass(frozen=True, slots=True)
class SampleStory:
    """One story of the sample corpus: its text, its genre, who is in it, and three words that it was to hold."""

    text: str
    genre: str
    who: tuple[str, ...]
    words: tuple[str, ...]


def sample_stories() -> Iterator[SampleStory]:
    """The stories of the sample corpus, in their order."""
    with _opened() as packed, lzma.open(packed, "rt", encoding="utf-8") as lines:
        for line in lines:
            story = json.loads(line)
            yield SampleStory(story["text"], story["genre"], tuple(story["who"]), tuple(story["words"]))


@cache
def sample_sha256() -> str:
    """The hash of the packed sample corpus."""
    with _opened() as packed:
        return hashlib.sha256(packed.read()).hexdigest()


def _opened() -> IO[bytes]:
    return (files("storyteller.training") / "data" / SAMPLE_FILE).open("rb")
