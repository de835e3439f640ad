"""Kinds of words: names, animals, family, feelings and so on, from a small list kept as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from storyteller.engine import lexicon
from storyteller.engine.tokenizer import Tokenizer

NAMES = "names"
PUNCTUATION = "punctuation"
OTHER = "other"


@cache
def word_groups() -> Mapping[str, frozenset[str]]:
    """Group to words, each word in the form in which it stands in a sentence; given names come first."""
    text = (files("storyteller.analysis") / "data" / "word_groups.toml").read_text(encoding="utf-8")
    groups = {NAMES: lexicon.names()} | {name: lexicon.word_set(words) for name, words in tomllib.loads(text).items()}
    return MappingProxyType(groups)


def group_of(word: str) -> str:
    """The group of ``word``: as it stands, then without its capital; "punctuation" without letters or digits, or "other"."""
    found = _group_by_word().get(word) or _group_by_word().get(word.lower())
    if found:
        return found
    return OTHER if any(char.isalnum() for char in word) else PUNCTUATION


def whole_words(tokenizer: Tokenizer) -> dict[int, str]:
    """The ids that are a space and letters, at least one beside "a" and "I" of a single letter: id to word, in the order of the ids.

    A byte-pair vocabulary is in the order of its merges, so that smaller ids are the more frequent ones, nearly.
    """
    found: dict[int, str] = {}
    for id, text in enumerate(tokenizer.token_texts):
        if text and text[0] == " " and text[1:].isalpha() and (len(text) > 2 or text in (" a", " I")) and text[2:] == text[2:].lower():
            found[id] = text[1:]
    return found


@cache
def _group_by_word() -> Mapping[str, str]:
    # Later groups do not override earlier ones but for names: "Rose" is one, "rose" is not.
    table: dict[str, str] = {}
    for group, words in word_groups().items():
        for word in words:
            table.setdefault(word, group)
    return table
