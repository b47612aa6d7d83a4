"""Parquet: the rows of a file as columns. It is a format of files, and of no topic."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.base import Decoded, Values, describe_columns
from processor.formats.blocks import Blocks
from processor.formats.modelled import AnyColumns, optional_of

Compression: TypeAlias = Literal["zstd", "lz4", "snappy", "gzip", "uncompressed"]
_KINDS = ("zstd", "lz4", "snappy", "gzip", "uncompressed")


@dataclass(frozen=True)
class Parquet:
    """Columns in a file of their own, for ``read.files`` and ``write.files``.

    No record of a topic is one. What is read has ``columns``, which are found by name; others are
    passed over. A narrower integer or float and a coarser time are taken for what is named. A file
    is told and passed over as a whole where it is torn, lacks a column that is not optional, has
    a null in one, or another type. A sink writes the columns that its rows have.

    Args:
        columns: name and Polars type of each column that is read, or a class that has them; none
            where rows are only written.
        optional: names of columns that may be null or missing.
        compression: of what is written: ``zstd``, ``lz4``, ``snappy``, ``gzip`` or
            ``uncompressed``.

    Raises `TopologyError` for another compression, and for types that cannot be.

    >>> (file,) = Parquet().encode(pl.DataFrame({"user": ["ann", "bob"], "n": [1, 2]}))
    >>> pl.read_parquet(file)["n"].to_list()
    [1, 2]
    >>> Parquet({"user": pl.String, "n": pl.Int64}).describe()
    'parquet(user String, n Int64)'
    """

    columns: AnyColumns = AnyColumns()  # noqa: RUF009 - it holds nothing of a format
    optional: frozenset[str] = frozenset()
    compression: Compression = "zstd"

    def __post_init__(self) -> None:
        at = declared.told_at()
        if self.compression not in _KINDS:
            raise TopologyError(
                f"{at}: Parquet: compression={self.compression!r}",
                remedy=f"one of {', '.join(_KINDS)}",
            )
        columns = self.columns or {}
        declared.check_columns("Parquet", columns, at, deep=True)
        declared.check_names("Parquet", self.optional, columns, at)
        object.__setattr__(self, "optional", frozenset(self.optional) | optional_of(self))

    def blocks(self) -> Blocks:
        """What the rows of a file are in a topic."""
        return FileBlocks(self.columns or {}, optional=self.optional)

    def decode(self, values: Values) -> Decoded:
        """No record is one: nothing can be read."""
        return Decoded(pl.DataFrame(), dict.fromkeys(range(len(values)), "no record of a topic"))

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """All rows as one file."""
        out = io.BytesIO()
        frame.write_parquet(out, compression=self.compression)
        return [out.getvalue()]

    def describe(self) -> str:
        """``parquet``, with the columns that are read."""
        return f"parquet({describe_columns(self.columns)})" if self.columns else "parquet"


@dataclass(frozen=True)
class FileBlocks(Blocks):
    """Blocks of rows of which some cells may be null."""

    optional: frozenset[str] = frozenset()
