"""The cache of derived ONNX files: each made once from a checkpoint's weights, checked whenever it is opened.

A file is named by the sha256 of the weights that it came from, its precision and the version of the graph, so it can never be stale;
beside it lies a small JSON record with its own checksum. An ONNX file that lies in a model's folder is never looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from storyteller.checkpoint.graph import GRAPH_VERSION, Weights, step_graph
from storyteller.engine.architecture import GRUConfig


class Source(Protocol):
    """What a derived file is made from: a checkpoint, or anything like it."""

    @property
    def name(self) -> str:
        """What people call the model."""
        ...

    @property
    def config(self) -> GRUConfig:
        """Its architecture."""
        ...

    @property
    def sha256(self) -> str:
        """Checksum of its weights file, in hexadecimal."""
        ...

    def weights(self) -> Weights:
        """Its tensors in float32."""
        ...


def derived_onnx(source: Source, precision: str, cache_dir: Path, notify: Callable[[str], None] = lambda _: None) -> Path:
    """Path of the ONNX step graph of ``source``, made now if it is missing, damaged or of another source.

    Two processes that start together both make it; each writes a file of its own and renames it into place, and the bytes are the same.
    ``notify`` gets one line before anything slow happens.
    """
    path = cache_dir / "onnx" / f"{source.sha256}-{precision}-{GRAPH_VERSION}.onnx"
    if not _is_whole(path):
        notify(f"preparing {source.name} for this computer ({precision}, once)")
        content = step_graph(source.config, source.weights(), {"source_sha256": source.sha256, "precision": precision}).SerializeToString()
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
        record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        _replace(_record_path(path), json.dumps(record).encode())
    return path


def _is_whole(path: Path) -> bool:
    try:
        record = json.loads(_record_path(path).read_bytes())
        with path.open("rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == record["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
