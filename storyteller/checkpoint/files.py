"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a new file beside ``path``, bring it to the disk and put it in the place of ``path`` in one move.

    Whoever reads ``path`` meanwhile, and whoever comes after a crash at any moment, finds the old bytes or the new ones, never a mixture.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch()
    try:
        mode = fresh.stat().st_mode
        write(fresh)
        # safetensors makes files that only their owner may read; a model is as public as the files around it.
        fresh.chmod(mode)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        # On a full disk the half that was written would keep it full.
        fresh.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def check_plain(path: Path) -> None:
    """Raise :class:`OSError` if something is at ``path`` that is no plain file: to read a pipe or a device might never end."""
    if path.exists() and not path.is_file():
        raise OSError("it is not a plain file")


def replace_text(path: Path, text: str) -> None:
    """:func:`replace_file` with UTF-8 text."""
    replace_file(path, lambda fresh: fresh.write_bytes(text.encode("utf-8")))


def sync_directory(path: Path) -> None:
    """Bring a directory's own entries to the disk, where the system can (Windows cannot open one)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
