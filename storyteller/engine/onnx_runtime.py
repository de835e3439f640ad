"""A step graph on the CPU through ONNX Runtime: the default for generation; torch is not needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from storyteller.engine.runtime import Ids, Logits, State
from storyteller.errors import CheckpointInvalid


class OnnxRuntime:
    """A :class:`~storyteller.engine.runtime.Runtime` over the file that :mod:`storyteller.checkpoint.graph` writes.

    A row's logits and state are the same to the last bit alone and among others, with any number of ``threads``, and whether ids come
    one by one or in one prefill. Raises :class:`CheckpointInvalid` if the file is damaged or no step graph.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base but this
            raise CheckpointInvalid(f"{path} is not a usable step graph: {error}") from error
        shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
        if set(shapes) != {"ids", "state", "logits", "new_state"}:
            raise CheckpointInvalid(f"{path} is not a step graph of storyteller")
        self.threads = threads
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self._session = session
        self._num_layers: int = shapes["state"][0]
        self._hidden_dim: int = shapes["state"][2]
        self._vocab_size: int = shapes["logits"][1]

    @property
    def num_layers(self) -> int:
        """Number of GRU layers."""
        return self._num_layers

    @property
    def hidden_dim(self) -> int:
        """Width of the state of a layer."""
        return self._hidden_dim

    @property
    def vocab_size(self) -> int:
        """Number of logits."""
        return self._vocab_size

    def initial_state(self, batch: int) -> State:
        """A zero state, ``(num_layers, batch, hidden_dim)``."""
        return np.zeros((self._num_layers, batch, self._hidden_dim), np.float32)

    def step(self, ids: Ids, state: State) -> tuple[Logits, State]:
        """Read one id per row, ``(batch,)`` -> logits ``(batch, vocab_size)`` and the new state."""
        logits, new_state = self._session.run(["logits", "new_state"], {"ids": ids, "state": state})
        return logits, new_state

    def prefill(self, ids: Ids, state: State) -> tuple[Logits, State]:
        """Read ``(batch, length)`` ids, length at least 1 -> logits after each, ``(batch, length, vocab_size)``, and the last state."""
        batch, length = ids.shape
        logits = np.empty((batch, length, self._vocab_size), np.float32)
        for place in range(length):
            logits[:, place], state = self.step(np.ascontiguousarray(ids[:, place]), state)
        return logits, state
