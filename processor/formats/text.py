"""Lines of text, one column called ``value``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from processor.formats import declared
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    Values,
    text_column,
    with_mark,
    without_mark,
)


@dataclass(frozen=True, slots=True)
class Text:
    """Each value is one piece of UTF-8 text, without the byte-order mark that it may begin with.

    An empty record is bad. A sink sets a row aside whose text is null or empty.

    >>> Text().decode([b"hello"]).frame["value"].to_list()
    ['hello']
    """

    value_bytes_max: int = VALUE_BYTES_MAX

    def __post_init__(self) -> None:
        declared.check_bytes("Text", self.value_bytes_max, declared.told_at())

    @property
    def columns(self) -> Mapping[str, DataType]:
        """One column, ``value``."""
        return {"value": pl.String}

    def decode(self, values: Values) -> Decoded:
        """Bytes to text; what is not UTF-8 is bad."""
        column, bad = text_column(values, self.value_bytes_max)
        return Decoded(without_mark(column).to_frame(), bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """The only column's text as bytes, null as empty; raises ``ValueError`` for more columns.

        >>> Text().encode(pl.DataFrame({"n": [6, None]}))
        [b'6', b'']
        """
        if frame.width != 1:
            raise ValueError(f"text is one column, not {frame.width}: {', '.join(frame.columns)}")
        text = frame.to_series().cast(pl.String).fill_null("")
        return with_mark(text.cast(pl.Binary).to_list(), text)

    def describe(self) -> str:
        """``text``."""
        return "text"
