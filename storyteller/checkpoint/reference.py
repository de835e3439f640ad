"""The network in plain numpy, for checking what was exported: slow, and obviously right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.architecture import GRUConfig

Floats = NDArray[np.float32]


def reference_logits(config: GRUConfig, weights: Mapping[str, Floats], ids: NDArray[np.int64]) -> Floats:
    """Logits after each of ``ids`` (length, batch) from a zero state, float32 (length, batch, vocab_size).

    The equations are those of ``torch.nn.GRU``.
    """
    values = weights["embedding.weight"][ids]
    for layer in range(config.num_layers):
        inputs = values @ weights[f"gru.weight_ih_l{layer}"].T + weights[f"gru.bias_ih_l{layer}"]
        matrix, bias = weights[f"gru.weight_hh_l{layer}"].T, weights[f"gru.bias_hh_l{layer}"]
        state = np.zeros((ids.shape[1], config.hidden_dim), np.float32)
        values = np.empty((*ids.shape, config.hidden_dim), np.float32)
        for place, gates in enumerate(inputs):
            x_reset, x_update, x_candidate = np.split(gates, 3, axis=-1)
            h_reset, h_update, h_candidate = np.split(state @ matrix + bias, 3, axis=-1)
            update = _sigmoid(x_update + h_update)
            candidate = np.tanh(x_candidate + _sigmoid(x_reset + h_reset) * h_candidate)
            state = candidate + update * (state - candidate)
            values[place] = state
    if config.has_projection:
        values = values @ weights["projection.weight"].T + weights["projection.bias"]
    logits: Floats = values @ weights["embedding.weight" if config.tie_weights else "output.weight"].T + weights["output.bias"]
    return logits


def mean_surprisal(logits: Floats, ids: NDArray[np.int64]) -> float:
    """Mean of -ln softmax(logits)[id], in nats, of ``ids`` (…) under ``logits`` (…, vocab_size)."""
    best = logits.max(axis=-1, keepdims=True)
    totals = np.log(np.exp(logits - best).sum(axis=-1, dtype=np.float64)) + best[..., 0]
    return float((totals - np.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]).mean())


def _sigmoid(value: Floats) -> Floats:
    # Through tanh: exp would overflow on a gate that is far shut.
    result: Floats = np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * value)
    return result
