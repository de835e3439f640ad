"""Banned strings: which ids would complete one, given the text before them. Exact to the byte, and without rewinding.

Two kinds of string are banned. An *exact* one (``SamplingParams.ban``) must not arise anywhere, upper and lower case told apart, inside
words too, whichever tokens spell it, half characters included. The *gentle* ones (``SamplingParams.gentle``) are words of a list: upper
or lower case, and only as whole words. A letter is one of a to z; all else stands between words, as do the text's begin, a token's end
and the end of the story, so that "die" is caught in "Die!" and not in "diet". An entry that ends in ``*`` is a stem: "kill*" is caught in
"killer", not in "skill". A word that tokens spell in pieces is caught, too, where a piece ends with it ("gun" + "ner"): the text never
holds a listed word, not even where it is cut off, and no sentence is bent to go on with a word that may not end. The price is a rare
harmless word whose pieces begin with a listed one.

What lies in the prompt alone is not judged: only the token that would complete a banned string is masked. The end token never is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.tokenizer import Tokenizer

# What of the text before matters: for each kind, its longest end with which a banned string begins.
Context = tuple[bytes, bytes]

SPACE = b" "
# Letters in lower case, all other bytes as spaces.
PLAIN = bytes(byte | 0x20 if chr(byte).isascii() and chr(byte).isalpha() else 0x20 for byte in range(256))


class Bans:
    """A set of banned strings over one tokenizer. Immutable to its users; what it has worked out once it keeps."""

    def __init__(self, tokenizer: Tokenizer, texts: Iterable[str], words: Iterable[str]) -> None:
        self._tokens = tokenizer.token_bytes
        self._end_id = tokenizer.end_id
        self._plain = [raw.translate(PLAIN) for raw in self._tokens]
        self._exact = Completions(self._tokens, [(text.encode("utf-8", "surrogatepass"), False) for text in texts])
        self._words = Completions(self._plain, [_pattern(word) for word in words])
        self._completing: dict[Context, NDArray[np.int64]] = {}

    @property
    def start(self) -> Context:
        """The context at the begin of a text, which counts as the begin of a word."""
        return b"", self._words.follow(b"", SPACE)

    def follow(self, context: Context, id: int) -> Context:
        """The context after ``id``; the end token begins a new text."""
        if id == self._end_id:
            return self.start
        exact, words = context
        return self._exact.follow(exact, self._tokens[id]), self._words.follow(words, self._plain[id])

    def completing(self, context: Context) -> NDArray[np.int64]:
        """The ids that would complete a banned string, ascending; the end token is never among them."""
        ids = self._completing.get(context)
        if ids is None:
            exact, words = context
            ids = np.union1d(self._exact.completing(exact), self._words.completing(words))
            self._completing[context] = ids
        return ids

    def after(self, ids: Sequence[int]) -> Context:
        """The context after ``ids``."""
        reach = max(self._exact.reach, self._words.reach)
        begin, seen = len(ids), 0
        # Text further back than the longest string cannot be part of one.
        while begin and seen < reach and ids[begin - 1] != self._end_id:
            begin -= 1
            seen += len(self._tokens[ids[begin]])
        context = self.start if begin == 0 or ids[begin - 1] == self._end_id else (b"", b"")
        for id in ids[begin:]:
            context = self.follow(context, id)
        return context


class Completions:
    """Which tokens complete one of some byte patterns, after a text.

    A pattern marked *whole* is complete only where its token ends with it or goes on with a space. All that matters of the text before is
    its longest end that is a proper beginning of a pattern: the state of the Aho–Corasick automaton (Aho and Corasick 1975).
    """

    def __init__(self, tokens: Sequence[bytes], patterns: Iterable[tuple[bytes, bool]]) -> None:
        patterns = sorted(set(patterns))
        self.reach = max((len(pattern) for pattern, _ in patterns), default=0)
        self._rest: dict[bytes, list[tuple[bytes, bool]]] = {b"": []}
        for pattern, whole in patterns:
            for length in range(len(pattern)):
                self._rest.setdefault(pattern[:length], []).append((pattern[length:], whole))
        order = sorted(range(len(tokens)), key=tokens.__getitem__)
        self._ids = order
        self._sorted = [tokens[id] for id in order]
        self._within = _within(tokens, patterns)

    def follow(self, state: bytes, raw: bytes) -> bytes:
        """The state after the bytes ``raw``."""
        text = state + raw
        for begin in range(max(0, len(text) - self.reach), len(text)):
            if text[begin:] in self._rest:
                return text[begin:]
        return b""

    def completing(self, state: bytes) -> NDArray[np.int64]:
        """The ids of the tokens that complete a pattern after ``state``."""
        ids = set(self._within)
        for begin in range(len(state)):
            for rest, whole in self._rest.get(state[begin:], ()):
                place = bisect_left(self._sorted, rest)
                while place < len(self._sorted) and self._sorted[place].startswith(rest):
                    if _ends(self._sorted[place], len(rest), whole):
                        ids.add(self._ids[place])
                    place += 1
        return np.array(sorted(ids), np.int64)


@lru_cache(maxsize=16)
def bans(tokenizer: Tokenizer, texts: tuple[str, ...], gentle: bool) -> Bans:
    """The :class:`Bans` for these parameters; those last used are kept, so that all rows of a batch share one."""
    return Bans(tokenizer, texts, gentle_words() if gentle else ())


def gentle_words() -> tuple[str, ...]:
    """The list that ``gentle`` bans: words and phrases of violence, death, drugs, sex and insult, unfit for small children."""
    lines = (files("storyteller.engine") / "data" / "gentle.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def _pattern(word: str) -> tuple[bytes, bool]:
    """A word, phrase or stem of the list as bytes with the space before it, and whether it must end there."""
    stem = word.removesuffix("*")
    return SPACE + stem.encode().translate(PLAIN), stem == word


def _within(tokens: Sequence[bytes], patterns: Sequence[tuple[bytes, bool]]) -> list[int]:
    """The ids of the tokens that hold a whole pattern by themselves."""
    if not patterns:
        return []
    shortest = min(len(pattern) for pattern, _ in patterns)
    begins: dict[bytes, list[tuple[bytes, bool]]] = {}
    for pattern, whole in patterns:
        begins.setdefault(pattern[:shortest], []).append((pattern, whole))
    return [
        id
        for id, raw in enumerate(tokens)
        if any(
            raw.startswith(pattern, at) and _ends(raw, at + len(pattern), whole)
            for at in range(len(raw) - shortest + 1)
            for pattern, whole in begins.get(raw[at : at + shortest], ())
        )
    ]


def _ends(raw: bytes, at: int, whole: bool) -> bool:
    return not whole or raw[at : at + 1] in (b"", SPACE)
