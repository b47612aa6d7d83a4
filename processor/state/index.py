"""From key to slot: open addressing with linear probing, every step over all keys at once.

The stored keys are compared word by word, so two keys with one hash stay two keys. The hash is a
multiply-and-mix over the words (the finaliser of splitmix64: Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014). It is never stored, so it may change.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from processor.state.keys import Words

Slots = npt.NDArray[np.int32]
_EMPTY: Final = -1
_GONE: Final = -2
_LOAD_MAX: Final = 0.6
_SIZE_MIN: Final = 64


def hash_words(words: Words) -> npt.NDArray[np.uint64]:
    """64 well-mixed bits for each row.

    >>> words = np.array([[1, 2], [1, 3], [1, 2]], np.uint64)
    >>> first, second, third = hash_words(words).tolist()
    >>> first == third, first == second
    (True, False)
    """
    mixed = np.full(len(words), 0x9E3779B97F4A7C15, np.uint64)
    for column in range(words.shape[1]):
        mixed ^= words[:, column]
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


class Index:
    """Slots by key. The keys themselves lie with the caller, who passes them in as ``stored``.

    >>> stored = np.array([[7], [9], [0], [0]], np.uint64)
    >>> index = Index(); index.insert(stored[:2], np.array([0, 1], np.int32))
    >>> index.find(np.array([[9], [8]], np.uint64), stored).tolist()
    [1, -1]
    """

    def __init__(self) -> None:
        self._table: Slots = np.full(_SIZE_MIN, _EMPTY, np.int32)
        self._used = 0

    def find(self, keys: Words, stored: Words) -> Slots:
        """The slot of each key, -1 where it has none."""
        mask = np.uint64(len(self._table) - 1)
        at = (hash_words(keys) & mask).astype(np.int64)
        found = np.full(len(keys), -1, np.int32)
        rows = np.arange(len(keys))
        while len(rows):
            slots = self._table[at]
            holds = slots >= 0
            equal = holds.copy()
            # Several times as fast as an index in brackets on rows of several words.
            there, asked = stored.take(slots[holds], axis=0), keys.take(rows[holds], axis=0)
            equal[holds] = (there == asked).all(axis=1)
            found[rows[equal]] = slots[equal]
            on = ~equal & (slots != _EMPTY)
            rows = rows[on]
            at = (at[on] + 1) & np.int64(mask)
        return found

    def insert(self, keys: Words, slots: Slots) -> None:
        """Enter keys that are not there, each once; raises ``IndexError`` without room."""
        if (self._used + len(keys)) > _LOAD_MAX * len(self._table):
            raise IndexError("the index must be grown first: see `needs_room`")
        mask = np.int64(len(self._table) - 1)
        at = (hash_words(keys) & np.uint64(mask)).astype(np.int64)
        while len(slots):
            free = self._table[at] == _EMPTY
            self._table[at[free]] = slots[free]
            # Of several keys that chose one place the last one written has it.
            placed = free & (self._table[at] == slots)
            self._used += int(placed.sum())
            slots = slots[~placed]
            at = (at[~placed] + 1) & mask

    def remove(self, keys: Words, slots: Slots) -> None:
        """Take out keys that are there, whose slots these are."""
        mask = np.int64(len(self._table) - 1)
        at = (hash_words(keys) & np.uint64(mask)).astype(np.int64)
        while len(slots):
            here = self._table[at] == slots
            self._table[at[here]] = _GONE
            slots = slots[~here]
            at = (at[~here] + 1) & mask

    def needs_room(self, more: int) -> bool:
        """Whether so many more keys need `rebuild` first."""
        return (self._used + more) > _LOAD_MAX * len(self._table)

    def rebuild(self, stored: Words, slots: Slots, more: int) -> None:
        """Enter the live slots anew into a table with room for ``more`` besides."""
        size = _SIZE_MIN
        while (len(slots) + more) > _LOAD_MAX * size:
            size *= 2
        self._table = np.full(size, _EMPTY, np.int32)
        self._used = 0
        self.insert(stored.take(slots, axis=0), slots)

    def memory_bytes(self) -> int:
        """Bytes of the table."""
        return self._table.nbytes
