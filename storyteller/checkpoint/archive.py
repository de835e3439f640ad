"""Unpacking a model from a ``.tar``, ``.tar.gz`` or ``.zip`` that somebody else made.

Nothing in an archive is trusted: names that lead elsewhere, links, devices and sizes beyond reason refuse the whole of it, and of the rest
only the files of one checkpoint directory are written, under their own known names.
"""

from __future__ import annotations

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from storyteller.checkpoint.format import CARD, CONFIG, GENERATION, LARGEST_JSON, TOKENIZER, TRAINING, WEIGHTS
from storyteller.errors import CheckpointInvalid

REQUIRED = (CONFIG, TOKENIZER, WEIGHTS)
OPTIONAL = (GENERATION, TRAINING, CARD, "train.jsonl", "LICENSE")
FILES = (*REQUIRED, *OPTIONAL)
LARGEST_MODEL = 8 << 30
MOST_MEMBERS = 10_000
LONGEST_READ = 16 << 20
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its place, its size in bytes as the archive says, and how to open it."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def largest(name: str) -> int:
    """Most bytes that a file of a checkpoint may have."""
    return LARGEST_MODEL if name == WEIGHTS else LARGEST_JSON


def unpack(archive: Path, into: Path) -> None:
    """Write the checkpoint in ``archive``, at its top or in one folder of it, into the directory ``into``.

    Raises :class:`CheckpointInvalid`, in words, for an archive that is damaged, dangerous, or holds no checkpoint.
    """
    with _members(archive) as members:
        found = _of_one_checkpoint(archive, members)
        for name, member in found.items():
            _write(archive, member, into / name)


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    try:
        with archive.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
                with zipfile.ZipFile(file) as opened:
                    yield _checked(archive, _zip_members(archive, opened))
            elif start[:2] == b"\x1f\x8b" or start[257:262] == b"ustar":
                # Headers are read whole, and a compressed archive may promise one of any length.
                plain: Any = _Bounded(gzip.GzipFile(fileobj=file) if start[:2] == b"\x1f\x8b" else file)
                with tarfile.open(fileobj=plain, mode="r:") as tar:
                    yield _checked(archive, _tar_members(archive, tar))
            else:
                raise CheckpointInvalid(f"{archive.name} is neither a .tar, a .tar.gz nor a .zip")
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        struct.error,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OverflowError,
    ) as error:
        raise CheckpointInvalid(f"{archive.name} is damaged, or not an archive that can be read: {error}") from error


def _tar_members(archive: Path, tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise CheckpointInvalid(f"{archive.name} holds a link, a device or the like ({info.name!r}), and is not unpacked")
        yield Member(_safe(archive, info.name), info.size, partial(_extracted, archive, tar, info))


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() and kind in (0, stat.S_IFDIR):
            continue
        if kind not in (0, stat.S_IFREG) or info.flag_bits & 1:
            raise CheckpointInvalid(f"{archive.name} holds a link, a device or an encrypted file ({info.filename!r}), and is not unpacked")
        yield Member(_safe(archive, info.filename), info.file_size, partial(opened.open, info))


def _extracted(archive: Path, tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    if file is None:
        raise CheckpointInvalid(f"{archive.name} is damaged")
    return file


def _checked(archive: Path, members: Iterator[Member]) -> list[Member]:
    """All members, looked at one by one, so that a huge archive is noticed before it is read through."""
    found: list[Member] = []
    total = 0
    for member in members:
        found.append(member)
        total += member.size
        if len(found) > MOST_MEMBERS or total > LARGEST_MODEL or member.size < 0:
            raise CheckpointInvalid(f"{archive.name} is larger inside than a model can be, and is not unpacked")
    return found


def _safe(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name or not path.parts:
        raise CheckpointInvalid(f"{archive.name} holds a name that leads elsewhere ({name!r}), and is not unpacked")
    return path


def _of_one_checkpoint(archive: Path, members: list[Member]) -> dict[str, Member]:
    folders = {member.path.parent for member in members if member.path.name == CONFIG and len(member.path.parts) <= 2}
    if len(folders) != 1:
        raise CheckpointInvalid(f"{archive.name} holds {len(folders) or 'no'} model{'s' if folders else ''}: one {CONFIG} is wanted")
    (folder,) = folders
    found: dict[str, Member] = {}
    for member in members:
        name = member.path.name
        if member.path.parent != folder or name not in FILES:
            continue
        if name in found:
            raise CheckpointInvalid(f"{archive.name} holds {name} twice")
        if member.size > largest(name):
            raise CheckpointInvalid(f"{name} in {archive.name} is too large to be what it should be")
        found[name] = member
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise CheckpointInvalid(f"{archive.name} lacks {', '.join(missing)}")
    return found


def _write(archive: Path, member: Member, path: Path) -> None:
    left = member.size
    with member.open() as source, path.open("xb") as target:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                break
            target.write(chunk)
    if left:
        raise CheckpointInvalid(f"{member.path.name} in {archive.name} has not the size that the archive says")


class _Bounded:
    """A file whose single reads are bounded."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LONGEST_READ:
            raise tarfile.ReadError("a header is longer than any honest one")
        data: bytes = self.file.read(size)
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        position: int = self.file.seek(place, whence)
        return position

    def tell(self) -> int:
        position: int = self.file.tell()
        return position
