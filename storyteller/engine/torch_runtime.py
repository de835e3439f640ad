"""The network on any torch device, numpy at the border."""

from __future__ import annotations

import numpy as np
import torch

from storyteller.engine.model import GRULM
from storyteller.engine.runtime import Ids, Logits, State


class TorchRuntime:
    """A :class:`~storyteller.engine.runtime.Runtime` over a :class:`GRULM`, which is put in evaluation mode and moved to ``device``.

    Rows agree within 1e-5 alone and among others; bit for bit only :class:`~storyteller.engine.onnx_runtime.OnnxRuntime` promises.
    """

    def __init__(self, model: GRULM, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.model = model.eval().to(self.device)

    @property
    def num_layers(self) -> int:
        """Number of GRU layers."""
        return self.model.config.num_layers

    @property
    def hidden_dim(self) -> int:
        """Width of the state of a layer."""
        return self.model.config.hidden_dim

    @property
    def vocab_size(self) -> int:
        """Number of logits."""
        return self.model.config.vocab_size

    def initial_state(self, batch: int) -> State:
        """A zero state, ``(num_layers, batch, hidden_dim)``."""
        return np.zeros((self.num_layers, batch, self.hidden_dim), np.float32)

    def step(self, ids: Ids, state: State) -> tuple[Logits, State]:
        """Read one id per row, ``(batch,)`` -> logits ``(batch, vocab_size)`` and the new state."""
        logits, new_state = self._forward(ids[None], state)
        return logits[0], new_state

    def prefill(self, ids: Ids, state: State) -> tuple[Logits, State]:
        """Read ``(batch, length)`` ids, length at least 1 -> logits after each, ``(batch, length, vocab_size)``, and the last state."""
        logits, new_state = self._forward(np.ascontiguousarray(ids.T), state)
        return np.ascontiguousarray(logits.swapaxes(0, 1)), new_state

    @torch.inference_mode()
    def _forward(self, ids: Ids, state: State) -> tuple[Logits, State]:
        logits, new_state = self.model(self._tensor(ids), self._tensor(state))
        return logits.cpu().numpy(), new_state.cpu().numpy()

    def _tensor(self, array: Ids | State) -> torch.Tensor:
        # A copy: torch refuses to promise anything about read-only arrays, and snapshots may be such.
        return torch.tensor(array, device=self.device)
