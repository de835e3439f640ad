"""Where sentences end."""

from __future__ import annotations

import re

TITLES = ("Mr", "Mrs", "Ms", "Dr", "St")
_END = "".join(rf"(?<!\b{title})" for title in TITLES) + r"[.!?…]+[\"'”’»)\]]*"
_AT_END = re.compile(_END + r"\s*\Z")
_ANYWHERE = re.compile(_END + r"(?=\s|\Z)")


def ends_sentence(text: str) -> bool:
    """Whether ``text`` ends with a sentence: ``.``, ``!``, ``?`` or ``…``, closing quotes and brackets, white space.

    The full stop of a title (:data:`TITLES`) ends none.
    """
    return _AT_END.search(text) is not None


def sentence_end(text: str) -> int:
    """The place after the last sentence end in ``text``, closing quotes and brackets included; 0 if there is none."""
    end = 0
    for match in _ANYWHERE.finditer(text):
        end = match.end()
    return end
