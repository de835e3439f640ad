"""Gates, retention and attribution: against torch, against ONNX Runtime, and on networks whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from storyteller.analysis.importance import METHODS, TokenImportance, token_importance
from storyteller.analysis.network import Network, log_softmax
from storyteller.analysis.retention import half_lives, memory, retained
from storyteller.checkpoint.format import write_checkpoint
from storyteller.checkpoint.load import LoadedModel, load
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.params import SamplingParams
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import DataInvalid, UsageInvalid

TEXT = "The fox found a red ball"
Weights = dict[str, np.ndarray]
Build = Callable[..., LoadedModel]


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> LoadedModel:
    return load(tiny_checkpoint)


@pytest.fixture(scope="module")
def letters() -> Tokenizer:
    """The end token and the 256 bytes: each letter is a token."""
    return Tokenizer.train(["ab"], 257)


@pytest.fixture
def build(tmp_path: Path, letters: Tokenizer) -> Build:
    """A model of zeros, changed by ``change(weights, tokenizer)``."""

    def make(change: Callable[[Weights, Tokenizer], None], **shape: object) -> LoadedModel:
        config = GRUConfig(vocab_size=257, dropout=0.0, **{"embed_dim": 4, "hidden_dim": 3, "num_layers": 1, **shape})
        weights = {name: np.zeros(size, np.float32) for name, size in config.shapes().items()}
        change(weights, letters)
        path = tmp_path / "made"
        write_checkpoint(path, config, weights, letters, SamplingParams(), {}, "# made\n")
        return load(path)

    return make


def remember_a(weights: Weights, tokenizer: Tokenizer) -> None:
    """Unit 0 opens for "a" alone, writes tanh(1), and keeps it; "b" is as likely as that unit is high. Unit 1 takes up every letter."""
    (a,), (b,) = tokenizer.encode("a"), tokenizer.encode("b")
    weights["embedding.weight"][:, 1] = 0.1
    weights["embedding.weight"][a] = (1, 0.1, 0, 0)
    bias, matrix = weights["gru.bias_ih_l0"], weights["gru.weight_ih_l0"]
    bias[3:6] = (8, 0, 0)
    matrix[3, 0] = -16
    matrix[6, 0] = 1
    matrix[7, 1] = 1
    weights["output.weight"][b] = (3, 0, 0)
    weights["output.bias"][b] = 0.25


def random_network(config: GRUConfig) -> Network:
    random = np.random.default_rng(3)
    return Network(config, {name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in config.shapes().items()})


def test_states_and_logits_are_those_of_the_runtime(tiny: LoadedModel) -> None:
    ids = [tiny.tokenizer.end_id, *tiny.tokenizer.encode(TEXT)]
    network = Network.of(tiny)
    trace = network.read_ids(ids)
    logits, state = tiny.runtime.prefill(np.array([ids]), tiny.runtime.initial_state(1))
    assert np.abs(trace.hidden[:, -1] - state[:, 0]).max() < 1e-5
    assert np.abs(network.logits(trace.hidden[-1]) - logits[0]).max() < 1e-4


def test_gates_are_those_of_torch(tiny: LoadedModel) -> None:
    ids = [tiny.tokenizer.end_id, *tiny.tokenizer.encode(TEXT)]
    network, model = Network.of(tiny), tiny.torch_model()
    trace = network.read_ids(ids)
    gru = model.gru
    with torch.no_grad():
        values = model.embedding(torch.tensor(ids))
        for layer in range(2):
            inputs, held = getattr(gru, f"weight_ih_l{layer}"), getattr(gru, f"weight_hh_l{layer}")
            states = torch.tensor(trace.states[layer, :-1])
            driven = (values @ inputs.T + getattr(gru, f"bias_ih_l{layer}")).chunk(3, -1)
            recurrent = (states @ held.T + getattr(gru, f"bias_hh_l{layer}")).chunk(3, -1)
            reset, update = torch.sigmoid(driven[0] + recurrent[0]), torch.sigmoid(driven[1] + recurrent[1])
            candidate = torch.tanh(driven[2] + reset * recurrent[2])
            values = torch.tensor(trace.hidden[layer])
            for mine, theirs in ((trace.reset, reset), (trace.update, update), (trace.candidate, candidate)):
                assert np.abs(mine[layer] - theirs.numpy()).max() < 1e-5
        hidden, _ = gru(model.embedding(torch.tensor(ids))[:, None])
    assert np.abs(trace.hidden[-1] - hidden[:, 0].numpy()).max() < 1e-5


def test_a_batch_reads_like_its_rows(tiny: LoadedModel) -> None:
    network = Network.of(tiny)
    rows = np.stack([network.embed([1, 2, 3]), network.embed([4, 5, 6])], axis=1)
    state = np.random.default_rng(1).normal(size=(2, 2, 16)).astype(np.float32)
    both = network.read(rows, state)
    for row in range(2):
        alone = network.read(rows[:, row], state[:, row])
        assert np.abs(both.states[:, :, row] - alone.states).max() < 1e-6
        assert np.array_equal(alone.states[:, 0], state[:, row])


@pytest.mark.parametrize("tie", [False, True])
def test_retention_sums_to_the_state_and_to_the_logit(tie: bool) -> None:
    network = random_network(GRUConfig(vocab_size=40, embed_dim=6, hidden_dim=9, num_layers=2, dropout=0.0, tie_weights=tie))
    start = np.random.default_rng(5).normal(size=(2, 9)).astype(np.float32)
    trace = network.read(network.embed(np.random.default_rng(6).integers(0, 40, 60).tolist()), start)
    matrix, bias = network.readout
    for layer in range(2):
        for place, parts in enumerate(retained(trace, layer)):
            assert parts.shape == (place + 2, 9)
            assert np.abs(parts.sum(0) - trace.hidden[layer, place]).max() < 1e-6
    for place, parts in enumerate(retained(trace)):
        split = parts @ matrix.T.astype(np.float64)
        assert np.abs(split.sum(0) - (network.logits(trace.hidden[-1, place]) - bias)).max() < 1e-4
    assert np.abs(next(retained(trace))[0]).max() > 0.01


def test_half_life_of_a_gate_that_is_always_the_same(build: Build) -> None:
    def change(weights: Weights, _: Tokenizer) -> None:
        weights["gru.bias_ih_l0"][3:6] = math.log(0.9 / 0.1)
        weights["gru.bias_ih_l0"][6:] = 1.0

    trace = Network.of(build(change)).read_ids([1] * 20)
    left = memory(trace)
    expected = [0.9**lag for lag in range(17)]
    assert left[3, 3:] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(left[3, :3]).all()
    lives = half_lives(left)
    assert lives[:13] == pytest.approx(math.log(0.5) / math.log(0.9), rel=1e-5)
    assert np.isinf(lives[13:]).all()


@pytest.fixture
def remembers(build: Build) -> LoadedModel:
    return build(remember_a)


def test_a_network_that_remembers_one_letter_is_explained_by_it(remembers: LoadedModel) -> None:
    record = token_importance(remembers, "xxaxyzb")
    assert record.tokens == ("⟨start⟩", "x", "-x", "-a", "-x", "-y", "-z", "-b")
    assert record.places == (1, 2, 3, 4, 5, 6, 7)
    assert record.targets[5] == "-b"
    before_b = 5
    written = math.tanh(1) * (1 - 1 / (1 + math.exp(8)))
    assert record.outputs[before_b] == pytest.approx(3 * written + 0.25, abs=0.01)
    for method in METHODS:
        row = record.maps[method][before_b]
        assert int(np.abs(row).argmax()) == 3, method
        assert np.abs(np.delete(row, 3)).max() < 0.02 * row[3], method
    assert record.maps["retention"][before_b, 3] == pytest.approx(3 * written, abs=0.01)
    assert record.maps["occlusion"][before_b, 3] == pytest.approx(3 * written, abs=0.01)
    assert record.maps["integrated"][before_b, 3] == pytest.approx(3 * written, abs=0.01)
    assert record.bias[before_b] == pytest.approx(0.25)


def test_the_methods_agree_in_rank_on_planted_weights_of_letters(build: Build) -> None:
    """An almost linear network: each letter adds its own amount, and nothing is forgotten but evenly."""

    def change(weights: Weights, tokenizer: Tokenizer) -> None:
        for amount, letter in enumerate("cdefg", 1):
            weights["embedding.weight"][tokenizer.encode(letter)[0], 0] = 0.02 * amount
        weights["gru.bias_ih_l0"][3:6] = math.log(0.97 / 0.03)
        weights["gru.weight_ih_l0"][6, 0] = 1
        weights["output.weight"][tokenizer.encode("b")[0], 0] = 100

    record = token_importance(build(change), "edgcf", target="b")
    for method in METHODS:
        assert list(np.argsort(record.maps[method][-1])[::-1][:5]) == [3, 5, 1, 2, 4], method


def test_the_logit_is_the_sum_of_tokens_initial_state_and_bias(tiny: LoadedModel) -> None:
    record = token_importance(tiny, TEXT)
    assert np.abs(record.maps["retention"].sum(1) + record.initial + record.bias - record.outputs).max() < 1e-4
    ids = [tiny.tokenizer.end_id, *tiny.tokenizer.encode(TEXT)]
    logits, _ = tiny.runtime.prefill(np.array([ids]), tiny.runtime.initial_state(1))
    following = [*ids[2:], int(logits[0, -1].argmax())]
    assert record.outputs == pytest.approx([logits[0, place, id] for place, id in zip(record.places, following, strict=True)], abs=1e-4)


def test_integrated_gradients_are_complete(tiny: LoadedModel) -> None:
    record = token_importance(tiny, TEXT, methods=["integrated"])
    network = Network.of(tiny)
    ids = [tiny.tokenizer.end_id, *tiny.tokenizer.encode(TEXT)]
    nothing = network.read(np.zeros_like(network.embed(ids))).hidden[-1]
    following = [*ids[2:], int(network.logits(network.read_ids(ids).hidden[-1, -1]).argmax())]
    base = [network.logits(nothing[place])[id] for place, id in zip(record.places, following, strict=True)]
    assert record.integrated_differences == pytest.approx(record.outputs - base, abs=1e-4)
    assert record.integrated_error < 1e-3
    assert record.integrated_error == np.abs(record.maps["integrated"].sum(1) - record.integrated_differences).max()


def test_gradients_are_those_of_differences(tiny: LoadedModel) -> None:
    record = token_importance(tiny, TEXT, methods=["gradient"])
    network = Network.of(tiny)
    ids = [tiny.tokenizer.end_id, *tiny.tokenizer.encode(TEXT)]
    embedded = network.embed(ids).astype(np.float64)
    network64 = Network(network.config, {name: value.astype(np.float64) for name, value in network.weights.items()})
    place = record.places[-2]
    for token in (0, 2, place):
        outputs = []
        for sign in (1, -1):
            moved = embedded.copy()
            moved[token] *= 1 + sign * 1e-2
            outputs.append(network64.logits(network64.read(moved).hidden[-1, place])[ids[-1]])
        assert record.maps["gradient"][-2, token] == pytest.approx((outputs[0] - outputs[1]) / 2e-2, abs=2e-3)


def test_occlusion_is_the_change_without_the_token(tiny: LoadedModel) -> None:
    record = token_importance(tiny, TEXT, methods=["occlusion"])
    network = Network.of(tiny)
    embedded = network.embed([tiny.tokenizer.end_id, *tiny.tokenizer.encode(TEXT)])
    target = int(network.logits(network.read(embedded).hidden[-1, -1]).argmax())
    for token in range(len(record.tokens)):
        without = embedded.copy()
        without[token] = 0
        output = network.logits(network.read(without).hidden[-1, -1])[target]
        assert record.maps["occlusion"][-1, token] == pytest.approx(record.outputs[-1] - output, abs=1e-4)


def test_nothing_is_explained_by_what_comes_later(tiny: LoadedModel) -> None:
    record = token_importance(tiny, TEXT)
    for method in METHODS:
        later = np.asarray(record.places)[:, None] < np.arange(len(record.tokens))
        assert later.any()
        assert not record.maps[method][later].any()


def test_a_contrast_is_the_difference_of_two_explanations(tiny: LoadedModel) -> None:
    one = token_importance(tiny, TEXT, target="a")
    other = token_importance(tiny, TEXT, target="the")
    both = token_importance(tiny, TEXT, target="a", contrast="the")
    assert (both.targets, both.contrasts, len(both.outputs)) == (("a",), ("the",), 1)
    for method in ("gradient", "occlusion", "retention"):
        assert both.maps[method][0] == pytest.approx(one.maps[method][-1] - other.maps[method][-1], abs=1e-5)
    assert both.bias[0] == pytest.approx(one.bias[-1] - other.bias[-1])


def test_shares_and_influence(remembers: LoadedModel) -> None:
    record = token_importance(remembers, "xxaxyzb", target="b", contrast="c")
    assert np.abs(record.shares("retention")).sum(1) == pytest.approx(1)
    assert record.shares("retention").shape == (1, len(record.tokens) + 2)
    assert record.influence("occlusion")[3] == pytest.approx(1, abs=0.01)


def test_the_control_has_the_same_numbers_in_other_places(tiny: LoadedModel) -> None:
    network = Network.of(tiny)
    one, same, other = network.shuffled(1), network.shuffled(1), network.shuffled(2)
    for name, values in network.weights.items():
        assert np.array_equal(np.sort(values, axis=None), np.sort(one.weights[name], axis=None))
        assert np.array_equal(one.weights[name], same.weights[name])
    assert not np.array_equal(one.weights["output.weight"], other.weights["output.weight"])


def test_a_map_that_ignores_the_weights_is_marked(tiny: LoadedModel, build: Build) -> None:
    def even(weights: Weights, tokenizer: Tokenizer) -> None:
        """All letters write the same, and forgetting is even: shuffling within a tensor of equal numbers changes nothing."""
        for name, value in (("embedding.weight", 0.5), ("gru.weight_ih_l0", 0.3), ("output.weight", 0.2)):
            weights[name][:] = value

    record = token_importance(build(even), "cdefghij", methods=["retention", "occlusion"])
    assert record.control_similarity == pytest.approx({"occlusion": 1.0, "retention": 1.0}, abs=0.05)
    assert record.unchanged == ("occlusion", "retention")
    assert "occlusion" not in token_importance(tiny, TEXT, methods=["occlusion"]).unchanged


def test_the_same_seed_gives_the_same_bits(tiny: LoadedModel) -> None:
    one, other = token_importance(tiny, TEXT, seed=4), token_importance(tiny, TEXT, seed=4)
    for method in METHODS:
        assert np.array_equal(one.maps[method], other.maps[method])
        assert np.array_equal(one.control_maps[method], other.control_maps[method])


def test_records_come_back_from_the_disk(tiny: LoadedModel, tmp_path: Path) -> None:
    record = token_importance(tiny, TEXT, methods=["retention"])
    table, text = record.save(tmp_path / "v1.0-importance")
    again = TokenImportance.load(tmp_path / "v1.0-importance")
    assert (again.tokens, again.places, again.control_similarity) == (record.tokens, record.places, record.control_similarity)
    assert np.array_equal(again.maps["retention"], record.maps["retention"])
    before = table.read_bytes(), text.read_bytes()
    again.save(tmp_path / "v1.0-importance")
    assert (table.read_bytes(), text.read_bytes()) == before
    text.write_text(text.read_text(encoding="utf-8").replace("TokenImportance", "Other"), encoding="utf-8")
    with pytest.raises(DataInvalid, match="holds no TokenImportance"):
        TokenImportance.load(tmp_path / "v1.0-importance")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": ""}, "2 to 255 tokens"),
        ({"text": "a"}, "2 to 255 tokens"),
        ({"text": "x" * 400}, "2 to 255 tokens"),
        ({"text": TEXT, "methods": ["magic"]}, "no method 'magic'"),
        ({"text": TEXT, "methods": []}, "no method was named"),
        ({"text": TEXT, "target": "zebra crossing"}, "not one token"),
        ({"text": TEXT, "target": ""}, "not one token"),
    ],
)
def test_what_cannot_be_explained_is_refused(tiny: LoadedModel, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageInvalid, match=message):
        token_importance(tiny, **arguments)  # type: ignore[arg-type]


def test_log_softmax_is_stable() -> None:
    values = log_softmax(np.array([[1e4, 0.0], [0.0, 0.0]], np.float32))
    assert values[0] == pytest.approx([0, -1e4])
    assert np.exp(values[1]) == pytest.approx([0.5, 0.5])
