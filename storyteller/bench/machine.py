"""The computer and the versions that a figure belongs to."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from storyteller.engine.onnx_runtime import processors

PACKAGES = ("storyteller", "torch", "onnxruntime", "numpy", "tokenizers")


def machine() -> dict[str, Any]:
    """Processor, system, load at the moment and versions, as plain JSON values."""
    return {
        "processor": _processor(),
        "processors": processors(),
        "system": platform.platform(terse=True),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
