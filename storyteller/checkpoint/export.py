"""A checkpoint in other forms, each checked against its source before it is written.

``onnx``         the step graph of :mod:`storyteller.checkpoint.graph`, in one file
``onnx-gru``     a whole sequence through the standard ONNX operator GRU, for other tools
``safetensors``  the weights alone, in float32 or float16
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from storyteller.checkpoint.difference import Difference, Floats, Source, difference, sample_ids
from storyteller.checkpoint.files import replace_file
from storyteller.checkpoint.graph import GRAPH_VERSION, Precision, prefill_graph, step_graph
from storyteller.checkpoint.gru_graph import gru_graph
from storyteller.checkpoint.reference import reference_logits
from storyteller.checkpoint.weights import Stored, save_weights
from storyteller.engine.architecture import GRUConfig

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Graphs:
    """A step graph that was checked, and the prefill graph, None where it does not tell the step graph's bits on this computer."""

    step: onnx.ModelProto
    prefill: onnx.ModelProto | None
    difference: Difference


def checked_graphs(source: Source, precision: Precision) -> Graphs:
    """Make both graphs of ``source`` and run them on the sample text beside the network in numpy.

    Raises :class:`CheckpointInvalid` if the difference is larger than the precision explains.
    """
    from threadpoolctl import threadpool_limits

    # Numpy's own threads wait for each other far longer than they work where another program has one of the cores.
    with threadpool_limits(1, "blas"):
        return _checked_graphs(source, precision)


def _checked_graphs(source: Source, precision: Precision) -> Graphs:
    from onnx import helper

    config, weights = source.config, source.weights()
    constants: dict[str, Any] = {}
    bits = 7 if precision != "float32" and products_saturate() else 8
    metadata = {"source_sha256": source.sha256, "graph_version": str(GRAPH_VERSION)}
    step = step_graph(config, weights, precision, bits=bits, constants=constants)
    ids = sample_ids(source)
    expected = reference_logits(config, weights, ids[:-1])
    logits, states = _stepped(step, config, ids[:-1])
    found = difference(source, precision, logits, expected, ids[1:])
    helper.set_model_props(step, {**metadata, "precision": precision, **found.to_metadata()})
    prefill = prefill_graph(config, weights, precision, bits=bits, metadata=metadata, constants=constants)
    at_once = _run(prefill, ids[:-1].T, _zero_state(config, ids.shape[1]))
    same = np.array_equal(at_once[0], logits.swapaxes(0, 1)) and np.array_equal(at_once[1], states)
    return Graphs(step, prefill if same else None, found)


def export_onnx(source: Source, path: Path, precision: Precision) -> Difference:
    """Write the step graph in ``precision`` to ``path``, weights and all; what it takes and gives: :mod:`storyteller.checkpoint.graph`.

    Raises :class:`CheckpointInvalid` and writes nothing if the precision is too coarse for this model.
    """
    graphs = checked_graphs(source, precision)
    replace_file(path, lambda fresh: fresh.write_bytes(graphs.step.SerializeToString(deterministic=True)))
    return graphs.difference


def export_onnx_gru(source: Source, path: Path) -> Difference:
    """Write the float32 graph of :func:`~storyteller.checkpoint.gru_graph.gru_graph` to ``path``; raises as :func:`export_onnx`."""
    from onnx import helper

    config, weights = source.config, source.weights()
    model, ids = gru_graph(config, weights), sample_ids(source)
    logits, _ = _run(model, ids[:-1], _zero_state(config, ids.shape[1]))
    found = difference(source, "float32", logits, reference_logits(config, weights, ids[:-1]), ids[1:])
    helper.set_model_props(model, {"source_sha256": source.sha256, "precision": "float32", **found.to_metadata()})
    replace_file(path, lambda fresh: fresh.write_bytes(model.SerializeToString(deterministic=True)))
    return found


def export_safetensors(source: Source, path: Path, dtype: Stored) -> Difference:
    """Write the weights in ``dtype`` to ``path``; raises as :func:`export_onnx`."""
    config, weights = source.config, source.weights()
    ids = sample_ids(source)
    rounded = {name: array.astype(dtype).astype(np.float32) for name, array in weights.items()}
    logits = reference_logits(config, rounded, ids[:-1])
    found = difference(source, dtype, logits, reference_logits(config, weights, ids[:-1]), ids[1:])
    save_weights(path, weights, config.shapes(), dtype, {"source_sha256": source.sha256, **found.to_metadata()})
    return found


@cache
def products_saturate() -> bool:
    """Whether this processor's product of unsigned and signed bytes overflows 16 bits on the way: x86 before VNNI does.

    Found by trying: 255 · 127 + 255 · 127 is more than 16 bits hold. Weights of 7 bits are safe everywhere.
    """
    from onnx import TensorProto, helper, numpy_helper

    inputs, outputs = 64, 16
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["bytes", "weight", "zero"], ["total"])],
        "probe",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["rows", inputs])],
        [helper.make_tensor_value_info("total", TensorProto.INT32, ["rows", outputs])],
        [
            numpy_helper.from_array(np.full((inputs, outputs), 127, np.int8), "weight"),
            numpy_helper.from_array(np.array(128, np.uint8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = _session(model)
    return any((session.run(None, {"bytes": np.full((rows, inputs), 255, np.uint8)})[0] != 127 * 127 * inputs).any() for rows in (1, 7))


def _stepped(model: onnx.ModelProto, config: GRUConfig, ids: NDArray[np.int64]) -> tuple[Floats, Floats]:
    session, state = _session(model), _zero_state(config, ids.shape[1])
    logits = []
    for row in ids:
        after, state = session.run(["logits", "new_state"], {"ids": row, "state": state})
        logits.append(after)
    return np.stack(logits), state


def _run(model: onnx.ModelProto, ids: NDArray[np.int64], state: Floats) -> list[Floats]:
    outputs: list[Floats] = _session(model).run(["logits", "new_state"], {"ids": ids, "state": state})
    return outputs


def _zero_state(config: GRUConfig, batch: int) -> Floats:
    return np.zeros((config.num_layers, batch, config.hidden_dim), np.float32)


def _session(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
