"""A checkpoint in other forms, each checked against its source before it is written.

``onnx``         the step graph of :mod:`storyteller.checkpoint.graph`, in one file
``onnx-gru``     the whole sequence through the standard ONNX operator GRU, for other tools
``safetensors``  the weights alone, in float32 or float16
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storyteller.checkpoint.graph import GRAPH_VERSION, Precision, Weights, prefill_graph, step_graph
from storyteller.checkpoint.reference import mean_surprisal, reference_logits
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid

if TYPE_CHECKING:
    import onnx

SAMPLE_TEXT = (
    "Once upon a time, there was a little fox named Nell. Nell lived with her mom near a wide blue lake. Every morning she "
    'ran to the water to look for shells. One day, she saw a small boat with no one in it. "Whose boat is this?" she asked. A '
    'duck swam up and said, "It is mine, but I cannot row with my wings." Nell thought for a while. "I can row, and you can '
    'tell me the way," she said. The duck was very happy. They went over the lake together and found a tiny island full of '
    'berries. They ate until the sun went down. When Nell came home, her mom gave her a big hug. "I was worried," she said. '
    "Nell gave her the berries that she had saved, and told her all about the duck and the boat. From that day on, the three "
    "of them were good friends."
)
ROWS, LENGTH = 4, 32
LARGEST_LOGIT_DIFFERENCE = {"float32": 1e-3}
LARGEST_LOSS_DIFFERENCE = {"float32": 1e-4, "int8": 0.05, "int4": 0.25}
"""In nats per token on the sample text. What lies above is no rounding but a mistake, or a network that 4 bits cannot hold."""


class Source(Protocol):
    """What is exported: a checkpoint, or anything like it."""

    @property
    def name(self) -> str:
        """What people call the model."""
        ...

    @property
    def config(self) -> GRUConfig:
        """Its architecture."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids."""
        ...

    @property
    def sha256(self) -> str:
        """Checksum of its weights file, in hexadecimal."""
        ...

    def weights(self) -> Weights:
        """Its tensors in float32."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a graph lies from its source on the sample text: ``logits`` the largest, ``loss`` the mean one in nats per token (signed)."""

    logits: float
    loss: float

    def to_metadata(self) -> dict[str, str]:
        """As it stands in an ONNX file's metadata."""
        return {"largest_logit_difference": f"{self.logits:.1e}", "loss_difference": f"{self.loss:.1e}"}


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
    difference = _difference(source, precision, logits, expected, ids[1:])
    helper.set_model_props(step, {**metadata, "precision": precision, **difference.to_metadata()})
    prefill = prefill_graph(config, weights, precision, bits=bits, metadata=metadata, constants=constants)
    at_once = _run(prefill, ids[:-1].T, _zero_state(config))
    same = np.array_equal(at_once[0], logits.swapaxes(0, 1)) and np.array_equal(at_once[1], states)
    return Graphs(step, prefill if same else None, difference)


def sample_ids(source: Source) -> NDArray[np.int64]:
    """The sample text as ids (LENGTH + 1, ROWS), each column beginning with the end token, repeated where it is too short."""
    ids = source.tokenizer.encode(SAMPLE_TEXT)
    columns = np.resize(np.array(ids, np.int64), (ROWS, LENGTH)).T
    return np.concatenate([np.full((1, ROWS), source.tokenizer.end_id, np.int64), columns])


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


def _difference(
    source: Source, precision: Precision, logits: NDArray[np.float32], expected: NDArray[np.float32], ids: NDArray[np.int64]
) -> Difference:
    difference = Difference(
        logits=float(np.abs(logits - expected).max()),
        loss=mean_surprisal(logits, ids) - mean_surprisal(expected, ids),
    )
    if not (
        difference.logits <= LARGEST_LOGIT_DIFFERENCE.get(precision, np.inf) and abs(difference.loss) <= LARGEST_LOSS_DIFFERENCE[precision]
    ):
        raise CheckpointInvalid(
            f"{source.name} in {precision} is not the model that it was: on a sample text its loss changes by {difference.loss:+.3f} nats "
            f"per token, a logit by up to {difference.logits:.3g}",
            "tell with --precision float32" if precision != "float32" else "storyteller models verify",
        )
    return difference


def _stepped(model: onnx.ModelProto, config: GRUConfig, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    session, state = _session(model), _zero_state(config)
    logits = []
    for row in ids:
        after, state = session.run(["logits", "new_state"], {"ids": row, "state": state})
        logits.append(after)
    return np.stack(logits), state


def _run(model: onnx.ModelProto, ids: NDArray[np.int64], state: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    outputs: list[NDArray[np.float32]] = _session(model).run(["logits", "new_state"], {"ids": ids, "state": state})
    return outputs


def _zero_state(config: GRUConfig) -> NDArray[np.float32]:
    return np.zeros((config.num_layers, ROWS, config.hidden_dim), np.float32)


def _session(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
