"""Content hashes of files, remembered by size and time of change, so that a second run need not read everything again."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from storyteller.errors import DataInvalid
from storyteller.training.atomic import write_json

_SETTLED_SECONDS = 3.0


class FileHashes:
    """SHA-256 of files. What is known is kept in ``folder/file-hashes.json`` under the file's path, size and time of change.

    A file changed less than three seconds before it was hashed is not remembered: a change within the clock's grain would go unseen.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "file-hashes.json"

    def sha256(self, path: Path) -> str:
        """The SHA-256 of a file in hex; raises :class:`DataInvalid` if it cannot be read."""
        try:
            state = path.stat()
            mark = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
            known = self._known()
            if mark in known:
                return known[mark]
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataInvalid(f"{path}: cannot be read ({error.strerror})") from error
        if abs(time.time() - state.st_mtime) > _SETTLED_SECONDS:
            write_json(self._path, {**known, mark: digest})
        return digest

    def _known(self) -> dict[str, str]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
