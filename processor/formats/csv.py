"""CSV: one line of separated fields per record.

The fast path splits all lines in one call. A line with a quote or a line break in it takes the slow
path, through the standard library's reader, alone. What a column of null, an optional one, is
written as is one of the format's words for it (`nulls`), which no other cell may be.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.arguments import check_options
from processor.formats.base import (
    MARK,
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    WriteError,
    by_kind,
    describe_columns,
    finite,
    from_text,
    in_order,
    of_text,
    only_finite,
    shown,
    text_column,
    with_mark,
)
from processor.formats.epoch import Unit
from processor.formats.idle_forms import check_forms
from processor.formats.modelled import Columns, optional_of
from processor.formats.times import READ_FORMS
from processor.model.location import Location

# Python's own bound is that of all readers in the process: 128 KiB, less than a record may have.
csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))

_TERMINATOR: Final = b"\0\n"
_DIGITS: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_BREAKS: Final = rf"\r\n\x00{MARK}"


@dataclass(frozen=True)
class Csv:
    r"""Lines whose fields are the columns, in order.

    A record is bad when it has fewer or more fields, an empty one, text where a number or a time is
    due, a number that is not finite or too large for its type, a line break outside quotes, a NUL,
    or bytes that are not UTF-8. Line breaks at the end are no part of the line, nor is a
    byte-order mark at the beginning. A String column takes the field's text as it stands. A sink
    sets a row aside that has an empty text, one with a NUL, a number that is not finite, a null in
    a column that is not optional, or a cell that would be read as null in one that is.

    Args:
        columns: name and Polars type of each field, in order: String, integers up to 64 bits,
            Float32, Float64, Decimal, Boolean, Enum, Binary (as base64), Datetime of any unit with
            or without a zone, Duration (as ISO 8601 has it), Date or Time. Rows are written in this
            order too.
        separator: one character of ASCII, neither a quote nor a line break, nor a part of a number
            or word: ``";"``, ``"\t"``.
        times: forms in which times may be written, in the words of ``strptime``, tried in order;
            the first one is written, with the fraction of a second where there is one and the
            offset where the column has a zone. Those with a date alone are for Date columns, those
            with a time of day alone for Time columns.
        value_bytes_max: a longer line is bad without being looked at.
        epoch: the Datetime columns that are numbers since 1970 in UTC, each with its unit: ``s``,
            ``ms``, ``us`` or ``ns``.
        durations: the Duration columns that are numbers, each with its unit, as in ``epoch``.
        optional: names of columns that may be null.
        nulls: the fields that are null in an optional column; the first is written. Elsewhere they
            are text like any other.
        quote: the character that fields with a separator or a line break stand in, doubled inside
            of them; ``None``: there is none, and no field has a separator or a line break in it.
        header: whether a line of the columns' names is no record: it is passed over, wherever it
            comes, and counted as filtered. A file that is fed has to begin with it.

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
    durations: Mapping[str, Unit] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    nulls: Sequence[str] = ("",)
    quote: str | None = '"'
    header: bool = False
    _times: declared.Times = field(init=False, repr=False, compare=False)
    _special: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        self._check_quote(at)
        if not _apart(self.separator) or self.separator == self.quote:
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
        declared.check_names("Csv", self.optional, self.columns, at)
        times = declared.times(
            "Csv", self.columns, self.times, None, self.epoch, at, self.durations
        )
        if self.times != READ_FORMS:
            check_forms("Csv", self.columns, self.times, at)
        object.__setattr__(self, "_times", times)
        object.__setattr__(self, "_special", f"[{re.escape(self.quote or '')}{_BREAKS}]")
        self._check_nulls(at)

    def _check_quote(self, at: Location) -> None:
        if self.quote is not None and not _apart(self.quote):
            raise TopologyError(
                f"{at}: Csv: {self.quote!r} cannot be the quote",
                remedy="use one ASCII character that is no part of a number or word, or None",
            )

    def _check_nulls(self, at: Location) -> None:
        if isinstance(self.nulls, str) or not all(isinstance(word, str) for word in self.nulls):
            raise TopologyError(
                f"{at}: Csv: nulls={self.nulls!r} is no list of texts", remedy='say nulls=("NA",)'
            )
        if self.optional and not self.nulls:
            raise TopologyError(
                f"{at}: Csv: {min(self.optional)!r} is optional, and nothing is written for null",
                remedy='say nulls=("",) for an empty field',
            )
        for word in self.nulls:
            if self.separator in word or re.search(self._special, word):
                raise TopologyError(
                    f"{at}: Csv: {word!r} cannot stand for null",
                    remedy="use text without separators, quotes and line breaks",
                )
        if self.optional and len(self.columns) == 1 and self.quote is None and "" in self.nulls:
            raise TopologyError(
                f"{at}: Csv: a line of one empty field is no record without quotes",
                remedy='say nulls=("NA",), or leave quote out',
            )

    def decode(self, values: Values) -> Decoded:
        """Lines to columns: a row per value, in order; bad values are named, not raised."""
        text, bad = text_column(values, self.value_bytes_max)
        fields = self._split(text, bad)
        passed = self._headers(fields) - bad.keys() if self.header else frozenset()
        if passed:
            fields = [field.scatter([*passed], None) for field in fields]
        columns = zip(self.columns.items(), fields, strict=True)
        frame = pl.DataFrame(
            [self._column(name, kind, text, bad) for (name, kind), text in columns]
        )
        return Decoded(frame, passed=passed).grown(frame, bad) if passed else Decoded(frame, bad)

    def _headers(self, fields: Sequence[pl.Series]) -> frozenset[int]:
        """The rows whose fields are the columns' names."""
        named = zip(fields, self.columns, strict=True)
        same = pl.all_horizontal(pl.lit(text) == name for text, name in named)
        return frozenset(pl.select(same).to_series().arg_true().to_list())

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to lines in the order of the columns, quoted where a field needs it.

        Raises `WriteError` for a cell that would be read back as another one.
        """
        if frame.is_empty():
            return []
        frame = in_order(frame, self.columns)
        return by_kind(frame, self._times.kinds_of_rows(frame), self._encode)

    def _encode(self, frame: pl.DataFrame) -> list[bytes]:
        first = frame.to_series()
        for name in frame.columns if self.optional else ():
            if name in self.optional:
                self._check_optional(frame[name])
        frame = self._times.write(frame)
        texts = all(column.dtype == pl.String for column in frame.get_columns())
        if self.header and texts and self._headers(frame.get_columns()):
            raise WriteError("the cells are the columns' names, which would be read as a header")
        if self.quote is None:
            self._check_plain(frame)
        lines = self._lines(frame)
        if len(lines) != frame.height:
            # A text has the terminator in it: then row by row, where it does no harm.
            lines = [_TERMINATOR.join(self._lines(row)) for row in frame.iter_slices(1)]
        return with_mark(lines, first)

    def _lines(self, frame: pl.DataFrame) -> list[bytes]:
        text = frame.write_csv(
            include_header=False,
            separator=self.separator,
            line_terminator=_TERMINATOR.decode(),
            quote_char=self.quote or '"',
            quote_style="necessary" if self.quote else "never",
            null_value=self.nulls[0] if self.optional else None,
        )
        lines = text.encode().split(_TERMINATOR)[:-1]
        if frame.width == 1 and self.optional and self.quote:
            # An empty record would be none.
            return [line or (self.quote * 2).encode() for line in lines]
        return lines

    def _check_optional(self, column: pl.Series) -> None:
        """Raise `WriteError` for a cell that a reader takes for null, or does not take."""
        kind, wrong = column.dtype, f"column {column.name!r} is "
        words = self._convert(column.name, kind, pl.Series(self.nulls, dtype=pl.String))
        found = column.filter(column.is_in(words.drop_nulls().implode()))
        if len(found):
            raise WriteError(f"{wrong}{shown(found[0])}, which is read as null: choose other nulls")
        if kind.is_float() and not finite(column):
            raise WriteError(f"{wrong}{column.filter(~column.is_finite())[0]}, which is no number")
        size = column.bin.size() if kind == pl.Binary else None
        text = column.cast(pl.String) if kind in (pl.String, pl.Enum) else None
        if (size == 0).any() if size is not None else text is not None and (text == "").any():
            raise WriteError(f"{wrong}empty, and no reader takes that")
        if text is not None and text.str.contains("\0", literal=True).any():
            raise WriteError(f"{wrong}text with a NUL, and no reader takes that")

    def _check_plain(self, frame: pl.DataFrame) -> None:
        """Raise `WriteError` for a text that needs the quotes that there are not."""
        pattern = f"[{re.escape(self.separator)}{_BREAKS}]"
        for column in frame.get_columns():
            if column.dtype in (pl.String, pl.Enum):
                text = column.cast(pl.String)
                wrong = text.filter(text.str.contains(pattern))
                if len(wrong):
                    raise WriteError(
                        f"column {column.name!r}: {shown(wrong[0])} cannot be told without quotes"
                    )

    def describe(self) -> str:
        """``csv(name type, …)``."""
        return f"csv({describe_columns(self.columns)})"

    def _split(self, text: pl.Series, bad: dict[int, str]) -> list[pl.Series]:
        """The fields of each line, by column; null where there is none."""
        if text.is_empty():
            return [text] * len(self.columns)
        special = text.str.contains(self._special)
        odd = pl.Series(dtype=pl.UInt32)
        if special.any():
            text, odd = self._without_ends(text, special.arg_true())
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
        if self.quote is None and ("\n" in line or "\r" in line):
            raise ValueError("cannot be split: a line break in the line")
        quoting: Literal[0, 3] = csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL
        try:
            reader = csv.reader(
                [line],
                delimiter=self.separator,
                quotechar=self.quote,
                quoting=quoting,
                strict=True,
            )
            return next(reader)
        except csv.Error as error:
            told = "a line break outside quotes" if "new-line" in str(error) else error
            raise ValueError(f"cannot be split: {told}") from error

    def _without_ends(self, text: pl.Series, rows: pl.Series) -> tuple[pl.Series, pl.Series]:
        """``rows`` without the line break at their end and the mark at their beginning.

        And those that are still not just to be cut.
        """
        lines = text.gather(rows).str.strip_prefix(MARK).str.strip_chars_end("\r\n")
        return text.scatter(rows, lines), rows.filter(lines.str.contains(self._special))

    def _column(self, name: str, kind: DataType, text: pl.Series, bad: dict[int, str]) -> pl.Series:
        absent = None
        if name in self.optional:
            absent = text.is_in(pl.Series(self.nulls).implode()).fill_null(value=False)
            text = pl.select(pl.when(~absent).then(text)).to_series()
        column = self._convert(name, kind, text)
        wrong: list[int] = []
        if column.null_count():
            null = column.is_null()
            wrong = (null if absent is None else null & ~absent).arg_true().to_list()
        if kind in (pl.String, pl.Binary) and (empty := text == "").any():
            wrong += empty.arg_true().to_list()
        for row in wrong:
            if row not in bad:
                cell = text[row]
                bad[row] = f"column {name!r}: {self._why(cell, name, kind) if cell else 'missing'}"
        return column.alias(name)

    def _convert(self, name: str, kind: DataType, text: pl.Series) -> pl.Series:
        """The column; null where the text does not fit."""
        if name in self._times.kinds:
            if name in self._times.units:
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
        if kind == pl.Boolean:
            return f"{shown(cell)} is no boolean"
        # Of a number it is told which it is not.
        return f"{shown(cell)} is no {kind if _DIGITS.fullmatch(cell) else 'number'}"


def _number(text: pl.Series, kind: DataType) -> pl.Series:
    number = text.cast(kind, strict=False)
    return only_finite(number) if number.dtype.is_float() else number


def _apart(character: str) -> bool:
    """Whether a character can be told from what fields are made of."""
    plain = len(character) == 1 and character.isascii() and not character.isalnum()
    return plain and character not in "\r\n\0+-."
