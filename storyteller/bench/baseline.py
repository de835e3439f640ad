"""The plain PyTorch loop that this program is measured against. Frozen: a faster baseline would be another baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from storyteller.engine.model import GRULM

TEMPERATURE, TOP_K, TOP_P = 0.8, 50, 0.95


class PlainLoop:
    """nn.GRU in float32, one step a token: embedding, nn.GRU, Linear, temperature, top-k, top-p, multinomial.

    ``threads`` is torch's number of threads while it works.
    """

    def __init__(self, model: GRULM, threads: int) -> None:
        self.model = model.eval()
        self.threads = threads

    @torch.inference_mode()
    def tell(self, tokens: int, rows: int = 1) -> int:
        """Sample ``tokens`` tokens in each of ``rows`` stories; returns how many that were."""
        torch.set_num_threads(self.threads)
        state = self.model.initial_state(rows)
        ids = torch.zeros(1, rows, dtype=torch.long)
        for _ in range(tokens):
            logits, state = self.model(ids, state)
            ids = _sample(logits[0]).T
        return tokens * rows

    @torch.inference_mode()
    def prefill(self, ids: Tensor) -> int:
        """One nn.GRU call over the embedded ``ids`` (length, rows); returns how many those were."""
        torch.set_num_threads(self.threads)
        self.model.gru(self.model.embedding(ids))
        return ids.numel()


def _sample(logits: Tensor) -> Tensor:
    logits = logits / TEMPERATURE
    best, ids = torch.topk(logits, TOP_K)
    probabilities = torch.softmax(best, dim=-1)
    ordered, order = torch.sort(probabilities, dim=-1, descending=True)
    before = torch.cumsum(ordered, dim=-1) - ordered
    ordered = ordered.masked_fill(before > TOP_P, 0.0)
    drawn = torch.multinomial(ordered, 1)
    return ids.gather(1, order.gather(1, drawn))
