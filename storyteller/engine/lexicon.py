"""The words and names that a children's story is made of, as plain lists: facts for repairing text and for finding who is in it."""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from importlib.resources import files


@cache
def words() -> frozenset[str]:
    """Common words of children's stories; lower case, save those always written with a capital (``Monday``, ``Mom``)."""
    return frozenset(_lines("words.txt"))


@cache
def names() -> frozenset[str]:
    """Given names of people and of the animals in stories, each with its capital."""
    return frozenset(_lines("names.txt"))


@cache
def hyphens() -> frozenset[str]:
    """Pairs of words written with a hyphen, in lower case: ``ice-cream``, ``merry-go``, ``go-round``."""
    return frozenset(_lines("hyphens.txt"))


def word_set(text: str) -> frozenset[str]:
    """The words of ``text``, which white space separates."""
    return frozenset(text.split())


def is_word(text: str) -> bool:
    """Whether ``text`` is a listed word as it stands, or in lower case."""
    return text in words() or text.lower() in words()


def is_name(text: str) -> bool:
    """Whether ``text``, capital and all, is a listed name."""
    return text in names()


def begins_entry(start: str) -> bool:
    """Whether some listed word or name begins with ``start`` or is ``start``, as it stands or in lower case."""
    return any(_begins(entries, text) for entries in (_sorted_words(), _sorted_names()) for text in {start, start.lower()})


def _begins(entries: tuple[str, ...], start: str) -> bool:
    place = bisect_left(entries, start)
    return place < len(entries) and entries[place].startswith(start)


@cache
def _sorted_words() -> tuple[str, ...]:
    return tuple(sorted(words()))


@cache
def _sorted_names() -> tuple[str, ...]:
    return tuple(sorted(names()))


def _lines(name: str) -> list[str]:
    return (files("storyteller.engine") / "data" / name).read_text(encoding="utf-8").split()
