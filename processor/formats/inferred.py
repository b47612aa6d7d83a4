"""A format that reads a sample of records, found by looking at all of them.

::

    all are JSON objects?            Json, each member of the narrowest type that takes its values
    all split into as many fields?   Csv, its columns called c1, c2, ...
    all are UTF-8?                   Text

What is found is tried on the sample: a column that cannot be read so becomes text, and where the
whole cannot be read, the next format is taken. So none of the sample is a dead letter.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import polars as pl

from processor.formats.base import MARK, VALUE_BYTES_MAX, DataType
from processor.formats.csv import Csv
from processor.formats.declared import TIME_FORMS
from processor.formats.epoch import Unit
from processor.formats.json import Json
from processor.formats.registered import Registered
from processor.formats.text import Text
from processor.formats.times import READ_FORMS, parse_times

SEPARATORS: Final = ",;\t|"
DEEP: Final = 12
MEMBERS: Final = 200
"""An object of more members than that has them for keys, and is kept as its JSON."""
SELDOM: Final = 0.1
"""Names that are in fewer of the objects than that, as a mean, are the keys of a map."""

_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK: Final = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:\.[0-9]+)?")
_DATED: Final = re.compile(r"[0-9]{1,4}[-/][0-9]{1,2}[-/][0-9]{1,4}[T ][0-9]{1,2}:.*")
_ZONE: Final = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$")
# 2000 to 2040: wider, and the numbers on goods are milliseconds.
_TIMES_S: Final = 946_684_800, 2_208_988_800
_UNITS: Final[Mapping[Unit, int]] = {"s": 1, "ms": 1_000, "us": 1_000_000}
_COLUMN: Final = re.compile(r"column '([^']+)'")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]*")
_EXACT: Final = 1 << 53
_DIGITS: Final = 40
_SIZED: Final = "a number since 1970, by its size"
_EVER_NEW: Final = "its names are ever new: a list of key and value"


@dataclass(frozen=True, slots=True)
class Inferred:
    """A format that reads a sample, and what is to be said of its columns, by their names.

    The members of its objects that are ``left_out`` have a name that no column has.
    """

    form: Json | Csv | Text | Registered
    notes: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def infer(values: Sequence[bytes]) -> Inferred | None:
    """The format for values, none of them empty; ``None`` where no format reads them all.

    >>> infer([b'{"id":1,"at":"2014-08-01T00:03:00"}', b'{"id":2.5,"at":null}']).form.describe()
    "json(id Float64, at Datetime(time_unit='us', time_zone=None))"
    >>> infer([b"1,a", b"2,b"]).form.describe()
    'csv(c1 Int64, c2 String)'
    """
    most = max(map(len, values), default=0)
    bytes_max = VALUE_BYTES_MAX if most <= VALUE_BYTES_MAX else 2 * most
    for look in (_json, _csv, _text):
        found = look(values, bytes_max)
        if found is not None and not found.form.decode(values).bad:
            return found
    return None


def _text(_: Sequence[bytes], bytes_max: int) -> Inferred:
    return Inferred(Text(bytes_max))


def _json(values: Sequence[bytes], bytes_max: int) -> Inferred | None:
    seen = Seen()
    for value in values:
        try:
            orjson.loads(value)  # the standard library takes what is no JSON
            record = json.loads(value)
            seen.add(record)
        except (ValueError, RecursionError):
            return None
        if not isinstance(record, dict):
            return None
    form = Json({"_": pl.String}, value_bytes_max=bytes_max)
    found = _Found({}, set(), {}, {}, set())
    for name, member in seen.members.items():
        if name and not name.startswith("__") and "\0" not in name:
            found.take(name, member, values, form)
    if not found.columns:
        return None
    form = replace(
        form, columns=found.columns, optional=frozenset(found.optional), epoch=found.epoch,
        maps=frozenset(found.maps),
    )  # fmt: skip
    notes = {name: note for name, note in found.notes.items() if note}
    left_out = tuple(name for name in seen.members if name not in found.columns)
    return Inferred(form, notes, left_out)


@dataclass(frozen=True, slots=True)
class _Found:
    """The columns so far, with what belongs to them."""

    columns: dict[str, DataType]
    optional: set[str]
    epoch: dict[str, Unit]
    notes: dict[str, str]
    maps: set[str]

    def take(self, name: str, member: Seen, values: Sequence[bytes], form: Json) -> None:
        """Add the column of the first type by which all values can be read, if there is one."""
        kind, note = member.kind(1)
        tries: list[tuple[DataType, dict[str, Unit], str]] = [(kind, {}, note)]
        places: set[str] = set()
        entries, told_of = member.kind(1, name, places)
        if places:
            tries.insert(0, (entries, {}, told_of))
        unit = member.unit() if kind in (pl.Int64, pl.Float64) else None
        if unit is not None:
            tries.insert(0, (pl.Datetime("us"), {name: unit}, _SIZED))
        tries.append((pl.String(), {}, "kept as its JSON"))
        seldom = {name} if member.count - member.nulls < len(values) else set()
        for chosen, epoch, told in tries:
            maps = frozenset(places if chosen is entries else ())
            one = replace(
                form, columns={name: chosen}, optional=frozenset(seldom), epoch=epoch, maps=maps
            )
            if not one.decode(values).bad:
                self.maps.update(maps)
                self.columns[name], self.notes[name] = chosen, told
                self.optional.update(seldom)
                self.epoch.update(epoch)
                return


@dataclass(slots=True)
class Seen:
    """What was seen of a member: how often, and values of which sorts.

    >>> seen = Seen()
    >>> for cell in (1, 2.5, None):
    ...     seen.add(cell)
    >>> seen.kind(0)
    (Float64, '')
    """

    count: int = 0
    nulls: int = 0
    flags: int = 0
    whole: list[int] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    members: dict[str, Seen] = field(default_factory=dict)
    objects: int = 0
    elements: Seen | None = None

    def add(self, cell: Any) -> None:
        """See a value."""
        self.count += 1
        if cell is None:
            self.nulls += 1
        elif isinstance(cell, bool):
            self.flags += 1
        elif isinstance(cell, int):
            self.whole.append(cell)
        elif isinstance(cell, float):
            self.numbers.append(cell)
        elif isinstance(cell, str):
            self.texts.append(cell)
        elif isinstance(cell, dict):
            self.objects += 1
            for name, part in cell.items():
                self.members.setdefault(name, Seen()).add(part)
        else:
            self.elements = self.elements or Seen()
            for part in cell:
                self.elements.add(part)

    def kind(
        self, depth: int, place: str = "", maps: set[str] | None = None
    ) -> tuple[pl.DataType, str]:
        """The narrowest type, and what is to be said of it.

        With ``maps`` an object whose names are ever new is a list of its keys and values, and its
        ``place`` is added to them.
        """
        sorts = [
            bool(self.flags), bool(self.whole or self.numbers), bool(self.texts),
            bool(self.objects), self.elements is not None,
        ]  # fmt: skip
        if not any(sorts):
            return pl.String(), "always null in the sample"
        if sum(sorts) > 1:
            return pl.String(), "of several types: kept as its JSON"
        if self.flags:
            return pl.Boolean(), ""
        if self.texts:
            return _of_texts(self.texts), ""
        if self.whole or self.numbers:
            return self._number()
        return self._nested(depth, place, maps)

    def _number(self) -> tuple[pl.DataType, str]:
        low, high = min(self.whole, default=0), max(self.whole, default=0)
        if self.numbers:
            if max(-low, high) > _EXACT:
                return pl.String(), "numbers that no Float64 tells apart: kept as they stand"
            return pl.Float64(), ""
        if low >= -(2**63) and high < 2**63:
            return pl.Int64(), ""
        if low >= 0 and high < 2**64:
            return pl.UInt64(), ""
        return pl.String(), "too large for 64 bits: kept as they stand"

    def _nested(self, depth: int, place: str, maps: set[str] | None) -> tuple[pl.DataType, str]:
        if maps is not None and self._ever_new():
            whole = Seen()
            for part in self.members.values():
                whole.take(part)
            maps.add(place)
            value, _ = whole.kind(depth + 1)
            return pl.List(pl.Struct({"key": pl.String(), "value": value})), _EVER_NEW
        if depth >= DEEP or len(self.members) > MEMBERS:
            return pl.String(), "kept as its JSON"
        if self.elements is not None:
            inner, note = self.elements.kind(depth + 1, f"{place}[]", maps)
            empty = not self.elements.count
            return pl.List(inner), "always empty in the sample" if empty else note
        named = {name: part for name, part in self.members.items() if name and "\0" not in name}
        if not named:
            return pl.String(), "kept as its JSON"
        parts = {
            # A name with a dot in it would be another place.
            name: part.kind(depth + 1, f"{place}.{name}", None if "." in name else maps)
            for name, part in named.items()
        }
        told = [f"{name}: {note}" for name, (_, note) in parts.items() if note]
        told += [f"without its member {name!r}" for name in self.members if name not in named]
        return pl.Struct({name: kind for name, (kind, _) in parts.items()}), "; ".join(told)

    def _ever_new(self) -> bool:
        """Whether its names are in few of the objects each, so that others are to be expected."""
        counts = [part.count for part in self.members.values()]
        return len(counts) > 1 and sum(counts) < SELDOM * len(counts) * self.objects

    def take(self, other: Seen) -> None:
        """See all that another has seen."""
        self.count, self.nulls = self.count + other.count, self.nulls + other.nulls
        self.flags, self.objects = self.flags + other.flags, self.objects + other.objects
        self.whole += other.whole
        self.numbers += other.numbers
        self.texts += other.texts
        for name, part in other.members.items():
            self.members.setdefault(name, Seen()).take(part)
        if other.elements is not None:
            self.elements = self.elements or Seen()
            self.elements.take(other.elements)

    def unit(self) -> Unit | None:
        """The unit in which all numbers are times of our days."""
        cells = [*self.whole, *self.numbers]
        for unit, factor in _UNITS.items():
            if cells and all(_TIMES_S[0] * factor <= n < _TIMES_S[1] * factor for n in cells):
                return unit if unit == "s" or not self.numbers else None
        return None


def _of_texts(texts: Sequence[str]) -> pl.DataType:
    """The type of which all texts are: times, dates, times of day, or none of these."""
    for pattern, kind, forms in (
        (_DATED, pl.Datetime("us"), READ_FORMS),
        (_ISO_DATE, pl.Date(), ("%Y-%m-%d",)),
        (_CLOCK, pl.Time(), TIME_FORMS),
    ):
        if all(pattern.fullmatch(text) for text in texts):
            column = pl.Series(texts, dtype=pl.String)
            if not parse_times(column, forms, kind).null_count():
                return _zoned(texts) if pattern is _DATED else kind
    return pl.String()


def _zoned(texts: Sequence[str]) -> pl.DataType:
    """Times that all name their zone keep one, so that they are written with it again."""
    return pl.Datetime("us", "UTC" if all(map(_ZONE.search, texts)) else None)


def _csv(values: Sequence[bytes], bytes_max: int) -> Inferred | None:
    try:
        lines = [value.decode().removeprefix(MARK) for value in values]
    except UnicodeDecodeError:
        return None
    tried = ((separator, _fields(lines, separator)) for separator in SEPARATORS)
    split = [(separator, rows) for separator, rows in tried if rows]
    if not split or all(line.lstrip()[:1] in ("[", "{") for line in lines):
        return None
    separator, rows = max(split, key=lambda pair: len(pair[1][0]))
    header = _header(rows)
    names = header or [f"c{number}" for number in range(1, len(rows[0]) + 1)]
    cells = list(zip(*(row for row in rows if row != header), strict=True))
    guesses = {name: _of_fields(column) for name, column in zip(names, cells, strict=True)}
    optional = frozenset(n for n, column in zip(names, cells, strict=True) if not all(column))
    while True:
        types = {name: kind for name, (kind, _, _) in guesses.items()}
        epoch = {name: unit for name, (_, unit, _) in guesses.items() if unit is not None}
        form = Csv(
            types, separator=separator, epoch=epoch, value_bytes_max=bytes_max,
            header=header is not None, optional=optional,
        )  # fmt: skip
        wrong = {_COLUMN.match(reason) for reason in form.decode(values).bad.values()}
        again = {found[1] for found in wrong if found and types[found[1]] != pl.String}
        if not again:
            notes = {name: note for name, (_, _, note) in guesses.items() if note}
            return Inferred(form, notes)
        guesses |= dict.fromkeys(again, (pl.String(), None, ""))


def _header(rows: Sequence[list[str]]) -> list[str] | None:
    """The line of the columns' names: no other has names alone, and one column has none in it."""
    named = {tuple(row) for row in rows if all(map(_NAME.fullmatch, row))}
    if len(named) != 1:
        return None
    header = list(next(iter(named)))
    columns = list(zip(*(row for row in rows if row != header), strict=True))
    telling = any(any(c) and not any(map(_NAME.fullmatch, c)) for c in columns)
    return header if telling and len(set(header)) == len(header) else None


def _fields(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Each line's fields, where all have as many, at least two; else nothing."""
    try:
        rows = [row for line in lines for row in csv.reader([line], delimiter=separator)]
    except csv.Error:
        return []
    widths = {len(row) for row in rows}
    fit = len(widths) == 1 and min(widths) > 1 and len(rows) == len(lines)
    return rows if fit and any(any(row) for row in rows) else []


def _of_fields(cells: Sequence[str]) -> tuple[DataType, Unit | None, str]:
    seen = Seen()
    for cell in cells:
        seen.add(_cell(cell))
    kind, _ = seen.kind(0)
    unit = seen.unit()
    if unit is not None:
        return pl.Datetime("us"), unit, _SIZED
    return kind, None, ""


def _cell(text: str) -> Any:
    if not text:
        return None
    if _WHOLE.fullmatch(text):
        return int(text) if len(text) <= _DIGITS else text
    if _NUMBER.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text, text)
