"""The bytes of a batch, read for all records at once: a cursor in each.

A cursor that runs past its record, or meets what cannot be, is not stopped: its row is doubted,
reads on where it stands, and cannot touch another, as every record has a cursor of its own. A row
whose cursor does not end where its record ends is doubted too. Rows in doubt are read again one by
one (`processor.formats.avro.single`), which finds the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Cells: TypeAlias = npt.NDArray[Any]
Why: TypeAlias = Callable[[Any], str]

PAD: Final = 16
"""Bytes of zero before and behind: a word may be read where a record begins or ends."""
ROUNDS_FREE: Final = 256
CELLS_A_ROUND: Final = 16

_U64 = np.uint64
_HIGH: Final = _U64(0x8080808080808080)
_ONE: Final = _U64(1)
_FOLDS: Final = (
    (_U64(0x7F007F007F007F00), _ONE, _U64(0x007F007F007F007F)),
    (_U64(0x3FFF00003FFF0000), _U64(2), _U64(0x00003FFF00003FFF)),
    (_U64(0x0FFFFFFF00000000), _U64(4), _U64(0x000000000FFFFFFF)),
)
"""How seven bits of each byte come together: pairs of bytes, of pairs, of fours."""


class Bytes:
    """Values joined to one buffer, and where each begins and ends in it."""

    def __init__(self, values: Sequence[bytes], skip: int = 0) -> None:
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        zeros = bytes(PAD)
        self.longest = int(sizes.max()) if len(sizes) else 0
        joined = b"".join((zeros, *values, zeros, zeros))
        self.ends: Ints = np.cumsum(sizes) + PAD
        self.starts: Ints = self.ends - sizes + skip
        self.joined = pl.Series([joined], dtype=pl.Binary)
        self.bytes = np.frombuffer(joined, np.uint8)
        self.last = len(joined) - 2 * PAD

    def view(self, kind: str) -> Cells:
        """Numbers of a type that may begin at any byte."""
        width = np.dtype(kind).itemsize
        return np.ndarray((len(self.bytes) - width + 1,), kind, self.bytes, strides=(1,))

    def parts(self, starts: Ints, sizes: Ints) -> pl.Series:
        """Pieces of the buffer, as bytes, without copying what is longer than a few of them."""
        cut = pl.lit(self.joined).bin.slice(pl.lit(pl.Series(starts)), pl.lit(pl.Series(sizes)))
        return pl.select(cut).to_series()


class Batch:
    """What is read of a batch: the cells of each node in the order of reading, and doubted rows."""

    def __init__(self, source: Bytes) -> None:
        self.source = source
        self.ends = source.ends
        self.doubt: Bools = source.starts > source.ends
        self.depth = 0
        self.cut: dict[int, pl.Series] = {}
        self._last = source.last
        self._words = source.view("<u8")
        self._rounds = 0
        self._stops: Ints | None = None
        self._seen = 0
        self._cells: dict[int, list[tuple[Cells, ...]]] = {}
        self._counts: dict[int, int] = {}

    def put(self, node: int, *cells: Cells) -> None:
        """Keep cells of a node."""
        self._cells.setdefault(node, []).append(cells)

    def cells(self, node: int, *kinds: str) -> tuple[Cells, ...]:
        """All cells of a node, as columns of these types."""
        found = self._cells.get(node)
        if found is None:
            return tuple(np.zeros(0, kind) for kind in kinds)
        if len(found) == 1:
            return found[0]
        return tuple(np.concatenate(each) for each in zip(*found, strict=True))

    def number(self, node: int, count: int) -> int:
        """How many times a node was met before, which is ``count`` more now."""
        before = self._counts.get(node, 0)
        self._counts[node] = before + count
        return before

    def count(self, node: int) -> int:
        """How many times a node was met."""
        return self._counts.get(node, 0)

    def refuse(self, rows: Ints, wrong: Bools, cells: Cells, why: Why) -> None:
        """Doubt the rows of the cells that are wrong."""
        del cells, why
        self.doubt[rows[wrong]] = True

    def trusted(self, rows: Ints) -> Bools | None:
        """Which cells are of rows that are not doubted; ``None``: all."""
        if not self.doubt.any():
            return None
        return ~self.doubt[rows]

    def round(self, cells: int) -> bool:
        """Whether it pays to read one more item of so many arrays at once."""
        self._rounds += 1
        self._seen += cells
        return self._rounds <= ROUNDS_FREE or self._seen >= CELLS_A_ROUND * self._rounds

    def run(self, pos: Ints, counts: Ints, step: int) -> tuple[Ints, Ints]:
        """Where each of some cells begins that lie one behind the other, and where they all end.

        Args:
            pos: where the first of each run begins.
            counts: how many there are, at least one.
            step: their bytes; 0 for numbers of variable length.
        """
        before = np.repeat(np.cumsum(counts) - counts, counts)
        within = np.arange(len(before)) - before
        if step:
            return np.repeat(pos, counts) + within * step, pos + counts * step
        if self._stops is None:
            self._stops = np.flatnonzero(self.source.bytes < 0x80)
        # The padding ends with stops, so that there is one behind every cursor.
        last = len(self._stops) - 1
        first = np.searchsorted(self._stops, self.at(pos))
        stop = np.minimum(np.repeat(first, counts) + within, last)
        starts = np.where(within == 0, np.repeat(pos, counts), self._stops[stop - 1] + 1)
        return starts, self._stops[np.minimum(first + counts - 1, last)] + 1

    def at(self, pos: Ints) -> Ints:
        """Where a cursor may read."""
        return np.minimum(pos, self._last)

    def long(self, rows: Ints, pos: Ints) -> tuple[Ints, Ints]:
        """A number of variable length at each cursor, and the cursors behind it."""
        at = np.minimum(pos, self._last)
        word = self._words[at]
        stop = ~word & _HIGH
        within = stop ^ (stop - _ONE)
        size = np.bitwise_count(within) >> np.uint8(3)
        word &= within
        for high, by, low in _FOLDS:
            word = ((word & high) >> by) | (word & low)
        if not stop.all():
            size = self._longer(rows, at, word, size, stop == 0)
        numbers = (word >> _ONE).view(np.int64)
        numbers ^= -(word & _ONE).view(np.int64)
        return numbers, pos + size

    def _longer(
        self, rows: Ints, at: Ints, word: npt.NDArray[np.uint64], size: Cells, longer: Bools
    ) -> Cells:
        """Numbers of nine and ten bytes; the word has the first eight."""
        where = np.flatnonzero(longer)
        ninth = self.source.bytes[at[where] + 8].astype(_U64)
        tenth = self.source.bytes[at[where] + 9].astype(_U64)
        ten = ninth >= 0x80
        self.doubt[rows[where[ten & (tenth > _ONE)]]] = True
        high = (ninth & _U64(0x7F)) << _U64(56)
        word[where] |= high | np.where(ten, (tenth & _ONE) << _U64(63), _U64(0))
        size[where] = np.where(ten, 10, 9)
        return size

    def short(self, rows: Ints, pos: Ints) -> tuple[Ints, Ints]:
        """A number of variable length that mostly is one byte: a size, a branch, a word."""
        byte = self.source.bytes[np.minimum(pos, self._last)]
        if len(byte) and byte.max() >= 0x80:
            return self.long(rows, pos)
        numbers = (byte >> np.uint8(1)).astype(np.int64)
        if len(byte) and (byte & np.uint8(1)).any():
            numbers ^= -(byte & np.uint8(1)).astype(np.int64)
        return numbers, pos + 1

    def size(self, rows: Ints, pos: Ints) -> tuple[Ints, Ints]:
        """A size in bytes at each cursor; none is negative or larger than the batch."""
        sizes, pos = self.short(rows, pos)
        if len(sizes) and (sizes.min() < 0 or sizes.max() > self._last):
            wrong = (sizes < 0) | (sizes > self._last)
            self.doubt[rows[wrong]] = True
            sizes[wrong] = 0
        return sizes, pos
