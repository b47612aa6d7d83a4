"""CSV: one line of separated fields per record.

The fast path splits all lines in one call. A line with a quote in it takes the slow path, through
the standard library's reader, alone.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    describe_columns,
    text_column,
)
from processor.formats.times import READ_FORMS, format_times, parse_times


@dataclass(frozen=True)
class Csv:
    """Lines whose fields are the columns, in order.

    A record is bad when it has fewer or more fields, an empty one, text where a number or a time is
    due, a number that is not finite, a NUL, or bytes that are not UTF-8.

    Args:
        columns: name and Polars type of each field, in order: String, any number, Boolean, Datetime.
        separator: one character.
        times: forms in which a Datetime may be written, tried in order.

    >>> trips = Csv({"dt": pl.Datetime("us"), "lat": pl.Float64})
    >>> trips.decode([b"2014-08-01 00:03:00,40.7", b"x,1"]).bad
    {1: "column 'dt': 'x' is no time"}
    """

    columns: Mapping[str, DataType]
    separator: str = ","
    times: Sequence[str] = READ_FORMS
    value_bytes_max: int = VALUE_BYTES_MAX

    def decode(self, values: Values) -> Decoded:
        """Lines to columns."""
        text, bad = text_column(values, self.value_bytes_max)
        fields = self._split(text.str.strip_chars_end("\r\n"), bad)
        frame = pl.DataFrame(
            [self._column(name, kind, fields, bad) for name, kind in self.columns.items()]
        )
        return Decoded(frame, bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to lines, quoted where a field has a separator or a quote."""
        if frame.is_empty():
            return []
        text = format_times(frame, self.times[0]).write_csv(
            include_header=False, separator=self.separator, line_terminator="\0\n"
        )
        return text.encode().split(b"\0\n")[:-1]

    def describe(self) -> str:
        """``csv(name type, …)``."""
        return f"csv({describe_columns(self.columns)})"

    def _split(self, text: pl.Series, bad: dict[int, str]) -> pl.DataFrame:
        """Fields as text, ``field_0`` to ``field_n``, the last one null unless there are too many."""
        count = len(self.columns)
        fields = text.to_frame("line").select(
            pl.col("line").str.split_exact(self.separator, count).struct.unnest()
        )
        quoted = text.str.contains('"', literal=True).fill_null(value=False)
        if quoted.any():
            fields = self._split_quoted(text, fields, quoted.arg_true(), bad)
        surplus = fields.to_series(count)
        if surplus.null_count() < len(surplus):
            for row in surplus.is_not_null().arg_true().to_list():
                bad.setdefault(row, f"more than {count} fields")
        nul = text.str.contains("\0", literal=True).fill_null(value=False)
        for row in nul.arg_true().to_list() if nul.any() else ():
            bad.setdefault(row, "a NUL byte in the text")
        return fields

    def _split_quoted(
        self, text: pl.Series, fields: pl.DataFrame, rows: pl.Series, bad: dict[int, str]
    ) -> pl.DataFrame:
        count = len(self.columns)
        replaced: list[list[str | None]] = []
        for row, line in zip(rows.to_list(), text.gather(rows).to_list(), strict=True):
            try:
                parsed: list[str | None] = [
                    *next(csv.reader([line], delimiter=self.separator, strict=True))
                ]
            except csv.Error as error:
                bad.setdefault(row, f"bad quoting: {error}")
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
            for row in wrong.arg_true().to_list():
                cell = text[row]
                reason = f"{cell!r} is no {what}" if cell else "missing"
                bad.setdefault(row, f"column {name!r}: {reason}")
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
