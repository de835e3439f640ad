from hypothesis import given
from hypothesis import strategies as st
from tokenizers.decoders import DecodeStream

from storyteller.engine.detokenizer import Detokenizer
from storyteller.engine.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(["the 🐉 and Zoë “here” 🐉🐉 the dragon"] * 4, 290)
BYTES = {raw[0]: id for id, raw in enumerate(TOKENIZER.token_bytes) if len(raw) == 1}
WHOLE_TEXT = st.text(st.one_of(st.sampled_from("the 🐉é“”"), st.characters(exclude_categories=["Cs"])))
ANY_IDS = st.lists(st.integers(0, TOKENIZER.vocab_size - 1))
# Bytes near the borders of UTF-8, where broken sequences are likely.
BROKEN_IDS = st.lists(st.sampled_from([BYTES[byte] for byte in b"a\x80\x9f\xa0\xbf\xc2\xe0\xe2\xed\xf0\xf4\xf5\xff"]))


def run(ids: list[int], first: int = 0) -> tuple[list[tuple[tuple[str, int], ...]], Detokenizer]:
    detokenizer = Detokenizer(TOKENIZER)
    released = []
    for index, id in enumerate(ids, first):
        detokenizer, pieces = detokenizer.add(id, index)
        released.append(pieces)
    return released, detokenizer


def joined(released: list[tuple[tuple[str, int], ...]]) -> str:
    return "".join(text for pieces in released for text, _ in pieces)


@given(st.one_of(ANY_IDS, BROKEN_IDS))
def test_pieces_join_to_the_decoded_text(ids: list[int]) -> None:
    released, last = run(ids)
    assert joined([*released, last.finish()]) == TOKENIZER.decode(ids)


@given(WHOLE_TEXT)
def test_text_is_that_of_the_tokenizers_library(text: str) -> None:
    ids = TOKENIZER.encode(text)
    released, last = run(ids)
    theirs = DecodeStream(skip_special_tokens=True)
    assert joined(released) == "".join(theirs.step(TOKENIZER.bpe, id) or "" for id in ids) == text
    assert last == Detokenizer(TOKENIZER)


@given(WHOLE_TEXT, st.integers(0, 100))
def test_every_character_has_the_index_of_the_id_of_its_first_byte(text: str, first: int) -> None:
    ids = TOKENIZER.encode(text)
    owners = [index for index, id in enumerate(ids, first) for _ in TOKENIZER.token_bytes[id]]
    released, _ = run(ids, first)
    place = 0
    for text, index in (piece for pieces in released for piece in pieces):
        for char in text:
            assert owners[place] == index
            place += len(char.encode())
    assert place == len(owners)


@given(st.one_of(ANY_IDS, BROKEN_IDS), st.data())
def test_going_on_from_any_place_gives_the_rest(ids: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(ids)))
    released, last = run(ids)
    _, middle = run(ids[:place])
    for index in range(place, len(ids)):
        middle, pieces = middle.add(ids[index], index)
        assert pieces == released[index]
    assert middle == last


@given(st.one_of(ANY_IDS, BROKEN_IDS))
def test_at_most_three_bytes_are_held_and_pieces_are_never_empty(ids: list[int]) -> None:
    detokenizer = Detokenizer(TOKENIZER)
    for index, id in enumerate(ids):
        detokenizer, pieces = detokenizer.add(id, index)
        assert len(detokenizer.held) <= 3
        assert all(text for text, _ in pieces)


def test_an_unfinished_character_is_held_back() -> None:
    ids = [BYTES[byte] for byte in "é🐉".encode()]
    released, last = run(ids)
    assert released == [(), (("é", 0),), (), (), (), (("🐉", 2),)]
    assert last.finish() == ()


def test_a_broken_tail_becomes_a_replacement_character_at_the_end() -> None:
    released, last = run([BYTES[ord("a")], BYTES[0xF0], BYTES[0x9F]], first=7)
    assert released == [(("a", 7),), (), ()]
    assert last.finish() == (("\ufffd", 8),)


def test_a_character_broken_by_another_is_replaced_at_once() -> None:
    released, _ = run([BYTES[0xE2], BYTES[ord("a")]])
    assert released == [(), (("\ufffd", 0), ("a", 1))]


def test_end_tokens_give_nothing_and_break_nothing() -> None:
    first, second = (BYTES[byte] for byte in "é".encode())
    released, _ = run([TOKENIZER.end_id, first, TOKENIZER.end_id, second])
    assert released == [(), (), (), (("é", 1),)]
