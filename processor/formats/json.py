"""JSON: one object per record.

Reading goes through one call for the batch. Its parser works line by line and refuses a line that
is not one document, so where every value is one line that begins an object, a value cannot take a
neighbour's row. Otherwise, and when the fast call refuses something, each value is looked at alone:
what cannot be read is blanked, and the rest goes through the fast call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    by_kind,
    describe_columns,
    from_text,
    in_order,
    of_text,
    only_finite,
    shown,
    size_errors,
)
from processor.formats.epoch import WORDS, Unit
from processor.formats.lines import join_rows
from processor.formats.members import as_text, as_they_stand, members
from processor.formats.modelled import AnyColumns, optional_of
from processor.formats.nested import (
    as_it_stands,
    changed,
    is_raw,
    leaves,
    mapped,
    misfit,
    nested,
    word,
)
from processor.formats.times import ISO, READ_FORMS
from processor.model.location import Location

_READ_AS: Final[Mapping[DataType, DataType]] = {
    pl.Int8: pl.Int64,
    pl.Int16: pl.Int64,
    pl.Int32: pl.Int64,
    pl.Int64: pl.Int64,
    pl.UInt8: pl.Int64,
    pl.UInt16: pl.Int64,
    pl.UInt32: pl.Int64,
    pl.UInt64: pl.UInt64,
    pl.Float32: pl.Float64,
    pl.Float64: pl.Float64,
    pl.Boolean: pl.Boolean,
    pl.String: pl.String,
}
"""What the parser is asked for; narrower types come by a checked cast, since it knows few."""

_LARGE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*', re.DOTALL)
"""Texts, and the numbers between them."""


@dataclass(frozen=True)
class Json:
    """Objects whose members are the columns; members that are no column are ignored.

    A record is bad when it is no JSON object, when a column's member is missing, null or of another
    type (a number as text is not a number), when a number does not fit the column's type, or when
    it is not UTF-8. Columns named in ``optional`` may be missing or null. A String column takes a
    member that is no text as its JSON stands in the record: ``1.10`` stays ``1.10``. Of members
    with one name the first counts. Writing turns numbers that are not finite into null; a sink sets
    a row aside that would have a null in a column that is not optional.

    Args:
        columns: name and Polars type of each member to read (String, integers up to 64 bits,
            Float32, Float64, Decimal, Boolean, Enum, Datetime in milliseconds or microseconds with
            or without a zone, Date, Time, Struct and List of these, where what is missing is null);
            may be left out for writing only. Rows are written in this order.
        optional: names of columns that may be null.
        millis: names of Datetime columns that are whole milliseconds since 1970 in UTC, read and
            written: short for an ``epoch`` of ``ms``.
        time_form: how a Datetime is written, in the words of ``strptime``, with the fraction of a
            second where there is one and the offset where the column has a zone. If left out: the
            first of ``times``, or ISO 8601. It is read before ``times`` are tried.
        times: how times may be read, tried in order. Those with a date alone are for Date columns,
            those with a time of day alone for Time columns, and the first of either is written.
        value_bytes_max: a longer value is bad without being looked at.
        epoch: the Datetime columns that are numbers since 1970 in UTC, each with its unit: ``s``
            (which may have a fraction), ``ms`` or ``us``.

    Raises `TopologyError`, with the line that declares it, for what cannot be read or written.

    >>> Json({"cluster": pl.Int64}).decode([b'{"cluster":6}', b'{"cluster":"six"}']).bad
    {1: "column 'cluster': 'six' is no Int64"}
    >>> form = Json({"at": pl.Datetime("us")}, epoch={"at": "s"})
    >>> form.decode([b'{"at":1406851380.25}']).frame.item()
    datetime.datetime(2014, 8, 1, 0, 3, 0, 250000)
    """

    columns: AnyColumns = AnyColumns()  # noqa: RUF009 - it holds nothing of a format
    optional: frozenset[str] = frozenset()
    millis: frozenset[str] = frozenset()
    time_form: str | None = None
    times: Sequence[str] = READ_FORMS
    value_bytes_max: int = VALUE_BYTES_MAX
    epoch: Mapping[str, Unit] = field(default_factory=dict)
    _raw: Mapping[str, DataType] = field(init=False, repr=False, compare=False)
    _times: declared.Times = field(init=False, repr=False, compare=False)
    _texts: set[str] = field(init=False, repr=False, compare=False)
    _leaves: dict[str, pl.DataType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        columns = self.columns if self.columns is not None else {}
        declared.check_columns("Json", columns, at, deep=True)
        declared.check_bytes("Json", self.value_bytes_max, at)
        declared.check_names("Json", self.optional, columns, at)
        object.__setattr__(self, "optional", frozenset(self.optional) | optional_of(self))
        times = declared.times(
            "Json", self.columns or None, self._forms(), self._written(), self._epoch(at), at
        )

        def leaf(kind: pl.DataType, place: str) -> DataType:
            if place in times.kinds:
                return times.raw(place)
            if from_text(kind):
                return pl.String
            return next(to for of, to in _READ_AS.items() if of == kind)

        raw = {name: mapped(kind, name, leaf) for name, kind in columns.items()}
        object.__setattr__(self, "_times", times)
        object.__setattr__(self, "_raw", raw)
        texts = {n for n, kind in columns.items() if kind == pl.String or from_text(kind)}
        object.__setattr__(self, "_texts", texts)
        found = {at: leaf for name, kind in columns.items() for at, leaf in leaves(kind, name)}
        object.__setattr__(self, "_leaves", {at: declared.full(found[at]) for at in found})

    def _forms(self) -> Sequence[str]:
        if self.time_form is None or isinstance(self.times, str):
            return self.times
        return (self.time_form, *self.times)

    def _written(self) -> str | None:
        if self.time_form is None and tuple(self.times) == READ_FORMS:
            return ISO
        return self.time_form

    def _epoch(self, at: Location) -> dict[str, Unit]:
        declared.check_names("Json", self.millis, self.columns or self.millis, at)
        declared.check_units("Json", self.epoch, at)
        epoch: dict[str, Unit] = {**dict.fromkeys(self.millis, "ms"), **self.epoch}
        for name in self.millis:
            if epoch[name] != "ms":
                raise TopologyError(
                    f"{at}: Json: {name!r} is told to be in {epoch[name]!r} and in milliseconds",
                    remedy="name it in epoch alone",
                )
        return epoch

    def decode(self, values: Values) -> Decoded:
        """Objects to columns: a row per value, in order; bad values are named, not raised."""
        bad: dict[int, str] = {}
        frame = self._fast(values)
        if frame is None:
            frame = self._slow(values, bad)
        if self._texts:
            texts = {name: as_they_stand(frame[name], values, bad) for name in self._texts}
            frame = pl.DataFrame([texts.get(c.name, c) for c in frame.get_columns()])
        for name, kind in self._raw.items():
            if nested(kind):
                frame = frame.with_columns(as_it_stands(frame[name], kind, values, bad))
        return Decoded(self._finish(frame, values, bad), bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to objects, members in the order of the columns.

        Raises `WriteError` for a time that would be read back as another one.
        """
        if frame.is_empty():
            return []
        if self.columns:
            frame = in_order(frame, self.columns)
        return by_kind(frame, self._times.kinds_of_rows(frame), self._encode)

    def _encode(self, frame: pl.DataFrame) -> list[bytes]:
        frame = self._times.write(frame, leave=True)
        lines = join_rows(frame, self._times.written["moment"].text)
        if lines is None:
            # The writer escapes line breaks inside text, so every line is one row.
            lines = self._times.write(frame).write_ndjson().encode().split(b"\n")
            del lines[-1]
        return lines

    def describe(self) -> str:
        """``json(name type, …)``."""
        return f"json({describe_columns(self.columns or {})})"

    def _fast(self, values: Values) -> pl.DataFrame | None:
        """The columns as they stand in the text, or ``None`` when any row needs a closer look."""
        if not values:
            return pl.DataFrame(schema=dict(self._raw))
        column = pl.Series(values, dtype=pl.Binary)
        if column.null_count() or int(column.bin.size().max() or 0) > self.value_bytes_max:  # type: ignore[arg-type]
            return None
        joined = b"\n".join(values)  # type: ignore[arg-type]
        if joined.count(b"\n") != len(values) - 1 or not column.bin.starts_with(b"{").all():
            lines = [value.strip() for value in values if value is not None]
            joined = b"\n".join(lines)
            begun = pl.Series(lines, dtype=pl.Binary).bin.starts_with(b"{")
            if joined.count(b"\n") != len(values) - 1 or not begun.all():
                return None
        return self._parse(joined, len(values))

    def _parse(self, joined: bytes, count: int) -> pl.DataFrame | None:
        # The parser turns half of a surrogate pair into NUL; the closer look refuses it.
        # A single byte is found ten times as fast, and most batches have no escape at all.
        if b"\\" in joined and (b"\\ud" in joined or b"\\uD" in joined):
            return None
        return self._parse_lines(joined, count)

    def _parse_lines(self, joined: bytes, count: int) -> pl.DataFrame | None:
        try:
            frame = pl.read_ndjson(joined, schema=dict(self._raw))
        except (pl.exceptions.PolarsError, UnicodeDecodeError):
            return None
        return frame if frame.height == count else None

    def _slow(self, values: Values, bad: dict[int, str]) -> pl.DataFrame:
        bad.update(size_errors(values, self.value_bytes_max))
        lines: list[bytes] = []
        for row, value in enumerate(values):
            line = b"{}"
            if value is not None and row not in bad:
                try:
                    line = self._line(value)
                except (ValueError, RecursionError) as error:
                    bad[row] = str(error)
            lines.append(line)
        parts: list[pl.DataFrame] = []
        self._halve(lines, 0, bad, parts)
        return pl.concat(parts)

    def _halve(
        self, lines: list[bytes], start: int, bad: dict[int, str], parts: list[pl.DataFrame]
    ) -> None:
        """Parse ``lines``, which begin at row ``start``, cutting out those that cannot be.

        Only what the closer look let pass and the parser refuses is cut out here: next to nothing.
        """
        frame = self._parse_lines(b"\n".join(lines), len(lines))
        if frame is None and len(lines) == 1:
            # A member that is no column may be what the parser does not take.
            frame = self._parse_lines(self._columns_alone(_text(lines[0])), 1)
        if frame is not None:
            parts.append(frame)
        elif len(lines) == 1:
            bad[start] = "no JSON object with these columns"
            parts.append(pl.DataFrame({name: [None] for name in self._raw}, schema=dict(self._raw)))
        else:
            middle = len(lines) // 2
            self._halve(lines[:middle], start, bad, parts)
            self._halve(lines[middle:], start + middle, bad, parts)

    def _line(self, value: bytes) -> bytes:
        """A record as the parser takes it, in one line; raises `ValueError` with what is wrong."""
        try:
            parsed = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            if "infinity" not in str(error):
                raise ValueError(f"no JSON: {error}") from error
            parsed = json.loads(value)
            # The standard library is more lenient: all but the numbers has to pass the other one.
            _checked(_LARGE.sub(_small, value))
        if not isinstance(parsed, dict):
            raise ValueError("no JSON object")  # noqa: TRY004 - of the record, not of a call
        if self._misfit(parsed) is not None:
            # Of members with one name the fast parser takes the first, orjson the last.
            parsed = json.loads(value, object_pairs_hook=_first)
            misfit = self._misfit(parsed)
            if misfit is not None:
                raise ValueError(misfit)
        # JSON has line breaks between its tokens only.
        return value.strip().replace(b"\n", b" ")

    def _columns_alone(self, text: str) -> bytes:
        """A record's members that are columns, those of text columns as text."""
        found = members(text)
        cells = {name: found[name] for name in self._raw if name in found}
        for name in self._texts & cells.keys():
            cells[name] = json.dumps(as_text(cells[name]))
        return f"{{{','.join(f'{json.dumps(n)}:{cell}' for n, cell in cells.items())}}}".encode()

    def _misfit(self, parsed: Mapping[str, Any]) -> str | None:
        for name, kind in self._raw.items():
            found = misfit(parsed.get(name), kind, name, is_raw)
            if found is not None:
                where, cell, due = found
                unit = self._times.epoch.get(name)
                return f"column {where!r}: {shown(cell)} is no {WORDS[unit] if unit else word(due)}"
        return None

    def _finish(self, frame: pl.DataFrame, values: Values, bad: dict[int, str]) -> pl.DataFrame:
        """Raw columns to the wanted types; a required cell that is null makes its row bad."""
        columns = []
        for name, kind in (self.columns or {}).items():
            raw = frame[name]
            column = self._nested(raw, bad) if nested(kind) else self._leaf(raw, name)
            columns.append(column.alias(name))
            if not column.null_count():
                continue
            null = column.is_null()
            wrong = null & raw.is_not_null() if name in self.optional else null
            for row in wrong.arg_true().to_list():
                if row not in bad:
                    cell = raw[row]
                    reason = _absent(values[row], name) if cell is None else self._why(cell, name)
                    bad[row] = f"column {name!r}: {reason}"
        return pl.DataFrame(columns)

    def _leaf(self, raw: pl.Series, place: str) -> pl.Series:
        """Cells as they were declared; null where one does not fit."""
        if place in self._times.kinds:
            return self._times.read(raw, place)
        kind = self._leaves[place]
        if raw.dtype == kind:
            return raw
        if from_text(kind):
            return of_text(raw, kind)
        column = raw.cast(kind, strict=False)
        return only_finite(column) if column.dtype.is_float() else column

    def _nested(self, raw: pl.Series, bad: dict[int, str]) -> pl.Series:
        wanted = mapped(raw.dtype, raw.name, lambda _, place: self._leaves[place])
        column, lost = changed(raw, raw.name, self._leaf, wanted)
        places: list[str] = []

        def fits(cell: Any, leaf: pl.DataType, place: str) -> bool:
            places.append(place)
            return not self._leaf(pl.Series([cell], dtype=leaf), place).null_count()

        for row in () if lost is None else lost.arg_true().to_list():
            found = misfit(raw.slice(row, 1).to_list()[0], raw.dtype, raw.name, fits)
            if found is not None:
                bad.setdefault(row, f"column {found[0]!r}: {self._why(found[1], places[-1])}")
        return column

    def _why(self, cell: object, place: str) -> str:
        if place in self._times.kinds:
            return self._times.why(cell, place)
        return f"{shown(cell)} is no {self._leaves[place]}"


def _absent(value: bytes, name: str) -> str:
    """Whether a member that has no value is there.

    >>> _absent(b'{"a":null}', "a"), _absent(b'{"a":null}', "b")
    ('null', 'missing')
    """
    if b"null" not in value:
        return "missing"
    try:
        return "null" if name in members(value.decode()) else "missing"
    except (ValueError, IndexError, RecursionError):
        return "missing"


def _checked(value: bytes) -> None:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from error


def _small(found: re.Match[bytes]) -> bytes:
    """A text as it stands, or a number that is not too large."""
    return found[0] if found[0].startswith(b'"') else b"0"


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
