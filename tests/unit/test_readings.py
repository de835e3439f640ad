import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storyteller.engine.readings import alternatives, read

# Quarters make ties likely and are exact.
LOGITS = arrays(np.float32, (3, 12), elements=st.integers(-40, 40).map(lambda quarters: quarters / 4))
IDS = st.lists(st.integers(0, 11), min_size=3, max_size=3)


@given(LOGITS, IDS, st.integers(0, 15))
def test_readings_agree_with_their_definitions(logits: np.ndarray, ids: list[int], top: int) -> None:
    exact = logits.astype(np.float64)
    logprobs = exact - np.log(np.exp(exact).sum(axis=1, keepdims=True))
    for row, id, reading in zip(logprobs, ids, read(logits, ids, top), strict=True):
        assert reading.logprob == pytest.approx(row[id], abs=1e-5)
        assert reading.entropy == pytest.approx(-(np.exp(row) * row).sum(), abs=1e-5)
        best_first = sorted(range(12), key=lambda id: (-row[id], id))
        assert best_first[reading.rank] == id
        assert [id for id, _ in reading.top] == best_first[:top]
        assert [logprob for _, logprob in reading.top] == pytest.approx([row[id] for id in best_first[:top]], abs=1e-5)


@given(LOGITS, IDS)
def test_a_row_reads_the_same_in_any_batch(logits: np.ndarray, ids: list[int]) -> None:
    assert read(logits, ids, 5) == [read(logits[row : row + 1], ids[row : row + 1], 5)[0] for row in range(3)]


def test_impossible_ids_leave_the_entropy_finite() -> None:
    logits = np.array([[0.0, 0.0, -np.inf, -1e30]], np.float32)
    (reading,) = read(logits, [0], 4)
    assert reading.entropy == pytest.approx(np.log(2), abs=1e-6)
    assert reading.logprob == pytest.approx(-np.log(2), abs=1e-6)
    assert [id for id, _ in reading.top] == [0, 1, 3, 2]
    assert reading.top[3][1] == -np.inf


def test_the_logits_are_not_written_to() -> None:
    logits = np.arange(8, dtype=np.float32).reshape(2, 4)
    logits.flags.writeable = False
    read(logits, [1, 2], 3)


@given(st.sets(st.integers(0, 11), min_size=1), st.lists(st.integers(0, 11), unique=True))
def test_alternatives_say_which_were_kept(kept: set[int], ids: list[int]) -> None:
    marked = alternatives([(id, -float(id)) for id in ids], np.array(sorted(kept), np.int64), 12)
    assert [(mark.id, mark.logprob, mark.kept) for mark in marked] == [(id, -float(id), id in kept) for id in ids]
