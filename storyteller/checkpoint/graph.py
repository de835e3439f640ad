"""The network as an ONNX step graph, made from numpy weights alone.

One step reads one id per row: ``ids`` int64 (batch,), ``state`` float32 (num_layers, batch, hidden_dim) in, ``logits`` float32
(batch, vocab_size) and ``new_state`` out. The cells are written out with the equations of ``torch.nn.GRU``, so that a row's answer
is computed by the same operations in the same order whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.architecture import GRUConfig

if TYPE_CHECKING:
    import onnx

GRAPH_VERSION = 1
"""Part of a derived file's name: a change of the graphs written here makes the files of older versions unused."""
OPSET = 21
IR_VERSION = 10

Weights = Mapping[str, NDArray[np.float32]]


class GraphBuilder:
    """Collects nodes and constants; every method returns the name of the value that it adds."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A stored array."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, op: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        self.split(op, inputs, [output], domain=domain, **attributes)
        return output

    def split(self, op: str, inputs: list[str], outputs: list[str], *, domain: str = "", **attributes: Any) -> list[str]:
        """A node with several outputs."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs

    def linear(self, name: str, value: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """``value @ weight.T + bias``, weight (outputs, inputs) as torch stores it."""
        matrix = self.constant(f"{name}.weight", weight.T)
        return self.add("Gemm", [value, matrix, self.constant(f"{name}.bias", bias)], name)

    def cell(self, name: str, inputs: str, recurrent: str, state: str, hidden: int) -> str:
        """A GRU cell after its two products, each (batch, 3 · hidden) with the gates r, z, n side by side.

        r = σ(x_r + h_r), z = σ(x_z + h_z), n = tanh(x_n + r · h_n), h' = n + z · (h − n) (the equations of ``torch.nn.GRU``).
        """
        parts = self.constant(f"{name}.parts", np.array([2 * hidden, hidden], np.int64))
        x_gates, x_candidate = self.split("Split", [inputs, parts], [f"{name}.x_gates", f"{name}.x_candidate"], axis=1)
        h_gates, h_candidate = self.split("Split", [recurrent, parts], [f"{name}.h_gates", f"{name}.h_candidate"], axis=1)
        gates = self.add("Sigmoid", [self.add("Add", [x_gates, h_gates], f"{name}.sum")], f"{name}.gates")
        reset, update = self.split("Split", [gates], [f"{name}.reset", f"{name}.update"], axis=1, num_outputs=2)
        past = self.add("Mul", [reset, h_candidate], f"{name}.past")
        candidate = self.add("Tanh", [self.add("Add", [x_candidate, past], f"{name}.drive")], f"{name}.candidate")
        kept = self.add("Mul", [update, self.add("Sub", [state, candidate], f"{name}.difference")], f"{name}.kept")
        return self.add("Add", [candidate, kept], f"{name}.state")


def step_graph(config: GRUConfig, weights: Weights, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """The float32 step graph of ``weights`` (names and shapes of :meth:`GRUConfig.shapes`)."""
    from onnx import TensorProto, helper

    build = GraphBuilder()
    layers, width = config.num_layers, config.hidden_dim
    axis = build.constant("layer_axis", np.array([0], np.int64))
    rows = build.split("Split", ["state"], [f"state_l{layer}" for layer in range(layers)], axis=0, num_outputs=layers)
    value = build.add("Gather", [build.constant("embedding", weights["embedding.weight"]), "ids"], "embedded", axis=0)
    states = []
    for layer in range(layers):
        state = build.add("Squeeze", [rows[layer], axis], f"past_l{layer}")
        inputs = build.linear(f"inputs_l{layer}", value, weights[f"gru.weight_ih_l{layer}"], weights[f"gru.bias_ih_l{layer}"])
        recurrent = build.linear(f"recurrent_l{layer}", state, weights[f"gru.weight_hh_l{layer}"], weights[f"gru.bias_hh_l{layer}"])
        value = build.cell(f"cell_l{layer}", inputs, recurrent, state, width)
        states.append(build.add("Unsqueeze", [value, axis], f"next_l{layer}"))
    build.add("Concat", states, "new_state", axis=0)
    if config.has_projection:
        value = build.linear("projection", value, weights["projection.weight"], weights["projection.bias"])
    matrix = weights["embedding.weight" if config.tie_weights else "output.weight"]
    build.add("Identity", [build.linear("output", value, matrix, weights["output.bias"])], "logits")
    state_shape: list[str | int | None] = [layers, "batch", width]
    graph = helper.make_graph(
        build.nodes,
        "step",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, state_shape),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", config.vocab_size]),
            helper.make_tensor_value_info("new_state", TensorProto.FLOAT, state_shape),
        ],
        build.constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
        ir_version=IR_VERSION,
        producer_name="storyteller",
    )
    helper.set_model_props(model, dict(metadata or {}))
    return model
