"""CSV: one line of separated fields per record.

The fast path splits all lines in one call. A line with a quote or a line break in it takes the slow
path, through the standard library's reader, alone.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from processor.errors import TopologyError
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    describe_columns,
    only_finite,
    text_column,
)
from processor.formats.times import READ_FORMS, format_times, is_timestamp, parse_times

_TYPES: Final = (
    pl.String, pl.Boolean, pl.Float32, pl.Float64, pl.Int8, pl.Int16, pl.Int32, pl.Int64,
    pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64,
)  # fmt: skip
_TERMINATOR: Final = b"\0\n"
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
        columns = zip(self.columns.items(), self._split(text, bad), strict=True)
        frame = pl.DataFrame(
            [self._column(name, kind, text, bad) for (name, kind), text in columns]
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

    def _split(self, text: pl.Series, bad: dict[int, str]) -> list[pl.Series]:
        """The fields of each line, by column; null where there is none."""
        if text.is_empty():
            return [text] * len(self.columns)
        special = text.str.contains(_SPECIAL)
        odd = pl.Series(dtype=pl.UInt32)
        if special.any():
            text, odd = _without_line_ends(text, special.arg_true())
        lists = text.str.split(self.separator)
        counts = lists.list.len()
        columns = range(len(self.columns))
        field = pl.col("field")
        if not counts.null_count() and counts.min() == counts.max() == len(self.columns):
            picked = [field.gather_every(len(columns), i).alias(f"{i}") for i in columns]
        else:
            # Of a null, too, one is made.
            lengths = counts.fill_null(1).to_numpy().astype(np.int64)
            fits = lengths == len(columns)
            # A line that does not fit has the first fields of all until it is looked at alone.
            starts = pl.lit(pl.Series(np.where(fits, lengths.cumsum() - lengths, 0)))
            picked = [field.gather(starts + i, null_on_oob=True).alias(f"{i}") for i in columns]
            odd = pl.Series(np.union1d(odd.to_numpy(), np.flatnonzero(~fits)), dtype=pl.UInt32)
        fields = lists.explode().to_frame("field").select_seq(picked).get_columns()
        return fields if odd.is_empty() else self._split_alone(text, odd, fields, bad)

    def _split_alone(
        self, text: pl.Series, odd: pl.Series, columns: list[pl.Series], bad: dict[int, str]
    ) -> list[pl.Series]:
        """The columns, with the fields of lines that take more than cutting at separators."""
        count = len(self.columns)
        lines: list[list[str | None]] = []
        for row, line in zip(odd.to_list(), text.gather(odd).to_list(), strict=True):
            fields: list[str | None] = []
            try:
                fields += self._fields(line)
            except ValueError as error:
                bad.setdefault(row, str(error))
            if len(fields) > count:
                bad.setdefault(row, f"more than {count} fields")
            lines.append((fields + [None] * count)[:count])
        return [
            column.scatter(odd, pl.Series([line[i] for line in lines], dtype=pl.String))
            for i, column in enumerate(columns)
        ]

    def _fields(self, line: str | None) -> list[str]:
        if line is None:
            return []
        if "\0" in line:
            raise ValueError("a NUL byte in the text")
        try:
            return next(csv.reader([line], delimiter=self.separator, strict=True))
        except csv.Error as error:
            raise ValueError(f"cannot be split: {error}") from error

    def _column(self, name: str, kind: DataType, text: pl.Series, bad: dict[int, str]) -> pl.Series:
        column, what = _convert(text, kind, self.times)
        wrong: list[int] = []
        if column.null_count():
            wrong = column.is_null().arg_true().to_list()
        if kind == pl.String and (empty := text == "").any():
            wrong += empty.arg_true().to_list()
        for row in wrong:
            if row not in bad:
                cell = text[row]
                shown = repr(cell if cell is None or len(cell) <= 80 else f"{cell[:80]}…")
                bad[row] = f"column {name!r}: {f'{shown} is no {what}' if cell else 'missing'}"
        return column.alias(name)


def _without_line_ends(text: pl.Series, rows: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The text without a line break at the end of ``rows``, and those still not just to be cut."""
    lines = text.gather(rows).str.strip_chars_end("\r\n")
    return text.scatter(rows, lines), rows.filter(lines.str.contains(_SPECIAL))


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
        number = only_finite(number)
    return number, "number"
