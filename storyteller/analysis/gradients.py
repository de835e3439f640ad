"""Attribution by gradients, in torch: gradient × input, and integrated gradients by captum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyteller.analysis.network import Floats

if TYPE_CHECKING:
    from storyteller.engine.model import GRULM

INTEGRATION_STEPS = 32
# Rows of a batch times tokens: bounds the memory of the backward pass.
BATCH_TOKENS = 2048

Target = tuple[int, int, int | None]
"""Place whose output is explained, the token, and the token that it is set against, if any."""


def with_weights(model: GRULM, weights: Mapping[str, Floats]) -> GRULM:
    """A network of the same shape with other weights, which gradients leave alone."""
    other = type(model)(model.config)
    tensors = {name: torch.tensor(array) for name, array in weights.items()}
    if model.config.tie_weights:
        tensors["output.weight"] = tensors["embedding.weight"]
    other.load_state_dict(tensors)
    return other.eval().requires_grad_(False)


@torch.enable_grad()
def gradient_times_input(model: GRULM, ids: Sequence[int], targets: Sequence[Target]) -> NDArray[np.float64]:
    """Σ_d ∂output/∂x_sd · x_sd for each target and each token s of ``ids``, (targets, T); zero after the target's place."""
    embedded = _embedded(model, ids).requires_grad_()
    outputs = [_output(model, embedded[:, : place + 1], token, contrast)[0] for place, token, contrast in targets]
    maps = np.zeros((len(targets), len(ids)))
    for row, output in enumerate(outputs):
        (gradient,) = torch.autograd.grad(output, embedded)
        maps[row] = (gradient * embedded.detach()).double().sum(-1)[0].numpy()
    return maps


@torch.enable_grad()
def integrated_gradients(
    model: GRULM, ids: Sequence[int], targets: Sequence[Target], steps: int = INTEGRATION_STEPS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Integrated gradients (Sundararajan et al. 2017) from zero embeddings to those of ``ids``, by Gauss–Legendre in ``steps`` points.

    Returns the attributions (targets, T) and, for each target, the difference of outputs that they should sum to.
    """
    from captum.attr import IntegratedGradients

    embedded = _embedded(model, ids)
    maps, differences = np.zeros((len(targets), len(ids))), np.zeros(len(targets))
    for row, (place, token, contrast) in enumerate(targets):
        inputs = embedded[:, : place + 1]

        def output(values: Tensor, token: int = token, contrast: int | None = contrast) -> Tensor:
            return _output(model, values, token, contrast)

        nothing = torch.zeros_like(inputs)
        parts = IntegratedGradients(output).attribute(
            inputs, nothing, n_steps=steps, internal_batch_size=max(1, BATCH_TOKENS // (place + 1))
        )
        maps[row, : place + 1] = parts.double().sum(-1)[0].detach().numpy()
        with torch.no_grad():
            differences[row] = float(output(inputs) - output(nothing))
    return maps, differences


def _embedded(model: GRULM, ids: Sequence[int]) -> Tensor:
    model.requires_grad_(False)
    embedded: Tensor = model.embedding(torch.tensor([list(ids)]))
    return embedded.detach()


def _output(model: GRULM, embedded: Tensor, token: int, contrast: int | None) -> Tensor:
    """The logit of ``token``, less that of ``contrast``, after the last of ``embedded`` (batch, T, embed_dim): (batch,)."""
    hidden, _ = model.gru(embedded.transpose(0, 1))
    logits: Tensor = model.output(model.projection(hidden[-1]))
    output: Tensor = logits[:, token] if contrast is None else logits[:, token] - logits[:, contrast]
    return output
