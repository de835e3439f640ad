from hypothesis import given
from hypothesis import strategies as st

from storyteller.engine.stops import StopMatcher

FEW = st.text("ab\n", max_size=14)
STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3).map(tuple)


def told_before(text: str, stops: tuple[str, ...]) -> str | None:
    """What may be told of ``text``, looking at it character by character; None if no stop string is in it."""
    for end in range(1, len(text) + 1):
        complete = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(complete)]
    return None


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted(place % (len(text) + 1) for place in places)
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def run(chunks: list[str], stops: tuple[str, ...]) -> tuple[str, StopMatcher, bool]:
    matcher, told = StopMatcher(), ""
    for index, chunk in enumerate(chunks):
        matcher, pieces, stopped = matcher.feed(((chunk, index),), stops)
        told += "".join(text for text, _ in pieces)
        if stopped:
            return told, matcher, True
    return told, matcher, False


@given(FEW, st.lists(st.integers(0, 20), max_size=6), STOPS)
def test_text_is_cut_before_the_first_stop_string_for_every_chunking(text: str, places: list[int], stops: tuple[str, ...]) -> None:
    told, matcher, stopped = run(cut(text, places), stops)
    expected = told_before(text, stops)
    assert stopped == (expected is not None)
    if expected is not None:
        assert told == expected
    else:
        assert told + "".join(held for held, _ in matcher.held) == text


@given(FEW, STOPS)
def test_no_more_is_held_than_may_begin_a_stop_string(text: str, stops: tuple[str, ...]) -> None:
    _, matcher, stopped = run(list(text), stops)
    if not stopped:
        held = "".join(part for part, _ in matcher.held)
        assert held == "" or any(stop.startswith(held) and stop != held for stop in stops)


@given(FEW, st.lists(st.integers(0, 20), max_size=6), STOPS)
def test_who_goes_on_after_every_stop_tells_the_whole_text(text: str, places: list[int], stops: tuple[str, ...]) -> None:
    matcher, told = StopMatcher(), ""
    for index, chunk in enumerate(cut(text, places)):
        matcher, pieces, _ = matcher.feed(((chunk, index),), stops)
        told += "".join(part for part, _ in pieces)
    told += "".join(part for part, _ in matcher.feed((), ())[1])
    assert told == text


def test_pieces_keep_their_indices() -> None:
    matcher, told, stopped = StopMatcher().feed((("one S", 4), ("T", 5)), ("STOP",))
    assert (told, stopped) == ((("one ", 4),), False)
    matcher, told, stopped = matcher.feed((("A", 6), ("Y", 7)), ("STOP",))
    assert (told, stopped) == ((("S", 4), ("T", 5), ("A", 6), ("Y", 7)), False)
    assert matcher == StopMatcher()


def test_a_stop_string_may_be_told_after_it_stopped_and_only_counts_once() -> None:
    matcher, told, stopped = StopMatcher().feed((("a STOP b", 0),), ("STOP",))
    assert (told, stopped) == ((("a ", 0),), True)
    matcher, told, stopped = matcher.feed(((" STOP", 1),), ("STOP",))
    assert ("".join(text for text, _ in told), stopped) == ("STOP b ", True)


def test_a_stop_string_that_stopped_begins_no_other() -> None:
    matcher, _, stopped = StopMatcher().feed((("aa", 0),), ("aa",))
    assert stopped
    matcher, told, stopped = matcher.feed((), ("aa",))
    assert (told, stopped) == ((("aa", 0),), False)
    matcher, told, stopped = matcher.feed((("a", 1),), ("aa",))
    assert (told, stopped, matcher.held) == ((), False, (("a", 1),))


def test_stop_strings_that_are_taken_back_release_what_they_held() -> None:
    matcher, told, _ = StopMatcher().feed((("ST", 0),), ("STOP",))
    assert told == ()
    matcher, told, stopped = matcher.feed((("OP", 1),), ())
    assert (told, stopped, matcher) == ((("ST", 0), ("OP", 1)), False, StopMatcher())
