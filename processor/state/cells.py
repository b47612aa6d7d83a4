"""Stored columns of a slab, and its rows as a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.state.base import Table
from processor.state.keys import Layout, Words

Column: TypeAlias = npt.NDArray[Any]
Fold: TypeAlias = Literal["add", "min", "max", "set"]
_TEXT_BYTES: Final = 16  # what a long text takes besides its bytes


@dataclass(frozen=True, slots=True)
class Cell:
    """One stored column: its type and how partial values are folded in.

    ``tells`` names the cell of which this one says whether it holds a value (1) or none yet (0):
    the value that folding leaves alone may be one of the data's own.

    >>> Cell("n", "<i8", "add").identity(), Cell("low", "<f8", "min").identity()
    (0, inf)
    """

    name: str
    dtype: Literal["<i8", "<f8", "|u1"]
    fold: Fold
    tells: str | None = None

    def identity(self) -> float | int:
        """The value that folding leaves alone."""
        if self.fold in ("add", "set") or self.dtype == "|u1":
            return 0
        if self.dtype == "<f8":
            return np.inf if self.fold == "min" else -np.inf
        bounds = np.iinfo(np.int64)
        return int(bounds.max if self.fold == "min" else bounds.min)


@dataclass(slots=True)
class Rows:
    """Rows of a slab as a checkpoint holds them: `processor.state.base.Saved`.

    Three tables: rows that are kept, keys that are gone, long texts.
    """

    kind: ClassVar[str] = ""
    layout: Layout
    words: Words
    cells: dict[str, Column]
    gone: Words
    texts: dict[int, bytes]

    def size(self) -> int:
        """Bytes before compression."""
        texts = sum(map(len, self.texts.values())) + _TEXT_BYTES * len(self.texts)
        return len(self.words) * self._row_bytes() + self.gone.nbytes + texts

    def split(self, bytes_max: int) -> Iterator[Rows]:
        """In chunks of at most so many bytes before compression; at least one.

        A single row or text that is larger is a chunk of its own.
        """
        if self.size() <= bytes_max:
            yield self
            return
        nothing = replace(
            self, words=self.words[:0], gone=self.gone[:0], texts={},
            cells={name: column[:0] for name, column in self.cells.items()},
        )  # fmt: skip
        texts: dict[int, bytes] = {}
        filled = 0
        for number, text in self.texts.items():
            if texts and filled + len(text) + _TEXT_BYTES > bytes_max:
                yield replace(nothing, texts=texts)
                texts, filled = {}, 0
            texts[number] = text
            filled += len(text) + _TEXT_BYTES
        if texts:
            yield replace(nothing, texts=texts)
        step = max(1, bytes_max // max(1, 8 * self.layout.words()))
        for i in range(0, len(self.gone), step):
            yield replace(nothing, gone=self.gone[i : i + step])
        step = max(1, bytes_max // max(1, self._row_bytes()))
        for i in range(0, len(self.words), step):
            cells = {name: column[i : i + step] for name, column in self.cells.items()}
            yield replace(nothing, words=self.words[i : i + step], cells=cells)

    def told(self) -> dict[str, Any]:
        """The layout of its keys, and its cells with their types."""
        return {
            "widths": self.layout.widths,
            "nulls": self.layout.nulls,
            "cells": {cell: column.dtype.str for cell, column in self.cells.items()},
        }

    def tables(self) -> Sequence[Table]:
        """Rows, keys that are gone, long texts."""
        cells = {f"c_{name}": pl.Series(column) for name, column in self.cells.items()}
        return (
            _columns("w", self.words) | cells,
            _columns("w", self.gone),
            _texts(self.texts),
        )

    def _row_bytes(self) -> int:
        return 8 * (self.layout.words() + len(self.cells))


def read(told: Mapping[str, Any], tables: Sequence[pl.DataFrame | None]) -> Rows:
    """The inverse of `Rows.told` and `Rows.tables`."""
    kept, gone, *texts = tables
    layout = Layout(list(told["widths"]), told["nulls"])
    return Rows(
        layout,
        _words(kept, layout.words()),
        _cells(kept, told["cells"]),
        _words(gone, layout.words()),
        _texts_of(texts[0]) if texts else _former_texts(told["texts"]),
    )


def _texts(texts: Mapping[int, bytes]) -> Table:
    if not texts:
        return {}
    numbers, bodies = list(texts), list(texts.values())
    return {"n": pl.Series(numbers, dtype=pl.Int64), "t": pl.Series(bodies, dtype=pl.Binary)}


def _texts_of(table: pl.DataFrame | None) -> dict[int, bytes]:
    return (
        {} if table is None else dict(zip(table["n"].to_list(), table["t"].to_list(), strict=True))
    )


def _former_texts(texts: Sequence[tuple[int, str]]) -> dict[int, bytes]:
    return {number: bytes.fromhex(text) for number, text in texts}


def _columns(prefix: str, words: Words) -> dict[str, pl.Series]:
    """A column for each word; none where there are no rows: an empty table is not written."""
    columns = range(words.shape[1] if len(words) else 0)
    return {f"{prefix}{i}": pl.Series(np.ascontiguousarray(words[:, i])) for i in columns}


def _words(table: pl.DataFrame | None, count: int) -> Words:
    if table is None:
        return np.zeros((0, count), np.uint64)
    words = np.empty((table.height, count), np.uint64)
    for i in range(count):
        words[:, i] = table[f"w{i}"].to_numpy()
    return words


def _cells(table: pl.DataFrame | None, types: Mapping[str, str]) -> dict[str, Column]:
    if table is None:
        return {name: np.zeros(0, kind) for name, kind in types.items()}
    return {name: table[f"c_{name}"].to_numpy() for name in types}
