"""Rows of a format that nobody can read, as JSON: for a screen, and to compare them."""

from __future__ import annotations

import polars as pl

from processor.formats.base import DataType, Format, SchemaFormat, Values, many_rows
from processor.formats.json import Json
from processor.formats.nested import changed, mapped


def rows_as_json(form: Format, values: Values) -> list[list[bytes] | None]:
    """Records as the JSON objects of their rows; ``None`` for one that cannot be read."""
    decoded = form.decode(values)
    records = range(len(values)) if decoded.records is None else decoded.records.tolist()
    bad = {records[row] for row in decoded.bad}
    good = [row for row, record in enumerate(records) if record not in bad]
    columns = [
        changed(column, "", lambda cells, _: _legible(cells), mapped(column.dtype, "", _wanted))[0]
        for column in decoded.frame[good].get_columns()
    ]
    lines: list[list[bytes] | None] = [None if n in bad else [] for n in range(len(values))]
    for row, line in zip(good, Json().encode(pl.DataFrame(columns)), strict=True):
        of = lines[records[row]]
        if of is not None:
            of.append(line)
    return lines


def as_json(form: SchemaFormat, values: Values) -> list[bytes | None]:
    r"""Records as JSON objects; ``None`` for one that cannot be read.

    Bytes are hexadecimal digits, and times of nanoseconds text. Of a format with many rows in a
    record each is an array.

    >>> from processor import Avro
    >>> fields = [{"name": "n", "type": "int"}, {"name": "raw", "type": "bytes"}]
    >>> form = Avro({"type": "record", "name": "R", "fields": fields})
    >>> as_json(form, [b"\x0c\x02\xff", b""])
    [b'{"n":6,"raw":"ff"}', None]
    """
    found = rows_as_json(form, values)
    if many_rows(form) is None:
        return [rows[0] if rows else None for rows in found]
    return [None if rows is None else b"[" + b",".join(rows) + b"]" for rows in found]


def _wanted(kind: pl.DataType, _: str) -> DataType:
    return pl.String if kind == pl.Binary or _nanos(kind) else kind


def _nanos(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Datetime) and kind.time_unit == "ns"


def _legible(cells: pl.Series) -> pl.Series:
    return cells.bin.encode("hex") if cells.dtype == pl.Binary else cells.cast(pl.String)
