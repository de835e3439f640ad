"""The network: a GRU language model in torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from storyteller.engine.architecture import GRUConfig


class GRULM(nn.Module):
    """A GRU language model (Cho et al. 2014, with the reset gate after the matrix product as in ``torch.nn.GRU``).

    embedding → dropout → ``nn.GRU`` (dropout between layers) → dropout → projection (if any) → output layer.
    Dropout after the embedding follows AWD-LSTM (Merity et al. 2018); it has no parameters and is off outside training.
    """

    def __init__(self, config: GRUConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embed_dim)
        self.gru = nn.GRU(
            config.embed_dim,
            config.hidden_dim,
            config.num_layers,
            dropout=config.dropout if config.num_layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(config.hidden_dim, config.embed_dim) if config.has_projection else nn.Identity()
        self.output = nn.Linear(config.output_width, config.vocab_size)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.05)
        for name, parameter in self.gru.named_parameters():
            if "weight_hh" in name:
                for gate in parameter.chunk(3):
                    nn.init.orthogonal_(gate)
            elif "weight_ih" in name:
                for gate in parameter.chunk(3):
                    nn.init.xavier_uniform_(gate)
            else:
                nn.init.zeros_(parameter)
        nn.init.zeros_(self.output.bias)
        if self.config.tie_weights:
            self.output.weight = self.embedding.weight

    def forward(self, ids: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read ``ids`` (length, batch) from ``state`` (num_layers, batch, hidden_dim), zeros if None.

        Returns the logits after each id, (length, batch, vocab_size), and the last state.
        """
        hidden, state = self.gru(self.dropout(self.embedding(ids)), state)
        logits: Tensor = self.output(self.projection(self.dropout(hidden)))
        return logits, state

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (num_layers, batch, hidden_dim), on the device and in the dtype of the weights."""
        weight = self.embedding.weight
        return torch.zeros(self.config.num_layers, batch, self.config.hidden_dim, device=weight.device, dtype=weight.dtype)
