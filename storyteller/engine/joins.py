"""Which words, apart in the text, were one: ``D av id``, ``yarn s``, ``ice - cream``."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import IntEnum

from storyteller.engine.lexicon import begins_entry, hyphens, is_name, is_word, word_set, words


class Spacing(IntEnum):
    """What the last plain sign said about the spaces of the text: a mark close to its word, none so far, a mark away from it."""

    CLEAN = -1
    UNKNOWN = 0
    DAMAGED = 1


# Words that so often follow a name that "Ann a" or "Tom as" are two words.
_FOLLOWS_NAME = word_set(
    "a an and any as at by did die do for go had has he her his if in is it no not of on or she so the to up us very was with"
)
_BEFORE_LETTER = word_set("and for has letter like not the was with")
_FIRST_HALVES = word_set("brand mid non self semi super ultra")
_LAST_HALVES = word_set(
    "bodied bound brimmed colored covered drawn eared eyed friendly haired headed hearted legged lined looking natured necked"
    " packed scented shaped sized smelling solving sounding striped tailed tasting themed traveling winged"
)
_TENS = word_set("twenty thirty forty fifty sixty seventy eighty ninety")
_UNITS = word_set("one two three four five six seven eight nine first second third fourth fifth sixth seventh eighth ninth")
# "all this - this store" has a dash.
_SAID_TWICE = word_set("and but he i is it she so that the they this very was we you")


@dataclass(frozen=True, slots=True)
class Fragments:
    """A word that is written already and the pieces that follow it: would they make one word, or could they with more letters?"""

    head: str
    tails: tuple[str, ...]
    heard: Set[str]

    @property
    def joined(self) -> str:
        """All the pieces as one word."""
        return self.head + "".join(self.tails)

    def may_join(self) -> bool:
        """Whether the pieces, as they are or with more letters or pieces after them, could make a word or a name."""
        whole = self.joined
        return self.tails[-1].islower() and (
            self.tails == ("s",) or begins_entry(whole) or any(name.startswith(whole) for name in self.heard)
        )

    def join(self, spacing: Spacing) -> bool:
        """Whether the pieces were one word.

        That some piece is no word by itself, and that the whole is one, is enough for names; other words are left alone where
        the text has been clean so far, for children's stories are full of sounds that no list has. Pieces that are all words
        (``Tim my``) are joined to a name only in text that is damaged.
        """
        tail = self.tails[-1]
        if not tail.islower():
            return False
        head, whole = self.head, self.joined
        odd_tail = any(not is_word(tail) for tail in self.tails)
        odd_head = not (is_word(head) or is_name(head) or head in self.heard)
        if whole[0].isupper() and (is_name(whole) or whole in self.heard or whole in words()):
            if odd_tail:
                return True
            if odd_head:
                return spacing is not Spacing.CLEAN
            rather_whole = whole in self.heard and head not in self.heard
            return spacing is Spacing.DAMAGED and (rather_whole or tail not in _FOLLOWS_NAME)
        if head in ("a", "I", "i"):
            return False
        if self.tails == ("s",):
            return head.islower() and len(head) > 2 and is_word(head) and head not in _BEFORE_LETTER
        if not is_word(whole):
            return False
        return (spacing is not Spacing.CLEAN and odd_tail) or (spacing is Spacing.DAMAGED and odd_head)


def hyphenated(left: str, right: str) -> bool:
    """Whether ``left`` and ``right`` are written with a hyphen and no spaces: ``ice-cream``, ``twenty-one``, ``bye-bye``, ``b-but``."""
    left, right = left.lower(), right.lower()
    return (
        f"{left}-{right}" in hyphens()
        or (left in _TENS and right in _UNITS)
        or (left == right and left.isalpha() and left not in _SAID_TWICE)
        or (len(left) == 1 and left.isalpha() and right.startswith(left))
        or left in _FIRST_HALVES
        or right in _LAST_HALVES
        or (right in ("year", "years") and (left in _UNITS or left.isdigit()))
    )
