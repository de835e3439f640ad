from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyteller.engine.repetition import (
    Loop,
    LoopDetector,
    RepeatedPhrase,
    RepetitionMeter,
    distinct_n,
    first_loop,
    longest_repeated_phrase,
    measure,
    repeated_ngram_share,
    words_of,
)
from storyteller.training.sample import sample_stories

few_words = st.lists(st.sampled_from("abc"), max_size=30)
texts = st.lists(
    st.sampled_from(["Tim", "tim", "don't", "ice-cream", "a", "'", "-", " ", " ", ". ", "\n", "’s", "É", "ß"]), max_size=40
).map("".join)


def test_words() -> None:
    assert words_of("Don't! The dogs' ice-cream, 'no' -- said Élan’s STRASSE-\nß 3.") == [
        "don't",
        "the",
        "dogs",
        "ice-cream",
        "no",
        "said",
        "élan’s",
        "strasse",
        "ss",
        "3",
    ]


def test_distinct_and_repeated_by_hand() -> None:
    words = ["the", "cat", "saw", "the", "cat", "saw", "the", "dog"]
    assert distinct_n(words, 1) == 4 / 8
    assert distinct_n(words, 2) == 4 / 7
    assert distinct_n(words, 3) == 4 / 6
    assert repeated_ngram_share(words, 4) == pytest.approx(1 - 4 / 5)
    assert distinct_n([], 1) == 1.0
    assert repeated_ngram_share(words[:3], 4) == 0.0


def test_longest_phrase_by_hand() -> None:
    words = ["so", "the", "red", "fox", "ran", "and", "the", "red", "fox", "sat", "but", "the", "red", "fox", "ran", "and", "slept"]
    assert longest_repeated_phrase(words) == RepeatedPhrase(("the", "red", "fox", "ran", "and"), (1, 11))
    assert longest_repeated_phrase(["one", "two", "one", "two"]) is None
    assert longest_repeated_phrase(["no", "no", "no", "no", "no", "no", "no"]) == RepeatedPhrase(("no", "no", "no"), (0, 3))


@given(few_words, st.integers(1, 4))
@settings(max_examples=500)
def test_longest_phrase_is_that_of_all_pairs_compared(words: list[str], least: int) -> None:
    longest = max(
        (
            size
            for size in range(least, len(words) // 2 + 1)
            for one in range(len(words) - 2 * size + 1)
            if any(words[one : one + size] == words[two : two + size] for two in range(one + size, len(words) - size + 1))
        ),
        default=0,
    )
    found = longest_repeated_phrase(words, least)
    assert (len(found.words) if found else 0) == longest
    if found:
        assert len(found.places) >= 2
        assert all(tuple(words[place : place + longest]) == found.words for place in found.places)
        assert all(two - one >= longest for one, two in zip(found.places, found.places[1:], strict=False))


class TestLoops:
    def test_a_phrase_three_times_back_to_back(self) -> None:
        words = ["once", "the", "cat", "sat", "down", "the", "cat", "sat", "down", "the", "cat", "sat", "down"]
        assert first_loop(words) == Loop(("the", "cat", "sat", "down"), 3, 1)
        assert first_loop(words[:-1]) is None

    def test_short_sounds_are_no_loop_yet(self) -> None:
        assert first_loop(["the", "duck", "said", "quack", "quack", "quack"]) is None
        assert first_loop(["the", "duck", "said"] + ["quack"] * 6) == Loop(("quack",), 6, 3)
        assert first_loop(["thank", "you", "thank", "you", "thank", "you"]) == Loop(("thank", "you"), 3, 0)

    def test_it_ends_when_the_text_goes_on(self) -> None:
        detector = LoopDetector()
        for word in ["no"] * 7:
            detector.add(word)
        assert detector.loop == Loop(("no",), 7, 0)
        detector.add("yes")
        assert detector.loop is None

    def test_a_phrase_longer_than_looked_for_is_none(self) -> None:
        words = [str(number) for number in range(5)] * 3
        short, long = LoopDetector(longest=4), LoopDetector(longest=5)
        for word in words:
            short.add(word)
            long.add(word)
        assert short.loop is None
        assert long.loop == Loop(("0", "1", "2", "3", "4"), 3, 0)

    def test_a_window_of_repeats(self) -> None:
        head = [f"word{number}" for number in range(30)]
        line = ["the", "cat", "sat", "on", "the", "mat", "and", "the", "dog", "ran", "to", "it", "when"]
        words = head + [word for number in range(12) for word in (*line, f"then{number}")]
        loop = first_loop(words)
        assert loop is not None
        assert loop.phrase == ()
        window = words[loop.start : loop.start + 64]
        assert repeated_ngram_share(window) >= 0.5
        assert repeated_ngram_share(words[loop.start - 1 : loop.start + 63]) < 0.5

    @given(few_words)
    def test_periods_are_those_seen_by_comparing(self, words: list[str]) -> None:
        detector = LoopDetector(longest=4, times=3, least=3)
        for word in words:
            detector.add(word)
        expected = any(len(words) >= 3 * size and words[-size:] * 3 == words[-3 * size :] for size in range(1, 5))
        assert (detector.loop is not None) == expected


@given(texts, st.lists(st.integers(1, 5), min_size=1))
@settings(max_examples=400)
def test_running_equals_whole_for_any_chunking(text: str, sizes: list[int]) -> None:
    meter, fed, taken = RepetitionMeter(), 0, 0
    while fed < len(text):
        meter.add(text[fed : fed + sizes[taken % len(sizes)]])
        fed, taken = fed + sizes[taken % len(sizes)], taken + 1
    meter.finish()
    assert meter.measure() == measure(text)


def test_running_equals_whole_on_stories() -> None:
    for story in islice(sample_stories(), 0, 200, 10):
        meter = RepetitionMeter()
        for char in story.text:
            meter.add(char)
        meter.finish()
        assert meter.measure() == measure(story.text)


def test_a_word_counts_once_it_is_complete() -> None:
    meter = RepetitionMeter()
    meter.add("Once up")
    assert meter.measure().words == 1
    meter.add("on a")
    assert meter.measure().words == 2
    meter.finish()
    assert meter.measure().words == 3


def test_the_meter_says_that_the_text_loops_now() -> None:
    meter = RepetitionMeter()
    meter.add("The cat sat. The cat sat. The cat sat. ")
    assert meter.loop == Loop(("the", "cat", "sat"), 3, 0)
    meter.add("Then it left. ")
    assert meter.loop is None
    assert meter.measure().loop == Loop(("the", "cat", "sat"), 3, 0)


def test_written_stories_repeat_little() -> None:
    measured = [measure(story.text) for story in islice(sample_stories(), 200)]
    assert sum(one.repeated_4 for one in measured) / len(measured) < 0.05
    assert sum(one.loop is not None for one in measured) <= 4
