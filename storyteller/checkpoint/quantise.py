"""Weights in 8 and in 4 bits: round-to-nearest formulas in numpy, one for each kind of product in a graph.

A weight is (outputs, inputs), as torch stores it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Inputs that share a scale in 4 bits. With 64 and 128 ONNX Runtime's products of one row and of several differ in the last bits."""


def quantise_rows(weight: NDArray[np.float32], bits: int = 8) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric integers of ``bits`` bits with one scale an output: ``weight`` ≈ ``integers * scales[:, None]``.

    scale = max |w| / (2^(bits-1) - 1), integer = round(w / scale); an output whose weights are all zero has scale 1.
    Returns the integers, int8 (outputs, inputs), and the scales, float32 (outputs,).
    """
    most = 2 ** (bits - 1) - 1
    scales = np.abs(weight).max(axis=1) / np.float32(most)
    scales[scales == 0] = 1
    return np.rint(weight / scales[:, None]).astype(np.int8), scales


def quantise_blocks(weight: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Integers of 4 bits with one scale for :data:`BLOCK` inputs: ``weight`` ≈ ``(integers - 8) * scale``.

    The weight of largest magnitude in a block becomes integer 0, that is -8 times the scale, which may be negative, so that all 16 values
    are in use. Returns what ONNX Runtime's ``MatMulNBits`` takes: two integers a byte, the first in the low half, uint8
    (outputs, blocks, BLOCK / 2), and the scales, float32 (outputs, blocks). Missing inputs of the last block count as zero weights.
    """
    outputs, inputs = weight.shape
    padded = np.pad(weight, ((0, 0), (0, -inputs % BLOCK)))
    blocks = padded.reshape(outputs, -1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[:, :, None], axis=2)
    scales = largest / np.float32(-8)
    scales[scales == 0] = 1
    integers = np.clip(np.rint(blocks / scales) + 8, 0, 15).astype(np.uint8)
    return integers[:, :, 0::2] | (integers[:, :, 1::2] << 4), scales[:, :, 0]
