"""Laws 2, 3 and 4 for the graphs in every precision."""

from pathlib import Path

import numpy as np
import pytest
import torch

from storyteller.checkpoint.graph import PRECISIONS, Precision, prefill_graph, step_graph
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.model import GRULM
from storyteller.engine.onnx_runtime import SHORT, OnnxRuntime, prefill_path
from storyteller.engine.runtime import Runtime
from storyteller.engine.torch_runtime import TorchRuntime
from storyteller.errors import CheckpointInvalid

CONFIGS = {
    "one layer": GRUConfig(vocab_size=300, embed_dim=24, hidden_dim=40, num_layers=1),
    "two layers, tied": GRUConfig(vocab_size=301, embed_dim=32, hidden_dim=32, num_layers=2, tie_weights=True),
    "three layers, tied, projection": GRUConfig(vocab_size=299, embed_dim=20, hidden_dim=52, num_layers=3, tie_weights=True),
    "wide enough for several threads": GRUConfig(vocab_size=1003, embed_dim=160, hidden_dim=336, num_layers=2),
}


def random_model(config: GRUConfig, seed: int = 0) -> GRULM:
    torch.manual_seed(seed)
    model = GRULM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def save_graphs(model: GRULM, precision: Precision, path: Path) -> Path:
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    path.write_bytes(step_graph(model.config, weights, precision).SerializeToString())
    prefill_path(path).write_bytes(prefill_graph(model.config, weights, precision).SerializeToString())
    return path


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS.keys())
def model(request) -> GRULM:
    return random_model(request.param)


@pytest.fixture(scope="module", params=PRECISIONS)
def built(request, model, tmp_path_factory) -> tuple[GRULM, Path]:
    return model, save_graphs(model, request.param, tmp_path_factory.mktemp("graph") / "model.onnx")


@pytest.fixture(scope="module")
def exact(model, tmp_path_factory) -> Path:
    return save_graphs(model, "float32", tmp_path_factory.mktemp("graph") / "model.onnx")


def random_rows(runtime: Runtime, batch: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, runtime.vocab_size, batch)
    state = np.tanh(rng.standard_normal((runtime.num_layers, batch, runtime.hidden_dim))).astype(np.float32)
    return ids, state


def test_both_runtimes_fulfil_the_protocol(built):
    model, path = built
    for runtime in (OnnxRuntime(path), TorchRuntime(model)):
        assert isinstance(runtime, Runtime)
        config = model.config
        assert (runtime.num_layers, runtime.hidden_dim, runtime.vocab_size) == (config.num_layers, config.hidden_dim, config.vocab_size)
        assert runtime.initial_state(3).shape == (config.num_layers, 3, config.hidden_dim)


def test_a_row_is_bit_equal_alone_and_among_others_for_every_thread_count(built):
    _, path = built
    one = OnnxRuntime(path)
    ids, state = random_rows(one, 70)
    logits, new_state = one.step(ids, state)
    for threads in (1, 3, None):
        runtime = OnnxRuntime(path, threads=threads)
        for batch in (1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 17, 33, 64, 70):
            for first in {0, 70 - batch}:
                rows = slice(first, first + batch)
                some_logits, some_state = runtime.step(ids[rows], np.ascontiguousarray(state[:, rows]))
                np.testing.assert_array_equal(some_logits, logits[rows])
                np.testing.assert_array_equal(some_state, new_state[:, rows])


def test_prefill_is_bit_equal_to_stepping_in_any_pieces(built):
    _, path = built
    runtime = OnnxRuntime(path)
    rng = np.random.default_rng(2)
    ids = rng.integers(0, runtime.vocab_size, (3, 37))
    assert SHORT < 37 - 5
    logits, state = runtime.prefill(ids, runtime.initial_state(3))
    stepped = runtime.initial_state(3)
    for place in range(37):
        step_logits, stepped = runtime.step(ids[:, place], stepped)
        np.testing.assert_array_equal(logits[:, place], step_logits)
    np.testing.assert_array_equal(state, stepped)
    for cut in (1, 5, 36):
        begun = runtime.prefill(ids[:, :cut], runtime.initial_state(3))[1]
        np.testing.assert_array_equal(runtime.prefill(ids[:, cut:], begun)[1], state)
    for threads in (1, 2):
        alone = OnnxRuntime(path, threads=threads).prefill(ids[1:2], runtime.initial_state(1))
        np.testing.assert_array_equal(alone[0][0], logits[1])
        np.testing.assert_array_equal(alone[1][:, 0], state[:, 1])


def test_logits_agree_with_torch(model, exact):
    ours, theirs = OnnxRuntime(exact), TorchRuntime(model)
    ids = np.random.default_rng(3).integers(0, ours.vocab_size, (4, 60))
    our_logits, our_state = ours.prefill(ids, ours.initial_state(4))
    logits, state = theirs.prefill(ids, theirs.initial_state(4))
    np.testing.assert_allclose(our_logits, logits, atol=1e-4, rtol=0)
    np.testing.assert_allclose(our_state, state, atol=1e-4, rtol=0)
    assert np.abs(logits).max() > 0.1


def test_coarse_precisions_stay_near_torch(built):
    model, path = built
    ours, theirs = OnnxRuntime(path), TorchRuntime(model)
    ids, state = random_rows(ours, 16)
    for answer, ours_answer in zip(theirs.step(ids, state), ours.step(ids, state), strict=True):
        share = {"float32": 1e-5, "int8": 0.02, "int4": 0.15}[ours.metadata["precision"]]
        assert (ours_answer - answer).std() < share * answer.std()


def test_a_state_saved_by_one_runtime_continues_in_the_other(model, exact):
    ours, theirs = OnnxRuntime(exact), TorchRuntime(model)
    ids = np.random.default_rng(4).integers(0, ours.vocab_size, (2, 40))
    whole = theirs.prefill(ids, theirs.initial_state(2))[0]
    half = theirs.prefill(ids[:, :20], theirs.initial_state(2))[1]
    np.testing.assert_allclose(ours.prefill(ids[:, 20:], half)[0], whole[:, 20:], atol=1e-4, rtol=0)


def test_arguments_are_not_written_to_and_results_not_reused(built):
    _, path = built
    runtime = OnnxRuntime(path)
    ids, state = random_rows(runtime, 2)
    ids.flags.writeable = state.flags.writeable = False
    logits, new_state = runtime.step(ids, state)
    kept = logits.copy(), new_state.copy()
    runtime.step(ids[::-1].copy(), new_state)
    np.testing.assert_array_equal(logits, kept[0])
    np.testing.assert_array_equal(new_state, kept[1])


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x0a" * 40])
def test_a_damaged_file_is_an_error_in_words(tmp_path, content):
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointInvalid, match=r"damaged\.onnx"):
        OnnxRuntime(path)
