"""Which quotation marks are open: a string of opening marks, the outermost first."""

from __future__ import annotations

# Marks that stand close before a word, and those after which a quotation mark opens.
BEFORE_WORD = "(“‘["
OPENERS = BEFORE_WORD + "—"
CLOSERS = "\"”'’"
_DOUBLE = '"“'
_SINGLE = "'‘"
_CLOSER = {'"': '"', "“": "”", "'": "'", "‘": "’"}


def opened(marks: str, mark: str) -> str:
    """``marks`` after ``mark`` opens; a double mark inside a double one means that the first was never closed."""
    if mark in _DOUBLE and is_open(marks, mark):
        return mark
    return marks + mark


def closed(marks: str, mark: str) -> str:
    """``marks`` after the innermost mark of the kind of ``mark`` (double or single) closes, with all that is inside it."""
    kind = _DOUBLE if mark in '"“”' else _SINGLE
    place = max(marks.rfind(each) for each in kind)
    return marks if place < 0 else marks[:place]


def is_open(marks: str, mark: str) -> bool:
    """Whether a mark of the kind of ``mark`` (double or single) is open."""
    return any(each in marks for each in (_DOUBLE if mark in '"“”' else _SINGLE))


def closers(marks: str) -> str:
    """What closes all of ``marks``, the innermost first."""
    return "".join(_CLOSER[mark] for mark in reversed(marks))
