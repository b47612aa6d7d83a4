"""JSON: one object per record.

Reading goes through one call for the batch. Its parser works line by line and refuses a line that
is not one document, so where every value is one line that begins an object, a value cannot take a
neighbour's row. Otherwise, and when the fast call refuses something, each value is looked at alone:
what cannot be read is blanked, and the rest goes through the fast call.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import polars as pl

from processor.errors import TopologyError
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    describe_columns,
    only_finite,
    size_errors,
)
from processor.formats.lines import join_rows
from processor.formats.times import (
    ISO,
    READ_FORMS,
    format_times,
    is_timestamp,
    parse_times,
)

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

# Whole milliseconds that are a date from year 1 to year 9999.
_MILLIS_MIN: Final = -62_135_596_800_000
_MILLIS_MAX: Final = 253_402_300_799_999


@dataclass(frozen=True)
class Json:
    """Objects whose members are the columns; members that are no column are ignored.

    A record is bad when it is no JSON object, when a column's member is missing, null or of another
    type (a number as text is not a number), when a number does not fit the column's type, or when
    it is not UTF-8. Columns named in ``optional`` may be missing or null. A String column takes a
    member that is no text as its JSON text. Of members with one name the first counts. Writing
    turns numbers that are not finite into null.

    Args:
        columns: name and Polars type of each member to read (String, integers up to 64 bits,
            Float32, Float64, Boolean, Datetime in microseconds); may be left out for writing only.
            A Datetime is read from text in one of the forms of ``times``, or from whole
            milliseconds since 1970 in UTC when its name stands in ``millis``.
        optional: names of columns that may be null.
        millis: names of Datetime columns that are written as milliseconds.
        time_form: how a Datetime is written, in the words of ``strftime``.
        times: how it may be read, tried in order.
        value_bytes_max: a longer value is bad without being looked at.

    Raises `TopologyError` for a column of another type.

    >>> Json({"cluster": pl.Int64}).decode([b'{"cluster":6}', b'{"cluster":"six"}']).bad
    {1: "column 'cluster': 'six' is no Int64"}
    """

    columns: Mapping[str, DataType] | None = None
    optional: frozenset[str] = frozenset()
    millis: frozenset[str] = frozenset()
    time_form: str = ISO
    times: tuple[str, ...] = READ_FORMS
    value_bytes_max: int = VALUE_BYTES_MAX
    _raw: Mapping[str, DataType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        raw: dict[str, DataType] = {}
        for name, kind in (self.columns or {}).items():
            if is_timestamp(kind):
                raw[name] = pl.Int64 if name in self.millis else pl.String
            elif kind in _READ_AS:
                raw[name] = next(to for of, to in _READ_AS.items() if of == kind)
            else:
                raise TopologyError(
                    f"Json: column {name!r} cannot be read as {kind}",
                    remedy="use String, Int8 to UInt64, Float32, Float64, Boolean or "
                    'Datetime("us"), and derive the rest with with_columns',
                )
        for name in (*self.optional, *self.millis):
            if name not in raw:
                raise TopologyError(
                    f"Json: {name!r} is no column", remedy=f"the columns are: {', '.join(raw)}"
                )
        object.__setattr__(self, "_raw", raw)

    def decode(self, values: Values) -> Decoded:
        """Objects to columns: a row per value, in order; bad values are named, not raised."""
        bad: dict[int, str] = {}
        frame = self._fast(values)
        if frame is None:
            frame = self._slow(values, bad)
        return Decoded(self._finish(frame, bad), bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to objects, members in the order of the columns."""
        if frame.is_empty():
            return []
        lines = join_rows(frame, self.time_form)
        if lines is None:
            # The writer escapes line breaks inside text, so every line is one row.
            lines = format_times(frame, self.time_form).write_ndjson().encode().split(b"\n")
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
                reason = self._reason(value)
                if reason is None:
                    # JSON has line breaks between its tokens only.
                    line = value.strip().replace(b"\n", b" ")
                else:
                    bad[row] = reason
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
        if frame is not None:
            parts.append(frame)
        elif len(lines) == 1:
            bad[start] = "no JSON object with these columns"
            parts.append(pl.DataFrame({name: [None] for name in self._raw}, schema=dict(self._raw)))
        else:
            middle = len(lines) // 2
            self._halve(lines[:middle], start, bad, parts)
            self._halve(lines[middle:], start + middle, bad, parts)

    def _reason(self, value: bytes) -> str | None:
        """Why a value is bad, as far as its JSON types tell; ``None`` if it is not."""
        try:
            parsed = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            return f"no JSON: {error}"
        if not isinstance(parsed, dict):
            return "no JSON object"
        if self._misfit(parsed) is None:
            return None
        # Of members with one name the fast parser takes the first, orjson the last.
        return self._misfit(json.loads(value, object_pairs_hook=_first))

    def _misfit(self, parsed: Mapping[str, Any]) -> str | None:
        for name, kind in self._raw.items():
            cell = parsed.get(name)
            if cell is not None and not _fits(cell, kind):
                wanted = "whole milliseconds" if name in self.millis else kind
                return f"column {name!r}: {_shown(cell)} is no {wanted}"
        return None

    def _finish(self, frame: pl.DataFrame, bad: dict[int, str]) -> pl.DataFrame:
        """Raw columns to the wanted types; a required cell that is null makes its row bad."""
        columns = []
        for name, kind in (self.columns or {}).items():
            raw = frame[name]
            column, what = self._convert(raw, kind, name)
            columns.append(column.alias(name))
            if not column.null_count():
                continue
            null = column.is_null()
            wrong = null & raw.is_not_null() if name in self.optional else null
            for row in wrong.arg_true().to_list():
                cell = raw[row]
                reason = "missing" if cell is None else f"{_shown(cell)} is no {what}"
                bad.setdefault(row, f"column {name!r}: {reason}")
        return pl.DataFrame(columns)

    def _convert(self, raw: pl.Series, kind: DataType, name: str) -> tuple[pl.Series, str]:
        if is_timestamp(kind):
            if name not in self.millis:
                return parse_times(raw, self.times), "time"
            dated = raw.is_between(_MILLIS_MIN, _MILLIS_MAX)
            return (_only(raw, dated) * 1000).cast(pl.Datetime("us")), "time"
        if raw.dtype == kind:
            return raw, str(kind)
        column = raw.cast(kind, strict=False)
        if column.dtype.is_float():
            column = only_finite(column)
        return column, str(kind)


def _only(column: pl.Series, keep: pl.Series) -> pl.Series:
    """The column, null where ``keep`` is not true."""
    if keep.all():
        return column
    return pl.select(pl.when(keep).then(column)).to_series()


def _fits(cell: object, kind: DataType) -> bool:
    """Whether a parsed JSON value is of the kind that the parser is asked for."""
    if kind == pl.String:
        return True
    if kind == pl.Boolean:
        return isinstance(cell, bool)
    if isinstance(cell, bool):
        return False
    if kind == pl.Float64:
        return isinstance(cell, int | float) and math.isfinite(cell)
    low, high = (0, 2**64 - 1) if kind == pl.UInt64 else (-(2**63), 2**63 - 1)
    return isinstance(cell, int) and low <= cell <= high


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _shown(cell: object) -> str:
    text = repr(cell)
    return text if len(text) <= 80 else f"{text[:80]}…"
