"""Rows of a format that nobody can read, as JSON: for a screen, and to compare them."""

from __future__ import annotations

import polars as pl

from processor.formats.base import DataType, SchemaFormat, Values
from processor.formats.json import Json
from processor.formats.nested import changed, mapped


def as_json(form: SchemaFormat, values: Values) -> list[bytes | None]:
    r"""Records as JSON objects; ``None`` for one that cannot be read.

    Bytes are hexadecimal digits, and times of nanoseconds text.

    >>> from processor import Avro
    >>> fields = [{"name": "n", "type": "int"}, {"name": "raw", "type": "bytes"}]
    >>> form = Avro({"type": "record", "name": "R", "fields": fields})
    >>> as_json(form, [b"\x0c\x02\xff", b""])
    [b'{"n":6,"raw":"ff"}', None]
    """
    decoded = form.decode(values)
    good = [row for row in range(len(values)) if row not in decoded.bad]
    columns = [
        changed(column, "", lambda cells, _: _legible(cells), mapped(column.dtype, "", _wanted))[0]
        for column in decoded.frame[good].get_columns()
    ]
    lines: list[bytes | None] = [None] * len(values)
    for row, line in zip(good, Json().encode(pl.DataFrame(columns)), strict=True):
        lines[row] = line
    return lines


def _wanted(kind: pl.DataType, _: str) -> DataType:
    return pl.String if kind == pl.Binary or _nanos(kind) else kind


def _nanos(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Datetime) and kind.time_unit == "ns"


def _legible(cells: pl.Series) -> pl.Series:
    return cells.bin.encode("hex") if cells.dtype == pl.Binary else cells.cast(pl.String)
