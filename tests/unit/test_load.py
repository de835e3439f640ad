"""From a name to a runtime."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from storyteller.checkpoint.load import load
from storyteller.engine.onnx_runtime import OnnxRuntime
from storyteller.errors import CheckpointInvalid, DependencyMissing, ModelNotFound, UsageInvalid

IDS = np.array([[0, 5, 17, 40]], np.int64)


def test_a_model_is_told_by_onnx_runtime_on_the_cpu(tiny_checkpoint: Path) -> None:
    model = load(tiny_checkpoint)
    assert isinstance(model.runtime, OnnxRuntime)
    assert (model.name, model.precision, model.device) == ("tiny", "float32", "cpu")
    assert model.path == tiny_checkpoint.resolve()
    assert model.generation.max_len == 40
    assert len(model.sha256) == 64


def test_its_numbers_are_those_of_the_network_in_torch(tiny_checkpoint: Path) -> None:
    from storyteller.engine.torch_runtime import TorchRuntime

    model = load(tiny_checkpoint)
    other = TorchRuntime(model.torch_model())
    logits, state = model.runtime.prefill(IDS, model.runtime.initial_state(1))
    expected, expected_state = other.prefill(IDS, other.initial_state(1))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(state, expected_state, atol=1e-4)


def test_the_torch_network_is_not_in_training_mode(tiny_checkpoint: Path) -> None:
    assert load(tiny_checkpoint).torch_model().training is False


def test_a_slow_first_use_is_announced_once(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYTELLER_CACHE_DIR", str(tmp_path))
    lines: list[str] = []
    load(tiny_checkpoint, notify=lines.append)
    load(tiny_checkpoint, notify=lines.append)
    assert len(lines) == 1
    assert "tiny" in lines[0]


@pytest.mark.parametrize(("option", "value"), [("precision", "float64"), ("device", "tpu")])
def test_an_unknown_choice_names_the_legal_ones(tiny_checkpoint: Path, option: str, value: str) -> None:
    with pytest.raises(UsageInvalid, match=f"{option} must be one of auto, .*, not '{value}'"):
        load(tiny_checkpoint, **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_precision_is_what_was_asked_for(tiny_checkpoint: Path, precision: str) -> None:
    model = load(tiny_checkpoint, precision=precision)
    assert model.precision == precision
    coarse, _ = model.runtime.prefill(IDS, model.runtime.initial_state(1))
    fine = load(tiny_checkpoint).runtime
    exact, _ = fine.prefill(IDS, fine.initial_state(1))
    assert 0 < np.abs(coarse - exact).max() < 2


def test_coarse_numbers_are_for_the_cpu(tiny_checkpoint: Path) -> None:
    with pytest.raises(UsageInvalid, match="int8 is for the CPU"):
        load(tiny_checkpoint, precision="int8", device="cuda")


def test_a_device_that_is_not_there_is_named(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageInvalid, match="no cuda device"):
        load(tiny_checkpoint, device="cuda")


def test_a_device_whose_numbers_are_wrong_is_refused(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from storyteller.engine import torch_runtime
    from storyteller.errors import StorytellerError

    class Broken(torch_runtime.TorchRuntime):
        def __init__(self, model: object, device: str) -> None:
            super().__init__(model, "cpu")  # type: ignore[arg-type]
            self.broken = device == "cuda"

        def prefill(self, ids: object, state: object) -> object:  # type: ignore[override]
            logits, state = super().prefill(ids, state)  # type: ignore[arg-type,assignment]
            return logits * np.float32("nan") if self.broken else logits, state

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch_runtime, "TorchRuntime", Broken)
    with pytest.raises(StorytellerError, match="computes other numbers than the CPU"):
        load(tiny_checkpoint, device="cuda")


def test_without_torch_a_model_tells_and_its_network_is_missed_in_words(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    model = load(tiny_checkpoint)
    assert np.isfinite(model.runtime.prefill(IDS, model.runtime.initial_state(1))[0]).all()
    with pytest.raises(DependencyMissing, match="torch, which is not installed"):
        model.torch_model()
    with pytest.raises(DependencyMissing):
        load(tiny_checkpoint, device="cuda")


def test_a_changed_weight_is_found(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny"
    shutil.copytree(tiny_checkpoint, path)
    weights = path / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    monkeypatch.setenv("STORYTELLER_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(CheckpointInvalid, match="damaged"):
        load(path)


def test_an_onnx_file_beside_the_weights_is_never_opened(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny"
    shutil.copytree(tiny_checkpoint, path)
    (path / "model.onnx").write_bytes(b"foreign")
    monkeypatch.setenv("STORYTELLER_CACHE_DIR", str(tmp_path / "cache"))
    opened: list[str] = []
    monkeypatch.setattr("storyteller.engine.onnx_runtime.OnnxRuntime.__init__", lambda self, path, threads: opened.append(str(path)))
    load(path)
    assert opened
    assert all(name.startswith(str(tmp_path / "cache")) for name in opened)


def test_a_missing_model_is_missed_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFound):
        load("no-such-model")
