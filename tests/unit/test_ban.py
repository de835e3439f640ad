"""A banned string never arises, byte for byte, whichever tokens spell it, and nothing else is masked."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyteller.engine.ban import Bans, Completions, bans, gentle_words
from storyteller.engine.tokenizer import Tokenizer

END = 0
# The end token, single bytes, tokens that overlap in every way, halves of characters, and punctuation.
TOKENS = (
    b"", b"a", b"b", b"c", b" ", b"ab", b"ba", b"aba", b" ab", b"c a", b"A", b"AB", b".", b"a.", b" a, b",
    b"\xc3", b"\xa9", b"\xc3\xa9", b"a\xc3", b"\xe2\x80", b"\x9d", b"'", b"\n", b"cab", b"b c",
)  # fmt: skip
TOKENIZER = SimpleNamespace(token_bytes=TOKENS, end_id=END)
IDS = st.lists(st.integers(1, len(TOKENS) - 1), max_size=12)
TEXTS = st.lists(st.text(alphabet="abcA .é", min_size=1, max_size=6), max_size=4)
WORDS = st.lists(st.from_regex(r"[abc]{1,3}( [abc]{1,2})?\*?", fullmatch=True), max_size=4)


def spelled(ids):
    return b"".join(TOKENS[id] for id in ids)


def completes(before, raw, texts, words):
    """The rule, said once more: does a match end within ``raw``?"""
    whole = before + raw
    for text in texts:
        banned = text.encode()
        for begin in range(len(whole)):
            if whole[begin : begin + len(banned)] == banned and begin + len(banned) > len(before):
                return True
    # One space before: the begin of the text stands between words, as all but letters does.
    plain = " " + re.sub("[^a-z]", " ", whole.decode("latin-1").lower())
    for word in words:
        stem = word.removesuffix("*")
        for begin in range(len(plain)):
            end = begin + 1 + len(stem)
            if plain[begin:end] == " " + stem and end > len(before) + 1 and (stem != word or plain[end : end + 1] in ("", " ")):
                return True
    return False


@given(IDS, TEXTS, WORDS)
@settings(deadline=None)
def test_masks_exactly_what_would_complete_a_banned_string(ids, texts, words):
    bans = Bans(TOKENIZER, texts, words)
    context = bans.start
    for place in range(len(ids) + 1):
        before = spelled(ids[:place])
        expected = [id for id, raw in enumerate(TOKENS) if id != END and completes(before, raw, texts, words)]
        assert bans.completing(context).tolist() == expected
        if place < len(ids):
            context = bans.follow(context, ids[place])


@given(IDS, IDS, TEXTS, WORDS)
@settings(deadline=None)
def test_context_of_a_whole_sequence_equals_that_of_following(before, ids, texts, words):
    bans = Bans(TOKENIZER, texts, words)
    context = bans.start
    for id in [*before, END, *ids]:
        context = bans.follow(context, id)
    assert bans.after([*before, END, *ids]) == context


@given(IDS, TEXTS, WORDS)
@settings(deadline=None)
def test_a_new_story_forgets_the_old_one(ids, texts, words):
    bans = Bans(TOKENIZER, texts, words)
    assert bans.after([*ids, END]) == bans.start


@given(IDS, TEXTS, WORDS)
@settings(deadline=None)
def test_end_token_is_never_banned(ids, texts, words):
    bans = Bans(TOKENIZER, texts, words)
    assert END not in bans.completing(bans.after(ids)).tolist()


@given(st.lists(st.integers(1, len(TOKENS) - 1), max_size=60), TEXTS)
@settings(deadline=None)
def test_a_walk_around_the_bans_never_tells_one(wishes, texts):
    bans = Bans(TOKENIZER, texts, ())
    context, told = bans.start, b""
    for id in wishes:
        if id not in bans.completing(context):
            context = bans.follow(context, id)
            told += TOKENS[id]
    assert not any(text.encode() in told for text in texts)


def test_half_characters_are_followed():
    bans = Bans(TOKENIZER, ["é"], ())
    assert [TOKENS[id] for id in bans.completing(bans.start)] == [b"\xc3\xa9"]
    assert [TOKENS[id] for id in bans.completing(bans.after([TOKENS.index(b"a\xc3")]))] == [b"\xa9", b"\xc3\xa9"]


def test_a_pattern_within_and_across_tokens():
    completions = Completions([b"dragon", b" drag", b"on", b"on!", b"o", b"n"], [(b"dragon", False)])
    assert completions.completing(b"").tolist() == [0]
    state = completions.follow(b"", b" drag")
    assert completions.completing(state).tolist() == [0, 2, 3]
    assert completions.completing(completions.follow(state, b"o")).tolist() == [0, 5]


HARMLESS = (
    "The skilled chef said hello, and he'll study his diet in class with the glass button.",
    "The cock crowed cock-a-doodle-doo. The massive grass passed the assembly.",
    "He was studying. The audience applauded the soldier's medal, and the bird sang to the worm.",
    "Dickens the cat drank ginger tea under the drum. Hello! Tell her: shut upstairs.",
)


@pytest.fixture(scope="module")
def tokenizer():
    """One whose words are single tokens, as the common ones of a trained model are; what it never read it spells in pieces."""
    return Tokenizer.train([*HARMLESS, "Skills! skill the boy“Die”"] * 3, 1500)


def masked(tokenizer, text, words):
    """Whether some token of ``text`` is masked where it stands."""
    bans = Bans(tokenizer, (), words)
    context = bans.start
    for id in tokenizer.encode(text):
        if id in bans.completing(context):
            return True
        context = bans.follow(context, id)
    return False


@pytest.mark.parametrize("text", ["kill", "Kill!", "to kill the", "KILLER", "“killing”", "un-kill", "a\nkill", "overkill kill", "2kill"])
def test_a_stem_is_caught(tokenizer, text):
    assert masked(tokenizer, text, ["kill*"])


@pytest.mark.parametrize("text", ["skill", "Skills!", "the boy", "ki ll", "k-ill", "overskill"])
def test_a_stem_within_a_word_is_not_caught(tokenizer, text):
    assert not masked(tokenizer, text, ["kill*"])


@pytest.mark.parametrize("text", ["die", "Die!", "to die", "“Die”", "die.", "hell: die", "die’s"])
def test_a_word_is_caught_whatever_stands_around_it(tokenizer, text):
    assert masked(tokenizer, text, ["die"])


@pytest.mark.parametrize("text", ["He'll tell the shell", "Hello", "he’ll"])
def test_a_word_within_another_is_not_caught(tokenizer, text):
    assert not masked(tokenizer, text, ["hell"])


def test_a_piece_that_ends_with_a_word_is_caught_before_it_can_be_one():
    tokens = SimpleNamespace(token_bytes=(b"", b" gun", b"ner", b" gunner"), end_id=END)
    assert Bans(tokens, (), ["gun"]).completing((b"", b" ")).tolist() == [1]


def test_a_phrase_is_caught_with_any_one_mark_between(tokenizer):
    assert masked(tokenizer, "Oh, shut up!", ["shut up"])
    assert masked(tokenizer, "Shut-up", ["shut up"])
    assert not masked(tokenizer, "shut upstairs", ["shut up"])


def test_the_gentle_list_is_clean():
    words = gentle_words()
    assert len(words) == len(set(words)) > 200
    for word in words:
        assert re.fullmatch(r"[a-z]+([ -][a-z]+)*\*?", word), word
    whole = {word for word in words if not word.endswith("*")}
    stems = [word.removesuffix("*") for word in words if word.endswith("*")]
    assert not {word for word in words if any(word.removesuffix("*") != stem and word.startswith(stem) for stem in stems)}
    assert not whole & set(stems)


@pytest.mark.parametrize("text", HARMLESS)
def test_the_gentle_list_leaves_harmless_words(tokenizer, text):
    assert not masked(tokenizer, text, gentle_words())


@pytest.mark.parametrize("text", ["He killed it.", "The gun!", "You are stupid", "STUPID", "She died\n", "shut up"])
def test_the_gentle_list_catches(tokenizer, text):
    assert masked(tokenizer, text, gentle_words())


def test_bans_are_shared(tokenizer):
    assert bans(tokenizer, ("a",), True) is bans(tokenizer, ("a",), True)
    assert bans(tokenizer, ("a",), True) is not bans(tokenizer, ("a",), False)
