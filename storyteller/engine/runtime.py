"""The border between the engine and whatever computes the network: numpy in, numpy out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from storyteller.engine.tokenizer import Tokenizer

Ids = NDArray[np.int64]
State = NDArray[np.float32]
Logits = NDArray[np.float32]


@runtime_checkable
class Runtime(Protocol):
    """A GRU language model that can be stepped.

    State goes in and comes out and is never kept: float32 ``(num_layers, batch, hidden_dim)``. No method writes into an argument,
    and an array that was returned is never written to again.
    """

    @property
    def num_layers(self) -> int:
        """Number of GRU layers."""
        ...

    @property
    def hidden_dim(self) -> int:
        """Width of the state of a layer."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of logits."""
        ...

    def initial_state(self, batch: int) -> State:
        """A zero state, ``(num_layers, batch, hidden_dim)``."""
        ...

    def step(self, ids: Ids, state: State) -> tuple[Logits, State]:
        """Read one id per row, ``(batch,)`` -> logits ``(batch, vocab_size)`` and the new state."""
        ...

    def prefill(self, ids: Ids, state: State) -> tuple[Logits, State]:
        """Read ``(batch, length)`` ids, length at least 1 -> logits after each, ``(batch, length, vocab_size)``, and the last state."""
        ...


class StoryModel(Protocol):
    """All that generation asks of a model."""

    @property
    def runtime(self) -> Runtime:
        """What computes the network."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """What its ids mean."""
        ...
