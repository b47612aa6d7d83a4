"""What a format does: decode a batch of values to columns, encode a frame to values.

A decoder never fails a batch for one bad record, and never shifts its neighbours: the frame has one
row for every value, and the bad ones are named with the reason.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.model.log import Headers

Values: TypeAlias = Sequence[bytes | None]
DataType: TypeAlias = pl.DataType | type[pl.DataType]
VALUE_BYTES_MAX = 1_000_000
MARK: Final = "\ufeff"
# Bytes from here on are no ASCII.
_ASCII: Final = 128


class WriteError(ValueError):
    """A value that cannot be written so that it is read back as it is: its row is set aside."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch as columns: ``frame`` has a row per value, in order; ``bad`` maps rows to reasons.

    The cells of a bad row are of no meaning. Rows that are ``passed`` over are not bad: the format
    was told to leave such records out, and they are counted as filtered.

    A format with many rows in a record (`ManyRows`) says in ``records`` which value each row is of,
    in rising order. A value of which nothing can be read has one row, which is bad.
    """

    frame: pl.DataFrame
    bad: Mapping[int, str] = field(default_factory=dict)
    passed: frozenset[int] = frozenset()
    records: npt.NDArray[np.intp] | None = None

    def grown(self, frame: pl.DataFrame, bad: Mapping[int, str]) -> Decoded:
        """The same records with more columns, and more that are bad; not what is passed over.

        >>> tombstone = Decoded(pl.DataFrame(), passed=frozenset({1}))
        >>> tombstone.grown(pl.DataFrame(), {0: "a", 1: "b"}).bad
        {0: 'a'}
        """
        kept = {row: bad[row] for row in bad if row not in self.passed}
        return Decoded(frame, kept, self.passed, self.records)


class Format(Protocol):
    """A way to write records as bytes."""

    @property
    def columns(self) -> Mapping[str, DataType] | None:
        """The columns that decoding gives; ``None`` for a format that can only encode."""
        ...

    def decode(self, values: Values) -> Decoded:
        """Turn values into columns; raises nothing for bad values."""
        ...

    def encode(self, frame: pl.DataFrame) -> Sequence[bytes | None]:
        """Turn rows into values, in order; ``None`` is a record without a value."""
        ...

    def describe(self) -> str:
        """The format in one line, for `processor describe` and the fingerprint."""
        ...


class Headed(Format, Protocol):
    """A format of which a part is in the headers of records, beside their values."""

    @property
    def reads_headers(self) -> bool:
        """Whether `decode_with` reads, and not ``decode``."""
        ...

    def decode_with(self, values: Values, headers: Sequence[Headers]) -> Decoded:
        """Turn values with their headers into columns; raises nothing for bad ones."""
        ...

    def write_headers(self, frame: pl.DataFrame) -> list[Headers]:
        """The headers of rows, in order, for the values that ``encode`` makes of them."""
        ...


def headed(form: Format) -> Headed | None:
    """The format, if a part of it is in headers.

    >>> from processor import Text
    >>> headed(Text()) is None
    True
    """
    return cast("Headed", form) if hasattr(form, "write_headers") else None


class ManyRows(Format, Protocol):
    """A format with many rows in a record."""

    def pack(self, frame: pl.DataFrame) -> list[tuple[int, bytes]]:
        """Turn rows into few values, in order: of how many rows each is, and the value."""
        ...


def many_rows(form: Format) -> ManyRows | None:
    """The format, if a record of it holds many rows.

    >>> from processor import Text
    >>> many_rows(Text()) is None
    True
    """
    return cast("ManyRows", form) if hasattr(form, "pack") else None


class SchemaFormat(ABC):
    """What formats with a schema derive from: it says the columns, and which may be null.

    Rows for one have its columns and types, and a null only where the schema has one.
    """

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, DataType]:
        """The columns of the schema."""

    @property
    @abstractmethod
    def optional(self) -> frozenset[str]:
        """The columns that may be null."""

    @abstractmethod
    def decode(self, values: Values) -> Decoded:
        """Turn values into columns; raises nothing for bad values."""

    @abstractmethod
    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Turn rows into values, in order."""

    @abstractmethod
    def describe(self) -> str:
        """The format in one line."""

    def told(self) -> Any:
        """The schemas as JSON, with all that decides what comes of a record."""
        return None

    @abstractmethod
    def records(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Rows as a producer of the topic writes them; raises `ValueError` for what is none."""

    def of_file(self, data: bytes) -> list[bytes] | None:
        """A file's records, where the format has files of its own; ``None``: its lines.

        Raises `ValueError` for what is no such file.
        """
        del data
        return None


def size_errors(values: Values, bytes_max: int) -> dict[int, str]:
    """The rows that are absent, empty or too large to be looked into.

    >>> size_errors([b"a", None, b"", b"abc"], 2)  # doctest: +NORMALIZE_WHITESPACE
    {1: 'the record has no value', 2: 'the record is empty',
     3: 'the record has 3 bytes, more than 2'}
    """
    bad: dict[int, str] = {}
    for row, value in enumerate(values):
        if value is None:
            bad[row] = "the record has no value"
        elif not value:
            bad[row] = "the record is empty"
        elif len(value) > bytes_max:
            bad[row] = f"the record has {len(value)} bytes, more than {bytes_max}"
    return bad


def describe_columns(columns: Mapping[str, DataType]) -> str:
    """``name type, name type`` for messages.

    >>> describe_columns({"user": pl.String, "n": pl.Int64})
    'user String, n Int64'
    """
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def without_mark(text: pl.Series) -> pl.Series:
    """Text without the byte-order mark that editors of one vendor begin a file with.

    >>> without_mark(pl.Series(["\ufeffa", "b"])).to_list()
    ['a', 'b']
    """
    return text.str.strip_prefix(MARK) if text.str.starts_with(MARK).any() else text


def with_mark(lines: list[bytes], first: pl.Series) -> list[bytes]:
    """Lines whose first cell begins with a byte-order mark get one more: a reader takes one off."""
    if first.dtype != pl.String or not first.str.starts_with(MARK).any():
        return lines
    mark = MARK.encode()
    return [mark + line if line.startswith(mark) else line for line in lines]


def shown(cell: object) -> str:
    """A cell in a message: what is long is cut."""
    text = repr(cell)
    return text if len(text) <= 80 else f"{text[:80]}…"


def in_order(frame: pl.DataFrame, columns: Collection[str]) -> pl.DataFrame:
    """The frame's columns in the format's order; raises `ValueError` where they are not the same.

    >>> in_order(pl.DataFrame({"b": [1], "a": [2]}), ["a", "b"]).columns
    ['a', 'b']
    """
    names = list(columns)
    if frame.columns == names:
        return frame
    if set(frame.columns) != set(names):
        raise ValueError(f"the columns are {', '.join(frame.columns)}, not {', '.join(names)}")
    return frame.select_seq(names)


def by_kind(
    frame: pl.DataFrame, kinds: pl.Series | None, write: Callable[[pl.DataFrame], list[bytes]]
) -> list[bytes]:
    """What ``write`` makes of the rows of each kind, in the order of the rows."""
    if kinds is None:
        return write(frame)
    lines = [b""] * frame.height
    for kind in kinds.unique():
        rows = (kinds == kind).arg_true()
        for row, line in zip(rows, write(frame[rows]), strict=True):
            lines[row] = line
    return lines


def from_text(kind: DataType) -> bool:
    """Whether a type is one that text is kept as until it is looked at.

    >>> from_text(pl.Decimal(10, 2)), from_text(pl.Float64)
    (True, False)
    """
    return isinstance(kind, pl.Decimal | pl.Enum)


def of_text(text: pl.Series, kind: DataType) -> pl.Series:
    """Text as decimals or words of an enumeration; null for what is none, or would be rounded.

    >>> of_text(pl.Series(["1.10", "1.239", "x"]), pl.Decimal(10, 2)).to_list()
    [Decimal('1.10'), None, None]
    """
    if isinstance(kind, pl.Decimal):
        digits = rf"(?:\.[0-9]{{1,{kind.scale}}}0*)?" if kind.scale else r"(?:\.0+)?"
        exact = text.str.contains(rf"^-?[0-9]+{digits}$")
        if not exact.all():
            text = pl.select(pl.when(exact).then(text)).to_series()
    return text.cast(kind, strict=False)


def finite(column: pl.Series) -> bool:
    """Whether no float of a column is infinite or not a number; nulls are no floats.

    >>> finite(pl.Series([1.0, None])), finite(pl.Series([1.0, float("nan")]))
    (True, False)
    """
    # The sum of finite numbers may overflow, but nothing that is not finite sums to a number.
    return math.isfinite(column.sum()) or bool(column.is_finite().all())


def only_finite(column: pl.Series) -> pl.Series:
    """The column, null where a float is infinite or not a number.

    >>> only_finite(pl.Series([1.0, float("inf")])).to_list()
    [1.0, None]
    """
    if finite(column):
        return column
    return pl.select(pl.when(column.is_finite()).then(column)).to_series()


def text_column(values: Values, bytes_max: int) -> tuple[pl.Series, dict[int, str]]:
    r"""Values as text, null where one is absent, empty, too large or not UTF-8; and the reasons.

    >>> column, bad = text_column([b"a", b"\xff"], 10)
    >>> column.to_list(), bad
    (['a', None], {1: 'not UTF-8: invalid start byte at byte 0'})
    """
    column = pl.Series("value", values, dtype=pl.Binary)
    sizes = column.bin.size()
    # By the extremes: they come without the cost of an expression, of which a batch has dozens.
    if not sizes.null_count() and sizes.min() and sizes.max() <= bytes_max:  # type: ignore[operator]
        with contextlib.suppress(pl.exceptions.ComputeError):
            return column.cast(pl.String), {}
    rows = (~sizes.is_between(1, bytes_max).fill_null(value=False)).arg_true().to_list()
    found = size_errors([values[row] for row in rows], bytes_max)
    bad = _not_text(values, sizes) | {rows[i]: reason for i, reason in found.items()}
    kept = list(values)
    for row in bad:
        kept[row] = None
    return pl.Series("value", kept, dtype=pl.Binary).cast(pl.String), bad


def _not_text(values: Values, sizes: pl.Series) -> dict[int, str]:
    """The rows that are not UTF-8: only those with a byte that is not ASCII are looked at."""
    ends = sizes.fill_null(0).to_numpy().cumsum()
    joined = np.frombuffer(b"".join(filter(None, values)), np.uint8)
    high = np.searchsorted(ends, np.flatnonzero(joined >= _ASCII), side="right")
    bad: dict[int, str] = {}
    for row in np.unique(high).tolist():
        try:
            (values[row] or b"").decode()
        except UnicodeDecodeError as error:
            bad[row] = f"not UTF-8: {error.reason} at byte {error.start}"
    return bad
