"""Rows as they come out of a plan, with their types: the records are numbers of rows that are kept.

What is not committed stays in memory, and no record has its number.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import polars as pl

from processor.formats.base import Decoded, Values


class Kept:
    """A format whose records are the rows of this process.

    >>> kept = Kept({"n": pl.Int64()})
    >>> records = kept.encode(pl.DataFrame({"n": [7, 8, 9]}))
    >>> kept.rows(records[1:])["n"].to_list()
    [8, 9]
    """

    def __init__(self, columns: Mapping[str, pl.DataType]) -> None:
        self.columns = dict(columns)
        self._lock = threading.Lock()
        self._frames = [pl.DataFrame(schema=self.columns)]
        self._count = 0

    def encode(self, frame: pl.DataFrame) -> Sequence[bytes | None]:
        """Keep the rows; a record is the number of its row."""
        rows = frame.select(list(self.columns))
        with self._lock:
            first, self._count = self._count, self._count + rows.height
            self._frames.append(rows)
        return [b"%d" % number for number in range(first, first + rows.height)]

    def decode(self, values: Values) -> Decoded:
        """The rows of records."""
        return Decoded(self.rows(values))

    def rows(self, values: Values) -> pl.DataFrame:
        """The rows of records, in their order."""
        with self._lock:
            self._frames = [pl.concat(self._frames)]
            return self._frames[0][[int(value) for value in values if value is not None]]

    def describe(self) -> str:
        """The format in one line."""
        return "kept"
