"""Exports: what they hold, and that a wrong one is refused."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest

from storyteller.checkpoint import export
from storyteller.checkpoint.difference import Difference, difference, sample_ids
from storyteller.checkpoint.reference import mean_surprisal, reference_logits
from storyteller.checkpoint.weights import load_weights
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.onnx_runtime import OnnxRuntime
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid

SHAPES = {
    "one layer": GRUConfig(vocab_size=270, embed_dim=8, hidden_dim=16, num_layers=1),
    "tied with projection": GRUConfig(vocab_size=270, embed_dim=12, hidden_dim=20, num_layers=3, tie_weights=True),
}


@dataclass
class Source:
    config: GRUConfig
    sha256: str = "c" * 64
    name: str = "tiny"
    tokenizer: Tokenizer = field(default_factory=lambda: Tokenizer.train(["a little fox and a boat"] * 3, 270))

    def weights(self):
        rng = np.random.default_rng(0)
        return {name: rng.standard_normal(shape).astype(np.float32) * np.float32(0.4) for name, shape in self.config.shapes().items()}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def source(request) -> Source:
    return Source(request.param)


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
def test_onnx_is_one_file_that_runs(tmp_path, source, precision):
    path = tmp_path / "model.onnx"
    found = export.export_onnx(source, path, precision)
    assert list(tmp_path.iterdir()) == [path]
    runtime = OnnxRuntime(path)
    assert runtime.metadata["source_sha256"] == source.sha256
    assert float(runtime.metadata["largest_logit_difference"]) == pytest.approx(found.logits, rel=0.1)
    ids = np.array([[1, 5, 200, 3]])
    logits = runtime.prefill(ids, runtime.initial_state(1))[0]
    assert np.abs(logits[0] - reference_logits(source.config, source.weights(), ids.T)[:, 0]).max() <= max(1e-5, 3 * found.logits)


def test_onnx_gru_is_the_network_in_standard_operators(tmp_path, source):
    path = tmp_path / "gru.onnx"
    export.export_onnx_gru(source, path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert [node.op_type for node in model.graph.node].count("GRU") == source.config.num_layers
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(1).integers(0, 270, (30, 3))
    state = np.zeros((source.config.num_layers, 3, source.config.hidden_dim), np.float32)
    whole, last = session.run(["logits", "new_state"], {"ids": ids, "state": state})
    np.testing.assert_allclose(whole, reference_logits(source.config, source.weights(), ids), atol=1e-5)
    _, half = session.run(["logits", "new_state"], {"ids": ids[:10], "state": state})
    again, end = session.run(["logits", "new_state"], {"ids": ids[10:], "state": half})
    np.testing.assert_allclose(again, whole[10:], atol=1e-5)
    np.testing.assert_allclose(end, last, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_safetensors_holds_the_weights(tmp_path, source, dtype):
    path = tmp_path / "model.safetensors"
    found = export.export_safetensors(source, path, dtype)
    back = load_weights(path, source.config.shapes())
    for name, array in source.weights().items():
        np.testing.assert_array_equal(back[name], array.astype(dtype).astype(np.float32))
    assert (found.logits == 0) == (dtype == "float32")
    assert source.sha256.encode() in path.read_bytes()[:2000]


def test_a_graph_that_is_not_its_source_is_refused_and_not_written(tmp_path, source, monkeypatch):
    def wrong(config, weights, ids):
        return reference_logits(config, {**weights, "output.bias": weights["output.bias"] + np.arange(270, dtype=np.float32) / 50}, ids)

    monkeypatch.setattr(export, "reference_logits", wrong)
    for write in (export.export_onnx_gru, lambda source, path: export.export_onnx(source, path, "float32")):
        with pytest.raises(CheckpointInvalid, match="tiny in float32"):
            write(source, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_difference_that_is_not_a_number_is_refused(source):
    logits = np.zeros((3, 2, 270), np.float32)
    with pytest.raises(CheckpointInvalid):
        difference(source, "int4", logits * np.nan, logits, np.zeros((3, 2), np.int64))


def test_a_prefill_that_tells_other_bits_is_left_out(source, monkeypatch):
    right = export._run
    assert export.checked_graphs(source, "int8").prefill is not None

    def slightly_wrong(*arguments):
        logits, state = right(*arguments)
        return [np.nextafter(logits, np.float32(9)), state]

    monkeypatch.setattr(export, "_run", slightly_wrong)
    assert export.checked_graphs(source, "int8").prefill is None


def test_seven_bits_are_used_where_products_saturate(source, monkeypatch):
    monkeypatch.setattr(export, "products_saturate", lambda: True)
    constants = {
        constant.name: onnx.numpy_helper.to_array(constant) for constant in export.checked_graphs(source, "int8").step.graph.initializer
    }
    assert np.abs(constants["output.weight7"]).max() == 63
    assert "output.weight8" not in constants


def test_the_sample_begins_with_the_end_token_and_differs_between_rows(source):
    ids = sample_ids(source)
    assert (ids[0] == source.tokenizer.end_id).all()
    assert ids.max() < 270 and len({tuple(column) for column in ids.T}) == ids.shape[1]


def test_mean_surprisal_is_cross_entropy():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], np.float32)) + 7
    assert mean_surprisal(logits, np.array([0, 2])) == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2, abs=1e-6)


def test_metadata_is_short():
    assert Difference(0.0123456, -0.000045).to_metadata() == {"largest_logit_difference": "1.2e-02", "loss_difference": "-4.5e-05"}
