"""CSV: one line of separated fields per record.

The fast path splits all lines in one call. A line with a quote or a line break in it takes the slow
path, through the standard library's reader, alone.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    describe_columns,
    text_column,
)
from processor.formats.times import READ_FORMS, format_times, is_timestamp, parse_times

_TYPES: Final = (
    pl.String, pl.Boolean, pl.Float32, pl.Float64, pl.Int8, pl.Int16, pl.Int32, pl.Int64,
    pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64,
)  # fmt: skip
_TERMINATOR: Final = b"\0\n"
_QUOTED: Final = r'["\r\n]'
_SPECIAL: Final = r'["\r\n\x00]'


@dataclass(frozen=True)
class Csv:
    """Lines whose fields are the columns, in order.

    A record is bad when it has fewer or more fields, an empty one, text where a number or a time is
    due, a number that is not finite or too large for its type, a line break outside quotes, a NUL,
    or bytes that are not UTF-8. One line break at the end is no part of the line.

    Args:
        columns: name and Polars type of each field, in order: String, integers up to 64 bits,
            Float32, Float64, Boolean, or Datetime in microseconds.
        separator: one character, neither a quote nor a line break.
        times: forms in which a Datetime may be written, tried in order; the first one is written.
        value_bytes_max: a longer line is bad without being looked at.

    Raises `TopologyError` for a column of another type and for another separator.

    >>> trips = Csv({"dt": pl.Datetime("us"), "lat": pl.Float64})
    >>> trips.decode([b"2014-08-01 00:03:00,40.7", b"x,1"]).bad
    {1: "column 'dt': 'x' is no time"}
    """

    columns: Mapping[str, DataType]
    separator: str = ","
    times: Sequence[str] = READ_FORMS
    value_bytes_max: int = VALUE_BYTES_MAX

    def __post_init__(self) -> None:
        if len(self.separator) != 1 or self.separator in '"\r\n\0' or not self.separator.isascii():
            raise TopologyError(
                f"Csv: {self.separator!r} cannot separate fields", remedy="use one ASCII character"
            )
        if not self.columns:
            raise TopologyError("Csv: no columns", remedy='name them: Csv({"user": pl.String})')
        for name, kind in self.columns.items():
            if not is_timestamp(kind) and kind not in _TYPES:
                raise TopologyError(
                    f"Csv: column {name!r} cannot be read as {kind}",
                    remedy="use String, Int8 to UInt64, Float32, Float64, Boolean or "
                    'Datetime("us"), and derive the rest with with_columns',
                )

    def decode(self, values: Values) -> Decoded:
        """Lines to columns: a row per value, in order; bad values are named, not raised."""
        text, bad = text_column(values, self.value_bytes_max)
        fields = self._split(text, bad)
        frame = pl.DataFrame(
            [self._column(name, kind, fields, bad) for name, kind in self.columns.items()]
        )
        return Decoded(frame, bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to lines, quoted where a field has a separator or a quote."""
        if frame.is_empty():
            return []
        frame = format_times(frame, self.times[0])
        lines = self._lines(frame)
        if len(lines) != frame.height:
            # A text has the terminator in it: then row by row, where it does no harm.
            lines = [_TERMINATOR.join(self._lines(row)) for row in frame.iter_slices(1)]
        return lines

    def _lines(self, frame: pl.DataFrame) -> list[bytes]:
        text = frame.write_csv(
            include_header=False, separator=self.separator, line_terminator=_TERMINATOR.decode()
        )
        return text.encode().split(_TERMINATOR)[:-1]

    def describe(self) -> str:
        """``csv(name type, …)``."""
        return f"csv({describe_columns(self.columns)})"

    def _split(self, text: pl.Series, bad: dict[int, str]) -> pl.DataFrame:
        """Fields as text, one column more than wanted: it is null unless there are too many."""
        count = len(self.columns)
        special = text.str.contains(_SPECIAL).any()
        if special:
            text = text.str.strip_chars_end("\r\n")
        fields = text.to_frame("line").select(
            pl.col("line").str.split_exact(self.separator, count).struct.unnest()
        )
        if special:
            fields = self._split_special(text, fields, bad)
        surplus = fields.to_series(count)
        if surplus.null_count() < len(surplus):
            for row in surplus.is_not_null().arg_true().to_list():
                bad.setdefault(row, f"more than {count} fields")
        return fields

    def _split_special(
        self, text: pl.Series, fields: pl.DataFrame, bad: dict[int, str]
    ) -> pl.DataFrame:
        """The fields, where a line is not just split: one with quotes or line breaks in it."""
        count = len(self.columns)
        for row in text.str.contains("\0", literal=True).arg_true().to_list():
            bad.setdefault(row, "a NUL byte in the text")
        rows = text.str.contains(_QUOTED).arg_true()
        replaced: list[list[str | None]] = []
        for row, line in zip(rows.to_list(), text.gather(rows).to_list(), strict=True):
            try:
                parsed: list[str | None] = [
                    *next(csv.reader([line], delimiter=self.separator, strict=True))
                ]
            except csv.Error as error:
                bad.setdefault(row, f"cannot be split: {error}")
                parsed = []
            replaced.append((parsed + [None] * (count + 1))[: count + 1])
        return fields.with_columns(
            column.scatter(rows, pl.Series([line[i] for line in replaced], dtype=pl.String))
            for i, column in enumerate(fields.get_columns())
        )

    def _column(
        self, name: str, kind: DataType, fields: pl.DataFrame, bad: dict[int, str]
    ) -> pl.Series:
        text = fields.to_series(list(self.columns).index(name))
        column, what = _convert(text, kind, self.times)
        wrong = column.is_null() | (text == "")
        if wrong.any():
            for row in (row for row in wrong.arg_true().to_list() if row not in bad):
                cell = text[row]
                shown = repr(cell if cell is None or len(cell) <= 80 else f"{cell[:80]}…")
                reason = f"{shown} is no {what}" if cell else "missing"
                bad[row] = f"column {name!r}: {reason}"
        return column.alias(name)


def _convert(text: pl.Series, kind: DataType, times: Sequence[str]) -> tuple[pl.Series, str]:
    """The column and the word for what it holds; null where the text does not fit."""
    if kind == pl.String:
        return text, "text"
    if kind == pl.Datetime:
        return parse_times(text, times), "time"
    if kind == pl.Boolean:
        low = text.str.to_lowercase()
        return low.replace_strict({"true": True, "false": False}, default=None), "boolean"
    number = text.cast(kind, strict=False)
    if number.dtype.is_float():
        finite = number.is_finite()
        if not finite.all():
            number = number.to_frame("n").select(pl.when(finite).then(pl.col("n"))).to_series()
    return number, "number"
