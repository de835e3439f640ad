"""The network on the CPU through ONNX Runtime: the default for generation; torch is not needed.

Two files beside each other: the step graph at ``path``, and the prefill graph at :func:`prefill_path`. How many threads compute a step
changes its speed alone, never a bit of its answer, so one thread steps a few rows (a second one gains little there, and loses much where
other work wants the core) and several step many.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime

from storyteller.engine.runtime import Ids, Logits, State
from storyteller.errors import CheckpointInvalid

Graph = Literal["step", "prefill"]

FEW_ROWS = 4
"""Up to so many rows are stepped by one thread if nobody says otherwise."""
SHORT = 16
"""Fewer ids than this are stepped: it takes less time than opening the prefill graph, and tells the same to the last bit."""


def prefill_path(path: Path) -> Path:
    """Where the prefill graph of the step graph at ``path`` lies."""
    return path.with_name(f"{path.stem}.prefill{path.suffix}")


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnnxRuntime:
    """A :class:`~storyteller.engine.runtime.Runtime` over the files that :mod:`storyteller.checkpoint.graph` describes.

    A row's logits and state are the same to the last bit alone and among others, with any number of ``threads`` (None: one for a few
    rows, all processors for many), and whether ids come one by one or in one prefill. Without a prefill graph every id is stepped.
    Raises :class:`CheckpointInvalid` if a file is damaged or no graph of storyteller.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.path = path
        self.threads = threads
        self._sessions: dict[tuple[Graph, int], onnxruntime.InferenceSession] = {}
        session = self._session("step", 1)
        shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
        if set(shapes) != {"ids", "state", "logits", "new_state"}:
            raise CheckpointInvalid(f"{path} is not a step graph of storyteller")
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self._prefills = prefill_path(path).is_file()
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
        logits, new_state = self._session("step", len(ids)).run(["logits", "new_state"], {"ids": ids, "state": state})
        return logits, new_state

    def prefill(self, ids: Ids, state: State) -> tuple[Logits, State]:
        """Read ``(batch, length)`` ids, length at least 1 -> logits after each, ``(batch, length, vocab_size)``, and the last state."""
        batch, length = ids.shape
        if self._prefills and length >= SHORT:
            session = self._session("prefill", batch)
            logits, new_state = session.run(["logits", "new_state"], {"ids": ids, "state": state})
            return logits, new_state
        logits = np.empty((batch, length, self._vocab_size), np.float32)
        for place in range(length):
            logits[:, place], state = self.step(ids[:, place], state)
        return logits, state

    def _session(self, graph: Graph, rows: int) -> onnxruntime.InferenceSession:
        threads = self.threads or (1 if rows <= FEW_ROWS else processors())
        session = self._sessions.get((graph, threads))
        if session is None:
            session = self._sessions[graph, threads] = _open(self.path if graph == "step" else prefill_path(self.path), threads)
        return session


def _open(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The graphs are written as they are to be computed: a fusion in one of the two and not in the other could change a bit.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # A thread that spins while it waits takes the core from the sampler, and from everybody else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base but this
        raise CheckpointInvalid(f"{path} is not a usable graph: {error}") from error
