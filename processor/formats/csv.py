"""CSV: one line of separated fields per record.

The fast path splits all lines in one call. A line with a quote or a line break in it takes the slow
path, through the standard library's reader, alone.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.base import (
    MARK,
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
    text_column,
    with_mark,
)
from processor.formats.epoch import Unit
from processor.formats.modelled import Columns, optional_of
from processor.formats.times import READ_FORMS

_TERMINATOR: Final = b"\0\n"
_SPECIAL: Final = f'["\\r\\n\\x00{MARK}]'


@dataclass(frozen=True)
class Csv:
    """Lines whose fields are the columns, in order.

    A record is bad when it has fewer or more fields, an empty one, text where a number or a time is
    due, a number that is not finite or too large for its type, a line break outside quotes, a NUL,
    or bytes that are not UTF-8. One line break at the end is no part of the line, nor is a
    byte-order mark at the beginning. A String column takes the field's text as it stands. A sink
    sets a row aside that has a null, an empty text, one with a NUL, or a number that is not finite.

    Args:
        columns: name and Polars type of each field, in order: String, integers up to 64 bits,
            Float32, Float64, Decimal, Boolean, Enum, Datetime (in milliseconds or microseconds,
            with or without a zone), Date or Time. Rows are written in this order too.
        separator: one character, neither a quote nor a line break, nor a part of a number or word.
        times: forms in which times may be written, in the words of ``strptime``, tried in order;
            the first one is written, with the fraction of a second where there is one and the
            offset where the column has a zone. Those with a date alone are for Date columns, those
            with a time of day alone for Time columns.
        value_bytes_max: a longer line is bad without being looked at.
        epoch: the Datetime columns that are numbers since 1970 in UTC, each with its unit: ``s``,
            ``ms`` or ``us``.

    Raises `TopologyError`, with the line that declares it, for what cannot be read or written.

    >>> trips = Csv({"dt": pl.Datetime("us"), "lat": pl.Float64})
    >>> trips.decode([b"2014-08-01T00:03:00+00:00,40.7", b"x,1"]).bad
    {1: "column 'dt': 'x' is no time"}
    >>> Csv({"at": pl.Datetime("us")}, epoch={"at": "s"}).decode([b"1406851380"]).frame.item()
    datetime.datetime(2014, 8, 1, 0, 3)
    """

    columns: Columns = Columns()  # noqa: RUF009 - it holds nothing of a format
    separator: str = ","
    times: Sequence[str] = READ_FORMS
    value_bytes_max: int = VALUE_BYTES_MAX
    epoch: Mapping[str, Unit] = field(default_factory=dict)
    _times: declared.Times = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        if len(self.separator) != 1 or self.separator in '"\r\n\0+-.' or not _apart(self.separator):
            raise TopologyError(
                f"{at}: Csv: {self.separator!r} cannot separate fields",
                remedy="use one ASCII character that is no part of a number or word",
            )
        if not self.columns:
            raise TopologyError(
                f"{at}: Csv: no columns", remedy='name them: Csv({"user": pl.String})'
            )
        declared.check_columns("Csv", self.columns, at)
        for name in sorted(optional_of(self)):
            raise TopologyError(
                f"{at}: Csv: {name!r} is optional, and a line has no way to leave a field out",
                remedy="read it as text, and make what you want of it with with_columns",
            )
        declared.check_bytes("Csv", self.value_bytes_max, at)
        times = declared.times("Csv", self.columns, self.times, None, self.epoch, at)
        object.__setattr__(self, "_times", times)

    def decode(self, values: Values) -> Decoded:
        """Lines to columns: a row per value, in order; bad values are named, not raised."""
        text, bad = text_column(values, self.value_bytes_max)
        columns = zip(self.columns.items(), self._split(text, bad), strict=True)
        frame = pl.DataFrame(
            [self._column(name, kind, text, bad) for (name, kind), text in columns]
        )
        return Decoded(frame, bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to lines in the order of the columns, quoted where a field needs it.

        Raises `WriteError` for a time that would be read back as another one.
        """
        if frame.is_empty():
            return []
        frame = in_order(frame, self.columns)
        return by_kind(frame, self._times.kinds_of_rows(frame), self._encode)

    def _encode(self, frame: pl.DataFrame) -> list[bytes]:
        first = frame.to_series()
        frame = self._times.write(frame)
        lines = self._lines(frame)
        if len(lines) != frame.height:
            # A text has the terminator in it: then row by row, where it does no harm.
            lines = [_TERMINATOR.join(self._lines(row)) for row in frame.iter_slices(1)]
        return with_mark(lines, first)

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
            text, odd = _without_ends(text, special.arg_true())
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
        column = self._convert(name, kind, text)
        wrong: list[int] = []
        if column.null_count():
            wrong = column.is_null().arg_true().to_list()
        if kind == pl.String and (empty := text == "").any():
            wrong += empty.arg_true().to_list()
        for row in wrong:
            if row not in bad:
                cell = text[row]
                bad[row] = f"column {name!r}: {self._why(cell, name, kind) if cell else 'missing'}"
        return column.alias(name)

    def _convert(self, name: str, kind: DataType, text: pl.Series) -> pl.Series:
        """The column; null where the text does not fit."""
        if name in self._times.kinds:
            if name in self.epoch:
                text = _number(text, self._times.raw(name))
            return self._times.read(text, name)
        if kind == pl.String:
            return text
        if from_text(kind):
            return of_text(text, kind)
        if kind == pl.Boolean:
            low = text.str.to_lowercase()
            return low.replace_strict({"true": True, "false": False}, default=None)
        return _number(text, kind)

    def _why(self, cell: str, name: str, kind: DataType) -> str:
        if name in self._times.kinds:
            return self._times.why(cell, name)
        if from_text(kind):
            return f"{shown(cell)} is no {kind}"
        return f"{shown(cell)} is no {'boolean' if kind == pl.Boolean else 'number'}"


def _number(text: pl.Series, kind: DataType) -> pl.Series:
    number = text.cast(kind, strict=False)
    return only_finite(number) if number.dtype.is_float() else number


def _apart(separator: str) -> bool:
    return separator.isascii() and not separator.isalnum()


def _without_ends(text: pl.Series, rows: pl.Series) -> tuple[pl.Series, pl.Series]:
    """``rows`` without the line break at their end and the mark at their beginning.

    And those that are still not just to be cut.
    """
    lines = text.gather(rows).str.strip_prefix(MARK).str.strip_chars_end("\r\n")
    return text.scatter(rows, lines), rows.filter(lines.str.contains(_SPECIAL))
