"""Blocks: what stages hand to one another, many rows in a record, as columns.

::

    "B1" | CRC-32 of the rest, 4 bytes | an Arrow IPC stream
    (nothing)                            a marker: a record that has a header alone

The column engine reads its own stream some times faster than Arrow's library does, and takes it on
trust: bytes that are broken may end the process. So the sum is looked at first, and what the engine
is given is what it wrote.

They are not compressed here: the log's client does that, in a thread of its own and over all of a
request, and done twice it was a third of what a row costs on its way.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import polars as pl

from processor.formats.base import (
    DataType,
    Decoded,
    Values,
    WriteError,
    describe_columns,
    in_order,
)
from processor.formats.declared import full
from processor.model.frames import stacked

BYTES_MAX: Final = 512 * 1024
_MARK: Final = b"B1"
_HEAD: Final = struct.Struct("<2sI")


@dataclass(frozen=True)
class Blocks:
    """Rows of one layout; no format that a topology names.

    Args:
        columns: name and type of each column.
        bytes_max: a longer block is not written.

    >>> form = Blocks({"user": pl.String(), "n": pl.Int64()})
    >>> ((count, block),) = form.pack(pl.DataFrame({"user": ["a", "b"], "n": [1, 2]}))
    >>> form.decode([block, None]).frame["n"].to_list(), count
    ([1, 2], 2)
    """

    columns: Mapping[str, DataType]
    bytes_max: int = BYTES_MAX

    def decode(self, values: Values) -> Decoded:
        """Blocks to rows, in order; one of which nothing can be read has one row, a bad one."""
        wanted = pl.Schema({name: full(kind) for name, kind in self.columns.items()})
        frames: list[pl.DataFrame] = []
        wrong: dict[int, str] = {}
        for place, value in enumerate(values):
            try:
                frames.append(_rows(value, wanted))
            except ValueError as error:
                wrong[place] = str(error)
                frames.append(wanted.to_frame().clear(1))
        sizes = np.array([frame.height for frame in frames], np.intp)
        records = np.repeat(np.arange(len(values), dtype=np.intp), sizes)
        starts = np.cumsum(sizes) - sizes
        whole = [frame for frame in frames if frame.height]
        frame = stacked(whole).rechunk() if whole else wanted.to_frame()
        bad = {int(starts[place]): reason for place, reason in wrong.items()}
        return Decoded(frame, bad, records=records)

    def pack(self, frame: pl.DataFrame) -> list[tuple[int, bytes]]:
        """Rows to few blocks, in order: of how many rows each is, and its bytes.

        Raises `WriteError` for a row that makes too long a block by itself.
        """
        found: list[tuple[int, bytes]] = []
        rows = in_order(frame, self.columns)
        most = max(1, rows.height)
        if (size := int(rows.estimated_size())) > self.bytes_max:
            most = max(1, rows.height * self.bytes_max // size)
        for start in range(0, rows.height, most):
            self._write(rows[start : start + most], found)
        return found

    def _write(self, rows: pl.DataFrame, found: list[tuple[int, bytes]]) -> None:
        block = self._block(rows, "uncompressed")
        if len(block) > self.bytes_max and rows.height == 1:
            block = self._block(rows, "lz4")
        if len(block) <= self.bytes_max:
            found.append((rows.height, block))
            return
        if rows.height == 1:
            raise WriteError(
                f"the row makes a block of {len(block)} bytes, more than {self.bytes_max}"
            )
        half = rows.height // 2
        self._write(rows[:half], found)
        self._write(rows[half:], found)

    def _block(self, rows: pl.DataFrame, compression: Literal["uncompressed", "lz4"]) -> bytes:
        out = io.BytesIO(bytes(_HEAD.size))
        out.seek(_HEAD.size)
        rows.write_ipc_stream(out, compression=compression, compat_level=self._level)
        block = out.getbuffer()
        _HEAD.pack_into(block, 0, _MARK, zlib.crc32(block[_HEAD.size :]))
        return bytes(block)

    @cached_property
    def _level(self) -> pl.CompatLevel:
        # As the engine keeps it, text inside of a list or a struct is written with that of all rows
        # of which some were taken. A layout of Arrow's own has that of these rows.
        nested = any(full(kind).is_nested() for kind in self.columns.values())
        return pl.CompatLevel.oldest() if nested else pl.CompatLevel.newest()

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Each row as a block of its own."""
        return [self.pack(frame[row])[0][1] for row in range(frame.height)]

    def describe(self) -> str:
        """``blocks(name type, …)``."""
        return f"blocks({describe_columns(self.columns)})"


def _rows(block: bytes | None, wanted: pl.Schema) -> pl.DataFrame:
    if not block:
        return wanted.to_frame()
    if len(block) < _HEAD.size:
        raise ValueError("no block: it is cut off")
    mark, told = _HEAD.unpack_from(block)
    stream = memoryview(block)[_HEAD.size :]
    if mark != _MARK or told != zlib.crc32(stream):
        raise ValueError("no block that was written by a stage, or its bytes have been changed")
    try:
        rows = pl.read_ipc_stream(io.BytesIO(stream))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"no block that can be read: {error}") from error
    if rows.schema == wanted:
        return rows
    # What the topology hands on no more may be in blocks that were written before.
    if any(rows.schema.get(name) != kind for name, kind in wanted.items()):
        raise ValueError(
            f"its columns are {describe_columns(rows.schema)}, not {describe_columns(wanted)}"
        )
    return rows.select(wanted.names())
