"""Lines of text, one column called ``value``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.arguments import check_options
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    WriteError,
    shown,
    text_column,
    with_mark,
    without_mark,
)


@dataclass(frozen=True, slots=True)
class Text:
    """Each value is one piece of UTF-8 text, without the byte-order mark that it may begin with.

    An empty record is bad, unless ``empty`` is said; of a file's or a socket's lines an empty one
    is always a row. A sink writes the text of its one column, which may be a number, a boolean or a
    time too, and sets a row aside whose text is null or empty.

    Args:
        value_bytes_max: a longer value is bad.
        tombstones: whether a record without a value is null, and null is written as one.
        empty: whether an empty record is one, of no text.

    >>> Text().decode([b"hello"]).frame["value"].to_list()
    ['hello']
    >>> Text(tombstones=True).decode([b"hello", None]).bad
    {}
    """

    value_bytes_max: int = VALUE_BYTES_MAX
    tombstones: bool = False
    empty: bool = False

    def __post_init__(self) -> None:
        at = declared.told_at()
        most: object = self.value_bytes_max
        if most is not None and not isinstance(most, int | float):
            raise TopologyError(
                f"{at}: Text: {shown(most)}, where a number of bytes is due: its one column is "
                "called 'value'",
                remedy='say Text(); for columns of your own say Json({"user": pl.String}) or Csv',
            )
        check_options(self, at)
        declared.check_bytes("Text", self.value_bytes_max, at)

    @property
    def columns(self) -> Mapping[str, DataType]:
        """One column, ``value``."""
        return {"value": pl.String}

    @property
    def optional(self) -> frozenset[str]:
        """The columns that may be null."""
        return frozenset({"value"} if self.tombstones else ())

    def decode(self, values: Values) -> Decoded:
        """Bytes to text; what is not UTF-8 is bad."""
        column, bad = text_column(values, self.value_bytes_max)
        if self.tombstones:
            bad = {row: reason for row, reason in bad.items() if values[row] is not None}
        if self.empty and (none := [row for row in bad if values[row] == b""]):
            bad = {row: reason for row, reason in bad.items() if row not in none}
            column = column.scatter(none, "")
        return Decoded(without_mark(column).to_frame(), bad)

    def encode(self, frame: pl.DataFrame) -> Sequence[bytes | None]:
        """The only column's text as bytes, null as empty; raises ``ValueError`` for more columns.

        With ``tombstones`` null is no value, and an empty text raises `WriteError` unless ``empty``
        is said.

        >>> Text().encode(pl.DataFrame({"n": [6, None]}))
        [b'6', b'']
        """
        if frame.width != 1:
            raise ValueError(f"text is one column, not {frame.width}: {', '.join(frame.columns)}")
        text = frame.to_series().cast(pl.String)
        values = with_mark(text.fill_null("").cast(pl.Binary).to_list(), text)
        if not self.tombstones:
            return values
        if not self.empty and (text == "").any():
            raise WriteError(f"column {text.name!r} is empty, and no reader takes it")
        if self.empty:
            return [
                v if there else None for v, there in zip(values, text.is_not_null(), strict=True)
            ]
        return [value or None for value in values]

    def describe(self) -> str:
        """``text``."""
        return "text"
