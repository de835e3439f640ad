"""Where a training computes: accelerate's choice, with what is known about each device taken into account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from storyteller.errors import ConfigInvalid, DependencyMissing, StorytellerError
from storyteller.training.config import Device, Precision, Preset

if TYPE_CHECKING:
    from accelerate import Accelerator

MIXED = {"float32": "no", "bf16": "bf16", "fp16": "fp16"}
MPS_TOLERANCE = 1e-3


def open_device(device: Device = "auto", precision: Precision = "auto") -> Accelerator:
    """The device, alone or as one of the processes that ``accelerate launch`` or ``torchrun`` started.

    ``auto`` is CUDA, XPU or a TPU where there is one and the CPU elsewhere, on Apple machines too, for ``nn.GRU`` is slower and
    has been wrong on MPS; asked for by name, MPS must first agree with the CPU. Raises :class:`ConfigInvalid` if ``device`` is not here.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ModuleNotFoundError as error:
        raise DependencyMissing("training needs the package accelerate", "pip install accelerate") from error
    # accelerate keeps the first choice of a process for ever; every training makes its own.
    AcceleratorState._reset_state(reset_partial_state=True)
    on_mac = torch.backends.mps.is_available()
    on_cpu = device == "cpu" or (device == "auto" and on_mac)
    kind = Accelerator(cpu=on_cpu).device.type
    if device != "auto" and kind != {"tpu": "xla"}.get(device, device):
        raise ConfigInvalid(f"device {device} is not here; this machine has {kind}", f"--device {kind if kind != 'xla' else 'tpu'}")
    if device == "mps":
        check_mps()
    if precision == "auto":
        precision = auto_precision(kind)
    if precision == "fp16" and kind == "cpu":
        raise ConfigInvalid("precision must be float32 or bf16 on a CPU, not 'fp16'")
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=on_cpu, mixed_precision=MIXED[precision])


def auto_precision(kind: str) -> Precision:
    """bf16 where the device multiplies in it, fp16 on older GPUs, float32 elsewhere."""
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if kind == "cpu":
        return "bf16" if cpu_multiplies_bf16() else "float32"
    return "bf16" if kind in ("xla", "xpu") else "float32"


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU has instructions for bf16 products (AVX-512 BF16 or AMX); without them bf16 is slower than float32."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def auto_preset() -> Preset:
    """The preset that this machine can train: base on a GPU, small on a CPU."""
    return "base" if torch.cuda.is_available() or torch.xpu.is_available() else "small"


def check_mps() -> None:
    """Raise :class:`StorytellerError` unless a small GRU computes the same loss and gradient on MPS as on the CPU."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(16, 4, 32, generator=generator)
    found = []
    for device in ("cpu", "mps"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            gru = torch.nn.GRU(32, 64, 2)
        gru = gru.to(device)
        hidden, _ = gru(inputs.to(device))
        loss = hidden.square().mean()
        loss.backward()
        gradients = [parameter.grad for parameter in gru.parameters() if parameter.grad is not None]
        found.append(torch.cat([loss.detach().reshape(1), *(gradient.flatten() for gradient in gradients)]).cpu())
    if not torch.allclose(found[0], found[1], rtol=MPS_TOLERANCE, atol=MPS_TOLERANCE):
        raise StorytellerError("this Mac's GPU (MPS) computes another GRU than its CPU", "--device cpu")
