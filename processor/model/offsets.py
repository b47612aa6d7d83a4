"""A set of offsets of a partition, as ranges: a million that lie side by side are two numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


class Offsets:
    """Offsets from ``starts`` to before ``ends``; both ascend, and no two ranges touch.

    >>> some = Offsets.of([(0, 3), (5, 6), (3, 4)])
    >>> some.pairs(), some.has([2, 4, 5]).tolist(), some.gap(0)
    ([(0, 4), (5, 6)], [True, False, True], 4)
    """

    __slots__ = ("ends", "starts")

    def __init__(self, starts: Numbers, ends: Numbers) -> None:
        self.starts, self.ends = starts, ends

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Offsets:
        """Made of ranges in any order, which may overlap."""
        table = np.array([*pairs], np.int64).reshape(-1, 2)
        return cls._merged(table[:, 0], table[:, 1])

    @classmethod
    def _merged(cls, starts: Numbers, ends: Numbers) -> Offsets:
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], np.maximum.accumulate(ends[order])
        if not len(starts):
            return cls(starts, ends)
        first = np.ones(len(starts), np.bool_)
        first[1:] = starts[1:] > ends[:-1]
        last = np.roll(first, -1)
        return cls(starts[first], ends[last])

    def __len__(self) -> int:
        return int((self.ends - self.starts).sum())

    @classmethod
    def union(cls, parts: Iterable[Offsets]) -> Offsets:
        """Those of all.

        >>> Offsets.union([Offsets.of([(0, 2)]), Offsets.of([(2, 4), (9, 10)])]).pairs()
        [(0, 4), (9, 10)]
        """
        listed = [cls.of(()), *parts]
        return cls._merged(
            np.concatenate([part.starts for part in listed]),
            np.concatenate([part.ends for part in listed]),
        )

    def __contains__(self, offset: int) -> bool:
        place = bisect_right(self.starts, offset) - 1
        return place >= 0 and offset < int(self.ends[place])

    def has(self, offsets: Sequence[int] | Numbers) -> npt.NDArray[np.bool_]:
        """Which of the offsets are among them."""
        asked = np.asarray(offsets, np.int64)
        if not len(self.starts):
            return np.zeros(len(asked), np.bool_)
        place = np.searchsorted(self.starts, asked, side="right") - 1
        found: npt.NDArray[np.bool_] = (place >= 0) & (asked < self.ends[place])
        return found

    def gap(self, low: int) -> int:
        """The first offset from ``low`` on that is not among them."""
        place = int(np.searchsorted(self.starts, low, side="right")) - 1
        return max(low, int(self.ends[place])) if place >= 0 else low

    def end(self) -> int:
        """Behind the last of them; 0 where there is none."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def pairs(self) -> list[tuple[int, int]]:
        """The ranges."""
        return [*zip(self.starts.tolist(), self.ends.tolist(), strict=True)]

    def steps(self) -> list[int]:
        """The ranges in small numbers: the way to each from the end before, and its length.

        >>> Offsets.of([(1000, 1003), (1005, 1006)]).steps()
        [1000, 3, 2, 1]
        """
        edges = np.stack([self.starts, self.ends], axis=1).ravel()
        return [int(step) for step in np.diff(edges, prepend=0)]

    @classmethod
    def from_steps(cls, steps: Sequence[int]) -> Offsets:
        """What `steps` has written; raises ``ValueError`` for what it cannot have.

        >>> Offsets.from_steps([1000, 3, 2, 1]).pairs()
        [(1000, 1003), (1005, 1006)]
        """
        whole = all(type(step) is int and step >= 0 for step in steps)
        if len(steps) % 2 or not whole or sum(steps) >= 2**63:
            raise ValueError("no ranges of offsets")
        edges = np.cumsum(np.array(steps, np.int64)).reshape(-1, 2)
        return cls._merged(edges[:, 0], edges[:, 1])


NONE: Final = Offsets.of(())
