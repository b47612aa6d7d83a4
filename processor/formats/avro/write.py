"""Columns to bare Avro: what each type of a schema makes of its column.

A cell that the type has no value for raises `WriteError`, as one that would be read as another.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import polars as pl

from processor.formats.avro import layout
from processor.formats.avro.batch import Bools, Ints
from processor.formats.avro.defaults import default_bytes
from processor.formats.avro.kinds import branch_names, kind_of, members
from processor.formats.avro.layout import Plan
from processor.formats.avro.leaves import DAYS, day_bounds, time_bounds
from processor.formats.avro.schema import Field, SchemaError, Type
from processor.formats.base import WriteError, in_order, shown
from processor.formats.nested import BETWEEN, named

_NS: Final = {"millis": 1_000_000, "micros": 1_000}
_UUID: Final = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_HALF: Final = 2**63


class AvroWriter:
    r"""Encodes rows as records of a schema.

    Args:
        schema: of the records; its fields are the columns.
        select: the fields that are columns; the others are written as their defaults.

    Raises `SchemaError` for what no column can hold, and for a field without a default that is no
    column.

    >>> from processor.formats.avro.schema import parse
    >>> ride = parse('{"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}')
    >>> AvroWriter(ride).encode(pl.DataFrame({"n": [1, -1]}))
    [b'\x02', b'\x01']
    """

    def __init__(self, schema: Type, select: Collection[str] | None = None) -> None:
        self._fields: list[tuple[Field, bytes | None]] = []
        self.columns: dict[str, pl.DataType] = {}
        for each in schema.fields:
            if select is None or each.name in select:
                self.columns[each.name] = kind_of(each.type, each.name)
                self._fields.append((each, None))
            else:
                self._fields.append((each, _default(each)))

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to records; raises `WriteError` for a cell that cannot be written."""
        frame = in_order(frame, self.columns)
        for name, kind in self.columns.items():
            if frame.schema[name] != kind:
                raise ValueError(f"column {name!r} is {frame.schema[name]}, not {kind}")
        if frame.is_empty():
            return []
        plans = [
            _planned(each.type, frame[each.name].rechunk(), each.name)
            if data is None
            else layout.constant(data, frame.height)
            for each, data in self._fields
        ]
        return layout.rows(layout.in_turn(plans, frame.height))


def _default(field: Field) -> bytes:
    try:
        if field.filled:
            return default_bytes(field.type, field.default)
    except ValueError as error:
        why = f"its default {error}"
    else:
        why = "it has no default"
    raise SchemaError(
        f"{field.name!r} is no column, and cannot be written: {why}",
        remedy="select it too, or give it a default in the schema",
    )


def _planned(kind: Type, column: pl.Series, place: str) -> Plan:
    """What a type makes of a column; ``place`` is how messages call it."""
    if kind.sort == "union":
        return _union(kind, column, place)
    if kind.sort == "null":
        return layout.constant(b"", len(column))
    if column.null_count():
        raise WriteError(f"column {named(place)!r} is null, and the schema has no null there")
    made = _LOGICAL.get(kind.logical) or _PLAIN.get(kind.sort, _number)
    return made(kind, column, place)


def _record(kind: Type, column: pl.Series, place: str) -> Plan:
    plans = [
        _planned(f.type, column.struct.field(f.name), f"{place}{BETWEEN}{f.name}")
        for f in kind.fields
    ]
    return layout.in_turn(plans, len(column))


def _union(kind: Type, column: pl.Series, place: str) -> Plan:
    found = members(kind)
    null = next((i for i, part in enumerate(kind.parts) if part.sort == "null"), None)
    if len(found) < 2:
        columns = [column] * len(found)
        places = [place] * len(found)
    else:
        names = branch_names(kind)
        columns = [column.struct.field(name) for name in names]
        places = [f"{place}{BETWEEN}{name}" for name in names]
    if len(found) == 1 and not column.null_count():
        index = np.full(len(column), next(i for i, p in enumerate(kind.parts) if p is found[0]))
        plan = _planned(found[0], column, place)
        return layout.in_turn([layout.numbers(index), plan], len(column))
    masks = [each.is_not_null().to_numpy() for each in columns]
    there = sum((mask.astype(np.int64) for mask in masks), np.zeros(len(column), np.int64))
    _one_branch(there, null, column, place)
    index = np.full(len(column), -1 if null is None else null, np.int64)
    plans: list[tuple[Bools, Plan]] = []
    for part, cells, mask, at in zip(found, columns, masks, places, strict=True):
        index[mask] = next(i for i, each in enumerate(kind.parts) if each is part)
        plans.append((mask, _planned(part, cells.drop_nulls(), at)))
    return layout.branches(index, plans)


