"""Values as change events have them: numbers for times, and base64 for decimals and bytes.

::

    declared                read as     means
    Date                    Int32       days since 1970
    Datetime, no zone       Int64       since 1970, in the unit of the column or one that is told
    Time                    Int64       since midnight, in microseconds or a unit that is told
    Decimal(p, s)           String      base64 of a whole number, of which the last s digits are
                                        behind the point
    Binary                  String      base64

All other types are read as they are declared. Objects and lists are gone through, to any depth.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import polars as pl

from processor.formats.base import DataType, shown
from processor.formats.epoch import read_epoch, why_not
from processor.formats.forms import YEARS_US
from processor.formats.nested import changed, leaves, mapped, misfit

TimeUnit: TypeAlias = Literal["ms", "us", "ns"]
UNITS: Final[dict[str, int]] = {"ms": 1_000_000, "us": 1_000, "ns": 1}
"""Nanoseconds in each unit."""

_DAY_NS: Final = 86_400_000_000_000
_DAYS: Final = tuple(at // 86_400_000_000 for at in YEARS_US)
_SMALL: Final = 8
"""Bytes of a whole number that fits an Int64."""
_BYTES_MOST: Final = 256
_SCALE_MOST: Final = 500
_SHOWN: Final = 60
_ROOM: Final = Context(prec=1_500)
"""Room for all digits of that many bytes, and of that many behind the point."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a column and what is in it is encoded.

    Args:
        kind: the declared type, in full.
        decimals: whether decimals are base64; else text or numbers.
        numbers: whether times without a zone are numbers; else text.
        unit: of times that are numbers; ``None``: that of a Datetime, microseconds for a Time.
    """

    kind: pl.DataType
    decimals: bool = True
    numbers: bool = True
    unit: TimeUnit | None = None

    @property
    def raw(self) -> pl.DataType:
        """The type that the column is read as.

        >>> Encoding(pl.List(pl.Date())).raw
        List(Int32)
        """
        return mapped(self.kind, "", lambda leaf, _: self._raw(leaf))

    def _raw(self, kind: pl.DataType) -> DataType:
        if isinstance(kind, pl.Binary) or (isinstance(kind, pl.Decimal) and self.decimals):
            return pl.String
        if self.numbers and _counted(kind):
            return pl.Int32 if isinstance(kind, pl.Date) else pl.Int64
        return kind

    def read(self, raw: pl.Series, bad: dict[int, str]) -> pl.Series:
        """The column as it was declared; a row of which a value is none is bad, with its place.

        >>> bad: dict[int, str] = {}
        >>> Encoding(pl.Decimal(6, 2)).read(pl.Series("price", ["AfQ=", "x"]), bad).to_list()
        [Decimal('5.00'), None]
        >>> bad
        {1: "column 'price': 'x' is no base64 of a Decimal(precision=6, scale=2)"}
        """
        kinds = dict(leaves(self.kind, raw.name))

        def leaf(cells: pl.Series, place: str) -> pl.Series:
            return self._leaf(cells, kinds[place])

        column, lost = changed(raw, raw.name, leaf, self.kind)
        places: list[str] = []

        def fits(cell: Any, kind: pl.DataType, place: str) -> bool:
            places.append(place)
            return not self._leaf(pl.Series([cell], dtype=kind), kinds[place]).null_count()

        for row in () if lost is None else lost.arg_true().to_list():
            found = misfit(raw.slice(row, 1).to_list()[0], raw.dtype, raw.name, fits)
            if found is not None:
                where, cell, _ = found
                bad.setdefault(row, f"column {where!r}: {self._why(cell, kinds[places[-1]])}")
        return column

    def _leaf(self, raw: pl.Series, kind: DataType) -> pl.Series:
        if raw.dtype == kind:
            return raw
        if isinstance(kind, pl.Decimal):
            return of_base64(raw, kind)
        if kind == pl.Binary:
            return raw.str.decode("base64", strict=False)
        return _time(raw, kind, self.unit)

    def _why(self, cell: object, kind: DataType) -> str:
        if isinstance(kind, pl.Datetime):
            unit = self.unit or kind.time_unit
            if unit != "ns":
                said, of, _ = why_not(cell, unit, "").partition(": declare ")
                return said + (f": see to the column's unit, which is {unit!r}" if of else "")
        if isinstance(kind, pl.Decimal) and self.decimals and (number := _number(cell, kind)):
            return f"{shown(cell)} is {_digits(number)}, which does not fit {kind}"
        base64 = "base64 of a " * isinstance(kind, pl.Decimal) + "base64" * (kind == pl.Binary)
        return f"{shown(cell)} is no {base64 if base64 == 'base64' else f'{base64}{kind}'}"


@dataclass(frozen=True, slots=True)
class Rows(Encoding):
    """Rows as objects, whose columns are each encoded in a way of its own."""

    columns: Mapping[str, Encoding] = field(default_factory=dict)

    def read(self, raw: pl.Series, bad: dict[int, str]) -> pl.Series:
        """The objects with their columns as declared; a row of which a value is none is bad."""
        parts = []
        for name, encoding in self.columns.items():
            part = raw.struct.field(name)
            wrong: dict[int, str] = {}
            parts.append(encoding.read(part, wrong))
            for row, reason in wrong.items():
                told = reason.replace("column '", f"column '{raw.name}.", 1)
                bad.setdefault(row, told)
        whole = pl.DataFrame(parts).to_struct(raw.name)
        if not raw.null_count():
            return whole
        return pl.select(pl.when(raw.is_not_null()).then(whole)).to_series().alias(raw.name)


@dataclass(frozen=True, slots=True)
class Flag(Encoding):
    """``"true"`` or ``"false"``: what a flattened event says of a deletion."""

    @property
    def raw(self) -> pl.DataType:
        """Text."""
        return pl.String()

    def read(self, raw: pl.Series, bad: dict[int, str]) -> pl.Series:
        """The text as booleans; a row with another one is bad."""
        words = pl.Series(["true", "false"])
        for row in (~raw.is_in(words.implode()) & raw.is_not_null()).arg_true():
            bad.setdefault(row, f"column {raw.name!r}: {shown(raw[row])} is no Boolean")
        return pl.select(pl.when(raw.is_not_null()).then(raw == "true")).to_series()


def _time(raw: pl.Series, kind: DataType, unit: TimeUnit | None) -> pl.Series:
    if isinstance(kind, pl.Datetime):
        found = unit or kind.time_unit
        numbers, found = (raw // UNITS["us"], "us") if found == "ns" else (raw, found)
        return read_epoch(numbers, found).cast(kind)
    if isinstance(kind, pl.Date):
        return _within(raw, *_DAYS).cast(pl.Date)
    factor = UNITS[unit or "us"]
    return (_within(raw, 0, _DAY_NS // factor - 1) * factor).cast(pl.Time)


def _counted(kind: pl.DataType) -> bool:
    """Whether a type is one of times that are numbers."""
    zoned = isinstance(kind, pl.Datetime) and kind.time_zone is not None
    return isinstance(kind, pl.Date | pl.Datetime | pl.Time) and not zoned


def has_unit(kind: pl.DataType) -> bool:
    """Whether numbers of a type of times may be in one unit or another; a Date is in days.

    >>> has_unit(pl.Time()), has_unit(pl.Date()), has_unit(pl.Datetime("us", "UTC"))
    (True, False, False)
    """
    return _counted(kind) and not isinstance(kind, pl.Date)


def _within(numbers: pl.Series, low: int, high: int) -> pl.Series:
    least, most = numbers.min(), numbers.max()
    if least is None or (least >= low and most <= high):  # type: ignore[operator]
        return numbers
    return pl.select(pl.when(numbers.is_between(low, high)).then(numbers)).to_series()


def of_base64(text: pl.Series, kind: pl.Decimal) -> pl.Series:
    """Decimals of base64: two's complement, the largest byte first; null for what is none.

    An object ``{"scale": 2, "value": "AfQ="}`` has its own scale.

    >>> texts = pl.Series(["AfQ=", "/w==", '{"scale":1,"value":"AfQ="}'])
    >>> of_base64(texts, pl.Decimal(6, 2)).to_list()
    [Decimal('5.00'), Decimal('-0.01'), Decimal('50.00')]
    """
    raw = text.str.decode("base64", strict=False)
    sizes = raw.bin.size()
    small = sizes.is_between(1, _SMALL).fill_null(value=False)
    numbers = pl.select(pl.when(small).then(_whole(raw, small))).to_series()
    found = numbers.cast(pl.Decimal(38, 0))
    if kind.scale:
        found = found * Decimal(1).scaleb(-kind.scale)
    found = found.cast(kind, strict=False)
    odd = (~small & text.is_not_null()).arg_true()
    if odd.is_empty():
        return found
    cells = [_alone(text[row], raw[row], kind) for row in odd]
    return found.scatter(odd, pl.Series(cells, dtype=kind))


def _whole(raw: pl.Series, small: pl.Series) -> pl.Series:
    """The whole numbers of up to eight bytes each; nothing of the others."""
    kept = pl.select(pl.when(small).then(raw).otherwise(pl.lit(b"\0"))).to_series()
    sizes = kept.bin.size().to_numpy().astype(np.int64)
    joined = np.frombuffer(b"".join(kept.to_list()), np.uint8)
    starts = sizes.cumsum() - sizes
    negative = joined[starts] >= 128 if len(joined) else np.zeros(0, np.bool_)
    cells = np.where(negative, np.uint8(0xFF), np.uint8(0))[:, None].repeat(_SMALL, axis=1)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(joined)) - np.repeat(starts, sizes)
    cells[rows, _SMALL - np.repeat(sizes, sizes) + within] = joined
    return pl.Series(cells.reshape(-1).view(">i8").astype(np.int64))


def _number(text: object, kind: pl.Decimal) -> Decimal | None:
    """What base64 says, whether it fits the type or not; ``None`` where it says no number."""
    said = str(text)
    try:
        raw = None if said.startswith("{") else b64decode(said, validate=True)
    except ValueError:
        return None
    return _decimal(said, raw, kind)


def _digits(number: Decimal) -> str:
    """A number in words that stay short."""
    text = f"{number:f}"
    return text if len(text) <= _SHOWN else f"a number of {len(number.as_tuple().digits)} digits"


def _decimal(text: str, raw: bytes | None, kind: pl.Decimal) -> Decimal | None:
    """A number of many bytes, or with a scale of its own; it may not fit the type."""
    scale: object = kind.scale
    try:
        if text.startswith("{"):
            parts = json.loads(text)
            scale, raw = parts["scale"], b64decode(parts["value"], validate=True)
    except (ValueError, LookupError, TypeError):
        return None
    if not raw or len(raw) > _BYTES_MOST or type(scale) is not int or abs(scale) > _SCALE_MOST:
        return None
    return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-scale, _ROOM)


def _alone(text: str, raw: bytes | None, kind: pl.Decimal) -> Decimal | None:
    """One decimal of many bytes, or with a scale of its own."""
    number = _decimal(text, raw, kind)
    if number is None:
        return None
    exact = number == number.quantize(Decimal(1).scaleb(-kind.scale), context=_ROOM)
    bound = Decimal(1).scaleb(kind.precision - kind.scale)
    return number if exact and -bound < number < bound else None


def encodings(
    columns: Mapping[str, pl.DataType],
    *,
    decimals: bool,
    numbers: bool,
    units: Mapping[str, TimeUnit],
) -> Iterator[tuple[str, Encoding]]:
    """The encoding of each column."""
    for name, kind in columns.items():
        yield name, Encoding(kind, decimals, numbers, units.get(name))
