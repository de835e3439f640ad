"""What makes a training story clean: composed Unicode, mended mojibake, a real ending, and keys under which two stories are the same."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from typing import NamedTuple

HEAD_LETTERS = 200
"""Letters and digits at the beginning of a story that make it a near-duplicate of another."""

_LOST = re.compile("[\0\ufffd\ud800-\udfff]")
_NOT_LETTERS = re.compile(r"[\W_]+")
_ASCII_NOT_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalnum())
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
    """The story as it is trained on: :func:`compose` of :func:`mend_mojibake`. Good text keeps its quotes and letters."""
    return compose(mend_mojibake(text))


def mend_mojibake(text: str) -> str:
    """Undo UTF-8 that was read as another encoding ("â€œHiâ€\x9d" becomes curly quotes), with ftfy; other text is returned as it is."""
    if text.isascii():
        return text
    import ftfy

    return str(ftfy.fix_encoding(text))


def compose(text: str) -> str:
    """Unicode normal form C, ``\\n`` line ends, and no white space around the story."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", text).strip()


def is_damaged(text: str) -> bool:
    """Whether characters were lost for good: there are U+FFFD, NUL, or lone surrogates."""
    return _LOST.search(text) is not None


def is_cut_off(text: str) -> bool:
    """Whether a story stops in mid-sentence: no end punctuation, closing quotes and brackets aside, and no "The end"."""
    bare = text.rstrip(_CLOSERS)
    return not bare.endswith(_ENDINGS) and not _THE_END.search(bare[-16:])


def story_keys(text: str) -> StoryKeys:
    """The keys of a cleaned story. A text without letters and digits is keyed by its characters."""
    if text.isascii():
        # The same as below, forty times faster.
        raw = text.lower().encode().translate(None, _ASCII_NOT_LETTERS) or text.encode()
        head = raw[:HEAD_LETTERS]
    else:
        letters = _NOT_LETTERS.sub("", text.casefold()) or text
        raw = letters.encode("utf-8", "surrogatepass")
        head = letters[:HEAD_LETTERS].encode("utf-8", "surrogatepass")
    whole = _hash(raw)
    return StoryKeys(whole, whole if len(head) == len(raw) else _hash(head))


def _hash(raw: bytes) -> int:
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")
