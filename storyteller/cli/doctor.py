"""``storyteller doctor``: what to paste into a report of something that went wrong."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from typing import Any

import typer

from storyteller import __version__
from storyteller.cli import options
from storyteller.cli.output import write, write_json
from storyteller.errors import ModelNotFound, StorytellerError
from storyteller.settings import read_settings

SCHEMA_VERSION = 1
PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnx",
    "torch",
    "tokenizers",
    "safetensors",
    "huggingface-hub",
    "datasets",
    "accelerate",
    "typer",
    "textual",
    "rich",
    "matplotlib",
    "scikit-learn",
    "platformdirs",
    "ftfy",
    "tomlkit",
)
OUTSIDE = ("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HOME", "OMP_NUM_THREADS", "NO_COLOR", "FORCE_COLOR", "TERM", "LANG", "LC_ALL")
SELF_TEST_SECONDS = 1.0
SELF_TEST_PROMPT = "Once upon a time"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(model: options.Model = None, as_json: options.Json = False) -> None:
    """Examine this installation: versions, devices, paths, models, and a second of telling.

    \b
    storyteller doctor
    storyteller doctor --json > report.json

    No address, token or story is in it, but folder names are. The exit code is 1 if something is wrong.
    """
    report: dict[str, Any] = {
        "storyteller": {"version": __version__, "python": platform.python_version(), "executable": sys.executable},
        "computer": {"system": platform.platform(), "processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "packages": {name: _version(name) for name in PACKAGES},
        "environment": {name: value for name, value in sorted(os.environ.items()) if name in OUTSIDE or name.startswith("STORYTELLER_")},
    }
    for name, examine in (("devices", _devices), ("paths", _paths), ("settings", _settings), ("models", _models)):
        report[name] = _found(examine)
    report["self-test"] = _found(lambda: _self_test(model))
    wrong = [name for name, found in report.items() if "error" in found]
    if as_json:
        write_json({"schema_version": SCHEMA_VERSION, "ok": not wrong, **report})
    else:
        for name, found in report.items():
            write(f"{name}\n")
            write("".join(f"  {key:<15} {value}\n" for key, value in found.items()))
    if wrong:
        raise typer.Exit(1)


def _found(examine: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = examine()
    except StorytellerError as error:
        return {"error": error.message, **({"hint": error.hint} if error.hint else {})}
    except (OSError, ImportError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> dict[str, Any]:
    from storyteller.checkpoint.load import devices

    return devices()


def _paths() -> dict[str, Any]:
    from storyteller.cli.config import places_in_use

    return {name: f"{place}{'' if place.exists() else ' (not there)'}" for name, place in places_in_use().items()}


def _settings() -> dict[str, Any]:
    from storyteller.cli.config import effective

    return {key: f"{value} ({origin})" for key, value, origin in effective(read_settings()) if origin != "default"}


def _models() -> dict[str, Any]:
    from storyteller.checkpoint.format import read_checkpoint
    from storyteller.checkpoint.registry import list_models

    found: dict[str, Any] = {}
    for entry in list_models():
        try:
            checkpoint = read_checkpoint(entry.path)
        except StorytellerError as error:
            found["error"] = error.message
            continue
        words = f"{entry.origin}, {checkpoint.config.parameters:,} parameters, sha256 {checkpoint.sha256[:12]}…"
        found[entry.name] = words + (", default" if entry.default else "")
    return found


def _self_test(model: str | None) -> dict[str, Any]:
    """Tell for a second; that there is no model to tell with is no fault of the installation."""
    from storyteller.checkpoint.load import load
    from storyteller.engine.generate import stream

    settings = read_settings({"model": model})
    begin = time.perf_counter()
    try:
        loaded = load(settings.model, precision=settings.precision, device=settings.device, threads=settings.threads)
    except ModelNotFound as error:
        if model is not None:
            raise
        return {"skipped": error.message}
    ready = time.perf_counter()
    text, tokens = "", 0
    for step in stream(loaded, SELF_TEST_PROMPT, loaded.generation, seed=1, alternatives=0):
        text, tokens = text + step.text, tokens + 1
        if time.perf_counter() - ready > SELF_TEST_SECONDS:
            break
    seconds = time.perf_counter() - ready
    return {
        "model": loaded.name,
        "sha256": loaded.sha256,
        "computed": f"{loaded.precision} on {loaded.device}",
        "ready after": f"{ready - begin:.2f} s",
        "tokens": tokens,
        "tokens/s": round(tokens / seconds, 1),
        "story": f"{SELF_TEST_PROMPT}{text}"[:60],
    }
