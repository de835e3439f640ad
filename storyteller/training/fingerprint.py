"""What a corpus was, in 45 kB: enough to notice later that a text was trained on."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyteller.errors import DataInvalid
from storyteller.training.cleaning import clean, story_keys

SKETCH_SIZE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """The names of the files trained on, by SHA-256, and the :data:`SKETCH_SIZE` smallest keys of the stories trained on.

    Keys are hashes of content, so the smallest are a fair sample of the stories (bottom-k sketch, Broder 1997), and a key that is not above
    the largest of them is that of a story trained on exactly if it is among them.
    """

    files: Mapping[str, str]
    stories: int
    keys: NDArray[np.uint64]

    @classmethod
    def of_keys(cls, keys: NDArray[np.uint64], files: Mapping[str, str]) -> Fingerprint:
        """The fingerprint of the stories with these keys (``StoryKeys.whole``), each story once."""
        smallest = np.sort(keys if len(keys) <= SKETCH_SIZE else np.partition(keys, SKETCH_SIZE)[:SKETCH_SIZE])
        return cls(dict(files), len(keys), smallest.astype(np.uint64))

    def overlap(self, texts: Iterable[str]) -> float:
        """The share of ``texts`` that was trained on, 0 to 1: exact for corpora of up to 4,096 stories, else an estimate from those of
        them whose keys fall into the sketch (of N texts against M stories about N × 4,096 / M; 0.0 if there are none).
        """
        complete = self.stories <= len(self.keys)
        known = {int(key) for key in self.keys}
        limit = max(known, default=0)
        met = found = 0
        for text in texts:
            key = story_keys(clean(text)).whole
            if complete or key <= limit:
                met += 1
                found += key in known
        return found / met if met else 0.0

    def to_json(self) -> dict[str, Any]:
        """The fingerprint as JSON values; :meth:`from_json` reads it."""
        return {
            "files": dict(self.files),
            "stories": self.stories,
            "keys": base64.b64encode(self.keys.astype("<u8").tobytes()).decode("ascii"),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Fingerprint:
        """A fingerprint from the values that :meth:`to_json` gave; raises :class:`DataInvalid` for others."""
        try:
            keys = np.frombuffer(base64.b64decode(value["keys"], validate=True), "<u8").astype(np.uint64)
            return cls({str(digest): str(name) for digest, name in value["files"].items()}, int(value["stories"]), keys)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataInvalid(f"not the fingerprint of a corpus: {error}") from error
