"""Which column a type is: Avro's types as Polars has them."""

from __future__ import annotations

from typing import Final

import polars as pl

from processor.formats.avro.schema import DIGITS_MAX, SchemaError, Type
from processor.formats.nested import BETWEEN, named

UNIT_OF: Final = {"millis": "ms", "micros": "us", "nanos": "ns"}
DURATION: Final = pl.Struct({"months": pl.UInt32, "days": pl.UInt32, "milliseconds": pl.UInt32})
LEVELS_MAX: Final = 64
KEY: Final = "key"
VALUE: Final = "value"

_PLAIN: Final[dict[str, pl.DataType]] = {
    "null": pl.Null(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "bytes": pl.Binary(),
    "string": pl.String(),
    "fixed": pl.Binary(),
}
_LOGICAL: Final[dict[str, pl.DataType]] = {
    "date": pl.Date(),
    "time-millis": pl.Time(),
    "time-micros": pl.Time(),
    "uuid": pl.String(),
    "duration": DURATION,
}


def members(union: Type) -> list[Type]:
    """The branches of a union that are not null."""
    return [part for part in union.parts if part.sort != "null"]


def nullable(kind: Type) -> bool:
    """Whether null is a value of a type."""
    return kind.sort == "null" or (
        kind.sort == "union" and any(part.sort == "null" for part in kind.parts)
    )


def columns_of(reader: Type) -> dict[str, pl.DataType]:
    """The columns of a record's schema; raises `SchemaError` for what no column can hold."""
    return {each.name: _kind(each.type, each.name, [reader]) for each in reader.fields}


def kind_of(kind: Type, place: str) -> pl.DataType:
    """The type of a column; raises `SchemaError` for what no column can hold.

    A union of several types is an object with a member for each, of which one is there.

    >>> kind_of(Type("union", parts=[Type("null"), Type("long", "timestamp-millis")]), "at")
    Datetime(time_unit='ms', time_zone='UTC')
    """
    return _kind(kind, place, [])


def check_depth(place: str) -> None:
    """Raise `SchemaError` for a place that lies too deep: each level is a call inside a call."""
    if place.count(BETWEEN) > LEVELS_MAX:
        raise SchemaError(
            f"{named(place)[:40]}… is nested deeper than {LEVELS_MAX} levels",
            remedy="keep what lies so deep as bytes, or as a topic of its own",
        )


def _kind(kind: Type, place: str, within: list[Type]) -> pl.DataType:
    check_depth(place)
    if any(kind is each for each in within):
        raise SchemaError(
            f"{named(place)!r} is a {kind.short!r} inside a {kind.short!r}: a column of it would "
            "have no end",
            remedy="leave the field out: read other columns alone, with "
            'Avro(schema, select=("a", "b"))',
        )
    if kind.sort == "record":
        return _record(kind, place, [*within, kind])
    if kind.sort == "array":
        return pl.List(_kind(kind.parts[0], f"{place}{BETWEEN}[]", within))
    if kind.sort == "map":
        value = _kind(kind.parts[0], f"{place}{BETWEEN}[]", within)
        return pl.List(pl.Struct({KEY: pl.String, VALUE: value}))
    if kind.sort == "union":
        return _union(kind, place, within)
    return _leaf(kind, place)


def _record(kind: Type, place: str, within: list[Type]) -> pl.DataType:
    if not kind.fields:
        raise SchemaError(
            f"{named(place)!r} is a record without fields, of which no column can be made",
            remedy="leave it out of the reader's schema, and give the writer's with writer=",
        )
    return pl.Struct(
        {f.name: _kind(f.type, f"{place}{BETWEEN}{f.name}", within) for f in kind.fields}
    )


def _union(kind: Type, place: str, within: list[Type]) -> pl.DataType:
    seen = [part.name or part.sort for part in kind.parts]
    if "union" in seen or len(set(seen)) < len(seen) or not seen:
        raise SchemaError(
            f"{named(place)!r} is no union: {kind}",
            remedy="name each type once, and no union inside it",
        )
    found = members(kind)
    if not found:
        return pl.Null()
    if len(found) == 1:
        return _kind(found[0], place, within)
    names = branch_names(kind)
    return pl.Struct(
        {
            name: _kind(part, f"{place}{BETWEEN}{name}", within)
            for name, part in zip(names, found, strict=True)
        }
    )


def branch_names(union: Type) -> list[str]:
    """What the members of a union of several types are called: by their types.

    >>> branch_names(Type("union", parts=[Type("null"), Type("long"), Type("enum", name="a.Way")]))
    ['long', 'Way']
    """
    found = members(union)
    short = [part.short for part in found]
    # Two named types may have one name in two namespaces.
    return [
        part.name if short.count(part.short) > 1 and part.name else part.short for part in found
    ]


def _leaf(kind: Type, place: str) -> pl.DataType:
    if kind.sort == "enum":
        if not kind.symbols:
            raise SchemaError(
                f"{named(place)!r} is an enumeration without words", remedy="give it one"
            )
        return pl.Enum(kind.symbols)
    if kind.logical == "decimal":
        if kind.precision > DIGITS_MAX:
            raise SchemaError(
                f"{named(place)!r} is a decimal of {kind.precision} digits, and a column has "
                f"{DIGITS_MAX}",
                remedy="leave the logical type out of the reader's schema: it is read as bytes",
            )
        return pl.Decimal(kind.precision, kind.scale)
    if kind.logical.rpartition("-")[0].endswith("timestamp"):
        zone = None if kind.logical.startswith("local") else "UTC"
        return pl.Datetime(UNIT_OF[kind.logical.rpartition("-")[2]], zone)  # type: ignore[arg-type]
    return _LOGICAL.get(kind.logical) or _PLAIN[kind.sort]
