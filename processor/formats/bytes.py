"""Bytes as they are, in one column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.arguments import check_options
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    WriteError,
    in_order,
    shown,
    size_errors,
)


@dataclass(frozen=True, slots=True)
class Bytes:
    r"""Each value is one cell of a Binary column, whatever its bytes are.

    A record is bad when it has no value, an empty or too large one. A sink sets a row aside whose
    cell would be.

    Args:
        column: the column's name.
        value_bytes_max: a larger value is bad.
        empty: whether an empty value is one, of no bytes.
        tombstones: whether a record without a value is null, and null is written as one.

    Raises `TopologyError`, with the line that declares it, for a name that cannot be.

    >>> Bytes().decode([b"\xff\0"]).frame["value"].to_list()
    [b'\xff\x00']
    >>> Bytes("image", tombstones=True).encode(pl.DataFrame({"image": [b"\x89", None]}))
    [b'\x89', None]
    """

    column: str = "value"
    value_bytes_max: int = VALUE_BYTES_MAX
    empty: bool = False
    tombstones: bool = False

    def __post_init__(self) -> None:
        at = declared.told_at()
        column: object = self.column
        if column is not None and (not isinstance(column, str) or not column):
            raise TopologyError(
                f"{at}: Bytes: {shown(column)} cannot name a column",
                remedy='use text that is not empty, as in Bytes("image"): it is the only column',
            )
        check_options(self, at)
        declared.check_bytes("Bytes", self.value_bytes_max, at)

    @property
    def columns(self) -> Mapping[str, DataType]:
        """The one column."""
        return {self.column: pl.Binary}

    @property
    def optional(self) -> frozenset[str]:
        """The columns that may be null."""
        return frozenset({self.column} if self.tombstones else ())

    def decode(self, values: Values) -> Decoded:
        """Values as they are; which may be empty or missing, the format was told."""
        cells = pl.Series(self.column, values, dtype=pl.Binary)
        sizes = cells.bin.size()
        wrong = sizes > self.value_bytes_max
        if not self.empty:
            wrong |= sizes == 0
        wrong = wrong.fill_null(value=not self.tombstones)
        if not wrong.any():
            return Decoded(cells.to_frame())
        rows = wrong.arg_true().to_list()
        found = size_errors([values[row] for row in rows], self.value_bytes_max)
        return Decoded(cells.to_frame(), {rows[i]: reason for i, reason in found.items()})

    def encode(self, frame: pl.DataFrame) -> list[bytes | None]:
        """Cells as they are; raises `WriteError` for one that no reader of the format takes."""
        cells = in_order(frame, self.columns).to_series()
        if cells.null_count() and not self.tombstones:
            raise WriteError(f"column {self.column!r} is null, and tombstones are not asked for")
        if not self.empty and (cells.bin.size() == 0).any():
            raise WriteError(f"column {self.column!r} is empty, and no reader takes it")
        return cells.to_list()

    def describe(self) -> str:
        """``bytes(name)``."""
        return f"bytes({self.column})"
