"""Rows as they are: for sinks that are given columns, and no bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import polars as pl

from processor.formats.base import DataType, Decoded, Values


@dataclass(frozen=True)
class Rows:
    """No format that a topology names: what a function or a table gets is a frame.

    >>> Rows().describe()
    'rows'
    """

    @property
    def columns(self) -> Mapping[str, DataType] | None:
        """Whatever there is."""
        return None

    def decode(self, values: Values) -> Decoded:
        """Nothing is read."""
        return Decoded(pl.DataFrame(), dict.fromkeys(range(len(values)), "rows are no bytes"))

    def encode(self, frame: pl.DataFrame) -> NoReturn:
        """Nothing is written."""
        raise TypeError(f"{frame.height} rows are not written as bytes")

    def describe(self) -> str:
        """The format in one line."""
        return "rows"
