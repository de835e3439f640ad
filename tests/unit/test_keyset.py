"""A KeySet is a set of 64-bit integers, only smaller."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from storyteller.training.keyset import KeySet

KEYS = st.integers(0, 2**64 - 1) | st.integers(0, 8)


@given(st.lists(KEYS), st.lists(KEYS))
def test_is_a_set(added: list[int], asked: list[int]) -> None:
    keys, model = KeySet(), set()
    for key in added:
        assert (key in keys) == (key in model)
        keys.add(key)
        model.add(key)
        assert len(keys) == len(model)
    assert all((key in keys) == (key in model) for key in asked)


def test_grows_and_stays_small() -> None:
    values = np.random.default_rng(1).integers(0, 2**64, 100_000, np.uint64, endpoint=False).tolist()
    tracemalloc.start()
    try:
        keys = KeySet()
        for value in values:
            keys.add(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(keys) == len(set(values))
    assert all(value in keys for value in values[::97])
    assert peak / len(values) < 37


def test_keys_that_fall_on_the_same_slot_are_told_apart() -> None:
    keys = KeySet()
    same = [1 + (number << 12) for number in range(50)]
    for key in same:
        keys.add(key)
    assert len(keys) == 50
    assert 1 + (50 << 12) not in keys
