"""What reads a type: for all records at once, for one by itself, and to a column.

A node keeps its cells in the order in which it meets them, which inside arrays and unions is not
that of the rows: who holds it knows which cell is whose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl

from processor.formats.avro.batch import Batch, Ints
from processor.formats.avro.leaves import INT, Found, Number, Piece, Store
from processor.formats.avro.single import RecordError, Single

VARIABLE: Final = 0
UNSEEN: Final = -1
"""The number of a node whose cells nobody wants."""
DEPTH_MAX: Final = 100


class Node(Protocol):
    """Reads one type."""

    @property
    def lowest(self) -> int:
        """The least number of bytes that a cell takes."""
        ...

    @property
    def step(self) -> int | None:
        """The bytes of every cell; `VARIABLE` for one number, ``None`` where only reading tells."""
        ...

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Read a cell at each cursor; where the cursors are then."""
        ...

    def one(self, single: Single, at: int) -> int:
        """Read the cell at the cursor; where that is then. Raises `RecordError`."""
        ...

    def build(self, store: Store) -> pl.Series:
        """The column of all cells, in the order in which they were read."""
        ...


_WIDTHS: Final = {"boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8}
_CELLS: Final = {
    "boolean": "?", "int": "i8", "long": "i8", "float": "<f4", "double": "<f8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Numbers:
    """Booleans and numbers; ``where`` is how a message calls the place."""

    number: int
    where: str
    sort: str
    to: Number

    @property
    def lowest(self) -> int:
        """One byte, or those of a fraction."""
        return _WIDTHS[self.sort]

    @property
    def step(self) -> int:
        """Those of a boolean or a fraction."""
        return VARIABLE if self.sort in ("int", "long") else _WIDTHS[self.sort]

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Read a number at each cursor."""
        if self.sort in ("int", "long"):
            cells, pos = batch.long(rows, pos)
            if self.sort == "int" and len(cells):
                low, high = INT
                if cells.min() < low or cells.max() > high:
                    batch.doubt[rows[(cells < low) | (cells > high)]] = True
        elif self.sort == "boolean":
            byte = batch.source.bytes[batch.at(pos)]
            if len(byte) and byte.max() > 1:
                batch.doubt[rows[byte > 1]] = True
            cells, pos = byte == 1, pos + 1
        else:
            cells = batch.source.view(_CELLS[self.sort])[batch.at(pos)]
            pos = pos + _WIDTHS[self.sort]
        if self.number != UNSEEN:
            batch.put(self.number, rows, cells)
        return pos

    def one(self, single: Single, at: int) -> int:
        """Read the number at the cursor."""
        if self.sort in ("int", "long"):
            cell, end = single.long(at, self.where)
            if self.sort == "int" and not INT[0] <= cell <= INT[1]:
                raise RecordError(f"{self.where}: {cell} is no int of 32 bits")
        elif self.sort == "boolean":
            cell, end = single.one(at, self.where), at + 1
            if cell > 1:
                raise RecordError(
                    f"{self.where}: the byte {cell} at byte {single.byte(at)} is no boolean"
                )
        else:
            end = single.take(at, _WIDTHS[self.sort], self.where)
            cell = single.source.view(_CELLS[self.sort])[at]
        if self.number != UNSEEN:
            single.put(self.number, cell)
        return end

    def build(self, store: Store) -> pl.Series:
        """The column of numbers, or of what they stand for."""
        rows, cells = store.cells(self.number, "i8", _CELLS[self.sort])
        wrong = self.to.wrong(cells)
        if wrong is not None:
            store.refuse(rows, wrong, cells, lambda cell: f"{self.where}: {self.to.why(cell)}")
            cells = np.where(wrong, cells.dtype.type(0), cells)
        return self.to.of(cells)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Bytes and text behind their size, or of a fixed ``size``."""

    number: int
    where: str
    size: int | None
    to: Piece

    @property
    def lowest(self) -> int:
        """The bytes of a fixed, or one for the size."""
        return 1 if self.size is None else self.size

    @property
    def step(self) -> int | None:
        """The bytes of a fixed."""
        return self.size or None

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Find a piece at each cursor."""
        if self.size is None:
            sizes, pos = batch.size(rows, pos)
        else:
            sizes = np.full(len(pos), self.size, np.int64)
        if self.number != UNSEEN:
            batch.put(self.number, rows, pos, sizes)
        return pos + sizes

    def one(self, single: Single, at: int) -> int:
        """Find the piece at the cursor."""
        size = self.size
        if size is None:
            size, at = single.long(at, self.where)
        end = single.take(at, size, self.where)
        if self.number != UNSEEN:
            single.put(self.number, at, size)
        return end

    def build(self, store: Store) -> pl.Series:
        """The column of pieces, or of what they stand for."""
        return self.to(self.found(store))

    def found(self, store: Store) -> Found:
        """Where the pieces are; those of rows in doubt are empty, or lie behind all."""
        rows, starts, sizes = store.cells(self.number, "i8", "i8", "i8")
        trusted = store.trusted(rows)
        if trusted is not None:
            starts = np.where(trusted, starts, store.source.last)
            if self.size is None:
                sizes = np.where(trusted, sizes, 0)
        return Found(store, self.number, self.where, rows, starts, sizes)


def cut(store: Store, nodes: Sequence[Pieces]) -> None:
    """Cut the pieces of many nodes at once: a call of the column engine costs 50 us by itself."""
    if len(nodes) < 2:
        return
    each = [node.found(store) for node in nodes]
    starts, sizes = ([getattr(found, of) for found in each] for of in ("starts", "sizes"))
    whole = store.source.parts(np.concatenate(starts), np.concatenate(sizes))
    at = 0
    for found in each:
        store.cut[found.number] = whole.slice(at, len(found.starts))
        at += len(found.starts)


@dataclass(frozen=True, slots=True)
class Symbols:
    """Words of an enumeration: ``codes`` has the reader's number of each of the writer's, or -1."""

    number: int
    where: str
    words: tuple[str, ...]
    codes: Ints
    kind: pl.DataType
    lowest: int = 1
    step: int = VARIABLE

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Read a word's number at each cursor."""
        found, pos = batch.short(rows, pos)
        if self.number == UNSEEN:
            return pos
        if len(found) and (found.min() < 0 or found.max() >= len(self.codes)):
            wrong = (found < 0) | (found >= len(self.codes))
            batch.doubt[rows[wrong]] = True
            found[wrong] = 0
        cells = self.codes[found]
        if len(cells) and cells.min() < 0:
            batch.doubt[rows[cells < 0]] = True
            cells = np.maximum(cells, 0)
        batch.put(self.number, rows, cells)
        return pos

    def one(self, single: Single, at: int) -> int:
        """Read the word's number at the cursor."""
        found, at = single.long(at, self.where)
        if not 0 <= found < len(self.codes):
            raise RecordError(f"{self.where}: it has {len(self.codes)} words, and none {found}")
        if self.number != UNSEEN:
            code = int(self.codes[found])
            if code < 0:
                raise RecordError(f"{self.where}: the reader has no word {self.words[found]!r}")
            single.put(self.number, code)
        return at

    def build(self, store: Store) -> pl.Series:
        """The column of words."""
        _, cells = store.cells(self.number, "i8", "i8")
        return pl.Series(cells.astype(np.uint32)).cat.to(self.kind)


@dataclass(frozen=True, slots=True)
class Nothing:
    """Null, which takes no bytes."""

    number: int
    lowest: int = 0
    step: None = None

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Count the cells."""
        batch.number(self.number, len(rows))
        return pos

    def one(self, single: Single, at: int) -> int:
        """Count the cell."""
        single.number(self.number, 1)
        return at

    def build(self, store: Store) -> pl.Series:
        """As many nulls."""
        return pl.repeat(None, store.count(self.number), dtype=pl.Null, eager=True)


@dataclass(frozen=True, slots=True)
class Constant:
    """A field that the writer does not have: everywhere its default, a column of one cell."""

    number: int
    cell: pl.Series
    lowest: int = 0
    step: None = None

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Count the cells."""
        batch.number(self.number, len(rows))
        return pos

    def one(self, single: Single, at: int) -> int:
        """Count the cell."""
        single.number(self.number, 1)
        return at

    def build(self, store: Store) -> pl.Series:
        """The default as often."""
        return self.cell.new_from_index(0, store.count(self.number))