def _one_branch(there: Ints, null: int | None, column: pl.Series, place: str) -> None:
    absent = column.is_null().to_numpy()
    # An object without a member is not null: it would be read back as another value.
    wrong = np.where(absent, null is None, there != 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        if absent[row]:
            why = "and the schema has no null there"
        else:
            why = "and of a union one member is there"
        raise WriteError(f"column {named(place)!r} is {shown(column[row])}, {why}")


def _items(kind: Type, column: pl.Series, place: str) -> Plan:
    counts = column.list.len().to_numpy().astype(np.int64)
    # An empty list would give a null.
    cells = column.filter(pl.Series(counts > 0)).explode()
    at = f"{place}{BETWEEN}[]"
    if kind.sort == "array":
        return layout.items(counts, _planned(kind.parts[0], cells, at))
    if cells.null_count():
        raise WriteError(f"column {named(at)!r} is null, and a map has a key there")
    keys = cells.struct.field("key")
    owner = np.repeat(np.arange(len(counts)), counts)
    twice = pl.DataFrame({"owner": owner, "key": keys}).is_duplicated()
    if twice.any():
        # Readers of other languages keep one of them.
        again = keys.filter(twice)[0]
        raise WriteError(f"column {named(place)!r} has the key {shown(again)} twice")
    key = _planned(Type("string"), keys, f"{at}{BETWEEN}key")
    value = _planned(kind.parts[0], cells.struct.field("value"), f"{at}{BETWEEN}value")
    return layout.items(counts, layout.in_turn([key, value], len(cells)))


def _pieces(kind: Type, column: pl.Series, place: str) -> Plan:
    if kind.logical == "uuid" and kind.sort == "fixed":
        _check(column.str.contains(_UUID), column, place, "no UUID in small letters")
        data = column.str.replace_all("-", "").str.decode("hex")
    else:
        data = column.cast(pl.Binary)
    sizes = data.bin.size().to_numpy().astype(np.int64)
    if kind.sort == "fixed":
        _check(pl.Series(sizes == kind.size), column, place, f"not of {kind.size} bytes")
        return layout.pieces(data, sizes)
    return layout.in_turn([layout.numbers(sizes), layout.pieces(data, sizes)], len(sizes))


def _duration(kind: Type, column: pl.Series, place: str) -> Plan:
    del kind
    plans: list[Plan] = []
    for cells in column.struct.unnest().get_columns():
        if cells.null_count():
            raise WriteError(f"column {named(place)!r} has no {cells.name}, and needs them")
        plans.append(layout.words(cells.to_numpy().astype("<u4")))
    return layout.in_turn(plans, len(column))


_WIDTHS: Final = {"float": "<f4", "double": "<f8", "boolean": "u1"}


def _number(kind: Type, column: pl.Series, place: str) -> Plan:
    physical = column if column.dtype.is_numeric() else column.to_physical()
    cells = physical.to_numpy()
    if kind.sort in _WIDTHS:
        return layout.words(cells.astype(_WIDTHS[kind.sort]))
    cells = cells.astype(np.int64)
    sort, _, unit = kind.logical.rpartition("-")
    if sort == "time":
        _check(pl.Series(cells % _NS[unit] == 0), column, place, f"finer than {unit}")
        cells //= _NS[unit]
        low, high = day_bounds(unit)
    elif kind.logical == "date":
        low, high = DAYS
    elif sort and unit != "nanos":
        low, high = time_bounds(unit, unit)
    else:
        return layout.numbers(cells)
    inside = pl.Series((cells >= low) & (cells <= high))
    _check(inside, column, place, "not of the years 1 to 9999")
    return layout.numbers(cells)


def _check(fits: pl.Series, column: pl.Series, place: str, why: str) -> None:
    if not fits.all():
        row = int((~fits).arg_true()[0])
        raise WriteError(f"column {named(place)!r}: {_told(column, row)} is {why}")


def _told(column: pl.Series, row: int) -> str:
    """A cell as text; Python has no such dates as the column engine."""
    kind = column.dtype
    cell: Any = column.to_physical()[row] if kind.is_temporal() else column[row]
    return shown(cell)


def _decimal(kind: Type, column: pl.Series, place: str) -> Plan:
    whole = column.to_physical()
    positive = pl.select(pl.lit(whole).abs()).to_series()
    most = pl.lit(10**kind.precision - 1, pl.Int128)
    fits = pl.select(pl.lit(positive) <= most).to_series()
    _check(fits, column, place, f"of more than {kind.precision} digits")
    if kind.sort == "fixed":
        return _whole(whole, np.full(len(column), kind.size, np.int64))
    # As many bytes as the other implementation in Python takes, which for -128 are two.
    sizes = np.ones(len(column), np.int64)
    largest = int(positive.max() or 0)  # type: ignore[arg-type]
    for k in range(1, (largest.bit_length() + 8) // 8):
        beyond = pl.select(pl.lit(positive) >= pl.lit(2 ** (8 * k - 1), pl.Int128))
        sizes += beyond.to_series().to_numpy()
    return layout.in_turn([layout.numbers(sizes), _whole(whole, sizes)], len(sizes))


def _whole(whole: pl.Series, sizes: Ints) -> Plan:
    """Whole numbers of two's complement, the highest byte first."""
    by = pl.lit(2 * _HALF, pl.Int128)
    # Both round down, so that the rest is never negative.
    high = pl.select((pl.lit(whole) // by).cast(pl.Int64)).to_series().to_numpy()
    rest = pl.select((pl.lit(whole) - (pl.lit(whole) // by) * by).cast(pl.UInt64))
    low = rest.to_series().to_numpy()
    most = int(sizes.max()) if len(sizes) else 0

    def put(out: layout.Out, pos: Ints) -> None:
        ends = pos + sizes
        for k in range(most):
            which = np.flatnonzero(sizes > k)
            part = low if k < 8 else (high >> min(8 * (k - 8), 63)).view(np.uint64)
            shift = np.uint64(8 * k if k < 8 else 0)
            out[(ends - 1 - k)[which]] = ((part >> shift) & np.uint64(0xFF)).astype(np.uint8)[which]

    return Plan(sizes, put)


_LOGICAL: Final = {"decimal": _decimal, "duration": _duration}
_PLAIN: Final = {
    "record": _record,
    "array": _items,
    "map": _items,
    "string": _pieces,
    "bytes": _pieces,
    "fixed": _pieces,
}
