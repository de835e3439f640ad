import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Bpe
from tokenizers import models

from storyteller.engine.tokenizer import END, Tokenizer, without_surrogates
from storyteller.errors import CheckpointInvalid

CORPUS = ["Once upon a time there was a little fox. The fox didn't sleep.\n\n“Hello,” said Zoë. 🐉🐉 the dragon 🐉."] * 4
TOKENIZER = Tokenizer.train(CORPUS, 300)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(ANY_TEXT)
def test_every_text_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.lists(st.sampled_from(["Once", " fox", END, "<|", "endoftext", "|>", "\n", " ", "  ", "🐉", "é", "e\u0301", "\ufeff", "\x00"])))
def test_every_text_of_hard_parts_comes_back(parts: list[str]) -> None:
    text = "".join(parts)
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.end_id not in ids


@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1)))
def test_decode_is_that_of_the_tokenizers_library(ids: list[int]) -> None:
    assert TOKENIZER.decode(ids) == TOKENIZER.bpe.decode(ids, skip_special_tokens=True)


@given(st.lists(ANY_TEXT, max_size=5))
def test_a_batch_is_encoded_as_each_text_alone(texts: list[str]) -> None:
    assert TOKENIZER.encode_batch(texts) == [TOKENIZER.encode(text) for text in texts]


def test_a_typed_end_token_stays_text() -> None:
    assert TOKENIZER.end_id not in TOKENIZER.encode(f"a{END}b")
    assert TOKENIZER.decode(TOKENIZER.encode(f"a{END}b")) == f"a{END}b"
    assert TOKENIZER.end_id not in TOKENIZER.encode_batch([END])[0]


def test_a_typed_end_token_stays_text_after_saving() -> None:
    again = Tokenizer.from_str(TOKENIZER.to_str())
    assert again.encode(END) == TOKENIZER.encode(END)
    assert again.end_id not in again.encode(END)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\ud800", "a\ufffd"),
        ("\ud800b", "\ufffdb"),
        ("a\udc00b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\ud83d\ud83d\ude00", "\ufffd😀"),
        ("\ufeffx", "\ufeffx"),
    ],
)
def test_surrogates_are_joined_or_replaced(text: str, clean: str) -> None:
    assert without_surrogates(text) == clean
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == clean
    assert TOKENIZER.decode(TOKENIZER.encode_batch([text])[0]) == clean


def test_end_tokens_give_no_text() -> None:
    end = TOKENIZER.end_id
    assert TOKENIZER.decode([end, *TOKENIZER.encode("a 🐉"), end]) == "a 🐉"
    assert TOKENIZER.token_bytes[end] == b""


def test_token_texts_are_none_for_parts_of_characters() -> None:
    for raw, text in zip(TOKENIZER.token_bytes, TOKENIZER.token_texts, strict=True):
        if text is None:
            with pytest.raises(UnicodeDecodeError):
                raw.decode()
        else:
            assert text.encode() == raw
    assert None in TOKENIZER.token_texts


def test_space_ids_are_those_that_begin_a_word() -> None:
    space_ids = set(TOKENIZER.space_ids.tolist())
    for id in range(TOKENIZER.vocab_size):
        assert (id in space_ids) == TOKENIZER.decode([id]).startswith((" ", "\n"))
    assert TOKENIZER.end_id not in space_ids
    assert len(space_ids) > 2


def test_vocabulary_has_the_size_asked_for_and_every_byte() -> None:
    assert TOKENIZER.vocab_size == 300
    assert Tokenizer.train(["abc"], 257).vocab_size == 257
    assert {raw for raw in TOKENIZER.token_bytes if len(raw) == 1} == {bytes([byte]) for byte in range(256)}


def test_training_is_deterministic() -> None:
    assert Tokenizer.train(CORPUS, 300).to_str() == TOKENIZER.to_str()


def test_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(TOKENIZER.to_str(), encoding="utf-8")
    assert Tokenizer.from_file(path).encode("the dragon 🐉") == TOKENIZER.encode("the dragon 🐉")


def test_damaged_files_are_errors_in_words(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointInvalid, match="not UTF-8"):
        Tokenizer.from_file(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointInvalid, match="not a tokenizer"):
        Tokenizer.from_file(path)


def test_a_tokenizer_without_end_token_is_refused() -> None:
    with pytest.raises(CheckpointInvalid, match=r"<\|endoftext\|>"):
        Tokenizer(Bpe(models.BPE()))


def test_a_tokenizer_that_is_not_byte_level_is_refused() -> None:
    content = json.loads(TOKENIZER.to_str())
    content["model"]["vocab"]["▁word"] = max(content["model"]["vocab"].values()) + 1
    with pytest.raises(CheckpointInvalid, match="not byte-level"):
        _ = Tokenizer.from_str(json.dumps(content)).token_bytes
