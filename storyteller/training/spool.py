"""Stories put by on disk while a corpus is read, to be taken out again in another order."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray


class StorySpool:
    """A file of stories and, in memory, 18 bytes for each: where it lies, its key, its source.

    Close it, or use it in ``with``.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._ends = array("Q")
        self._keys = array("Q")
        self._sources = array("H")

    def __enter__(self) -> StorySpool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def keys(self) -> NDArray[np.uint64]:
        """The keys of the stories, uint64 (N,), in the order they came: a view, so nothing can be added while it is held."""
        return np.frombuffer(self._keys, np.uint64)

    @property
    def sources(self) -> NDArray[np.uint16]:
        """The numbers of the stories' sources, uint16 (N,): a view, too."""
        return np.frombuffer(self._sources, np.uint16)

    def add(self, text: str, key: int, source: int) -> None:
        """Put a story by. Lone surrogates become U+FFFD."""
        raw = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
        self._file.write(raw)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(raw))
        self._keys.append(key)
        self._sources.append(source)

    def read(self, places: Iterable[int]) -> Iterator[bytes]:
        """The stories at ``places``, as UTF-8, in that order."""
        self._file.flush()
        for place in places:
            start = self._ends[place - 1] if place else 0
            self._file.seek(start)
            yield self._file.read(self._ends[place] - start)
