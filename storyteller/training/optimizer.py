"""AdamW over the weights, and their running average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from storyteller.training.schedule import average_decay


def make_optimizer(model: nn.Module, *, learning_rate: float, weight_decay: float, beta2: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), fused where there is such a kernel; matrices decay, biases do not."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda", "xpu") for p in parameters)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, beta2), fused=fused)


class WeightAverage:
    """An exponential moving average of weights (Polyak & Juditsky 1992), which begins as a running mean."""

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.weights = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Iterable[Tensor], iteration: int) -> None:
        """Take in the weights after ``iteration`` (from 0), given in the order of the first ones."""
        torch._foreach_lerp_(list(self.weights.values()), list(parameters), 1 - average_decay(iteration, self.decay))
