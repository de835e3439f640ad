"""What to take out of text that lost its spaces, decided character by character: the rules behind :mod:`storyteller.engine.postprocess`.

How damage is told from odd but real text: a comma or full stop close to its word is a sign of clean text, one with a space
before it is a sign of damage (:class:`~storyteller.engine.joins.Spacing`). What practically never occurs in real text
(``didn ' t``, ``here ,``, a lone ``i``) is repaired always; what may occur (a quotation mark between two spaces,
``Ah . . . choo``, a lower case after ``!``) only where the last sign was not of clean text.
"""

from __future__ import annotations

import re

from storyteller.engine import quotes
from storyteller.engine.contractions import APOSTROPHES, contracts, lost_end, lost_start, may_contract
from storyteller.engine.joins import Fragments, Spacing, hyphenated
from storyteller.engine.lexicon import is_name, is_word

HELD_MOST = 32

_WORD = re.compile(r"\w+")
_STOPS = ".!?"
_CLOSE_TO_WORD = ".,!?;:"
_ABBREVIATIONS = frozenset({"Mr", "Mrs", "Ms", "Dr", "St", "vs"})
_HEARD_MOST = 64
_NUMBER = re.compile("[0-9]{1,4}")
_DIGITS_AFTER = {",": 3, ":": 2}
# What may follow "the dogs '" and shows that the mark ends the word.
_AFTER_END = tuple(".,!?;:")

# Whether the next word starts a sentence: not, so that damaged text has lost a capital, so that any text has.
_NOT, _IF_DAMAGED, _ALWAYS = range(3)

_CLOSING_SINGLE = tuple(APOSTROPHES)

# An edit replaces the one character at a place by a text, which may be empty.
Edit = tuple[int, str]


