"""Cleaning mends what is broken, leaves alone what is good, and keys tell stories apart."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyteller.training.cleaning import HEAD_LETTERS, clean, compose, is_cut_off, is_damaged, mend_mojibake, story_keys

GOOD = [
    'Tom said, "It\'s mine!" and ran.',
    "“Don’t go,” said Lily. ‘Why not?’ asked Tom… – so he stayed—and slept.",
    "Zoë drank café au lait with señor Núñez; Łukasz ate żurek in Kraków. It was 20 °C and cost £3 or 4 €.",
    "Жила-была девочка, и звали её Маша.",
    "昔々、あるところにおじいさんがいました。",
    "كان يا ما كان، في قديم الزمان.",
    "एक बार की बात है, एक छोटी लड़की थी।",
    "The end. 🙂👩‍🚀",
    "Il était une fois… « Bonjour ! » dit-elle.",
    "ﬁne &amp; ｗｉｄｅ",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("text", [text for text in GOOD if not text.isascii()][:6])
def test_utf8_read_as_windows_1252_is_mended(text: str) -> None:
    try:
        broken = text.encode("utf-8").decode("windows-1252")
    except UnicodeDecodeError:
        broken = text.encode("utf-8").decode("latin-1")
    assert clean(broken) == text


def test_mojibake_in_the_middle_of_good_text_is_mended() -> None:
    assert mend_mojibake("â€œHi,â€\x9d she said. It was a nice cafÃ©.") == "“Hi,” she said. It was a nice café."


def test_composes_and_straightens_line_ends_and_edges() -> None:
    assert clean("\n Zoe\u0308 ran.\r\nShe  fell.\rUp! \n") == "Zoë ran.\nShe  fell.\nUp!"


@given(st.text())
def test_composing_twice_is_composing_once(text: str) -> None:
    once = compose(text)
    assert unicodedata.is_normalized("NFC", once)
    assert compose(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "It ended.",
        'He said, "Yes!"',
        "Was it?”",
        "And so…",
        "(The end.)",
        "They slept.\n",
        "おしまい。",
        "THE END",
        "They hugged. The end",
        "*Bye!*",
    ],
)
def test_whole_stories_are_whole(text: str) -> None:
    assert not is_cut_off(text)


@pytest.mark.parametrize("text", ["", "He went to", 'Then she said "', "One, two,", "They saw the trend", "Abi’", "It was -", "the ending"])
def test_stories_that_stop_in_mid_sentence_are_cut_off(text: str) -> None:
    assert is_cut_off(text)


@pytest.mark.parametrize("text", ["a\ufffdb.", "a\0b.", "a\ud83db."])
def test_lost_characters_are_seen(text: str) -> None:
    assert is_damaged(text)


def test_an_emoji_is_not_damage() -> None:
    assert not is_damaged(json.loads('"\\ud83d\\ude42."'))


def test_keys_see_letters_and_digits_only() -> None:
    plain = story_keys("The cat, 3 years old, sat.")
    assert plain == story_keys("the CAT 3 years_old sat!!!")
    assert plain.whole != story_keys("The cat, 4 years old, sat.").whole


def test_a_head_is_the_first_letters_and_implied_by_the_whole() -> None:
    opening = "a b" * (HEAD_LETTERS // 2)
    one, other = story_keys(opening + " and then."), story_keys(opening + " or else.")
    assert one.head == other.head
    assert one.whole != other.whole
    short = story_keys("Short.")
    assert short.head == short.whole
    assert story_keys("x" * (HEAD_LETTERS - 1) + "yz").head != story_keys("x" * (HEAD_LETTERS - 1) + "zz").head


def test_texts_without_letters_are_told_apart() -> None:
    assert story_keys("🙂!").whole != story_keys("🙁!").whole


@given(st.text(st.characters(max_codepoint=127), max_size=400))
def test_keys_of_ascii_are_those_of_any_text(text: str) -> None:
    assert list(story_keys(text + "a")) == list(story_keys(text + "\u0308a"))


def test_keys_are_the_same_on_every_machine() -> None:
    assert story_keys("Once upon a time.") == (0x00D403B6E5A5993E, 0x00D403B6E5A5993E)
