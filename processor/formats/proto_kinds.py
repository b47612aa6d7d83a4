"""What a Protobuf field is as a column: its type, and the way of its values there and back.

Values of all records come as one list, ``None`` where one is absent, beside the number of the row
that each belongs to. So a field of a list's messages is read for all rows at once, at any depth::

    lines = [[{sku: "a"}, {sku: "b"}], []]      rows 0, 1
    lines[].sku = ["a", "b"]                    rows 0, 0

A value that no column can hold makes its row bad, and leaves null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.formats.base import WriteError, shown

Rows = npt.NDArray[np.int64]
STAMP: Final = pl.Datetime("us", "UTC")
SPAN: Final = pl.Duration("us")
# What the language allows: the years 1 to 9999, and as many seconds either way.
_STAMP_S: Final = (-62_135_596_800, 253_402_300_799)
_SPAN_S: Final = 315_576_000_000
_MOST_NS: Final = 999_999_999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)


class Kind(Protocol):
    """A type of fields."""

    @property
    def column(self) -> pl.DataType:
        """The type of the column."""
        ...

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """Values as a column, null for ``None``; notes rows that are bad."""
        ...

    def write(self, cell: Any, place: str) -> Any:
        """A cell as the library takes it; raises `WriteError`."""
        ...


def set_aside(
    bad: dict[int, str], rows: Rows, wrong: Sequence[int], place: str, cells: Sequence[Any]
) -> None:
    """Note the rows of these values, each with what stands there; the first reason of a row stays.

    >>> bad = {}
    >>> set_aside(bad, np.array([4, 7]), [1], "state", ["a", "b is no state"]); bad
    {7: "column 'state': b is no state"}
    """
    for index in wrong:
        bad.setdefault(int(rows[index]), f"column {place!r}: {cells[index]}")


@dataclass(frozen=True, slots=True)
class Scalar:
    """Numbers, truth values, text and bytes."""

    column: pl.DataType

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """As they are; text that is not UTF-8 comes as bytes where the file's syntax is old."""
        if self.column == pl.String and bytes in set(map(type, values)):
            wrong = [at for at, value in enumerate(values) if isinstance(value, bytes)]
            set_aside(bad, rows, wrong, place, ["text that is not UTF-8"] * len(values))
            values = [None if isinstance(value, bytes) else value for value in values]
        return pl.Series(values, dtype=self.column)

    def write(self, cell: Any, place: str) -> Any:
        """As it is."""
        del place
        return cell


@dataclass(frozen=True, slots=True)
class Word:
    """An enumeration: its names, of which a number that has none is bad."""

    column: pl.DataType
    numbers: Mapping[str, int]

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """Numbers as names."""
        numbers = pl.Series(values, dtype=pl.Int32)
        # Of names with one number the first.
        names = {number: name for name, number in reversed(list(self.numbers.items()))}
        words = numbers.replace_strict(
            list(names), list(names.values()), default=None, return_dtype=pl.String
        ).cast(self.column)
        if words.null_count() != numbers.null_count():
            wrong = (words.is_null() & numbers.is_not_null()).arg_true().to_list()
            told = [f"{number} is no number of the enumeration" for number in values]
            set_aside(bad, rows, wrong, place, told)
        return words

    def write(self, cell: Any, place: str) -> Any:
        """The number of a name."""
        if cell not in self.numbers:
            raise WriteError(f"column {place!r} is {shown(cell)}, no word of the enumeration")
        return self.numbers[cell]


