"""Running counts and n-grams equal those of the whole sequence, however it was cut into pushes and whenever it was asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyteller.engine.past import Past

END = 0
VOCAB = 6
IDS = st.lists(st.integers(0, VOCAB - 1), max_size=60)
QUESTIONS = st.sampled_from(["counts", "followers"])


def counts_of(ids, window):
    last = ids[-window:] if window else ids
    return [0 if id == END else last.count(id) for id in range(VOCAB)]


def followers_of(ids, n):
    last = ids[len(ids) - n + 1 :]
    return {ids[place + n - 1] for place in range(len(ids) - n + 1) if ids[place : place + n - 1] == last} - {END}


@given(IDS, st.lists(st.tuples(st.integers(0, VOCAB - 1), QUESTIONS, st.integers(0, 8)), max_size=60))
def test_running_equals_whole(begin, pushes):
    past = Past(begin, VOCAB, END)
    ids = list(begin)
    for id, question, size in pushes:
        past.push(id)
        ids.append(id)
        assert past.last(size).tolist() == (ids[-size:] if size else ids)
        if question == "counts":
            assert past.counts(size).tolist() == counts_of(ids, size)
        elif size and len(ids) >= size - 1:
            assert set(past.followers(size).tolist()) == followers_of(ids, size)


@pytest.mark.parametrize("window", [0, 1, 64])
def test_counts_of_a_long_sequence(window):
    ids = np.random.default_rng(1).integers(0, VOCAB, 3000).tolist()
    past = Past([], VOCAB, END)
    for id in ids:
        past.push(id)
        counts = past.counts(window)
    assert counts.tolist() == counts_of(ids, window)


def test_ids_given_are_not_shared():
    ids = [1, 2, 3]
    past = Past(ids, VOCAB, END)
    ids.append(4)
    past.push(5)
    assert past.last(0).tolist() == [1, 2, 3, 5]
