"""Rows by key and time as a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.state.base import Table

ID: Final = "__id"
AT: Final = "__at"
MARK: Final = "__mark"


@dataclass(slots=True)
class TimedRows:
    """Rows with their numbers, times and marks: `processor.state.base.Saved`.

    Of rows that an earlier checkpoint holds, those ``marked`` since are named by their numbers, and
    those that are gone by the time ``before`` which they lie. ``number`` is the next row's.
    """

    kind: ClassVar[str] = "timed"
    frame: pl.DataFrame
    marked: npt.NDArray[np.int64]
    before: int
    number: int

    def size(self) -> int:
        """Bytes before compression."""
        return int(self.frame.estimated_size()) + self.marked.nbytes

    def split(self, bytes_max: int) -> Iterator[TimedRows]:
        """In chunks of at most so many bytes before compression; a row is not divided."""
        if self.size() <= bytes_max:
            yield self
            return
        step = max(1, bytes_max // self.marked.itemsize)
        for i in range(0, len(self.marked), step):
            yield replace(self, frame=self.frame[:0], marked=self.marked[i : i + step])
        nothing = replace(self, marked=self.marked[:0])
        for part in _parts(self.frame, bytes_max):
            yield replace(nothing, frame=part)

    def told(self) -> dict[str, Any]:
        """Which rows are gone, and the next number."""
        return {"before": self.before, "number": self.number}

    def tables(self) -> Sequence[Table]:
        """Rows, and the numbers of those that have been marked."""
        return (
            {column.name: column for column in self.frame.get_columns()},
            {ID: pl.Series(self.marked)},
        )


def read(told: Mapping[str, Any], tables: Sequence[pl.DataFrame | None]) -> TimedRows:
    """The inverse of `TimedRows.told` and `TimedRows.tables`."""
    rows, marked = tables
    return TimedRows(
        pl.DataFrame() if rows is None else rows,
        np.zeros(0, np.int64) if marked is None else marked[ID].to_numpy(),
        told["before"],
        told["number"],
    )


def _parts(frame: pl.DataFrame, bytes_max: int) -> Iterator[pl.DataFrame]:
    """Halves of halves, until each is small enough or a single row."""
    if frame.height > 1 and frame.estimated_size() > bytes_max:
        half = frame.height // 2
        yield from _parts(frame[:half], bytes_max)
        yield from _parts(frame[half:], bytes_max)
    elif frame.height:
        yield frame
