"""The ids of a snapshot: a view of a list that only grows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import overload


class History(Sequence[int]):
    """The first ``length`` ids of ``ids``, read-only; it equals the tuple of them.

    A snapshot on every token of a long story would copy n ids for its n-th token; all histories of one stream share its list instead.
    The list must never lose or change an id that it has.
    """

    __slots__ = ("_ids", "_length")

    def __init__(self, ids: list[int], length: int) -> None:
        self._ids = ids
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return islice(self._ids, self._length)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[int, ...]: ...
    def __getitem__(self, place: int | slice) -> int | tuple[int, ...]:
        """The id at ``place``, or the tuple of those in a slice; raises IndexError beyond the ends."""
        if isinstance(place, slice):
            return tuple([self._ids[at] for at in range(*place.indices(self._length))])
        at = place + self._length if place < 0 else place
        if not 0 <= at < self._length:
            raise IndexError(f"index {place} is beyond the {self._length} ids")
        return self._ids[at]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History | tuple | list):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[type[tuple[int, ...]], tuple[list[int]]]:
        # Pickled and copied as what it stands for, not as a list that others share.
        return tuple, (list(self),)
