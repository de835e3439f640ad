"""What makes a training story clean: composed Unicode, mended mojibake, a real ending, and keys under which two stories are the same."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEAD_LETTERS = 200
"""Letters and digits at the beginning of a story that make it a near-duplicate of another."""

_NOT_LETTERS = re.compile(r"[\W_]+")
_CLOSERS = " \t\n\"'”’»›)]}*_~„“‘«‹」』）】"
_ENDINGS = (".", "!", "?", "…", "。", "！", "？", "।", "؟", "۔", "‽", "♪", "♥", "❤", "❤\ufe0f")
_THE_END = re.compile(r"(?:^|\W)the end$", re.IGNORECASE)


class StoryKeys(NamedTuple):
    """Two 64-bit hashes of a story's letters and digits, in lower case: of all of them, and of the first :data:`HEAD_LETTERS`.

    Stories with an equal ``whole`` also have an equal ``head``, so "same head" is an equivalence: what depends on ``head`` alone
    (the split) treats near-duplicates alike, whichever of them is met first.
    """

    whole: int
    head: int


def clean(text: str) -> str:
    """The story as it is trained on: mojibake mended (ftfy), NFC, ``\\n`` line ends, no space around it. Good text keeps its quotes and letters."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", mend_mojibake(text))
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.strip()


def mend_mojibake(text: str) -> str:
    """Undo UTF-8 that was read as another encoding ("â€œHiâ€\u009d" becomes curly quotes); text that does not look so is returned as it is."""
    import ftfy

    return str(ftfy.fix_encoding(text))


def is_damaged(text: str) -> bool:
    """Whether characters were lost for good: U+FFFD, NUL, or a lone surrogate."""
    if "\ufffd" in text or "\0" in text:
        return True
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)


def is_cut_off(text: str) -> bool:
    """Whether a story stops in mid-sentence: no end punctuation, closing quotes and brackets aside, and no "The end"."""
    bare = text.rstrip(_CLOSERS)
    return not bare.endswith(_ENDINGS) and not _THE_END.search(bare[-16:])


def story_keys(text: str) -> StoryKeys:
    """The keys of a cleaned story. A text without letters and digits is keyed by its characters."""
    letters = _NOT_LETTERS.sub("", text.casefold()) or text
    head = letters[:HEAD_LETTERS]
    whole = _hash(letters)
    return StoryKeys(whole, whole if len(head) == len(letters) else _hash(head))


def mixed(keys: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """64-bit numbers drawn from 64-bit keys, independent for each ``salt`` (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = keys + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
