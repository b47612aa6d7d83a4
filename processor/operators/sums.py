"""Sums that do not leave their type without a word.

The sum of a group is taken record after record, in the order of the log: the first record that
takes it out of the range of its type is named, however batches are cut. That is looked at record by
record only where it could be, which the largest value of the batch and the totals tell::

    |total| and rows · max |value|, both within half the range     nothing can have left it
    else                                                           `leaves`, group by group
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

Numbers: TypeAlias = npt.NDArray[Any]

_INTEGER_LIMIT: Final = 2**62
_FLOAT_LIMIT: Final = 2.0**1022
_WIDE: Final = (pl.Int64, pl.Float64)


def limit(totals: Numbers) -> float:
    """How far from zero a total may be without being looked at more closely."""
    return _FLOAT_LIMIT if totals.dtype.kind == "f" else _INTEGER_LIMIT


def reach(values: pl.Series) -> float:
    """How far from zero a sum of some of the values can be at most.

    Sums of narrower types are taken as Int64 or Float64, which a batch does not fill.

    >>> reach(pl.Series([-3, 2, None]))
    9.0
    """
    if values.dtype not in _WIDE or values.null_count() == len(values):
        return 0.0
    low: Any = values.min()
    high: Any = values.max()
    return max(abs(float(low)), abs(float(high))) * len(values)


def close(totals: Numbers) -> bool:
    """Whether no total needs a closer look: none is far from zero, infinite or no number.

    >>> close(np.array([1.0, -2.0])), close(np.array([1.0, np.nan]))
    (True, False)
    """
    most = limit(totals)
    return bool(totals.min() >= -most and totals.max() <= most)


def beyond(totals: Numbers) -> npt.NDArray[np.bool_]:
    """The totals that need one.

    >>> beyond(np.array([1.0, np.inf, np.nan])).tolist()
    [False, True, True]
    """
    most = limit(totals)
    return ~((totals <= most) & (totals >= -most))


def leaves(total: Any, values: Numbers) -> int | None:
    """The number of the first value that takes the total out of its type; ``None``: none does.

    Args:
        total: the sum before them, a NumPy number of the values' type.
        values: Int64 or Float64, in the order of the log. What follows an infinite value or one
            that is no number is arithmetic as IEEE 754 has it, and leaves nothing.

    >>> leaves(np.int64(2**63 - 2), np.array([1, 1, -1]))
    1
    >>> leaves(np.float64(0), np.array([1e308, -1e308, np.inf, 1e308])) is None
    True
    """
    if values.dtype.kind == "f":
        odd = ~np.isfinite(np.concatenate([[total], values]))
        with np.errstate(over="ignore", invalid="ignore"):
            out = ~np.isfinite(np.cumsum(np.concatenate([[total], values])))
        out &= ~np.maximum.accumulate(odd)
        out = out[1:]
    else:
        # In halves of 32 bits, of which no sum of a batch leaves 64.
        low = np.cumsum(values & 0xFFFFFFFF) + (int(total) & 0xFFFFFFFF)
        high = np.cumsum(values >> 32) + (int(total) >> 32) + (low >> 32)
        out = (high < -(2**31)) | (high >= 2**31)
    return int(out.argmax()) if out.any() else None


def total_of(total: Any, values: Numbers) -> Any:
    """The sum of all, taken one after the other."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.cumsum(np.concatenate([[total], values]))[-1]