@dataclass(frozen=True, slots=True)
class Stamp:
    """A point in time; what is finer than a microsecond is cut off, as in other formats."""

    make: Callable[..., Any]
    column: pl.DataType = STAMP

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """Seconds and nanoseconds as one time."""
        seconds, nanos = _parts(values)
        low, high = _STAMP_S
        good = seconds.is_between(low, high) & nanos.is_between(0, _MOST_NS)
        return _times(seconds, nanos, good, (self.column, rows, place, bad))

    def write(self, cell: Any, place: str) -> Any:
        """A time since 1970; every one that Python has is in the range."""
        del place
        seconds, rest = divmod(cell - _EPOCH, _SECOND)
        return self.make(seconds=seconds, nanos=rest // _MICROSECOND * 1_000)


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time; what is finer than a microsecond is cut off."""

    make: Callable[..., Any]
    column: pl.DataType = SPAN

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """Seconds and nanoseconds, which have one sign, as one length."""
        seconds, nanos = _parts(values)
        good = seconds.is_between(-_SPAN_S, _SPAN_S) & nanos.is_between(-_MOST_NS, _MOST_NS)
        good &= (seconds.sign() * nanos.sign()) >= 0
        return _times(seconds, nanos, good, (self.column, rows, place, bad))

    def write(self, cell: Any, place: str) -> Any:
        """A length with seconds and nanoseconds of one sign."""
        micros = cell // _MICROSECOND
        seconds, rest = divmod(abs(micros), 1_000_000)
        if seconds > _SPAN_S or (seconds == _SPAN_S and rest):
            raise WriteError(f"column {place!r} is {cell}, more than a duration can be")
        sign = -1 if micros < 0 else 1
        return self.make(seconds=sign * seconds, nanos=sign * rest * 1_000)


def _parts(values: list[Any]) -> tuple[pl.Series, pl.Series]:
    seconds = [None if value is None else value.seconds for value in values]
    nanos = [None if value is None else value.nanos for value in values]
    return pl.Series(seconds, dtype=pl.Int64), pl.Series(nanos, dtype=pl.Int64)


def _times(
    seconds: pl.Series,
    nanos: pl.Series,
    good: pl.Series,
    told: tuple[pl.DataType, Rows, str, dict[int, str]],
) -> pl.Series:
    kind, rows, place, bad = told
    if not good.all():
        wrong = good.not_().fill_null(value=False).arg_true().to_list()
        pairs = zip(seconds, nanos, strict=True)
        reasons = [f"{s} s and {n} ns are no {_NAMES[type(kind)]}" for s, n in pairs]
        set_aside(bad, rows, wrong, place, reasons)
        seconds = pl.select(pl.when(good).then(seconds)).to_series()
    # Towards zero on both sides: integer division here is not.
    micros = nanos.sign() * (nanos.abs() // 1_000)
    return (seconds * 1_000_000 + micros).cast(kind)


_NAMES: Final = {pl.Datetime: "time", pl.Duration: "duration"}


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A value in a message of its own, so that it may be absent."""

    inner: Kind
    make: Callable[..., Any]

    @property
    def column(self) -> pl.DataType:
        """The value's own type."""
        return self.inner.column

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """The values without their messages."""
        bare = [None if value is None else value.value for value in values]
        return self.inner.read(bare, rows, place, bad)

    def write(self, cell: Any, place: str) -> Any:
        """The value in a message."""
        return self.make(value=self.inner.write(cell, place))


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a message: ``absent`` says that it may be missing, as null."""

    name: str
    kind: Kind
    absent: bool
    choice: str | None = None

    def values(self, messages: Sequence[Any]) -> list[Any]:
        """The field of each message, ``None`` where it is absent."""
        name, get = self.name, attrgetter(self.name)
        if not self.absent:
            return list(map(get, messages))
        return [get(message) if message.HasField(name) else None for message in messages]


@dataclass(frozen=True, slots=True)
class Record:
    """A message: an object of its fields."""

    parts: tuple[Part, ...]
    make: Callable[..., Any]

    @property
    def column(self) -> pl.DataType:
        """A `pl.Struct`."""
        return pl.Struct({part.name: part.kind.column for part in self.parts})

    def columns(
        self, messages: Sequence[Any], rows: Rows, place: str, bad: dict[int, str]
    ) -> list[pl.Series]:
        """A column for each field."""
        before = f"{place}." if place else ""
        return [
            part.kind.read(part.values(messages), rows, before + part.name, bad).alias(part.name)
            for part in self.parts
        ]

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """Messages as objects."""
        there = pl.Series([value is not None for value in values], dtype=pl.Boolean)
        none = self.make()
        messages = values if there.all() else [none if v is None else v for v in values]
        found = pl.DataFrame(self.columns(messages, rows, place, bad)).to_struct()
        if there.all():
            return found
        return pl.select(pl.when(there).then(found)).to_series()

    def write(self, cell: Any, place: str) -> Any:
        """A message of the cells; raises `WriteError` for a null where a field has none."""
        given: dict[str, Any] = {}
        chosen: dict[str, str] = {}
        before = f"{place}." if place else ""
        for part in self.parts:
            value = cell[part.name]
            if value is None:
                if not part.absent:
                    raise WriteError(f"column {before + part.name!r} is null, and cannot be absent")
                continue
            if part.choice is not None and chosen.setdefault(part.choice, part.name) != part.name:
                other = before + chosen[part.choice]
                raise WriteError(
                    f"columns {other!r} and {before + part.name!r} are both there: of "
                    f"{part.choice!r} one can be"
                )
            given[part.name] = part.kind.write(value, before + part.name)
        return self.make(**given)


@dataclass(frozen=True, slots=True)
class Listed:
    """A repeated field."""

    element: Kind

    @property
    def column(self) -> pl.DataType:
        """A `pl.List`."""
        return pl.List(self.element.column)

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """Each record's elements as a list."""
        flat = [element for value in values for element in value]
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        inside = self.element.read(flat, np.repeat(rows, lengths), f"{place}[]", bad)
        return _lists(inside, lengths)

    def write(self, cell: Any, place: str) -> Any:
        """The elements, none of which may be null."""
        if None in cell:
            raise WriteError(f"column {place!r} has a null in it, and a list cannot hold one")
        return [self.element.write(element, f"{place}[]") for element in cell]


@dataclass(frozen=True, slots=True)
class Mapped:
    """A map: a list of its entries, by key."""

    key: Kind
    value: Kind

    @property
    def column(self) -> pl.DataType:
        """A list of objects of ``key`` and ``value``."""
        return pl.List(pl.Struct({"key": self.key.column, "value": self.value.column}))

    def read(self, values: list[Any], rows: Rows, place: str, bad: dict[int, str]) -> pl.Series:
        """Each record's entries; sorted, since the library has them in any order."""
        read = [_entries(value) for value in values]
        wrong = [n for n, pairs in enumerate(read) if pairs is None]
        reason = "text that is not UTF-8"
        set_aside(bad, rows, wrong, f"{place}[].key", [reason] * len(values))
        found = [pairs or [] for pairs in read]
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        inside = np.repeat(rows, lengths)
        keys = [key for pairs in found for key, _ in pairs]
        cells = [cell for pairs in found for _, cell in pairs]
        entries = pl.DataFrame(
            [
                self.key.read(keys, inside, f"{place}[].key", bad).alias("key"),
                self.value.read(cells, inside, f"{place}[].value", bad).alias("value"),
            ]
        )
        return _lists(entries.to_struct(), lengths)

    def write(self, cell: Any, place: str) -> Any:
        """The entries by key; raises `WriteError` for nulls and for a key that is there twice."""
        made: dict[Any, Any] = {}
        for entry in cell:
            if entry is None or entry["key"] is None or entry["value"] is None:
                raise WriteError(f"column {place!r} has a null in it, and a map cannot hold one")
            if entry["key"] in made:
                raise WriteError(f"column {place!r} has the key {shown(entry['key'])} twice")
            made[entry["key"]] = self.value.write(entry["value"], f"{place}[].value")
        return made


def _entries(value: Any) -> list[tuple[Any, Any]] | None:
    """A map's entries in order; ``None`` for one with a key that is not UTF-8.

    Where the file's syntax is old the library has such a key as bytes, or fails to read it.
    """
    try:
        keys = list(value)
    except UnicodeDecodeError:
        return None
    if any(isinstance(key, bytes) for key in keys):
        return None
    return [(key, value[key]) for key in sorted(keys)]


def _lists(flat: pl.Series, lengths: Rows) -> pl.Series:
    """Elements in a row as lists of these lengths.

    >>> _lists(pl.Series([1, 2, 3]), np.array([2, 0, 1])).to_list()
    [[1, 2], [], [3]]
    """
    rows = np.repeat(np.arange(len(lengths)), lengths)
    frame = pl.DataFrame([pl.Series("row", rows), flat.alias("list")])
    lists = frame.group_by("row", maintain_order=True).agg("list")["list"]
    filled = lengths > 0
    # A list that is empty is the last one, which is put behind the others.
    empty = pl.Series([[]], dtype=lists.dtype)
    which = np.where(filled, np.cumsum(filled) - 1, int(filled.sum()))
    return lists.append(empty).gather(which)
