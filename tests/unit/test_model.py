"""The network: its size, its tensors, and that it computes torch.nn.GRU's equations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from storyteller.engine.architecture import PRESETS, GRUConfig
from storyteller.engine.model import GRULM
from storyteller.errors import ConfigInvalid

SHAPES = [
    GRUConfig(vocab_size=19, embed_dim=6, hidden_dim=10, num_layers=3, dropout=0.4),
    GRUConfig(vocab_size=19, embed_dim=6, hidden_dim=10, num_layers=1, dropout=0.0, tie_weights=True),
    GRUConfig(vocab_size=19, embed_dim=8, hidden_dim=8, num_layers=2, dropout=0.1, tie_weights=True),
]


def small(config: GRUConfig = SHAPES[0]) -> GRULM:
    torch.manual_seed(3)
    return GRULM(config).eval()


def test_base_is_the_reference_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PRESETS["base"] == GRUConfig(vocab_size=4000, embed_dim=512, hidden_dim=1024, num_layers=3, dropout=0.3, tie_weights=False)
    assert PRESETS["base"].parameters == 23_467_936
    monkeypatch.setattr(GRULM, "_initialise", lambda self: None)
    assert sum(parameter.numel() for parameter in GRULM(PRESETS["base"]).parameters()) == 23_467_936


def test_small_and_tiny_are_as_small_as_promised() -> None:
    assert 4_500_000 < PRESETS["small"].parameters < 5_500_000
    assert PRESETS["tiny"].parameters < 1_000_000
    assert PRESETS["small"].tie_weights and PRESETS["tiny"].tie_weights


@pytest.mark.parametrize("config", SHAPES)
def test_the_architecture_names_every_tensor_once(config: GRUConfig) -> None:
    model = small(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.named_parameters()} == config.shapes()
    assert sum(parameter.numel() for parameter in model.parameters()) == config.parameters
    assert (model.output.weight is model.embedding.weight) == config.tie_weights


@pytest.mark.parametrize("config", SHAPES)
def test_one_pass_is_many_steps(config: GRUConfig) -> None:
    model = small(config)
    ids = torch.randint(config.vocab_size, (7, 2))
    with torch.no_grad():
        logits, last = model(ids)
        state = model.initial_state(2)
        for place in range(7):
            step, state = model(ids[place : place + 1], state)
            torch.testing.assert_close(step[0], logits[place], atol=1e-5, rtol=0)
    torch.testing.assert_close(state, last, atol=1e-5, rtol=0)


def test_the_layers_are_those_of_the_paper_written_out() -> None:
    config = SHAPES[1]
    model = small(config)
    weights = {name: tensor.detach().double() for name, tensor in model.named_parameters()}
    ids = torch.tensor([[3], [11], [0]])
    state = torch.full((1, 1, config.hidden_dim), 0.25)
    with torch.no_grad():
        logits, last = model(ids, state)
    h = state[0, 0].double()
    for place, id in enumerate(ids[:, 0]):
        gates_x = weights["gru.weight_ih_l0"] @ weights["embedding.weight"][id] + weights["gru.bias_ih_l0"]
        gates_h = weights["gru.weight_hh_l0"] @ h + weights["gru.bias_hh_l0"]
        (xr, xz, xn), (hr, hz, hn) = gates_x.chunk(3), gates_h.chunk(3)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        n = torch.tanh(xn + r * hn)
        h = (1 - z) * n + z * h
        projected = weights["projection.weight"] @ h + weights["projection.bias"]
        expected = weights["embedding.weight"] @ projected + weights["output.bias"]
        torch.testing.assert_close(logits[place, 0].double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(last[0, 0].double(), h, atol=1e-5, rtol=0)


def test_dropout_is_for_training_only() -> None:
    model = small()
    ids = torch.randint(19, (5, 3))
    with torch.no_grad():
        assert torch.equal(model(ids)[0], model(ids)[0])
        model.train()
        assert not torch.equal(model(ids)[0], model(ids)[0])


def test_dropout_stands_after_embedding_between_layers_and_before_the_output() -> None:
    model = small()
    assert model.gru.dropout == model.dropout.p == 0.4
    assert isinstance(model.projection, nn.Identity)


def test_an_empty_memory_is_zeros_in_the_dtype_of_the_weights() -> None:
    state = small().double().initial_state(4)
    assert state.shape == (3, 4, 10)
    assert state.dtype == torch.float64
    assert not state.any()


@pytest.mark.parametrize(
    ("field", "value", "legal"),
    [
        ("vocab_size", 1, "2 to 65,535"),
        ("hidden_dim", 0, "1 to 1,048,576"),
        ("num_layers", 65, "1 to 64"),
        ("embed_dim", 3.0, "whole number"),
        ("dropout", 1.0, "not including, 1"),
        ("tie_weights", 1, "true or false"),
    ],
)
def test_nonsense_is_named_with_its_legal_range(field: str, value: object, legal: str) -> None:
    with pytest.raises(ConfigInvalid, match=field) as caught:
        GRUConfig(**{field: value})  # type: ignore[arg-type]
    assert legal in caught.value.message


def test_the_architecture_survives_its_dict() -> None:
    assert GRUConfig.from_dict(SHAPES[1].to_dict() | {"more": 1}) == SHAPES[1]
    with pytest.raises(ConfigInvalid, match="hidden_dim"):
        GRUConfig.from_dict({name: value for name, value in SHAPES[1].to_dict().items() if name != "hidden_dim"})
