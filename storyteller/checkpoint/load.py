"""From a model's name to something that tells: the only place that chooses a runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storyteller import paths
from storyteller.checkpoint.derived import derived_onnx
from storyteller.checkpoint.format import Checkpoint, read_checkpoint
from storyteller.checkpoint.graph import Precision
from storyteller.checkpoint.precision import choose_precision
from storyteller.checkpoint.registry import find
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.params import SamplingParams
from storyteller.engine.runtime import Runtime
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import DependencyMissing, StorytellerError, UsageInvalid
from storyteller.settings import CHOICES

if TYPE_CHECKING:
    from storyteller.engine.model import GRULM

LARGEST_DIFFERENCE = 0.02
"""How far a device's logits may lie from the CPU's: well above what reduced-precision products do, well below what changes a story."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to tell.

    ``precision`` and ``device`` are those that were chosen, never "auto"; ``sha256`` is that of the weights file.
    """

    runtime: Runtime
    checkpoint: Checkpoint
    precision: str
    device: str

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back."""
        return self.checkpoint.tokenizer

    @property
    def config(self) -> GRUConfig:
        """The shape of the network."""
        return self.checkpoint.config

    @property
    def generation(self) -> SamplingParams:
        """The model's own default parameters."""
        return self.checkpoint.generation

    @property
    def styles(self) -> Mapping[str, SamplingParams]:
        """The model's own styles."""
        return self.checkpoint.styles

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.checkpoint.name

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.checkpoint.path

    @property
    def sha256(self) -> str:
        """Checksum of its weights file, in hexadecimal."""
        return self.checkpoint.sha256

    def torch_model(self) -> GRULM:
        """The network in torch, on the CPU, in evaluation mode; raises :class:`DependencyMissing` where torch is not installed."""
        return network(self.checkpoint)


def load(
    model: str | Path | None = None,
    *,
    precision: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> LoadedModel:
    """Read a model, by path or by name (None: see :func:`~storyteller.checkpoint.registry.find`), and choose what computes it.

    On the CPU that is ONNX Runtime, without torch; on any other device torch, in float32. ``precision`` "auto" is what
    :func:`~storyteller.checkpoint.precision.choose_precision` says. ``device`` "auto" is the CPU: a story is told one token at a time,
    which no other device does sooner, and ``nn.GRU`` on Apple's MPS has given NaN. ``threads`` None is one for a few stories and all
    processors for many; it changes no bit. ``notify`` gets a line for a person before anything slow happens.

    A device other than the CPU is tried out first, and refused if its numbers are not the CPU's. Raises :class:`ModelNotFound`,
    :class:`CheckpointInvalid`, :class:`UsageInvalid` for what does not go together, and
    :class:`DependencyMissing` where torch is needed and not installed.
    """
    for name, value in (("precision", precision), ("device", device)):
        if value not in CHOICES[name]:
            raise UsageInvalid(f"{name} must be one of {', '.join(CHOICES[name])}, not {value!r}")
    checkpoint = read_checkpoint(find(model))
    if device in ("auto", "cpu"):
        from storyteller.engine.onnx_runtime import OnnxRuntime

        chosen: Precision = (
            choose_precision(checkpoint.training, checkpoint.sha256).precision if precision == "auto" else precision  # type: ignore[assignment]
        )
        path = derived_onnx(checkpoint, chosen, paths.cache_dir(), notify)
        return LoadedModel(OnnxRuntime(path, threads=threads), checkpoint, chosen, "cpu")
    if precision not in ("auto", "float32"):
        raise UsageInvalid(f"{precision} is for the CPU; on {device} a model runs in float32", "leave --device or --precision out")
    return LoadedModel(_on_device(checkpoint, device), checkpoint, "float32", device)


def devices() -> dict[str, str]:
    """The devices that a model can be computed on here, each with what is known about it; without torch that is the CPU alone."""
    from importlib.metadata import version

    found = {"cpu": f"ONNX Runtime {version('onnxruntime')}"}
    try:
        import torch
    except ModuleNotFoundError:
        return found
    if torch.cuda.is_available():
        found["cuda"] = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    if torch.backends.mps.is_available():
        found["mps"] = "Apple's GPU"
    if torch.xpu.is_available():
        found["xpu"] = ", ".join(torch.xpu.get_device_name(number) for number in range(torch.xpu.device_count()))
    return found


def network(checkpoint: Checkpoint) -> GRULM:
    """The network in torch, on the CPU, in evaluation mode; raises :class:`DependencyMissing` where torch is not installed."""
    try:
        import torch

        from storyteller.engine.model import GRULM
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            f"this needs {error.name}, which is not installed; telling stories on the CPU does not", "pip install 'torch>=2.10,<2.14'"
        ) from error
    model = GRULM(checkpoint.config)
    tensors = {name: torch.from_numpy(array) for name, array in checkpoint.weights().items()}
    if checkpoint.config.tie_weights:
        tensors["output.weight"] = tensors["embedding.weight"]
    model.load_state_dict(tensors)
    return model.eval()


def _on_device(checkpoint: Checkpoint, device: str) -> Runtime:
    model = network(checkpoint)
    import torch

    from storyteller.engine.torch_runtime import TorchRuntime

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "xpu": torch.xpu.is_available()}
    if not present[device]:
        raise UsageInvalid(f"torch finds no {device} device on this computer", "leave --device out to tell on the CPU")
    probe = np.array([[checkpoint.tokenizer.end_id, *range(min(31, checkpoint.config.vocab_size))]])
    expected, _ = TorchRuntime(model, "cpu").prefill(probe, np.zeros((model.config.num_layers, 1, model.config.hidden_dim), np.float32))
    runtime = TorchRuntime(model, device)
    logits, _ = runtime.prefill(probe, runtime.initial_state(1))
    if not np.allclose(logits, expected, rtol=0, atol=LARGEST_DIFFERENCE):
        raise StorytellerError(f"{device} computes other numbers than the CPU with this model", "leave --device out to tell on the CPU")
    return runtime
