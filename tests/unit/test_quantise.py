"""Weights in 8, 7 and 4 bits come back within half a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyteller.checkpoint.quantise import BLOCK, quantise_blocks, quantise_rows


def random_weight(seed: int, outputs: int, inputs: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((outputs, inputs)) * rng.uniform(0.01, 10, (outputs, 1))).astype(np.float32)


def unpacked(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], BLOCK).astype(np.int64)


@pytest.mark.parametrize("bits", [8, 7])
@given(seed=st.integers(0, 2**32), outputs=st.integers(1, 9), inputs=st.integers(1, 70))
def test_rows_come_back_within_half_a_step(bits, seed, outputs, inputs):
    weight = random_weight(seed, outputs, inputs)
    integers, scales = quantise_rows(weight, bits)
    most = 2 ** (bits - 1) - 1
    assert integers.dtype == np.int8 and np.abs(integers).max() == most
    assert np.allclose(scales, np.abs(weight).max(axis=1) / most)
    assert (np.abs(integers * scales[:, None] - weight) <= scales[:, None] * 0.5001).all()


@given(seed=st.integers(0, 2**32), outputs=st.integers(1, 9), inputs=st.integers(1, 70))
def test_blocks_come_back_within_half_a_step_or_a_whole_one_at_the_far_end(seed, outputs, inputs):
    weight = random_weight(seed, outputs, inputs)
    packed, scales = quantise_blocks(weight)
    blocks = -(-inputs // BLOCK)
    assert packed.shape == (outputs, blocks, BLOCK // 2) and packed.dtype == np.uint8
    assert scales.shape == (outputs, blocks)
    integers = unpacked(packed)
    back = ((integers - 8) * scales[:, :, None]).reshape(outputs, -1)
    error = np.abs(back[:, :inputs] - weight).reshape(outputs, -1)
    step = np.repeat(np.abs(scales), BLOCK, axis=1)[:, :inputs]
    # Eight steps reach the largest weight, but only seven the other way.
    far = integers.reshape(outputs, -1)[:, :inputs] == 15
    assert (error <= step * np.where(far, 1.0001, 0.5001)).all()
    assert (back[:, inputs:] == 0).all()
    # The largest weight of a block is exact.
    largest = np.abs(np.pad(weight, ((0, 0), (0, -inputs % BLOCK))).reshape(outputs, blocks, BLOCK)).max(axis=2)
    assert np.allclose(np.abs(scales) * 8, largest)


def test_weights_of_zero_stay_zero():
    zeros = np.zeros((3, 40), np.float32)
    integers, scales = quantise_rows(zeros)
    assert not integers.any() and (scales == 1).all()
    packed, scales = quantise_blocks(zeros)
    assert (unpacked(packed) == 8).all() and np.isfinite(scales).all()
