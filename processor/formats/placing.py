"""To which partition of an internal topic a row goes: a hash of its key's columns.

It is of our own, so that it is the same for ever: for numbers, times and booleans the finishing
steps of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), for
text the CRC-32 of its UTF-8, mixed in the same way. Null is a key as any other.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_NULL: Final = np.uint64(0x6E756C6C)

Hashes = npt.NDArray[np.uint64]


def partitions(keys: pl.DataFrame, count: int) -> npt.NDArray[np.uint32]:
    """For each row the partition of ``count`` that it belongs to; equal keys, one partition.

    Columns are text, integers, booleans and times.

    >>> partitions(pl.DataFrame({"user": ["a", "b", None, "a"]}), 4).tolist()
    [1, 0, 2, 1]
    """
    hashes = np.zeros(keys.height, np.uint64)
    for column in keys.get_columns():
        hashes = _mixed(hashes + _STEP ^ _of(column))
    return (hashes % np.uint64(count)).astype(np.uint32)


def _of(column: pl.Series) -> Hashes:
    nulls = column.is_null().to_numpy() if column.null_count() else None
    if column.dtype == pl.String:
        texts = column.fill_null("").cast(pl.Binary).to_list()
        numbers = np.fromiter(map(zlib.crc32, texts), np.uint64, len(texts))
    else:
        whole = column.to_physical().fill_null(0) if nulls is not None else column.to_physical()
        kind = pl.UInt64 if whole.dtype == pl.UInt64 else pl.Int64
        numbers = whole.cast(kind).to_numpy().view(np.uint64)
    if nulls is not None:
        numbers = np.where(nulls, _NULL, numbers)
    return _mixed(numbers)


def _mixed(numbers: Hashes) -> Hashes:
    numbers = (numbers ^ numbers >> np.uint64(30)) * _FIRST
    numbers = (numbers ^ numbers >> np.uint64(27)) * _SECOND
    return numbers ^ numbers >> np.uint64(31)
