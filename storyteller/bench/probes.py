"""What the computer can do at best: read bandwidth and integer arithmetic, measured, not looked up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from storyteller.bench.timing import Work
from storyteller.engine.architecture import GRUConfig


def read_probes(size: int) -> dict[str, Work]:
    """Three ways to read ``size`` bytes again and again with one thread; the fastest is the bandwidth at that size and hotness."""
    columns = 1024
    rows = max(1, size // (4 * columns))
    matrix, vector = np.ones((rows, columns), np.float32), np.ones(columns, np.float32)
    words = matrix.reshape(-1).view(np.uint64)
    session = _product(np.ones((columns, max(16, size // columns)), np.int8))
    byte_row = np.ones((1, columns), np.uint8)

    def reads(read: Callable[[], Any], amount: int) -> Work:
        def work() -> int:
            for _ in range(8):
                read()
            return 8 * amount

        return work

    return {
        "float32 product": reads(lambda: matrix @ vector, matrix.nbytes),
        "or of all words": reads(lambda: np.bitwise_or.reduce(words), words.nbytes),
        "int8 product": reads(lambda: session.run(None, {"bytes": byte_row}), columns * max(16, size // columns)),
    }


def arithmetic_probe(rows: int = 256, width: int = 1024) -> Work:
    """Multiply-and-adds of bytes in a product large enough that reading does not matter, one thread."""
    session = _product(np.ones((width, width), np.int8))
    bytes_ = np.ones((rows, width), np.uint8)

    def work() -> int:
        for _ in range(8):
            session.run(None, {"bytes": bytes_})
        return 8 * rows * width * width

    return work


def weight_bytes_per_token(config: GRUConfig, precision: str) -> int:
    """Bytes of weights that a step of one row must read, scales and biases included, embedding or table as one row of it."""
    width, vocab = config.hidden_dim, config.vocab_size
    recurrent = config.num_layers * 3 * width * width
    later_inputs = (config.num_layers - 1) * 3 * width * width
    if precision == "float32":
        first = 3 * width * config.embed_dim
        projection = (width + 1) * config.embed_dim if config.has_projection else 0
        biases = config.num_layers * 6 * width + vocab
        return 4 * (config.embed_dim + first + recurrent + later_inputs + projection + config.output_width * vocab + biases)
    # The first layer's inputs are a table, with their bias in it.
    biases = 4 * ((2 * config.num_layers - 1) * 3 * width + vocab)
    table_row, output = 2 * 3 * width, vocab * (width + 4)
    if precision == "int8":
        scales = 4 * 3 * width * (2 * config.num_layers - 1)
        return table_row + recurrent + later_inputs + scales + output + biases
    # Half a byte a weight, and a float32 scale for 32 of them.
    return table_row + (recurrent + later_inputs) * 5 // 8 + output + biases


def operations_per_token(config: GRUConfig) -> int:
    """Multiply-and-adds of a step's quantised products for one row."""
    width = config.hidden_dim
    return (2 * config.num_layers - 1) * 3 * width * width + config.vocab_size * width


def _product(weight: np.ndarray[Any, np.dtype[np.int8]]) -> Any:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["bytes", "weight"], ["total"])],
        "probe",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["rows", weight.shape[0]])],
        [helper.make_tensor_value_info("total", TensorProto.INT32, ["rows", weight.shape[1]])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
