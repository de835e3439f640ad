"""The loss, and the recurrence with the memory emptied at story ends."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from storyteller.engine.architecture import GRUConfig
from storyteller.engine.model import GRULM
from storyteller.training.network import TrainingNetwork, recur_with_resets

CONFIG = GRUConfig(vocab_size=11, embed_dim=6, hidden_dim=8, num_layers=2, dropout=0.0, tie_weights=True)


def model(config: GRUConfig = CONFIG) -> GRULM:
    torch.manual_seed(1)
    return GRULM(config)


def stepped(gru: nn.GRU, inputs: torch.Tensor, state: torch.Tensor, resets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What resets mean, step by step."""
    hidden = []
    for step, empty in zip(inputs, resets, strict=True):
        state = torch.where(empty[None, :, None], 0.0, state)
        told, state = gru(step[None], state)
        hidden.append(told)
    return torch.cat(hidden), state


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_resets_are_exact_in_value_and_gradient(share: float) -> None:
    torch.manual_seed(4)
    gru = nn.GRU(6, 8, 2).double()
    inputs = torch.randn(13, 5, 6, dtype=torch.float64, requires_grad=True)
    begin = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    resets = torch.rand(13, 5) < share
    found, expected = recur_with_resets(gru, inputs, begin, resets), stepped(gru, inputs, begin, resets)
    weights = torch.randn_like(expected[0])
    gradients = []
    for hidden, last in (found, expected):
        wanted = [inputs, begin, *gru.parameters()]
        gradients.append(torch.autograd.grad((hidden * weights).sum() + last.sum(), wanted, allow_unused=True))
    for a, b in zip((*found, *gradients[0]), (*expected, *gradients[1]), strict=True):
        torch.testing.assert_close(a if a is not None else torch.zeros(()), b if b is not None else torch.zeros(()), check_dtype=False)


def test_a_reset_at_the_first_place_forgets_what_was_carried() -> None:
    gru = nn.GRU(6, 8, 1)
    inputs = torch.randn(4, 2, 6)
    resets = torch.zeros(4, 2, dtype=torch.bool)
    resets[0, 1] = True
    carried, _ = recur_with_resets(gru, inputs, torch.ones(1, 2, 8), resets)
    empty, _ = gru(inputs, torch.zeros(1, 2, 8))
    torch.testing.assert_close(carried[:, 1], empty[:, 1])
    assert not torch.allclose(carried[:, 0], empty[:, 0])


def test_the_loss_is_that_of_the_model() -> None:
    network = TrainingNetwork(model())
    ids, targets = torch.randint(11, (9, 3)), torch.randint(11, (9, 3))
    state = torch.randn(2, 3, 8)
    loss, nats, last = network(ids, targets, state)
    logits, expected_last = network.model(ids, state)
    torch.testing.assert_close(loss, functional.cross_entropy(logits.flatten(0, 1), targets.flatten()))
    torch.testing.assert_close(last, expected_last)
    assert nats == loss and loss.requires_grad and not nats.requires_grad


def test_label_smoothing_changes_what_is_descended_not_what_is_reported() -> None:
    ids, targets, state = torch.randint(11, (9, 3)), torch.randint(11, (9, 3)), torch.zeros(2, 3, 8)
    plain, smooth = (TrainingNetwork(model(), label_smoothing=share)(ids, targets, state) for share in (0.0, 0.2))
    logits, _ = model()(ids, state)
    uniform = -logits.log_softmax(-1).mean()
    torch.testing.assert_close(smooth[0], 0.8 * plain[0] + 0.2 * uniform)
    assert smooth[1] == plain[1]


def test_the_end_token_empties_the_memory_if_asked() -> None:
    ids, targets = torch.randint(1, 11, (6, 2)), torch.randint(11, (6, 2))
    ids[0] = 0
    network = TrainingNetwork(model(), end_id=0)
    first = network(ids, targets, torch.zeros(2, 2, 8))[0]
    assert network(ids, targets, torch.randn(2, 2, 8))[0] == first
    assert TrainingNetwork(model())(ids, targets, torch.randn(2, 2, 8))[0] != first
