"""Whether there is room on the disk, asked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from storyteller.errors import StorytellerError

RESERVE = 16 << 20
"""Bytes that stay free: a disk that is full to the last one breaks other programs."""


def free_space(folder: Path) -> int:
    """Bytes free where ``folder`` is, or would be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def check_space(folder: Path, needed: int) -> None:
    """Raise :class:`StorytellerError` unless ``needed`` bytes and a reserve are free where ``folder`` is, or would be made."""
    free = free_space(folder)
    if needed + RESERVE > free:
        raise StorytellerError(
            f"{needed / 1e6:,.1f} MB are needed in {folder}, but only {free / 1e6:,.1f} MB are free",
            "make room, or set STORYTELLER_DATA_DIR and STORYTELLER_CACHE_DIR to a larger disk",
        )
