"""Parquet: the rows of a file as columns. It is a format of files, and of no topic."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import DataType, Decoded, Values

Compression: TypeAlias = Literal["zstd", "lz4", "snappy", "gzip", "uncompressed"]
_KINDS = ("zstd", "lz4", "snappy", "gzip", "uncompressed")


@dataclass(frozen=True)
class Parquet:
    """Columns in a file of their own, for ``write.files``; no record of a topic is one.

    Args:
        compression: of the columns: ``zstd``, ``lz4``, ``snappy``, ``gzip`` or ``uncompressed``.

    Raises `TopologyError` for another compression.

    >>> (file,) = Parquet().encode(pl.DataFrame({"user": ["ann", "bob"], "n": [1, 2]}))
    >>> pl.read_parquet(file)["n"].to_list()
    [1, 2]
    """

    compression: Compression = "zstd"

    def __post_init__(self) -> None:
        if self.compression not in _KINDS:
            raise TopologyError(
                f"Parquet: compression={self.compression!r}", remedy=f"one of {', '.join(_KINDS)}"
            )

    @property
    def columns(self) -> Mapping[str, DataType] | None:
        """It reads no records, and so it has no columns to give."""
        return None

    def decode(self, values: Values) -> Decoded:
        """No record is one: nothing can be read."""
        return Decoded(pl.DataFrame(), dict.fromkeys(range(len(values)), "no record of a topic"))

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """All rows as one file."""
        out = io.BytesIO()
        frame.write_parquet(out, compression=self.compression)
        return [out.getvalue()]

    def describe(self) -> str:
        """The format in one line."""
        return "parquet"
