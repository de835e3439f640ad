"""What an apostrophe between two words may mean: a contraction, a possessive, a word that lost its start or its end."""

from __future__ import annotations

from storyteller.engine.lexicon import is_word, word_set

APOSTROPHES = "'’"

_NOT = word_set("ain aren can couldn daren didn doesn don hadn hasn haven isn mayn mightn mustn needn shan shouldn wasn weren won wouldn")
_ANY_WORD = frozenset({"s", "d", "ll", "ve", "re"})
_WHOLE = {
    "o": frozenset({"clock"}),
    "ma": frozenset({"am"}),
    "y": frozenset({"all"}),
    "c": frozenset({"mon"}),
    "e": frozenset({"er", "en"}),
    "ne": frozenset({"er"}),
    "s": frozenset({"more", "mores"}),
}
_TAILS = _ANY_WORD | {"t", "m"} | frozenset[str]().union(*_WHOLE.values())
_ENDS_IN_S = word_set("does his its means reads says this was yells yes")
_LOST_START = word_set("bout cause cuz em n round til till tis twas")


def contracts(word: str, tail: str) -> bool:
    """Whether ``word`` and ``tail`` are the two sides of one word with an apostrophe: ``didn`` and ``t``, ``Lily`` and ``s``."""
    word, low = word.lower(), tail.lower()
    if low == "t":
        return word in _NOT
    if low == "m":
        return word == "i"
    if low in _ANY_WORD:
        return word[-1].isalpha()
    if word == "o" and tail[0].isupper():
        return True
    return low in _WHOLE.get(word, ())


def may_contract(start: str) -> bool:
    """Whether more letters could make of ``start`` a tail of :func:`contracts` or a word of :func:`lost_start`."""
    low = start.lower()
    return any(entry.startswith(low) for entry in _TAILS) or any(entry.startswith(low) for entry in _LOST_START)


def lost_start(word: str) -> bool:
    """Whether ``word`` is written with an apostrophe before it: ``'em``, ``'n'``, ``'90s``."""
    return word.lower() in _LOST_START or word[0].isdigit()


def lost_end(word: str, following: str) -> bool:
    """Whether ``word`` takes an apostrophe after it though ``following`` comes: ``dogs' toys``, ``goin' to``, ``rock 'n' roll``."""
    low = word.lower()
    if low in ("'n", "’n"):
        return True
    if not following.islower() or len(low) < 3:
        return False
    return (low.endswith("s") and low not in _ENDS_IN_S) or (low.endswith("in") and is_word(low + "g"))
