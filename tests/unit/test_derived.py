"""The cache of derived ONNX files: made once, checked, made anew when damaged."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from storyteller.checkpoint.derived import derived_onnx
from storyteller.checkpoint.reference import reference_logits
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.onnx_runtime import OnnxRuntime, prefill_path
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid


@dataclass
class Source:
    config: GRUConfig = field(default_factory=lambda: GRUConfig(vocab_size=260, embed_dim=8, hidden_dim=16, num_layers=1))
    sha256: str = "a" * 64
    name: str = "tiny"
    tokenizer: Tokenizer = field(default_factory=lambda: Tokenizer.train(["a little fox and a boat"], 260))

    def weights(self):
        rng = np.random.default_rng(0)
        return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in self.config.shapes().items()}


def test_made_once_and_then_found(tmp_path):
    said = []
    path = derived_onnx(Source(), "float32", tmp_path, said.append)
    made = path.stat().st_mtime_ns
    assert derived_onnx(Source(), "float32", tmp_path, said.append) == path
    assert path.stat().st_mtime_ns == made
    assert len(said) == 1 and "tiny" in said[0]
    metadata = OnnxRuntime(path).metadata
    assert (metadata["source_sha256"], metadata["precision"]) == ("a" * 64, "float32")


def test_another_source_gets_another_file(tmp_path):
    assert derived_onnx(Source(), "float32", tmp_path) != derived_onnx(Source(sha256="b" * 64), "float32", tmp_path)


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
def test_the_file_holds_the_network_and_its_figures(tmp_path, precision):
    source = Source()
    runtime = OnnxRuntime(derived_onnx(source, precision, tmp_path))
    ids = np.random.default_rng(1).integers(0, 260, (20, 2))
    logits = runtime.prefill(ids.T, runtime.initial_state(2))[0].swapaxes(0, 1)
    expected = reference_logits(source.config, source.weights(), ids)
    assert np.abs(logits - expected).max() < {"float32": 1e-4, "int8": 0.5, "int4": 5.0}[precision]
    assert (precision == "float32") == (np.abs(logits - expected).max() < 1e-3)
    assert float(runtime.metadata["largest_logit_difference"]) > 0
    assert prefill_path(runtime.path).is_file()


@pytest.mark.parametrize("suffix", [".onnx", ".bin", ".prefill.onnx"])
@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "gone"])
def test_a_damaged_file_is_made_anew(tmp_path, suffix, damage):
    path = derived_onnx(Source(), "float32", tmp_path)
    damaged = path.with_suffix(suffix)
    content = damaged.read_bytes()
    if damage == "gone":
        damaged.unlink()
    elif damage == "bit":
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        damaged.write_bytes(changed)
    else:
        damaged.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    assert_made_once_more(tmp_path)
    assert damaged.read_bytes() == content


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {}}', '{"files": {"other": "file"}}'])
def test_a_damaged_record_is_made_anew(tmp_path, content):
    derived_onnx(Source(), "float32", tmp_path).with_suffix(".json").write_text(content)
    assert_made_once_more(tmp_path)


def assert_made_once_more(cache):
    said = []
    derived_onnx(Source(), "float32", cache, said.append)
    assert len(said) == 1
    derived_onnx(Source(), "float32", cache, said.append)
    assert len(said) == 1


def test_a_network_that_a_precision_cannot_hold_is_an_error_and_leaves_nothing(tmp_path):
    class Wild(Source):
        def weights(self):
            weights = super().weights()
            # One huge weight an output leaves its neighbours no integers but zero.
            weights["output.weight"][:, 0] = 1e4
            weights["output.weight"][:, 1:] *= 30
            return weights

    with pytest.raises(CheckpointInvalid, match="int8") as raised:
        derived_onnx(Wild(), "int8", tmp_path)
    assert "float32" in raised.value.hint
    assert not (tmp_path / "onnx").exists()


def test_two_that_start_together_leave_whole_files(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        (path,) = set(pool.map(lambda _: derived_onnx(Source(), "float32", tmp_path), range(8)))
    OnnxRuntime(path)
    assert {entry.name.removeprefix(path.stem) for entry in path.parent.iterdir()} == {".onnx", ".prefill.onnx", ".bin", ".json"}
