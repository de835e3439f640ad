"""The network as ONNX graphs, made from numpy weights alone: one that reads an id per row, one that reads many.

The *step* graph takes ``ids`` int64 (batch,) and ``state`` float32 (num_layers, batch, hidden_dim) and gives ``logits`` float32
(batch, vocab_size) and ``new_state``. The *prefill* graph takes ``ids`` (batch, length) and gives ``logits`` (batch, length, vocab_size):
a layer's input products are computed for all ids at once, and only the recurrent part is stepped.

The cells are written out with the equations of ``torch.nn.GRU``, and nothing in either graph mixes rows, so that a row's answer is
computed by the same operations in the same order alone, among others, and in a prefill. The three precisions differ in their products:

``float32``  plain products.
``int8``     activations in 8 bits × weights in 8 bits with a scale an output, summed exactly in integers. A GRU's state lies between -1
             and 1 (it is a mean of tanh values), so the activations' scale is the constant 1/127 and depends on no row.
``int4``     weights of the cells in 4 bits (``MatMulNBits``, activations in 8 bits a block), the output layer as in int8, since most
             of the loss in 4 bits would sit there.

In int8 and int4 the embedding and the first layer's input product are one table, (vocab_size, 3 · hidden_dim) in float16: its rows are
the products themselves, so nothing is quantised there. A projection is multiplied into the output layer for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from storyteller.checkpoint.quantise import BLOCK, quantise_blocks, quantise_rows
from storyteller.engine.architecture import GRUConfig

if TYPE_CHECKING:
    import onnx

Precision = Literal["float32", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("float32", "int8", "int4")
GRAPH_VERSION = 2
"""Part of a derived file's name: a change of the graphs written here makes the files of older versions unused."""
OPSET = 21
IR_VERSION = 10
STATE_SCALE = np.float32(1 / 127)
STATE_ZERO = np.uint8(128)

Array = NDArray[Any]
Floats = NDArray[np.float32]
Weights = Mapping[str, Floats]


