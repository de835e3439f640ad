"""Weights and order are fair, repeatable, and owed to the contents alone."""

import numpy as np
import pytest

from storyteller.training.mixture import copies_by_weight, mixed, order_by_key

KEYS = np.random.default_rng(7).integers(0, 2**64, 40_000, np.uint64, endpoint=False)


def test_mixed_is_splitmix64() -> None:
    """The first outputs of SplitMix64 with seed 0, as its authors' reference program gives them."""
    zero = np.zeros(1, np.uint64)
    assert [int(mixed(zero, salt)[0]) for salt in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_mixed_leaves_its_input_alone() -> None:
    keys = np.arange(5, dtype=np.uint64)
    mixed(keys, 3)
    assert keys.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0, 1.3, 3.0])
def test_stories_are_told_as_often_as_their_weight(weight: float) -> None:
    copies = copies_by_weight(KEYS, np.full(len(KEYS), weight))
    assert set(copies.tolist()) <= {int(weight), int(weight) + (weight % 1 > 0)}
    assert abs(copies.mean() - weight) < 0.01


def test_a_smaller_weight_tells_a_part_of_what_a_larger_one_tells() -> None:
    few, many = (copies_by_weight(KEYS, np.full(len(KEYS), weight)) for weight in (0.2, 0.6))
    assert (few <= many).all()


def test_order_holds_each_story_as_often_as_told() -> None:
    copies = (np.arange(1000) % 4).astype(np.uint16)
    order = order_by_key(KEYS[:1000], copies)
    assert (np.bincount(order, minlength=1000) == copies).all()


def test_order_follows_the_contents_not_their_places() -> None:
    copies = np.full(500, 2, np.uint16)
    shuffled = np.random.default_rng(3).permutation(500)
    assert (KEYS[:500][order_by_key(KEYS[:500], copies)] == KEYS[shuffled][order_by_key(KEYS[shuffled], copies)]).all()


def test_order_is_a_shuffle_with_copies_far_apart() -> None:
    order = order_by_key(KEYS[:2000], np.full(2000, 2, np.uint16))
    assert abs(np.corrcoef(order, np.arange(4000))[0, 1]) < 0.05
    first, second = (np.argsort(order, kind="stable").reshape(2000, 2)[:, nth] for nth in (0, 1))
    assert np.mean(second - first) > 4000 / 5
    assert np.mean(second - first == 1) < 0.01


def test_no_stories_have_an_empty_order() -> None:
    assert order_by_key(KEYS[:0], np.zeros(0, np.uint16)).tolist() == []
    assert order_by_key(KEYS[:3], np.zeros(3, np.uint16)).tolist() == []
