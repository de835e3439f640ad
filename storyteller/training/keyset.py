"""A set of 64-bit keys that fits many millions of stories into little memory."""

from __future__ import annotations

from array import array

_MASK = 0xFFFFFFFFFFFFFFFF
_FIRST_SLOTS = 1 << 10


class KeySet:
    """64-bit integers in an open-addressing table with linear probing: 12 to 24 bytes a key, where a ``set`` of ints takes 70 to 130.

    Growing holds the old and the new table at once, 36 bytes a key for a moment. Keys must be spread evenly already (hashes).
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))
        self._count = 0
        self._has_zero = False

    def __len__(self) -> int:
        return self._count + self._has_zero

    def __contains__(self, key: int) -> bool:
        if key == 0:
            return self._has_zero
        return self._slots[_place(self._slots, key)] != 0

    def add(self, key: int) -> None:
        """Put a key in; 0 <= key < 2**64."""
        if key == 0:  # a zero slot means "free"
            self._has_zero = True
            return
        place = _place(self._slots, key)
        if self._slots[place] == 0:
            self._slots[place] = key
            self._count += 1
            if 3 * self._count > 2 * len(self._slots):
                self._grow()

    def _grow(self) -> None:
        wider = array("Q", bytes(16)) * len(self._slots)
        for key in self._slots:
            if key:
                wider[_place(wider, key)] = key
        self._slots = wider


def _place(slots: array[int], key: int) -> int:
    """The slot that holds ``key``, or the free one where it belongs."""
    last = len(slots) - 1
    place = (key ^ (key >> 32)) & last
    while (held := slots[place]) and held != key:
        place = (place + 1) & last
    return place