class Mender:
    """A reader of text that says which spaces go and which letters become capitals; it keeps what it must know of the text before.

    ``open`` are the quotation marks that are open, the outermost first (:mod:`storyteller.engine.quotes`).
    """

    __slots__ = ("_glue", "_heard", "_inner", "_last", "_spaced", "_spacing", "_starts", "_word", "open")

    def __init__(self) -> None:
        self.open = ""
        self._spacing = Spacing.UNKNOWN
        self._word = ""
        self._last = ""
        self._spaced = True
        self._glue = False
        self._starts = _ALWAYS
        self._inner = False
        self._heard: frozenset[str] = frozenset()

    def copy(self) -> Mender:
        """A reader that goes on from here by itself; all that is shared is immutable."""
        twin = Mender.__new__(Mender)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def end_prompt(self) -> None:
        """Say that somebody else tells what comes now: the spaces so far say little about the ones to come."""
        self._spacing = max(self._spacing, Spacing.UNKNOWN)
        self._glue = bool(self._last) and self._last in quotes.BEFORE_WORD

    def read(self, text: str, final: bool) -> tuple[int, list[Edit]]:
        """Decide about as much of ``text`` as can be: how many characters are done, and the edits among them.

        Each decision looks at most ``HELD_MOST`` characters ahead and, once taken, would be the same with more text after it: that makes
        the output independent of the chunking.
        """
        place, size, edits = 0, len(text), list[Edit]()
        while place < size:
            char = text[place]
            word = _WORD.match(text, place) if _is_word_char(char) else None
            if word:
                step = self._read_word(text, place, word.end(), final, edits)
            elif char == " " and not self._spaced:
                step = self._read_space(text, place, final, edits)
            elif char.isspace():
                step = self._read_blank(text, place)
            else:
                step = self._read_mark(text, place, place, final, edits)
            if not step:
                break
            place += step
        return place, edits

    def _read_word(self, text: str, place: int, end: int, final: bool, edits: list[Edit]) -> int:
        word = text[place:end]
        if not self._word:
            first = word[0]
            if word == "i" and (self._spaced or self._last in quotes.OPENERS):
                following = _at(text, end, final)
                if following is None:
                    return 0
                if not following or following.isspace() or following in ",!?" or following in APOSTROPHES:
                    first = "I"
            if self._starts:
                self._inner = False
                if self._spaced and first.islower() and (self._starts == _ALWAYS or self._spacing is Spacing.DAMAGED):
                    first = first.upper() if len(first.upper()) == 1 else first
                self._starts = _NOT
            else:
                self._inner = True
            if first != word[0]:
                edits.append((place, first))
                word = first + word[1:]
        self._word += word
        self._last, self._spaced, self._glue = word[-1], False, False
        return end - place

    def _read_blank(self, text: str, place: int) -> int:
        """White space that stays."""
        self._end_word()
        if text[place] == "\n":
            self.open = ""
        self._last, self._spaced, self._glue = text[place], True, False
        return 1

    def _read_space(self, text: str, place: int, final: bool, edits: list[Edit]) -> int:
        following = _at(text, place + 1, final)
        if following is None:
            return 0
        if following and not following.isspace():
            if self._glue:
                edits.append((place, ""))
                self._spaced, self._glue = True, False
                return 1
            if not _is_word_char(following):
                return self._read_mark(text, place, place + 1, final, edits)
            if self._word and self._may_be_split(text, place):
                step = self._read_fragments(text, place, final, edits)
                if step is not None:
                    return step
        return self._read_blank(text, place)

    def _may_be_split(self, text: str, place: int) -> bool:
        """A quick look, for most words of clean text are plainly whole."""
        if self._spacing is not Spacing.CLEAN:
            return True
        word = self._word
        if word[0].isupper() and not (is_name(word) or is_word(word) or word in self._heard):
            return True
        return text[place + 1] == "s" and not _WORD.match(text, place + 2)

    def _read_fragments(self, text: str, place: int, final: bool, edits: list[Edit]) -> int | None:
        """A space between words: 0 to wait, None if it stays, else the characters up to the end of the joined word."""
        limit = min(len(text), place + HELD_MOST + 1)
        waits = 0 if limit - place <= HELD_MOST and not final else None
        spaces, tails, start = [place], tuple[str, ...](), place + 1
        while True:
            match = _WORD.match(text, start, limit)
            if match is None:
                return None
            end = match.end()
            tails = (*tails, match.group())
            pieces = Fragments(self._word, tails, self._heard)
            if end == limit and not (final and end == len(text)):
                return waits if pieces.may_join() else None
            # "make s'mores" is no plural.
            if pieces.join(self._spacing) and text[end : end + 1] not in _CLOSING_SINGLE:
                edits.extend((space, "") for space in spaces)
                self._word, self._last = pieces.joined, tails[-1][-1]
                return end - place
            if text[end : end + 1] != " " or not pieces.may_join():
                return None
            spaces.append(end)
            start = end + 1
            if start == limit:
                return waits

    def _read_mark(self, text: str, place: int, at: int, final: bool, edits: list[Edit]) -> int:
        """A character of no word and no space at ``at``; ``place`` is that of the one space before it, or ``at`` itself."""
        mark = text[at]
        if mark in _CLOSE_TO_WORD:
            return self._read_stop(text, place, at, final, edits)
        if mark == '"' or mark in "“”‘":
            return self._read_quote(text, place, at, final, edits)
        if mark in APOSTROPHES:
            return self._read_apostrophe(text, place, at, final, edits)
        following = _at(text, at + 1, final) if mark in "()[]-" else ""
        if following is None:
            return 0
        loose = self._spacing is not Spacing.CLEAN and following in ("", " ")
        if mark == "-":
            if loose and at > place and self._last == "-":
                return self._write(mark, place, at, edits, close=True)
            if loose and self._word and at > place and (step := self._read_hyphen(text, place, final, edits)) is not None:
                return step
            self._starts = _NOT
        return self._write(mark, place, at, edits, close=loose and mark in ")]", glue=loose and mark in "([")

    def _read_stop(self, text: str, place: int, at: int, final: bool, edits: list[Edit]) -> int:
        mark, close, glue = text[at], False, False
        if at > place:
            following = _at(text, at + 1, final)
            if following is None:
                return 0
            close = not following or following.isspace() or (self._spacing is Spacing.DAMAGED and following in quotes.CLOSERS)
            if close and mark == "." and self._spacing is Spacing.CLEAN:
                # "Ah . . . choo" in clean text is how its author writes.
                after = _at(text, at + 2, final) if following == " " else ""
                if after is None:
                    return 0
                close = self._last != "." and after != "."
            if close and mark in _DIGITS_AFTER and self._word.isdigit() and following == " ":
                number = _NUMBER.match(text, at + 2)
                digits = len(number.group()) if number else 0
                if at + 2 + digits == len(text) and digits <= _DIGITS_AFTER[mark] and not final:
                    return 0
                glue = digits == _DIGITS_AFTER[mark]
            if close:
                self._spacing = Spacing.DAMAGED
        elif self._word:
            self._spacing = Spacing.CLEAN
        if mark not in _STOPS or self._word in _ABBREVIATIONS or (mark == "." and self._last == "."):
            self._starts = _NOT
        else:
            sure = mark == "." and len(self._word) > 2 and self._word.isalpha() and self._word.islower()
            self._starts = _ALWAYS if sure else _IF_DAMAGED
        return self._write(mark, place, at, edits, close=close, glue=glue)

    def _read_quote(self, text: str, place: int, at: int, final: bool, edits: list[Edit]) -> int:
        mark = text[at]
        inside = quotes.is_open(self.open, mark)
        may_open = mark in "“‘" or (mark == '"' and not inside)
        if not (at > place or self._spaced):
            return self._write_quote(mark, place, at, edits, opens=mark in "“‘" or (may_open and self._last in quotes.OPENERS))
        following = _at(text, at + 1, final)
        if following is None:
            return 0
        if following and not following.isspace():
            opens = may_open or (mark == '"' and following not in _CLOSE_TO_WORD)
            return self._write_quote(mark, place, at, edits, opens=opens)
        return self._write_quote(mark, place, at, edits, opens=may_open, loose=self._spacing is not Spacing.CLEAN)

    def _write_quote(self, mark: str, place: int, at: int, edits: list[Edit], opens: bool, loose: bool = False) -> int:
        if opens:
            self.open = quotes.opened(self.open, mark)
            step = self._write(mark, place, at, edits, glue=loose)
            # So that a mark that follows at once is seen to open, too.
            self._last = quotes.OPENERS[0]
            return step
        self.open = quotes.closed(self.open, mark)
        self._starts = _NOT
        return self._write(mark, place, at, edits, close=loose)

    def _read_apostrophe(self, text: str, place: int, at: int, final: bool, edits: list[Edit]) -> int:
        mark, gap, word = text[at], at > place, self._word
        following = _at(text, at + 1, final)
        if following is None:
            return 0
        apart = following == " "
        if word and not gap and following and _is_word_char(following):
            return self._write_inside(mark, place, at, edits)
        match = _WORD.match(text, at + 1 + apart)
        if match is None and apart and at + 2 == len(text) and not final:
            return 0
        tail = match.group() if match else ""
        if tail and match and match.end() == len(text) and not final and may_contract(tail):
            return 0
        inside, clean = quotes.is_open(self.open, mark), self._spacing is Spacing.CLEAN
        after = text[match.end() : match.end() + 2].strip() if match else ""
        if word and match and match.end() + 1 == len(text) and not after and not final and contracts(word, tail):
            return 0
        # "the letter 's'" has no contraction.
        if word and tail and (gap or not inside) and after[:1] not in _CLOSING_SINGLE and contracts(word, tail):
            if gap and apart:
                self._spacing = Spacing.DAMAGED
            return self._write_inside(mark, place, at, edits, drop_after=apart)
        if tail and (gap or self._spaced) and not (inside and apart) and lost_start(tail) and not (apart and clean):
            return self._write_start(mark, place, at, edits, drop_after=apart)
        if not (gap or self._spaced):
            opens = not (word or inside or mark == "’") and self._last in quotes.OPENERS
            return self._write_quote(mark, place, at, edits, opens=opens)
        if following and not following.isspace():
            opens = mark != "’" and not (inside and following in _CLOSE_TO_WORD)
            return self._write_quote(mark, place, at, edits, opens=opens)
        if word and not inside and not clean and (lost_end(word, tail[:1]) or (apart and text[at + 2 : at + 3] in _AFTER_END)):
            return self._write(mark, place, at, edits, close=True)
        return self._write_quote(mark, place, at, edits, opens=not inside and mark != "’", loose=not clean)

    def _read_hyphen(self, text: str, place: int, final: bool, edits: list[Edit]) -> int | None:
        """A hyphen between two spaces: 0 to wait, None if they stay."""
        limit = min(len(text), place + HELD_MOST + 1)
        match = _WORD.match(text, place + 3, limit)
        end = match.end() if match else place + 3
        if end >= limit and not final:
            return 0 if limit - place <= HELD_MOST else None
        if match is None or not hyphenated(self._word, match.group()):
            return None
        self._starts = _NOT
        step = self._write("-", place, place + 1, edits, close=True)
        edits.append((place + 2, ""))
        return step + 1

    def _write(self, mark: str, place: int, at: int, edits: list[Edit], close: bool = False, glue: bool = False) -> int:
        """Let ``mark`` stand; ``close`` takes the space before it out, ``glue`` the one that follows."""
        self._end_word()
        if close and at > place:
            edits.append((place, ""))
        self._last, self._spaced, self._glue = mark, False, glue
        return at + 1 - place

    def _write_inside(self, mark: str, place: int, at: int, edits: list[Edit], drop_after: bool = False) -> int:
        """An apostrophe inside a word, with no space on either side."""
        word = self._word
        step = self._write(mark, place, at, edits, close=True)
        self._word = word + mark
        if drop_after:
            edits.append((at + 1, ""))
        return step + drop_after

    def _write_start(self, mark: str, place: int, at: int, edits: list[Edit], drop_after: bool) -> int:
        """An apostrophe that starts a word."""
        step = self._write(mark, place, at, edits)
        self._word = mark
        if drop_after:
            edits.append((at + 1, ""))
        return step + drop_after

    def _end_word(self) -> None:
        word, self._word = self._word, ""
        if (
            self._inner
            and len(word) > 2
            and word[0].isupper()
            and word[1:].islower()
            and word.isalpha()
            and word not in self._heard
            and len(self._heard) < _HEARD_MOST
            and (is_name(word) or not is_word(word))
        ):
            self._heard |= {word}


def _is_word_char(char: str) -> bool:
    return char.isalnum() or char == "_"


def _at(text: str, place: int, final: bool) -> str | None:
    """The character at ``place``, "" after the end of the whole text, None where it is not known yet."""
    if place < len(text):
        return text[place]
    return "" if final else None
