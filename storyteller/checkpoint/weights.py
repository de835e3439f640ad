"""The weights file: safetensors, checked against what the architecture promises before anything is allocated.

The layout (an 8-byte little-endian length, a JSON header of that length, the tensors' bytes) is that of
https://huggingface.co/docs/safetensors. Reading is done here, and not by the library, since its numpy side cannot read bfloat16,
and since every tensor's name, type, shape and place must be known to be right before one byte is trusted.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from storyteller.checkpoint.files import check_plain, replace_file
from storyteller.errors import CheckpointInvalid

Weights = dict[str, NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]
Stored = Literal["float32", "float16"]
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
LONGEST_HEADER = 16 << 20
PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")
FIRST_OPCODES = (b"}", b"c", b"]", b"\x95", b"(", b"\x8a")


def save_weights(
    path: Path,
    weights: Mapping[str, NDArray[np.float32]],
    shapes: Shapes,
    dtype: Stored = "float32",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Replace ``path`` by a safetensors file of ``weights`` in one move; its metadata carries a digest of the tensors, and ``metadata``.

    Raises :class:`CheckpointInvalid` if names or shapes are not those of ``shapes``, or a number is not finite in ``dtype``, and
    :class:`OSError` where the disk does not take it; ``path`` is as it was then.
    """
    from safetensors.numpy import save

    if {name: array.shape for name, array in weights.items()} != dict(shapes):
        raise CheckpointInvalid("the weights are not those of the architecture")
    with np.errstate(over="ignore"):
        stored = {name: np.ascontiguousarray(array, dtype) for name, array in weights.items()}
    for name, array in stored.items():
        if not np.isfinite(array).all():
            raise CheckpointInvalid(f"the tensor {name} holds numbers that {dtype} cannot hold")
    digest = hashlib.sha256()
    for name in sorted(stored):
        _digest_tensor(digest, name, stored[name])
    # A checkpoint has one entry only: the library writes several in an order of its own, and equal weights shall give equal files.
    entries = {**(metadata or {}), "digest": digest.hexdigest()}
    # The library's own way to a file leaves a temporary one beside it when it is killed.
    replace_file(path, lambda fresh: fresh.write_bytes(save(stored, metadata=entries)))


def load_weights(path: Path, shapes: Shapes, sha256: str | None = None) -> Weights:
    """Read the tensors of ``shapes`` as float32, from float32, float16 or bfloat16.

    ``sha256`` is the promised digest of the whole file; without one the digest in the file's own metadata is checked, so that
    a changed bit is found in either case. Raises :class:`CheckpointInvalid`, in words, for everything that is not as promised.
    """
    try:
        check_plain(path)
        with path.open("rb") as file:
            if sha256 is not None and file_sha256(file) != sha256:
                _explain_pickle(path, file)
                raise CheckpointInvalid(f"{path} is damaged: its bytes are not those that config.json names (sha256)")
            return _read(path, file, shapes, check_digest=sha256 is None)
    except OSError as error:
        raise CheckpointInvalid(f"{path} cannot be read: {error.strerror or error}") from error


def check_header(path: Path, shapes: Shapes) -> None:
    """Check names, types, shapes and size of ``path`` without reading the tensors; raises :class:`CheckpointInvalid`."""
    try:
        check_plain(path)
        with path.open("rb") as file:
            _header(path, file, shapes)
    except OSError as error:
        raise CheckpointInvalid(f"{path} cannot be read: {error.strerror or error}") from error


def file_sha256(file: BinaryIO) -> str:
    """The sha256 of a whole open file, as hexadecimal digits."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # open() gives readinto


def path_sha256(path: Path) -> str:
    """The sha256 of the file at ``path``, as hexadecimal digits."""
    with path.open("rb") as file:
        return file_sha256(file)


def _read(path: Path, file: BinaryIO, shapes: Shapes, *, check_digest: bool) -> Weights:
    header, begin = _header(path, file, shapes)
    metadata = header.get("__metadata__")
    promised = metadata.get("digest") if isinstance(metadata, dict) else None
    if check_digest and promised is None:
        raise CheckpointInvalid(f"{path} carries no digest of its tensors, and config.json none of the file")
    digest = hashlib.sha256()
    weights: Weights = {}
    for name in sorted(shapes):
        entry = header[name]
        file.seek(begin + entry["data_offsets"][0])
        stored = np.fromfile(file, DTYPES[entry["dtype"]], math.prod(shapes[name])).reshape(shapes[name])
        if check_digest:
            _digest_tensor(digest, name, stored)
        if entry["dtype"] == "BF16":
            stored = (stored.astype("<u4") << 16).view("<f4")
        array = stored.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise CheckpointInvalid(f"{path} holds numbers that are not finite, in {name}")
        weights[name] = array
    if check_digest and digest.hexdigest() != promised:
        raise CheckpointInvalid(f"{path} is damaged: its tensors do not have the digest that was written with them")
    return weights


def _header(path: Path, file: BinaryIO, shapes: Shapes) -> tuple[dict[str, Any], int]:
    """The checked header and the place where the tensors' bytes begin."""
    _explain_pickle(path, file)
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        raise CheckpointInvalid(f"{path} is no safetensors file, or only the beginning of one")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise CheckpointInvalid(f"{path} has a damaged header") from error
    if not isinstance(header, dict):
        raise CheckpointInvalid(f"{path} has a damaged header")
    names = set(header) - {"__metadata__"}
    if names != set(shapes):
        odd = ", ".join(sorted(names ^ set(shapes))[:3])
        raise CheckpointInvalid(f"{path} belongs to another architecture than config.json says ({odd})")
    begin, end = 8 + length, 0
    for name in sorted(names, key=lambda name: _offsets(path, header[name])):
        entry, offsets = header[name], _offsets(path, header[name])
        dtype = DTYPES.get(entry.get("dtype")) if isinstance(entry.get("dtype"), str) else None
        if dtype is None:
            raise CheckpointInvalid(f"{path} stores {name} as {entry.get('dtype')!r}, not as float32, float16 or bfloat16")
        if entry.get("shape") != list(shapes[name]):
            raise CheckpointInvalid(f"{path} holds {name} with shape {entry.get('shape')!r}, but config.json asks for {list(shapes[name])}")
        if offsets != (end, end + math.prod(shapes[name]) * dtype.itemsize):
            raise CheckpointInvalid(f"{path} has a damaged header: {name} does not lie where it should")
        end = offsets[1]
    if begin + end != size:
        raise CheckpointInvalid(f"{path} is cut off or has bytes that do not belong to it")
    return header, begin


def _offsets(path: Path, entry: Any) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(offset) is int for offset in offsets)):
        raise CheckpointInvalid(f"{path} has a damaged header")
    return offsets[0], offsets[1]


def _explain_pickle(path: Path, file: BinaryIO) -> None:
    file.seek(0)
    start = file.read(4)
    # A pickle of protocol 2 or later begins with 0x80 and its number; torch.save wraps one into a zip archive.
    if start == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in PROTOCOLS and start[2:3] in FIRST_OPCODES):
        raise CheckpointInvalid(f"{path} is a pickle, which could run any code, and is not read", "convert it to safetensors first")


def _digest_tensor(digest: Any, name: str, array: NDArray[Any]) -> None:
    # The bytes of bfloat16 arrive as uint16: kind and width are named by the width alone.
    digest.update(json.dumps([name, array.itemsize, list(array.shape)]).encode())
    digest.update(array.data)