class GraphBuilder:
    """Collects nodes, and constants by name; every method returns the name of the value that it adds."""

    def __init__(self, bits: int = 8, constants: dict[str, Any] | None = None) -> None:
        self.bits = bits
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {} if constants is None else constants
        self._in_8_bits: dict[str, str] = {}

    def body(self) -> GraphBuilder:
        """A builder for an inner graph, which sees the constants of this one."""
        return GraphBuilder(self.bits, self.constants)

    def constant(self, name: str, array: Array | np.generic) -> str:
        """A stored array; of one name there is one, the first."""
        from onnx import numpy_helper

        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def constants_of(self, names: list[str], make: Callable[[], tuple[Array, ...]]) -> list[str]:
        """Several stored arrays, made together unless they are there."""
        if names[0] not in self.constants:
            for name, array in zip(names, make(), strict=True):
                self.constant(name, array)
        return names

    def add(self, op: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        return self.split(op, inputs, [output], domain=domain, **attributes)[0]

    def split(self, op: str, inputs: list[str], outputs: list[str], *, domain: str = "", **attributes: Any) -> list[str]:
        """A node with several outputs."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs

    def float32_product(self, name: str, value: str, weight: Floats, bias: Floats) -> str:
        """``value @ weight.T + bias``, with weight (outputs, inputs) as torch stores it."""
        product = self.add("MatMul", [value, self.constant(f"{name}.weight", weight.T)], f"{name}.product")
        return self.add("Add", [product, self.constant(f"{name}.bias", bias)], name)

    def int8_product(self, name: str, value: str, weight: Floats, bias: Floats) -> str:
        """The same for a value between -1 and 1, in 8 bits."""
        zero = self.constant("state_zero", STATE_ZERO)
        if value not in self._in_8_bits:
            scale = self.constant("state_scale", STATE_SCALE)
            self._in_8_bits[value] = self.add("QuantizeLinear", [value, scale, zero], f"{value}.in_8_bits")
        name8 = f"{name}.weight{self.bits}"
        integers, scales = self.constants_of([name8, f"{name8}.scale"], lambda: _transposed(*quantise_rows(weight, self.bits)))
        total = self.add("MatMulInteger", [self._in_8_bits[value], integers, zero], f"{name}.integers")
        real = self.add("Cast", [total], f"{name}.real", to=_float_type())
        product = self.add("Mul", [real, scales], f"{name}.product")
        return self.add("Add", [product, self.constant(f"{name}.bias", bias)], name)

    def int4_product(self, name: str, value: str, weight: Floats, bias: Floats) -> str:
        """The same with weights in 4 bits; accuracy level 4 is ONNX Runtime's name for activations in 8 bits, a scale a block."""
        packed, scales = self.constants_of([f"{name}.weight4", f"{name}.weight4.scale"], lambda: quantise_blocks(weight))
        inputs = [value, packed, scales, "", "", self.constant(f"{name}.bias", bias)]
        attributes = {"K": weight.shape[1], "N": weight.shape[0], "bits": 4, "block_size": BLOCK, "accuracy_level": 4}
        return self.add("MatMulNBits", inputs, name, domain="com.microsoft", **attributes)

    def cell(self, name: str, inputs: str, recurrent: str, state: str, hidden: int) -> str:
        """A GRU cell after its two products, each (…, 3 · hidden) with the gates r, z, n side by side.

        r = σ(x_r + h_r), z = σ(x_z + h_z), n = tanh(x_n + r · h_n), h' = n + z · (h - n) (the equations of ``torch.nn.GRU``).
        """
        parts = self.constant("gate_widths", np.array([2 * hidden, hidden], np.int64))
        x_gates, x_candidate = self.split("Split", [inputs, parts], [f"{name}.x_gates", f"{name}.x_candidate"], axis=-1)
        h_gates, h_candidate = self.split("Split", [recurrent, parts], [f"{name}.h_gates", f"{name}.h_candidate"], axis=-1)
        gates = self.add("Sigmoid", [self.add("Add", [x_gates, h_gates], f"{name}.sum")], f"{name}.gates")
        reset, update = self.split("Split", [gates], [f"{name}.reset", f"{name}.update"], axis=-1, num_outputs=2)
        past = self.add("Mul", [reset, h_candidate], f"{name}.past")
        candidate = self.add("Tanh", [self.add("Add", [x_candidate, past], f"{name}.drive")], f"{name}.candidate")
        kept = self.add("Mul", [update, self.add("Sub", [state, candidate], f"{name}.difference")], f"{name}.kept")
        return self.add("Add", [candidate, kept], f"{name}.state")


class NetworkGraph:
    """What both graphs are made of: the network's parts in one precision."""

    def __init__(self, config: GRUConfig, weights: Weights, precision: Precision, bits: int, constants: dict[str, Any] | None) -> None:
        self.config = config
        self.weights = weights
        self.precision = precision
        self.build = GraphBuilder(bits, constants)

    def _cells_product(self, build: GraphBuilder) -> Callable[[str, str, Floats, Floats], str]:
        products = {"float32": build.float32_product, "int8": build.int8_product, "int4": build.int4_product}
        return products[self.precision]

    def first_inputs(self, ids: str) -> str:
        """The first layer's input products of ``ids``, (…, 3 · hidden)."""
        build, weights = self.build, self.weights
        embedding, matrix, bias = weights["embedding.weight"], weights["gru.weight_ih_l0"], weights["gru.bias_ih_l0"]
        if self.precision == "float32":
            value = build.add("Gather", [build.constant("embedding", embedding), ids], "embedded", axis=0)
            return build.float32_product("inputs_l0", value, matrix, bias)
        table = build.constants_of(["inputs_l0.table"], lambda: ((embedding @ matrix.T + bias).astype(np.float16),))
        rows = build.add("Gather", [*table, ids], "inputs_l0.rows", axis=0)
        return build.add("Cast", [rows], "inputs_l0", to=_float_type())

    def inputs(self, layer: int, value: str) -> str:
        """A later layer's input products, (…, 3 · hidden)."""
        weight, bias = self.weights[f"gru.weight_ih_l{layer}"], self.weights[f"gru.bias_ih_l{layer}"]
        return self._cells_product(self.build)(f"inputs_l{layer}", value, weight, bias)

    def next_state(self, build: GraphBuilder, layer: int, inputs: str, state: str) -> str:
        """A layer's new state, of the shape of ``state``."""
        weight, bias = self.weights[f"gru.weight_hh_l{layer}"], self.weights[f"gru.bias_hh_l{layer}"]
        recurrent = self._cells_product(build)(f"recurrent_l{layer}", state, weight, bias)
        return build.cell(f"cell_l{layer}", inputs, recurrent, state, self.config.hidden_dim)

    def output(self, value: str) -> str:
        """The logits, (…, vocab_size)."""
        build, weights = self.build, self.weights
        matrix = weights["embedding.weight" if self.config.tie_weights else "output.weight"]
        bias = weights["output.bias"]
        if self.precision == "float32":
            if self.config.has_projection:
                value = build.float32_product("projection", value, weights["projection.weight"], weights["projection.bias"])
            return build.float32_product("output", value, matrix, bias)
        if self.config.has_projection:
            bias = bias + matrix @ weights["projection.bias"]
            matrix = matrix @ weights["projection.weight"]
        return build.int8_product("output", value, matrix, bias)

    def past_states(self) -> list[str]:
        """The state of each layer, (1, batch, hidden)."""
        layers = self.config.num_layers
        return self.build.split("Split", ["state"], [f"state_l{layer}" for layer in range(layers)], axis=0, num_outputs=layers)


def step_graph(
    config: GRUConfig,
    weights: Weights,
    precision: Precision = "float32",
    *,
    bits: int = 8,
    metadata: Mapping[str, str] | None = None,
    constants: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """The step graph of ``weights`` (names and shapes of :meth:`GRUConfig.shapes`).

    ``bits`` is the width of int8's weights: 8, or 7 where :func:`~storyteller.checkpoint.export.products_saturate`. ``constants`` takes
    the stored arrays, for :func:`prefill_graph` to take them over.
    """
    network = NetworkGraph(config, weights, precision, bits, constants)
    build = network.build
    inputs = network.first_inputs("ids")
    states: list[str] = []
    for layer, past in enumerate(network.past_states()):
        if layer:
            inputs = network.inputs(layer, states[-1])
        states.append(network.next_state(build, layer, inputs, past))
    build.add("Concat", states, "new_state", axis=0)
    build.add("Squeeze", [network.output(states[-1]), build.constant("layer_axis", np.array([0], np.int64))], "logits")
    return finished_model(build, config, ["batch"], {"precision": precision, **(metadata or {})})


def prefill_graph(
    config: GRUConfig,
    weights: Weights,
    precision: Precision = "float32",
    *,
    bits: int = 8,
    metadata: Mapping[str, str] | None = None,
    constants: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """The prefill graph of ``weights``; it has the constants of :func:`step_graph`, by the same names."""
    from onnx import TensorProto, helper

    network = NetworkGraph(config, weights, precision, bits, constants)
    build, width = network.build, config.hidden_dim
    axis = build.constant("layer_axis", np.array([0], np.int64))
    inputs = network.first_inputs(build.add("Transpose", ["ids"], "ids_in_time", perm=[1, 0]))
    value = ""
    states: list[str] = []
    for layer, past in enumerate(network.past_states()):
        if layer:
            inputs = network.inputs(layer, value)
        body, name = build.body(), f"scan_l{layer}"
        after = network.next_state(body, layer, f"{name}.inputs", f"{name}.past")
        body.add("Identity", [after], f"{name}.told")
        row: list[str | int | None] = ["batch", width]
        gates: list[str | int | None] = ["batch", 3 * width]
        graph = helper.make_graph(
            body.nodes,
            name,
            [
                helper.make_tensor_value_info(f"{name}.past", TensorProto.FLOAT, row),
                helper.make_tensor_value_info(f"{name}.inputs", TensorProto.FLOAT, gates),
            ],
            [
                helper.make_tensor_value_info(after, TensorProto.FLOAT, row),
                helper.make_tensor_value_info(f"{name}.told", TensorProto.FLOAT, row),
            ],
        )
        start = build.add("Squeeze", [past, axis], f"{name}.start")
        last, value = build.split("Scan", [start, inputs], [f"{name}.last", f"{name}.states"], body=graph, num_scan_inputs=1)
        states.append(build.add("Unsqueeze", [last, axis], f"{name}.new_state"))
    build.add("Concat", states, "new_state", axis=0)
    build.add("Transpose", [network.output(value)], "logits", perm=[1, 0, 2])
    return finished_model(build, config, ["batch", "length"], {"precision": precision, **(metadata or {})})


def finished_model(
    build: GraphBuilder, config: GRUConfig, ids_shape: list[str], metadata: Mapping[str, str], *, standard: bool = False
) -> onnx.ModelProto:
    """The graph that was built, between ``ids`` of that shape, ``state``, ``logits`` and ``new_state``.

    A ``standard`` one has ONNX's own operators alone, and none of ONNX Runtime's.
    """
    from onnx import TensorProto, helper

    logits_shape: list[str | int | None] = [*ids_shape, config.vocab_size]
    state_shape: list[str | int | None] = [config.num_layers, "batch", config.hidden_dim]
    graph = helper.make_graph(
        build.nodes,
        "storyteller",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ids_shape),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, state_shape),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits_shape),
            helper.make_tensor_value_info("new_state", TensorProto.FLOAT, state_shape),
        ],
        list(build.constants.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if not standard:
        opsets.append(helper.make_opsetid("com.microsoft", 1))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="storyteller")
    helper.set_model_props(model, dict(metadata))
    return model


def _transposed(integers: Array, scales: Floats) -> tuple[Array, Floats]:
    return integers.T, scales * STATE_SCALE


def _float_type() -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT)
