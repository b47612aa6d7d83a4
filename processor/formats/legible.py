"""Rows of a format that nobody can read, as JSON: for a screen, and to compare them."""

from __future__ import annotations

import polars as pl

from processor.formats.base import DataType, SchemaFormat
from processor.formats.json import Json
from processor.formats.nested import changed, mapped


def as_json(form: SchemaFormat, value: bytes) -> bytes:
    r"""A record as a JSON object; raises `ValueError` with the reason for one that cannot be read.

    Bytes are hexadecimal digits, and times of nanoseconds text.

    >>> from processor import Avro
    >>> fields = [{"name": "n", "type": "int"}, {"name": "raw", "type": "bytes"}]
    >>> as_json(Avro({"type": "record", "name": "R", "fields": fields}), b"\x0c\x02\xff")
    b'{"n":6,"raw":"ff"}'
    """
    decoded = form.decode([value])
    if decoded.bad:
        raise ValueError(decoded.bad[0])
    columns = [
        changed(column, "", lambda cells, _: _legible(cells), mapped(column.dtype, "", _wanted))[0]
        for column in decoded.frame.get_columns()
    ]
    return Json().encode(pl.DataFrame(columns))[0]


def _wanted(kind: pl.DataType, _: str) -> DataType:
    return pl.String if kind == pl.Binary or _nanos(kind) else kind


def _nanos(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Datetime) and kind.time_unit == "ns"


def _legible(cells: pl.Series) -> pl.Series:
    return cells.bin.encode("hex") if cells.dtype == pl.Binary else cells.cast(pl.String)
