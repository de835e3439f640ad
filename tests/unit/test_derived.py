"""The cache of derived ONNX files: made once, checked, made anew when damaged."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from storyteller.checkpoint.derived import derived_onnx
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.onnx_runtime import OnnxRuntime


@dataclass
class Source:
    config: GRUConfig = field(default_factory=lambda: GRUConfig(vocab_size=260, embed_dim=8, hidden_dim=16, num_layers=1))
    sha256: str = "a" * 64
    name: str = "tiny"

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


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "no record", "foreign record"])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    path = derived_onnx(Source(), "float32", tmp_path)
    content = path.read_bytes()
    record = path.with_suffix(".json")
    if damage == "bit":
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        path.write_bytes(changed)
    elif damage == "no record":
        record.unlink()
    elif damage == "foreign record":
        record.write_text("[]")
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    said = []
    assert derived_onnx(Source(), "float32", tmp_path, said.append).read_bytes() == content
    assert len(said) == 1
    derived_onnx(Source(), "float32", tmp_path, said.append)
    assert len(said) == 1


def test_two_that_start_together_leave_one_whole_file(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: derived_onnx(Source(), "float32", tmp_path), range(8)))
    (path,) = paths
    OnnxRuntime(path)
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted([path.name, path.with_suffix(".json").name])
