"""Arrow IPC: many rows in a record."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from processor.errors import TopologyError
from processor.formats import arrow_fit, arrow_ipc, declared
from processor.formats.arguments import check_options
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    SchemaFormat,
    Values,
    WriteError,
    describe_columns,
    in_order,
    shown,
    size_errors,
)
from processor.formats.modelled import Columns, optional_of
from processor.formats.nested import leaves, mapped

Compression = Literal["uncompressed", "lz4", "zstd"]
ROWS_MAX: Final = 10_000


@dataclass(frozen=True)
class Arrow(SchemaFormat):
    """Each value is an Arrow IPC stream or file, whose rows are the rows of the frame.

    A record is set aside as a whole: where one of its rows is bad, lacks a column or cannot be
    computed further down, none of them counts. Columns are found by name, and others passed over.
    A narrower integer or float, a coarser time, a dictionary of text or a map are taken for what is
    named, where no value is lost. A compressed record that becomes more than 64 KiB and 100 times
    its bytes is bad.

    A sink writes the rows of a batch that have one key, or none, in few records.

    Args:
        columns: name and Polars type of each column, or a class that has them.
        optional: names of columns that may be null or missing.
        rows_max: the most rows that are written into a record.
        compression: how what is written is compressed inside: ``uncompressed``, ``lz4``, ``zstd``.
            Kafka's own ``compression.type`` compresses records too.
        value_bytes_max: a longer value is bad, and none is written.

    Raises `TopologyError`, with the line that declares it, for what cannot be read or written, and
    where ``pyarrow`` is not installed (``pip install "processor[arrow]"``).

    >>> form = Arrow({"id": pl.Int64, "name": pl.String})
    >>> rows = pl.DataFrame({"id": [1, 2], "name": ["a", "b"]})
    >>> ((count, value),) = form.pack(rows)
    >>> count, form.decode([value, b"x"]).frame["id"].to_list()
    (2, [1, 2, None])
    """

    columns: Columns = Columns()  # noqa: RUF009 - it holds nothing of a format
    optional: frozenset[str] = frozenset()
    rows_max: int = ROWS_MAX
    compression: Compression = "uncompressed"
    value_bytes_max: int = VALUE_BYTES_MAX
    _library: Any = field(init=False, repr=False, compare=False)
    _wanted: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        if not self.columns:
            raise TopologyError(
                f"{at}: Arrow: no columns", remedy='name them: Arrow({"user": pl.String})'
            )
        declared.check_columns("Arrow", self.columns, at, deep=True)
        declared.check_bytes("Arrow", self.value_bytes_max, at)
        declared.check_names("Arrow", self.optional, self.columns, at)
        choices = ("uncompressed", "lz4", "zstd")
        declared.check_word("Arrow", "compression", self.compression, choices, at)
        rows: object = self.rows_max
        if not isinstance(rows, int) or rows < 1:
            raise TopologyError(
                f"{at}: Arrow: rows_max is {rows!r}",
                remedy="give a number of rows: Arrow(..., rows_max=10_000)",
            )
        library = arrow_ipc.library(at)
        optional = frozenset(self.optional) | optional_of(self)
        object.__setattr__(self, "optional", optional)
        object.__setattr__(self, "_library", library)
        # A frame's `to_arrow` starts threads of the column engine, a series' does not.
        kinds = {name: _plain(kind) for name, kind in pl.Schema(self.columns).items()}
        wanted = [(n, pl.Series(n, [], dtype=kind).to_arrow().type) for n, kind in kinds.items()]
        object.__setattr__(self, "_wanted", library.schema(wanted))

    def decode(self, values: Values) -> Decoded:
        """Values to rows, in order; a value of which nothing can be read has one row, a bad one."""
        wrong = size_errors(values, self.value_bytes_max)
        tables = []
        nothing = self._library.table(
            [self._library.nulls(1, kind.type) for kind in self._wanted], schema=self._wanted
        )
        for place, value in enumerate(values):
            if place in wrong or value is None:
                tables.append(nothing)
                continue
            try:
                tables.append(self._table(value))
            except ValueError as error:
                wrong[place] = str(error)
                tables.append(nothing)
        sizes = np.array([table.num_rows for table in tables], np.intp)
        records = np.repeat(np.arange(len(values), dtype=np.intp), sizes)
        if not tables:
            return Decoded(pl.DataFrame(schema=dict(self.columns)), records=records)
        read = pl.DataFrame(self._library.concat_tables(tables)).rechunk()
        starts = np.cumsum(sizes) - sizes
        bad = {int(starts[place]): reason for place, reason in wrong.items()}
        return self._typed(read, bad, records)

    def _table(self, value: bytes) -> Any:
        found = arrow_ipc.table(self._library, value)
        return arrow_fit.fitted(self._library, found, self._wanted, self.optional)

    def _typed(self, read: pl.DataFrame, bad: dict[int, str], records: Any) -> Decoded:
        """The frame with enumerations, which Arrow has as text; other words are bad."""
        columns = []
        for column, kind in zip(read.get_columns(), self.columns.values(), strict=True):
            full = declared.full(kind)
            made = column.cast(full, strict=False)
            if _has_words(full):
                other = made.cast(column.dtype).ne_missing(column)
                for row in other.arg_true().to_list():
                    cell = column[row : row + 1].to_list()[0]
                    reason = f"column {column.name!r}: {shown(cell)} has no word of the Enum"
                    bad.setdefault(row, reason)
            columns.append(made)
        return Decoded(pl.DataFrame(columns), bad, records=records)

    def pack(self, frame: pl.DataFrame) -> list[tuple[int, bytes]]:
        """Rows to few values, in order: of how many rows each is, and the value.

        Raises `WriteError` for a row that makes too long a value by itself.
        """
        rows = self._plain(in_order(frame, self.columns))
        found: list[tuple[int, bytes]] = []
        for start in range(0, rows.height, self.rows_max):
            self._write(rows[start : start + self.rows_max], found)
        return found

    def _write(self, rows: pl.DataFrame, found: list[tuple[int, bytes]]) -> None:
        out = io.BytesIO()
        oldest = pl.CompatLevel.oldest()
        rows.write_ipc_stream(out, compression=self.compression, compat_level=oldest)
        value = out.getvalue()
        if len(value) <= self.value_bytes_max:
            found.append((rows.height, value))
            return
        if rows.height == 1:
            raise WriteError(f"the row makes {len(value)} bytes, more than {self.value_bytes_max}")
        half = rows.height // 2
        self._write(rows[:half], found)
        self._write(rows[half:], found)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Each row as a value of its own; a sink writes many in one (`pack`)."""
        return [self.pack(frame[row])[0][1] for row in range(frame.height)]

    def records(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Each row as a value of its own; raises `ValueError` for what is no row."""
        for row in rows:
            if others := row.keys() - self.columns.keys():
                raise ValueError(f"there is no column {min(others)!r}")
        library = self._library
        for kind in self._wanted:
            cells = [row.get(kind.name) for row in rows]
            if library.types.is_integer(kind.type) and any(type(c) in (float, bool) for c in cells):
                raise ValueError(f"column {kind.name!r}: {shown(cells)} are no {kind.type}")
        try:
            made = [library.array([row.get(f.name) for row in rows], f.type) for f in self._wanted]
        except (library.ArrowException, TypeError, OverflowError) as error:
            raise ValueError(str(error)) from error
        table = library.table(made, schema=self._wanted)
        decoded = self._typed(pl.DataFrame(table), {}, None)
        for reason in decoded.bad.values():
            raise ValueError(reason)
        return self.encode(decoded.frame)

    def of_file(self, data: bytes) -> list[bytes]:
        """A file's rows, in records as a sink makes them; raises `ValueError` for no Arrow file."""
        table = self._table(data)
        frame = self._typed(pl.DataFrame(table), {}, None).frame
        return [value for _, value in self.pack(frame)]

    def describe(self) -> str:
        """``arrow(name type, …)``."""
        return f"arrow({describe_columns(self.columns)})"

    def _plain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """With words for enumerations: readers have types of their own for these."""
        return frame.cast({name: _plain(kind) for name, kind in frame.schema.items()})


def _has_words(kind: pl.DataType) -> bool:
    return any(isinstance(leaf, pl.Enum) for _, leaf in leaves(kind, ""))


def _plain(kind: pl.DataType) -> DataType:
    if isinstance(kind, pl.Enum):
        return pl.String
    return mapped(kind, "", lambda leaf, _: pl.String if isinstance(leaf, pl.Enum) else leaf)
