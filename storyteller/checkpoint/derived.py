"""The cache of derived ONNX files: made once from a checkpoint's weights, checked whenever they are opened.

Of one source in one precision there are: the step graph, the prefill graph, one file with the weights of both, which ONNX Runtime maps
into memory, and a JSON record with the checksum of each. All are named by the sha256 of the source's weights, the precision and the
version of the graphs, so they can never be stale. An ONNX file that lies in a model's folder is never looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyteller.checkpoint.graph import GRAPH_VERSION, PRECISIONS, Precision
from storyteller.engine.onnx_runtime import prefill_path

if TYPE_CHECKING:
    import onnx

    from storyteller.checkpoint.difference import Source

SMALL = 1024
"""Constants up to so many bytes stay inside the graph."""
PAGE = 4096


def derived_onnx(source: Source, precision: Precision, cache_dir: Path, notify: Callable[[str], None] = lambda _: None) -> Path:
    """Path of the step graph of ``source``, made now, with what belongs to it, if anything is missing or damaged.

    Two processes that start together both make it; each file is put in its place in one move, and both write the same bytes.
    ``notify`` gets one line before anything slow happens. Raises :class:`~storyteller.errors.CheckpointInvalid` if the precision
    is too coarse for this model.
    """
    path = _path(source.sha256, precision, cache_dir)
    if not _is_whole(path):
        notify(f"preparing {source.name} for this computer ({precision}, once)")
        _make(source, precision, path)
    return path


def made_graphs(sha256: str, cache_dir: Path) -> dict[Precision, Path]:
    """The step graphs of the weights with this checksum that are there and whole, by precision."""
    paths = {precision: _path(sha256, precision, cache_dir) for precision in PRECISIONS}
    return {precision: path for precision, path in paths.items() if _is_whole(path)}


def remove_derived(sha256: str, cache_dir: Path) -> None:
    """Delete whatever was made of the weights with this checksum, by any version of the graphs."""
    for path in (cache_dir / "onnx").glob(f"{sha256}-*"):
        path.unlink(missing_ok=True)


def _path(sha256: str, precision: Precision, cache_dir: Path) -> Path:
    return cache_dir / "onnx" / f"{sha256}-{precision}-{GRAPH_VERSION}.onnx"


def _make(source: Source, precision: Precision, path: Path) -> None:
    from storyteller.checkpoint.export import checked_graphs

    graphs = checked_graphs(source, precision)
    weights_path = path.with_suffix(".bin")
    places: dict[str, tuple[int, int]] = {}
    pieces: list[bytes] = []
    files = {}
    for graph_path, model in ((path, graphs.step), (prefill_path(path), graphs.prefill)):
        if model is not None:
            _move_out(model, weights_path.name, places, pieces)
            files[graph_path] = model.SerializeToString(deterministic=True)
        else:
            graph_path.unlink(missing_ok=True)
    files[weights_path] = b"".join(pieces)
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        _replace(file, content)
    record = {"files": {file.name: hashlib.sha256(content).hexdigest() for file, content in files.items()}}
    _replace(_record_path(path), json.dumps(record).encode())


def _move_out(model: onnx.ModelProto, location: str, places: dict[str, tuple[int, int]], pieces: list[bytes]) -> None:
    """Move the large constants of ``model`` to ``pieces`` of a file beside it; equal names, in several models, share a place."""
    from onnx import TensorProto

    for constant in model.graph.initializer:
        if len(constant.raw_data) <= SMALL:
            continue
        if constant.name not in places:
            begin = sum(map(len, pieces))
            places[constant.name] = begin, len(constant.raw_data)
            pieces += [constant.raw_data, bytes(-len(constant.raw_data) % PAGE)]
        offset, length = places[constant.name]
        constant.ClearField("raw_data")
        constant.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
            constant.external_data.add(key=key, value=value)


def _is_whole(path: Path) -> bool:
    try:
        record = json.loads(_record_path(path).read_bytes())
        digests: dict[str, Any] = record["files"]
        needed = {path.name, path.with_suffix(".bin").name}
        return needed <= set(digests) and all(_sha256(path.with_name(name)) == digest for name, digest in digests.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
