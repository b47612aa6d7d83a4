"""One record read by itself: rows in doubt, each with its reason or its cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from processor.formats.avro.batch import Bools, Bytes, Cells, Ints, Why

NOTHING_MAX = 1_000
"""How many items that take no bytes a record may have: more than a few are no data."""


class RecordError(ValueError):
    """Why a record cannot be read: what is wrong, and where."""


class Single:
    """Reads records one after the other, and keeps their cells as `Batch` does.

    With ``keep`` unset nothing is kept: a record that cannot be read is to leave no cells.
    """

    def __init__(self, source: Bytes) -> None:
        self.source = source
        self.keep = False
        self.bad: dict[int, str] = {}
        self.depth = 0
        self.cut: dict[int, pl.Series] = {}
        self._data = source.bytes.tobytes()
        self._row = self._start = self._end = self._nothing = 0
        self._cells: dict[int, list[tuple[Any, ...]]] = {}
        self._counts: dict[int, int] = {}

    def begin(self, row: int) -> int:
        """Turn to a row; where it begins."""
        self._row, self._nothing, self.depth = row, 0, 0
        self._start, self._end = int(self.source.starts[row]), int(self.source.ends[row])
        return self._start

    def put(self, node: int, *cells: Any) -> None:
        """Keep a node's cell, with the row."""
        if self.keep:
            self._cells.setdefault(node, []).append((self._row, *cells))

    def cells(self, node: int, *kinds: str) -> tuple[Cells, ...]:
        """All cells of a node, as columns of these types."""
        found = self._cells.get(node, [])
        columns = zip(*found, strict=True) if found else ((),) * len(kinds)
        return tuple(np.array(c, kind) for c, kind in zip(columns, kinds, strict=True))

    def number(self, node: int, count: int) -> int:
        """How many times a node was met before, which is ``count`` more now."""
        before = self._counts.get(node, 0)
        if self.keep:
            self._counts[node] = before + count
        return before

    def count(self, node: int) -> int:
        """How many times a node was met."""
        return self._counts.get(node, 0)

    def trusted(self, rows: Ints) -> Bools | None:
        """All: whatever was kept was read whole."""
        del rows
        return None

    def refuse(self, rows: Ints, wrong: Bools, cells: Cells, why: Why) -> None:
        """Keep the reason of the rows that hold a wrong cell."""
        for at in np.flatnonzero(wrong).tolist():
            self.bad.setdefault(int(rows[at]), why(cells[at]))

    def left(self, at: int) -> int:
        """How many bytes of the record are left."""
        return self._end - at

    def take(self, at: int, size: int, where: str) -> int:
        """Where the cursor is behind some bytes; raises `RecordError` if there are fewer."""
        if size < 0:
            raise RecordError(f"{where}: its size is {size}, at byte {self.byte(at)}")
        if size > self._end - at:
            raise RecordError(
                f"{where}: the record ends in it: {size} bytes are due at byte {self.byte(at)}, "
                f"and {self._end - at} are there"
            )
        return at + size

    def byte(self, at: int) -> int:
        """A cursor as it is told: from the record's beginning, 0 first."""
        return at - self._start

    def one(self, at: int, where: str) -> int:
        """The byte at the cursor."""
        self.take(at, 1, where)
        return self._data[at]

    def long(self, at: int, where: str) -> tuple[int, int]:
        """A number of variable length, and where it ends."""
        number, shift, begin = 0, 0, at
        while True:
            if at >= self._end:
                raise RecordError(
                    f"{where}: the record ends in it, after {self.byte(self._end)} bytes"
                )
            byte = self._data[at]
            number |= (byte & 0x7F) << shift
            at += 1
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                break
        if shift > 63 or number >= 2**64:
            raise RecordError(f"{where}: a number of more than 64 bits at byte {self.byte(begin)}")
        return (number >> 1) ^ -(number & 1), at

    def nothing(self, count: int, where: str) -> None:
        """Note items that take no bytes: of these a few bytes may claim any number."""
        self._nothing += count
        if self._nothing > NOTHING_MAX:
            raise RecordError(
                f"{where}: {self._nothing} items without a byte, more than {NOTHING_MAX}"
            )

    def end(self, at: int) -> None:
        """Raise `RecordError` for bytes behind the last field."""
        if at < self._end:
            raise RecordError(
                f"{self._end - at} bytes are left behind the last field, at byte {self.byte(at)}"
            )
