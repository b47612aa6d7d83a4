"""Records that hold many rows.

Behind the source a batch is rows. Where a format has many of them in a record, a slice names the
record once for each of its rows, so that whoever asks where a row comes from need not know::

    records      a (2 rows)    b (none)    c (1 row)
    rows         0  1                      2
    messages     a  a                      c

A record is set aside as a whole: with one row that is refused go the others of its record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.formats.base import Decoded, ManyRows
from processor.model.batch import Slice
from processor.model.log import Message
from processor.operators.base import Heard

T = TypeVar("T")


class Spread(Sequence[T]):
    """What each row has of its record, looked up when it is asked for: that is seldom.

    >>> list(Spread("abc", np.array([0, 0, 2]))), len(Spread("abc", np.array([0, 0, 2])))
    (['a', 'a', 'c'], 3)
    """

    def __init__(self, of: Sequence[T], places: npt.NDArray[np.intp]) -> None:
        self._of, self._places = of, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, row: int) -> T: ...

    @overload
    def __getitem__(self, row: slice) -> Spread[T]: ...

    def __getitem__(self, row: int | slice) -> T | Spread[T]:
        if isinstance(row, slice):
            return Spread(self._of, self._places[row])
        return self._of[int(self._places[row])]


def by_row(slices: Sequence[Slice], decoded: Decoded) -> Sequence[Slice]:
    """The slices with a message for each row that was decoded of them."""
    if decoded.records is None:
        return slices
    return [
        replace(part, messages=Spread(part.messages, places), values=Spread(part.values, places))
        for part, places in zip(slices, _places(slices, decoded.records), strict=True)
    ]


def spread(heard: Sequence[Heard], slices: Sequence[Slice], decoded: Decoded) -> Sequence[Heard]:
    """The watermark before each row: that before its record, which tells of what comes after it."""
    if decoded.records is None or not heard:
        return heard
    return [
        replace(one, known=one.known[places])
        for one, places in zip(heard, _places(slices, decoded.records), strict=True)
    ]


def whole(refused: Mapping[int, T], decoded: Decoded) -> dict[int, T]:
    """Rows that are refused with all others of their records, for the first one's reason.

    >>> whole({2: "null"}, Decoded(pl.DataFrame({"n": [1, 2, None]}), records=np.array([0, 1, 1])))
    {1: 'null', 2: 'null'}
    """
    records = decoded.records
    if records is None or not refused:
        return dict(refused)
    why: dict[int, T] = {}
    for row in sorted(refused):
        why.setdefault(int(records[row]), refused[row])
    rows: list[int] = np.flatnonzero(np.isin(records, list(why))).tolist()
    return {row: why[int(records[row])] for row in rows}


def repacked(
    form: ManyRows, frame: pl.DataFrame, messages: Sequence[Message]
) -> tuple[list[bytes | None], list[int]]:
    """Some rows as values, each of one record; and for each value the first row that it holds.

    ``messages`` are the rows' records; those of a record follow each other.
    """
    values: list[bytes | None] = []
    firsts: list[int] = []
    starts = [i for i, one in enumerate(messages) if not i or one is not messages[i - 1]]
    for start, end in pairwise([*starts, len(messages)]):
        at = start
        for count, value in form.pack(frame[start:end]):
            values.append(value)
            firsts.append(at)
            at += count
    return values, firsts


def _places(slices: Sequence[Slice], records: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """For each slice the places of its rows' records in it; records are numbered over all."""
    sizes = [len(part.messages) for part in slices]
    ends = np.cumsum(sizes, dtype=np.intp)
    cuts = np.searchsorted(records, ends[:-1])
    return [
        rows - (end - size)
        for rows, end, size in zip(np.split(records, cuts), ends, sizes, strict=True)
    ]
