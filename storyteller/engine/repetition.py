"""How much a story repeats itself: pure measures of a word sequence, and the same measures running, word by word.

A *word* is a run of letters and digits, with apostrophes and hyphens inside it, case-folded: ``Don't`` and ``don't`` are one.
An *n-gram* is n words in a row; a text of w words has w − n + 1 of them.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SHARE_NGRAM = 4
PHRASE_LEAST = 3

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_UNFINISHED = re.compile(r"\w+(?:['’-]\w+)*['’-]?\Z")


@dataclass(frozen=True, slots=True)
class RepeatedPhrase:
    """The longest phrase that is said again, and where: the index of its first word, for each place, without overlaps."""

    words: tuple[str, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """What the text goes round in.

    ``phrase`` is said ``times`` times back to back, from the word at ``start``; an empty phrase means that no single one is,
    but that most 4-grams of the window that begins at ``start`` are repeats.
    """

    phrase: tuple[str, ...]
    times: int
    start: int


@dataclass(frozen=True, slots=True)
class Repetition:
    """All measures of one text; ``loop`` is the first loop in it."""

    words: int
    distinct_1: float
    distinct_2: float
    distinct_3: float
    repeated_4: float
    longest: RepeatedPhrase | None
    loop: Loop | None


def words_of(text: str) -> list[str]:
    """The word sequence of ``text``."""
    return _WORD.findall(text.casefold())


def distinct_n(words: Sequence[str], n: int) -> float:
    """Different n-grams over all n-grams, 0 to 1; 1.0 where there is no n-gram to repeat.

    distinct-n of Li et al. 2016 (arXiv 1510.03055), who divide by the number of words instead, n − 1 more than there are n-grams.
    """
    total = len(words) - n + 1
    return len({tuple(words[start : start + n]) for start in range(total)}) / total if total > 0 else 1.0


def repeated_ngram_share(words: Sequence[str], n: int = SHARE_NGRAM) -> float:
    """Share of n-grams that say again what was said: 1 − different / all, 0 to 1 (seq-rep-n of Welleck et al. 2020, arXiv 1908.04319)."""
    return 1.0 - distinct_n(words, n)


def longest_repeated_phrase(words: Sequence[str], least: int = PHRASE_LEAST) -> RepeatedPhrase | None:
    """The longest phrase of ``least`` words or more that comes twice without overlap, the first one found of that length."""
    index = _RepeatIndex()
    for word in words:
        index.add(word)
    return index.longest(words, least)


def first_loop(words: Iterable[str]) -> Loop | None:
    """The first loop that a :class:`LoopDetector` with its default settings sees, at the word where it sees it."""
    detector = LoopDetector()
    for word in words:
        detector.add(word)
        if detector.loop is not None:
            return detector.loop
    return None


def measure(text: str) -> Repetition:
    """All measures of ``text`` as a whole."""
    words = words_of(text)
    return Repetition(
        words=len(words),
        distinct_1=distinct_n(words, 1),
        distinct_2=distinct_n(words, 2),
        distinct_3=distinct_n(words, 3),
        repeated_4=repeated_ngram_share(words),
        longest=longest_repeated_phrase(words),
        loop=first_loop(words),
    )


class LoopDetector:
    """Sees, word by word, that a text goes in a circle now.

    That is so when a phrase of 1 to ``longest`` words has just been said ``times`` times back to back and fills ``least`` words
    ("quack quack quack" is no loop yet), or when at least ``share`` of the 4-grams of the last ``window`` words are repeats.
    A word costs O(``longest``), whatever the length of the text.
    """

    def __init__(self, longest: int = 24, times: int = 3, least: int = 6, window: int = 64, share: float = 0.5) -> None:
        self._times, self._least, self._window, self._share = times, least, window, share
        self._recent: deque[str] = deque(maxlen=longest * times)
        # For each period, for how many words in a row the text has been equal to itself so many words before.
        self._runs = [0] * (longest + 1)
        self._seen = 0
        self._grams: deque[tuple[str, ...]] = deque()
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._last: deque[str] = deque(maxlen=SHARE_NGRAM)

    def add(self, word: str) -> None:
        """Take the next word."""
        recent, runs, held = self._recent, self._runs, len(self._recent)
        for period in range(1, len(runs)):
            runs[period] = runs[period] + 1 if period <= held and recent[-period] == word else 0
        recent.append(word)
        self._seen += 1
        self._last.append(word)
        if len(self._last) == SHARE_NGRAM:
            gram = tuple(self._last)
            self._grams.append(gram)
            self._counts[gram] += 1
            if len(self._grams) > self._window - SHARE_NGRAM + 1:
                oldest = self._grams.popleft()
                self._counts[oldest] -= 1
                if not self._counts[oldest]:
                    del self._counts[oldest]

    @property
    def loop(self) -> Loop | None:
        """The loop that the text is in after the last word, the one with the shortest phrase; None if it is in none."""
        for period, run in enumerate(self._runs):
            times = run // period + 1 if period else 0
            if times >= self._times and times * period >= self._least:
                recent = list(self._recent)
                return Loop(tuple(recent[-period:]), times, self._seen - times * period)
        grams = len(self._grams)
        if grams == self._window - SHARE_NGRAM + 1 and 1.0 - len(self._counts) / grams >= self._share:
            return Loop((), 0, self._seen - self._window)
        return None


class RepetitionMeter:
    """The measures of a text that is still being told: after ``finish`` they equal :func:`measure` of the whole.

    Before that they are those of the words that are surely complete. A word costs O(1), amortised.
    """

    def __init__(self) -> None:
        self._unfinished = ""
        self._words: list[str] = []
        self._grams: dict[int, set[tuple[str, ...]]] = {n: set() for n in range(1, SHARE_NGRAM + 1)}
        self._index = _RepeatIndex()
        self._detector = LoopDetector()
        self._first_loop: Loop | None = None

    def add(self, text: str) -> None:
        """Take more of the text, cut anywhere."""
        text = self._unfinished + text.casefold()
        rest = _UNFINISHED.search(text)
        done = rest.start() if rest else len(text)
        self._unfinished = text[done:]
        self._take(text[:done])

    def finish(self) -> None:
        """Say that the text is over, so that its last word is complete."""
        self._take(self._unfinished)
        self._unfinished = ""

    @property
    def loop(self) -> Loop | None:
        """The loop that the text is in just now."""
        return self._detector.loop

    def measure(self) -> Repetition:
        """All measures of the complete words so far."""
        distinct = {n: self._distinct(n) for n in self._grams}
        return Repetition(
            words=len(self._words),
            distinct_1=distinct[1],
            distinct_2=distinct[2],
            distinct_3=distinct[3],
            repeated_4=1.0 - distinct[4],
            longest=self._index.longest(self._words, PHRASE_LEAST),
            loop=self._first_loop,
        )

    def _distinct(self, n: int) -> float:
        total = len(self._words) - n + 1
        return len(self._grams[n]) / total if total > 0 else 1.0

    def _take(self, text: str) -> None:
        for word in _WORD.findall(text):
            self._words.append(word)
            for n, grams in self._grams.items():
                if len(self._words) >= n:
                    grams.add(tuple(self._words[-n:]))
            self._index.add(word)
            self._detector.add(word)
            if self._first_loop is None:
                self._first_loop = self._detector.loop


@dataclass(slots=True)
class _Node:
    """A set of phrases of the text that end at the same places; the longest has ``length`` words and ends first at ``first_end``."""

    length: int
    first_end: int
    link: int
    after: dict[str, int] = field(default_factory=dict)


class _RepeatIndex:
    """The longest repeat so far: a suffix automaton over words (Blumer et al. 1985), built as they come, amortised O(1) each.

    Beside it goes the longest ending of the text that was said before without overlap. It grows by at most one word a word,
    so to shorten it costs O(1) amortised, too.
    """

    def __init__(self) -> None:
        self._nodes = [_Node(0, 0, -1)]
        self._last = 0
        self._size = 0
        self._match, self._matched = 0, 0
        self._best, self._best_end = 0, 0

    def add(self, word: str) -> None:
        self._follow(word)
        self._extend(word)
        if self._matched > self._best:
            self._best, self._best_end = self._matched, self._size

    def longest(self, words: Sequence[str], least: int) -> RepeatedPhrase | None:
        if self._best < least:
            return None
        phrase = tuple(words[self._best_end - self._best : self._best_end])
        places, start = [], 0
        while start + len(phrase) <= len(words):
            if words[start] == phrase[0] and tuple(words[start : start + len(phrase)]) == phrase:
                places.append(start)
                start += len(phrase)
            else:
                start += 1
        return RepeatedPhrase(phrase, tuple(places))

    def _follow(self, word: str) -> None:
        """Lengthen the matched ending by ``word``, after shortening it until that was said before."""
        nodes = self._nodes
        while True:
            following = nodes[self._match].after.get(word)
            if following is not None and nodes[following].first_end <= self._size - self._matched:
                self._match, self._matched = following, self._matched + 1
                return
            if not self._matched:
                return
            self._matched -= 1
            if self._matched == nodes[nodes[self._match].link].length:
                self._match = nodes[self._match].link

    def _extend(self, word: str) -> None:
        nodes, self._size = self._nodes, self._size + 1
        new = len(nodes)
        nodes.append(_Node(self._size, self._size, 0))
        place, self._last = self._last, new
        while place >= 0 and word not in nodes[place].after:
            nodes[place].after[word] = new
            place = nodes[place].link
        if place < 0:
            return
        following = nodes[place].after[word]
        if nodes[following].length == nodes[place].length + 1:
            nodes[new].link = following
            return
        split = len(nodes)
        whole = nodes[following]
        nodes.append(_Node(nodes[place].length + 1, whole.first_end, whole.link, dict(whole.after)))
        while place >= 0 and nodes[place].after.get(word) == following:
            nodes[place].after[word] = split
            place = nodes[place].link
        whole.link = nodes[new].link = split
        if self._match == following and self._matched <= nodes[split].length:
            self._match = split
