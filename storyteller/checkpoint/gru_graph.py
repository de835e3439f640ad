"""The network as a graph of standard ONNX operators over a whole sequence, for other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from storyteller.checkpoint.graph import Floats, GraphBuilder, Weights, finished_model
from storyteller.engine.architecture import GRUConfig

if TYPE_CHECKING:
    import onnx


def gru_graph(config: GRUConfig, weights: Weights) -> onnx.ModelProto:
    """``ids`` int64 (length, batch) and ``state`` (num_layers, batch, hidden_dim) -> ``logits`` (length, batch, vocab_size), ``new_state``.

    One operator GRU a layer, with ``linear_before_reset``, which makes it ``torch.nn.GRU``'s.
    """
    build, width = GraphBuilder(), config.hidden_dim
    direction = build.constant("direction_axis", np.array([1], np.int64))
    value = build.add("Gather", [build.constant("embedding", weights["embedding.weight"]), "ids"], "embedded", axis=0)
    layers = [f"state_l{layer}" for layer in range(config.num_layers)]
    states = []
    for layer, past in enumerate(build.split("Split", ["state"], layers, axis=0, num_outputs=config.num_layers)):
        weight, recurrent, bias, recurrent_bias = (
            _update_gate_first(weights[f"gru.{kind}_l{layer}"]) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        inputs = [
            value,
            build.constant(f"weight_l{layer}", weight[None]),
            build.constant(f"recurrent_l{layer}", recurrent[None]),
            build.constant(f"bias_l{layer}", np.concatenate([bias, recurrent_bias])[None]),
            "",
            past,
        ]
        outputs = [f"told_l{layer}", f"new_state_l{layer}"]
        told, after = build.split("GRU", inputs, outputs, hidden_size=width, linear_before_reset=1)
        value = build.add("Squeeze", [told, direction], f"hidden_l{layer}")
        states.append(after)
    build.add("Concat", states, "new_state", axis=0)
    if config.has_projection:
        value = build.float32_product("projection", value, weights["projection.weight"], weights["projection.bias"])
    matrix = weights["embedding.weight" if config.tie_weights else "output.weight"]
    build.add("Identity", [build.float32_product("output", value, matrix, weights["output.bias"])], "logits")
    return finished_model(build, config, ["length", "batch"], {}, standard=True)


def _update_gate_first(gates: Floats) -> Floats:
    """torch's order of gates is r, z, n; that of ONNX is z, r, h."""
    reset, update, candidate = np.split(gates, 3)
    return np.concatenate([update, reset, candidate])
