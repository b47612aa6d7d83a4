"""What a format was told of its columns: checked where it is told, and how their times go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import DataType, shown
from processor.formats.durations import (
    parts_of_seconds,
    read_durations,
    why_no_duration,
    write_durations,
)
from processor.formats.epoch import UNITS, fractions, read_epoch, why_not, write_epoch
from processor.formats.exact import Exact
from processor.formats.forms import Form, FormError, form
from processor.formats.meant import DIGITS_MOST, meant, meant_columns
from processor.formats.nested import changed, leaves, mapped, named, nested
from processor.formats.times import (
    ISO,
    TIMESTAMP,
    in_unit,
    parse_times,
    text_of,
    written_form,
)
from processor.model.location import Location, caller

NUMBERS: Final = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64,
    pl.Float32, pl.Float64,
)  # fmt: skip
DATE_FORMS: Final = "%Y-%m-%d", "%m/%d/%Y", "%Y/%m/%d"
TIME_FORMS: Final = "%H:%M:%S", "%H:%M"
_TEXTS: Final = pl.Datetime, pl.Date, pl.Time, pl.Duration, pl.Binary
_OWN: Final = str(Path(__file__).parent)
_FLAT: Final = (
    "String, Int8 to UInt64, Float32, Float64, Decimal(precision, scale), Boolean, Enum, Binary, "
    "Datetime, Duration, Date or Time, and derive the rest with with_columns"
)
_TYPES: Final = _FLAT.replace("Date or Time,", "Date, Time, or Struct or List of these,")


def check_bytes(form: str, most: object, at: Location) -> None:
    """Raise `TopologyError` for what is no number of bytes."""
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise TopologyError(
            f"{at}: {form}: value_bytes_max is {most!r}",
            remedy=f"give a number of bytes: {form}(..., value_bytes_max=1_000_000)",
        )


def check_word(who: str, option: str, word: object, words: Sequence[str], at: Location) -> None:
    """Raise `TopologyError` for what is none of the words."""
    if word not in words:
        told = " or ".join(map(repr, words))
        raise TopologyError(f"{at}: {who}: {option}={word!r}", remedy=f"say {told}")


@dataclass(frozen=True, slots=True)
class Times:
    """How a format reads and writes times, and what else it has as text: durations and bytes.

    Args:
        kinds: the declared columns of these types.
        reading: the forms that each column of times is tried in.
        written: the form that a Datetime, a Date and a Time is written in.
        units: the units of the columns that are numbers: since 1970, or of durations.
        exact: what the text of a column has to be like before any form is tried on it.
    """

    kinds: Mapping[str, pl.DataType]
    reading: Mapping[str, tuple[str, ...]]
    written: Mapping[str, Form]
    units: Mapping[str, str]
    exact: Mapping[str, Exact] = field(default_factory=dict)

    def raw(self, name: str) -> DataType:
        """The type that a column is read as first: text or numbers."""
        unit = self.units.get(name)
        return pl.String if unit is None else pl.Float64 if unit == "s" else pl.Int64

    def read(self, raw: pl.Series, name: str) -> pl.Series:
        """A column of text, or of numbers, as cells of the declared type; null for what is none."""
        kind, unit = self.kinds[name], self.units.get(name)
        if isinstance(kind, pl.Duration):
            return read_durations(raw, kind, unit)
        if kind == pl.Binary:
            return raw.str.decode("base64", strict=False)
        if unit is None:
            exact = self.exact.get(name)
            raw = raw if exact is None else exact.only(raw)
            return parse_times(raw, self.reading[name], kind)
        times = in_unit(read_epoch(raw, unit), kind)
        if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
            times = times.dt.replace_time_zone("UTC").dt.convert_time_zone(kind.time_zone)
        return times

    def why(self, cell: object, name: str) -> str:
        """Why a cell is none of the declared type."""
        kind, unit = self.kinds[name], self.units.get(name)
        if isinstance(kind, pl.Duration):
            return why_no_duration(cell, kind, unit)
        if kind == pl.Binary:
            return f"{shown(cell)} is no base64 with its padding"
        if unit is not None:
            return why_not(cell, unit, name)
        if name in self.exact and not self.exact[name].takes(str(cell)):
            return f"{shown(cell)} is no {self.exact[name].told}"
        if isinstance(kind, pl.Datetime) and (why := self._why_no_moment(cell, name, kind)):
            return why
        return f"{shown(cell)} is no {'date' if kind == pl.Date else 'time'}"

    def _why_no_moment(self, cell: object, name: str, kind: pl.Datetime) -> str | None:
        """Why a time that a form tells is none of the type; ``None`` where no form tells one."""
        text, forms = pl.Series([str(cell)]), self.reading[name]
        if parse_times(text, forms).null_count():
            return None
        if kind.time_unit == "ns" and parse_times(text, forms, pl.Datetime("ns")).null_count():
            return f"{shown(cell)} has no place in nanoseconds, which end in 1677 and 2262"
        if kind.time_zone is None:
            return None
        return (
            f"{shown(cell)} is skipped or shown twice by clocks in {kind.time_zone}: "
            "write it with its offset"
        )

    def write(self, frame: pl.DataFrame, *, leave: bool = False) -> pl.DataFrame:
        """The frame with times, durations and bytes as text, or as numbers where that is declared.

        With ``leave``, plain timestamps are left to who can write them faster.
        """
        columns: list[pl.Series] = []
        for column in frame.get_columns():
            kind = column.dtype
            if nested(kind):
                columns.append(self._write_leaves(column))
            elif isinstance(kind, pl.Datetime) and column.name in self.units:
                columns.append(write_epoch(column, self.units[column.name]).alias(column.name))
            elif isinstance(kind, _TEXTS) and not (leave and self.plain(column)):
                columns.append(self._text(column, self.units.get(column.name)).alias(column.name))
        return frame.with_columns(columns) if columns else frame

    def _write_leaves(self, column: pl.Series) -> pl.Series:
        to = mapped(column.dtype, "", lambda kind, _: pl.String if has_text(kind) else kind)
        return changed(column, "", lambda cells, _: self._text(cells), to)[0]

    def _text(self, column: pl.Series, unit: str | None = None) -> pl.Series:
        kind = column.dtype
        if kind == pl.Duration:
            return write_durations(column, unit)
        if kind == pl.Binary:
            return column.bin.encode("base64")
        return text_of(column, self.written[_sort(kind)])

    def plain(self, column: pl.Series) -> bool:
        """Whether a column is of timestamps without a zone, written in a form without one."""
        written = self.written.get("moment")
        return (
            written is not None
            and column.dtype == TIMESTAMP
            and written.exact
            and "offset" not in written.tells
        )

    def kinds_of_rows(self, frame: pl.DataFrame) -> pl.Series | None:
        """A number for each row by which of its seconds are not whole; ``None``: one kind.

        A column holds one type, and a record is not written otherwise for its neighbours' sake.
        """
        seconds = [
            frame[name] for name, unit in self.units.items() if unit == "s" and name in frame
        ]
        if not seconds:
            return None
        kinds = pl.zeros(frame.height, pl.UInt32, eager=True)
        for column in seconds:
            if column.dtype in (pl.Datetime, pl.Duration):
                parts = fractions if column.dtype == pl.Datetime else parts_of_seconds
                kinds = kinds * 2 + parts(column).cast(pl.UInt32)
        return kinds if kinds.n_unique() > 1 else None


def full(kind: DataType) -> pl.DataType:
    """A type with all that it leaves out said: ``pl.Datetime`` is ``Datetime("us")``."""
    kind = kind() if isinstance(kind, type) else kind
    if nested(kind):
        return mapped(kind, "", lambda leaf, _: full(leaf))
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        # An offset that is given for a zone gets the name of one.
        return pl.Series([], dtype=kind).dtype
    return kind


def timed(kind: DataType) -> bool:
    """Whether a type is one of times."""
    return isinstance(full(kind), pl.Datetime | pl.Date | pl.Time)


def has_text(kind: DataType) -> bool:
    """Whether a type is one that JSON and CSV have only as text, or as a number in a unit."""
    return isinstance(full(kind), _TEXTS)


def told_at() -> Location:
    """The line that declares a format."""
    return caller(_OWN)


def check_columns(who: str, columns: object, at: Location, *, deep: bool = False) -> None:
    """Raise `TopologyError` for columns that a format cannot read; ``deep``: it has nested ones."""
    if not isinstance(columns, Mapping):
        raise TopologyError(
            f"{at}: {who}: {shown(columns).replace(chr(10), ', ')} gives no types of columns",
            remedy=f"name them with their types, in order: {who}({meant_columns(columns)})",
        )
    for name, kind in columns.items():
        if not isinstance(name, str) or not name:
            raise TopologyError(
                f"{at}: {who}: {name!r} cannot name a column", remedy="use text that is not empty"
            )
        for place, leaf in _leaves(who, kind, name, at) if deep else ((name, kind),):
            if not _readable(leaf):
                raise TopologyError(
                    f"{at}: {who}: column {named(place)!r} cannot be read as {leaf}",
                    remedy=meant(leaf, deep=deep) or f"use {_TYPES if deep else _FLAT}",
                )
            _check_zone(who, named(place), leaf, at)


def _leaves(who: str, kind: DataType, name: str, at: Location) -> list[tuple[str, DataType]]:
    try:
        return list(leaves(kind, name))
    except TypeError as error:
        raise TopologyError(
            f"{at}: {who}: column {name!r}: a type in {kind!r} does not say what is in it",
            remedy='say it: pl.List(pl.String), pl.Struct({"id": pl.Int64}), pl.Enum(["a", "b"])',
        ) from error


def _check_zone(who: str, name: str, kind: DataType, at: Location) -> None:
    try:
        full(kind)
    except pl.exceptions.PolarsError as error:
        raise TopologyError(
            f"{at}: {who}: column {name!r}: there is no zone {getattr(kind, 'time_zone', '')!r}",
            remedy='name one as in pl.Datetime("us", "Europe/Berlin")',
        ) from error


def _readable(kind: object) -> bool:
    if isinstance(kind, pl.Datetime):
        return kind.time_zone != "*"
    if isinstance(kind, pl.Enum):
        return len(kind.categories) > 0
    if isinstance(kind, pl.Decimal):
        return kind.scale <= kind.precision and 0 < kind.precision <= DIGITS_MOST
    plain: tuple[object, ...] = (
        *NUMBERS, pl.String, pl.Boolean, pl.Binary, pl.Datetime, pl.Duration, pl.Date, pl.Time,
    )  # fmt: skip
    known = isinstance(kind, pl.DataType) or (
        isinstance(kind, type) and issubclass(kind, pl.DataType)
    )
    return known and kind in plain


def times(  # noqa: PLR0917 - each of the two formats calls it once
    who: str,
    columns: Mapping[str, DataType] | None,
    forms: Sequence[str],
    written: str | None,
    epoch: Mapping[str, str],
    at: Location,
    durations: Mapping[str, str] | None = None,
) -> Times:
    """Check and compile what a format says of times; raises `TopologyError`.

    Written is ``written``, one of the forms, or the first of them for each kind of column.
    ``durations`` are the units of those that are numbers.
    """
    durations = {} if durations is None else durations
    if isinstance(forms, str) or not forms:
        raise TopologyError(
            f"{at}: {who}: times={forms!r} is no list of forms",
            remedy='say times=("%Y-%m-%d %H:%M:%S",)',
        )
    compiled = list(dict.fromkeys(_form(who, text, at) for text in forms))
    _check_epoch(who, columns, epoch, at)
    _check_durations(who, columns, durations, at)
    sorts = {
        "moment": [f.text for f in compiled if f.date],
        "day": [f.text for f in compiled if f.date and not f.clock] or DATE_FORMS,
        "clock": [f.text for f in compiled if not f.date] or TIME_FORMS,
    }
    first = {sort: form(texts[0]) for sort, texts in sorts.items() if texts}
    if written is not None or "moment" not in first:
        first["moment"] = form(written or ISO)
    kinds = {
        place: full(leaf)
        for name, kind in (columns or {}).items()
        for place, leaf in leaves(kind, name)
        if has_text(leaf)
    }
    reading: dict[str, tuple[str, ...]] = {}
    for name, kind in kinds.items():
        if not timed(kind):
            continue
        sort = _sort(kind)
        if not sorts[sort] and name not in epoch:
            raise TopologyError(
                f"{at}: {who}: no form of times tells the date of {named(name)!r}",
                remedy=f"add one, as {ISO!r}, to times",
            )
        if sorts[sort]:
            tried = sorts[sort][0], written_form(first[sort], kind).text, *sorts[sort][1:]
            reading[name] = tuple(dict.fromkeys(tried))
    return Times(kinds, reading, first, {**epoch, **durations})


def _form(who: str, text: object, at: Location) -> Form:
    if not isinstance(text, str):
        raise TopologyError(
            f"{at}: {who}: {text!r} is no form of times", remedy=f"give text, as {ISO!r}"
        )
    try:
        return form(text)
    except FormError as error:
        raise TopologyError(f"{at}: {who}: {error}", remedy=error.remedy) from error


def _check_epoch(
    who: str, columns: Mapping[str, DataType] | None, epoch: Mapping[str, str], at: Location
) -> None:
    check_units(who, epoch, at)
    for name in epoch:
        if columns is not None and columns.get(name) != pl.Datetime:
            raise TopologyError(
                f"{at}: {who}: numbers since 1970 are declared for {name!r}, "
                + (f"which is {columns[name]}" if name in columns else "which is no column"),
                remedy='make it a column of type pl.Datetime("us")',
            )


def _check_durations(
    who: str, columns: Mapping[str, DataType] | None, durations: Mapping[str, str], at: Location
) -> None:
    check_units(who, durations, at, "durations")
    for name in durations:
        if columns is not None and columns.get(name) != pl.Duration:
            raise TopologyError(
                f"{at}: {who}: a unit of durations is declared for {name!r}, "
                + (f"which is {columns[name]}" if name in columns else "which is no column"),
                remedy='make it a column of type pl.Duration("us")',
            )


def check_units(who: str, units: object, at: Location, option: str = "epoch") -> None:
    """Raise `TopologyError` for what is no mapping from names to units."""
    if not isinstance(units, Mapping):
        raise TopologyError(
            f"{at}: {who}: {option}={units!r} gives no units by the column's name",
            remedy=f"say {option}={{'ts': 'ms'}}",
        )
    for name, unit in units.items():
        if unit not in UNITS:
            raise TopologyError(
                f"{at}: {who}: {option}={{{name!r}: {unit!r}}} is no unit",
                remedy="say 's' for seconds, 'ms' for milliseconds, 'us' for microseconds or 'ns' "
                "for nanoseconds",
            )


def check_names(who: str, names: object, columns: Collection[str], at: Location) -> None:
    """Raise `TopologyError` for a name that is none of the columns."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        what = "a text" if isinstance(names, str) else type(names).__name__
        example = names if isinstance(names, str) else next(iter(columns), "user")
        raise TopologyError(
            f"{at}: {who}: {names!r} is {what} where a set of names is due",
            remedy=f"say {{{example!r}}}",
        )
    for name in names:
        if not isinstance(name, str) or name not in columns:
            raise TopologyError(
                f"{at}: {who}: {shown(name)} is no column",
                remedy=f"the columns are: {', '.join(columns)}",
            )


def _sort(kind: DataType) -> str:
    return "day" if kind == pl.Date else "clock" if kind == pl.Time else "moment"
