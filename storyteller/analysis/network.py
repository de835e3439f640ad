"""The network in float32 numpy with everything that happens inside it: gates, candidates and states of every layer.

The equations are those of ``torch.nn.GRU``: r = σ(W_ir x + b_ir + W_hr h + b_hr), z = σ(W_iz x + b_iz + W_hz h + b_hz),
n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn)), h' = (1 − z) ⊙ n + z ⊙ h. So an open update gate, z near 0, writes; z near 1 keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.architecture import GRUConfig

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What happened while T inputs were read; layers come first, then time, then whatever batch there is.

    ``reset``, ``update``, ``candidate``: float32 (layers, T, …, hidden_dim). ``states``: float32 (layers, T + 1, …, hidden_dim); the
    first is the state before anything was read.
    """

    reset: Floats
    update: Floats
    candidate: Floats
    states: Floats

    @property
    def hidden(self) -> Floats:
        """The states after each input, (layers, T, …, hidden_dim)."""
        return self.states[:, 1:]


@dataclass(frozen=True, eq=False)
class Network:
    """Architecture and float32 weights, by the names of :meth:`GRUConfig.shapes`."""

    config: GRUConfig
    weights: Mapping[str, Floats]

    @classmethod
    def of(cls, model: LoadedModel) -> Network:
        """The float32 network of a model, in whatever precision that tells."""
        return cls(model.config, model.checkpoint.weights())

    @cached_property
    def readout(self) -> tuple[Floats, Floats]:
        """Matrix (vocab_size, hidden_dim) and bias (vocab_size,) from the top layer's state to the logits, any projection folded in."""
        matrix = self.weights["embedding.weight" if self.config.tie_weights else "output.weight"]
        bias = self.weights["output.bias"]
        if self.config.has_projection:
            bias = bias + matrix @ self.weights["projection.bias"]
            matrix = matrix @ self.weights["projection.weight"]
        return matrix, bias

    def embed(self, ids: Sequence[int]) -> Floats:
        """Embeddings of ``ids``, (T, embed_dim)."""
        return self.weights["embedding.weight"][np.asarray(ids, np.int64)]

    def read(self, inputs: Floats, state: Floats | None = None) -> Trace:
        """Read embeddings (T, …, embed_dim) from ``state`` (layers, …, hidden_dim), zeros if None."""
        layers, hidden, length = self.config.num_layers, self.config.hidden_dim, len(inputs)
        batch = inputs.shape[1:-1]
        reset, update, candidate = (np.empty((layers, length, *batch, hidden), np.float32) for _ in range(3))
        states = np.empty((layers, length + 1, *batch, hidden), np.float32)
        states[:, 0] = 0 if state is None else state
        values = inputs
        for layer in range(layers):
            driven = values @ self.weights[f"gru.weight_ih_l{layer}"].T + self.weights[f"gru.bias_ih_l{layer}"]
            matrix, bias = self.weights[f"gru.weight_hh_l{layer}"].T, self.weights[f"gru.bias_hh_l{layer}"]
            for place in range(length):
                held = states[layer, place]
                recurrent = held @ matrix + bias
                gates = _sigmoid(driven[place, ..., : 2 * hidden] + recurrent[..., : 2 * hidden])
                r, z = gates[..., :hidden], gates[..., hidden:]
                n = np.tanh(driven[place, ..., 2 * hidden :] + r * recurrent[..., 2 * hidden :])
                reset[layer, place], update[layer, place], candidate[layer, place] = r, z, n
                states[layer, place + 1] = (1 - z) * n + z * held
            values = states[layer, 1:]
        return Trace(reset, update, candidate, states)

    def read_ids(self, ids: Sequence[int]) -> Trace:
        """Read ``ids`` from a zero state."""
        return self.read(self.embed(ids))

    def logits(self, hidden: Floats) -> Floats:
        """Logits (…, vocab_size) from states (…, hidden_dim) of the top layer."""
        matrix, bias = self.readout
        logits: Floats = hidden @ matrix.T + bias
        return logits

    def shuffled(self, seed: int) -> Network:
        """The control of Adebayo et al. 2018: the same numbers in each tensor, in random places, so that nothing learned is left."""
        random = np.random.default_rng(seed)
        weights = {name: random.permutation(self.weights[name].ravel()).reshape(self.weights[name].shape) for name in sorted(self.weights)}
        return Network(self.config, weights)


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """ln p of each entry of the last axis, in float64."""
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return values


def _sigmoid(value: Floats) -> Floats:
    # Through tanh: exp would overflow on a gate that is far shut.
    result: Floats = np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * value)
    return result
