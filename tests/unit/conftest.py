"""A model for tests of the engine: a pure function of what it read, with the same bits in any batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from storyteller.engine.tokenizer import Tokenizer

Array = NDArray[np.float32]
CORPUS = ['Once upon a time, David said, "I didn\'t see the dragon 🐉!" Zoë laughed. They all went home.\n\nThe end. '] * 4


@dataclass
class ScriptedRuntime:
    """Hashes what it reads into noise, and is drawn by ``pull`` towards the ids of ``script``, one after another, round and round.

    The state holds the hash and the number of ids read, as whole numbers that float32 has exactly. Calls are counted in ``batches``
    (rows of each step) and ``prefills`` (ids of each).
    """

    vocab_size: int
    script: list[int]
    pull: float
    batches: list[int] = field(default_factory=list)
    prefills: list[int] = field(default_factory=list)
    num_layers: int = 1
    hidden_dim: int = 2

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        self._fine = rng.normal(0, 1.5, (61, self.vocab_size)).astype(np.float32)
        self._coarse = rng.normal(0, 1.5, (59, self.vocab_size)).astype(np.float32)

    def initial_state(self, batch: int) -> Array:
        return np.zeros((1, batch, 2), np.float32)

    def step(self, ids: NDArray[np.int64], state: Array) -> tuple[Array, Array]:
        self.batches.append(len(ids))
        return self._read(ids, state)

    def prefill(self, ids: NDArray[np.int64], state: Array) -> tuple[Array, Array]:
        self.prefills.append(ids.shape[1])
        logits = []
        for column in ids.T:
            after, state = self._read(column, state)
            logits.append(after)
        return np.stack(logits, axis=1), state

    def _read(self, ids: NDArray[np.int64], state: Array) -> tuple[Array, Array]:
        assert state.dtype == np.float32
        assert state.shape == (1, len(ids), 2)
        hashes = (state[0, :, 0].astype(np.int64) * 31 + ids * 7 + 13) % 999_983
        counts = state[0, :, 1].astype(np.int64) + 1
        logits = self._fine[hashes % 61] + self._coarse[hashes % 59]
        if self.script:
            drawn = np.array(self.script)[(counts - 1) % len(self.script)]
            logits[np.arange(len(ids)), drawn] += np.float32(self.pull)
        return logits, np.stack([hashes, counts], axis=1)[None].astype(np.float32)


@dataclass
class ScriptedModel:
    runtime: ScriptedRuntime
    tokenizer: Tokenizer


@pytest.fixture(scope="session")
def small_tokenizer() -> Tokenizer:
    """330 ids at most; characters beyond ASCII are made of several."""
    return Tokenizer.train(CORPUS, 330)


@pytest.fixture(scope="session")
def scripted(small_tokenizer: Tokenizer) -> Callable[..., ScriptedModel]:
    """``scripted(text, end=True, pull=100.0)``: a model that tells ``text`` and, if ``end``, the end token.

    A small ``pull`` makes it stray, differently with each seed and history. The story begins right after a single END.
    """

    def make(text: str = "", *, end: bool = True, pull: float = 100.0) -> ScriptedModel:
        script = small_tokenizer.encode(text) + [small_tokenizer.end_id] * end if text else []
        return ScriptedModel(ScriptedRuntime(small_tokenizer.vocab_size, script, pull), small_tokenizer)

    return make
