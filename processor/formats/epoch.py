"""Times as numbers since 1970 in UTC: in seconds down to nanoseconds, as declared.

A number of the wrong unit is a date too, only not one that can be meant: seconds read as
milliseconds are the first weeks of 1970, milliseconds read as seconds the year 46000. It is bad.
"""

from __future__ import annotations

import contextlib
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl

from processor.formats.base import WriteError
from processor.formats.forms import YEARS_US
from processor.formats.times import check_years, micros, told

Unit: TypeAlias = Literal["s", "ms", "us", "ns"]
UNITS: Final[dict[str, int]] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds in each unit."""

WORDS: Final = {
    "s": "seconds",
    "ms": "whole milliseconds",
    "us": "whole microseconds",
    "ns": "whole nanoseconds",
}
_WHOLE: Final = -(2**63), 2**63 - 1
_MICRO: Final = UNITS["us"]
# What may be meant by a date of 1990 to 2099, in seconds.
_MEANT_S: Final = 631_152_000, 4_102_444_799
# Up to here a number of 53 bits tells microseconds beside the seconds: the year 2106.
_FRACTION_S: Final = 1 << 32


def read_epoch(numbers: pl.Series, unit: str) -> pl.Series:
    """Numbers to times; null where no date, or none that can be meant, comes of it.

    They are in microseconds, or in nanoseconds where the numbers are.

    >>> read_epoch(pl.Series([1_406_851_200_250, 1_406_851_200]), "ms").to_list()
    [datetime.datetime(2014, 8, 1, 0, 0, 0, 250000), None]
    """
    keep = _meant(numbers, unit)
    if keep is not None:
        numbers = pl.select(pl.when(keep).then(numbers)).to_series()
    if unit == "ns":
        return numbers.cast(pl.Datetime("ns"))
    factor = UNITS[unit] // _MICRO
    if unit != "s":
        return (numbers if factor == 1 else numbers * factor).cast(pl.Datetime("us"))
    seconds = numbers.floor()
    part = ((numbers - seconds) * factor).round().cast(pl.Int64)
    if (part != 0).any():
        seconds = pl.select(
            pl.when((part == 0) | (numbers.abs() < _FRACTION_S)).then(seconds)
        ).to_series()
    return (seconds.cast(pl.Int64) * factor + part).cast(pl.Datetime("us"))


def write_epoch(times: pl.Series, unit: str) -> pl.Series:
    """Times to numbers: whole ones, or with fractions of a second where any has one.

    Raises `WriteError` for a time that is finer than the unit, or that `read_epoch` does not take.

    >>> import datetime
    >>> write_epoch(pl.Series([datetime.datetime(2014, 8, 1)]), "s").to_list()
    [1406851200]
    """
    check_years(times)
    own: str = times.dtype.time_unit  # type: ignore[attr-defined]
    whole, finer = _in_unit(times, UNITS[own], unit)
    keep = _meant(whole, unit)
    if keep is not None and not keep.all():
        raise WriteError(
            f"column {times.name!r}: {told(times, int(keep.arg_min() or 0))} cannot be told from "
            "another time in another unit: write it as text, or see to the unit that it is read in"
        )
    if not finer.any():
        return whole
    numbers = micros(times)
    second = UNITS["s"] // _MICRO
    if unit == "s":
        finer &= numbers.abs() >= _FRACTION_S * second
        if own == "ns":
            finer |= times.cast(pl.Int64) % _MICRO != 0
        if not finer.any():
            return numbers / second
    raise WriteError(
        f"column {times.name!r}: {told(times, int(finer.arg_max() or 0))} cannot be told in "
        f'{WORDS[unit]}: declare epoch={{{times.name!r}: "{own}"}}, or cut it: '
        f'dt.truncate("1{unit}")'
    )


def _in_unit(times: pl.Series, own: int, unit: str) -> tuple[pl.Series, pl.Series]:
    """Times in whole units, and which of them are finer; ``own`` are the nanoseconds of theirs."""
    numbers, factor = times.cast(pl.Int64), UNITS[unit]
    if factor >= own:
        whole = numbers // (factor // own)
        return whole, whole * (factor // own) != numbers
    most = _WHOLE[1] // (own // factor)
    far = ~numbers.is_between(-most, most)
    if far.any():
        raise WriteError(
            f"column {times.name!r}: {told(times, int(far.arg_max() or 0))} cannot be told in "
            f"{WORDS[unit]}: these end in 1677 and 2262"
        )
    return numbers * (own // factor), far


def fractions(times: pl.Series) -> pl.Series:
    """Which times have a fraction of a second; null is no time."""
    return (micros(times) % (UNITS["s"] // _MICRO) != 0).fill_null(value=False)


def why_not(number: object, unit: str, name: str) -> str:
    """Why a number is no time in a unit.

    >>> why_not(1406851200, "ms", "ts")
    "1406851200 is 1970-01-17 in milliseconds, but 2014-08-01 in seconds: declare epoch={'ts': 's'}"
    """
    if isinstance(number, str):
        with contextlib.suppress(ValueError):
            number = int(number)
    if isinstance(number, int | float):
        for other, factor in UNITS.items():
            if other != unit and _MEANT_S[0] <= number * factor / UNITS["s"] <= _MEANT_S[1]:
                read = np.datetime64(int(number * UNITS[unit]) // UNITS["s"], "s")
                meant = np.datetime64(int(number * factor) // UNITS["s"], "s")
                return (
                    f"{number} is {_day(read)} in {_word(unit)}, but {_day(meant)} in "
                    f"{_word(other)}: declare epoch={{{name!r}: {other!r}}}"
                )
    return f"{number!r} is no date in {WORDS[unit]} since 1970"


def _day(date: np.datetime64) -> str:
    return str(date.astype("datetime64[D]"))


def _word(unit: str) -> str:
    return WORDS[unit].split()[-1]


def _meant(numbers: pl.Series, unit: str) -> pl.Series | None:
    """Which numbers can be meant; ``None`` where the extremes tell that all can."""
    low, high = numbers.min(), numbers.max()
    first, last = (time * _MICRO // UNITS[unit] for time in YEARS_US)
    first, last = max(first, _WHOLE[0]), min(last, _WHOLE[1])
    mistaken = _mistaken(unit)
    surely = max((high for _, high in mistaken), default=first)
    if low is None or (low > surely and high <= last):  # type: ignore[operator]
        return None
    keep = numbers.is_between(first, last)
    for small in mistaken:
        keep &= ~numbers.is_between(*small)
    return keep


def _mistaken(unit: str) -> list[tuple[int, int]]:
    """The numbers that are dates of our time in a larger unit."""
    factor = UNITS[unit]
    larger = [size for size in UNITS.values() if size > factor]
    return [(_MEANT_S[0] * UNITS["s"] // s, _MEANT_S[1] * UNITS["s"] // s) for s in larger]
