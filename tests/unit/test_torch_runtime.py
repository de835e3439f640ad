"""The torch runtime: the network's own answers, in numpy."""

import numpy as np
import pytest
import torch

from storyteller.engine.architecture import GRUConfig
from storyteller.engine.model import GRULM
from storyteller.engine.torch_runtime import TorchRuntime


@pytest.fixture(scope="module")
def runtime() -> TorchRuntime:
    torch.manual_seed(0)
    return TorchRuntime(GRULM(GRUConfig(vocab_size=300, embed_dim=24, hidden_dim=40, num_layers=2, dropout=0.5)))


def test_dropout_is_off(runtime):
    ids, state = np.array([1, 2]), runtime.initial_state(2)
    np.testing.assert_array_equal(runtime.step(ids, state)[0], runtime.step(ids, state)[0])


def test_step_and_prefill_are_the_network(runtime):
    ids = np.random.default_rng(0).integers(0, 300, (3, 20))
    with torch.no_grad():
        logits, state = runtime.model(torch.from_numpy(ids.T.copy()), runtime.model.initial_state(3))
    ours, our_state = runtime.prefill(ids, runtime.initial_state(3))
    np.testing.assert_array_equal(ours, logits.numpy().swapaxes(0, 1))
    np.testing.assert_array_equal(our_state, state.numpy())
    stepped = runtime.initial_state(3)
    for place in range(20):
        step_logits, stepped = runtime.step(ids[:, place], stepped)
        np.testing.assert_allclose(step_logits, ours[:, place], atol=1e-5, rtol=0)


def test_a_row_agrees_alone_and_among_others(runtime):
    rng = np.random.default_rng(1)
    ids, state = rng.integers(0, 300, 16), rng.standard_normal((2, 16, 40)).astype(np.float32)
    logits, new_state = runtime.step(ids, state)
    for row in range(16):
        alone, alone_state = runtime.step(ids[row : row + 1], state[:, row : row + 1])
        np.testing.assert_allclose(alone[0], logits[row], atol=1e-5, rtol=0)
        np.testing.assert_allclose(alone_state[:, 0], new_state[:, row], atol=1e-5, rtol=0)


def test_arguments_are_not_written_to(runtime):
    ids, state = np.array([3]), np.ones((2, 1, 40), np.float32)
    ids.flags.writeable = state.flags.writeable = False
    runtime.step(ids, state)
    runtime.prefill(ids[None], state)
    assert (state == 1).all()
