"""A stream is END story END … END in uint16, whatever the batches and pieces it was encoded in."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyteller.engine.tokenizer import Tokenizer
from storyteller.training import encoding
from storyteller.training.encoding import SplitCounts, open_stream, write_stream

TALES = ["Once upon a time, Tom's cat sat.\nIt slept.", "They said, “Hi!”", "", "The end.  <|endoftext|> Zoë 12 34!? 🙂"] * 5
TOKENIZER = Tokenizer.train(TALES, 300)


def stream_of(stories: list[str]) -> list[int]:
    return [id for story in stories for id in (TOKENIZER.end_id, *TOKENIZER.encode(story))] + [TOKENIZER.end_id]


@pytest.mark.parametrize("batch", [1, 50, 1 << 20])
@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_batches_and_pieces_change_nothing(batch: int, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_BATCH_BYTES", batch)
    monkeypatch.setattr(encoding, "_PIECE_CHARACTERS", piece)
    counts = write_stream(tmp_path / "a.bin", [tale.encode() for tale in TALES], TOKENIZER)
    ids = open_stream(tmp_path / "a.bin")
    assert ids.dtype == np.uint16
    assert not ids.flags.writeable
    assert ids.tolist() == stream_of(TALES)
    assert counts == SplitCounts(len(TALES), len(ids) - 1, sum(len(tale.encode()) for tale in TALES))


def test_no_stories_are_one_end_token(tmp_path: Path) -> None:
    assert write_stream(tmp_path / "a.bin", [], TOKENIZER) == SplitCounts(0, 0, 0)
    assert open_stream(tmp_path / "a.bin").tolist() == [TOKENIZER.end_id]


@given(st.text(st.sampled_from("ab'st. \n\t!?,1é🙂") | st.characters(exclude_categories=["Cs"]), max_size=60), st.integers(1, 9))
def test_pieces_of_any_text_encode_as_the_whole(text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_PIECE_CHARACTERS", piece)
        pieces = list(encoding._pieces(text))
    assert "".join(pieces) == text
    assert [id for part in pieces for id in TOKENIZER.encode(part)] == TOKENIZER.encode(text)


def test_a_long_story_is_encoded_in_pieces() -> None:
    text = "A word. " * 50_000
    pieces = list(encoding._pieces(text))
    assert len(pieces) > 5
    assert max(map(len, pieces)) < 2 << 16
