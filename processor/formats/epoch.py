"""Times as numbers since 1970 in UTC: seconds, milliseconds or microseconds, as declared.

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

Unit: TypeAlias = Literal["s", "ms", "us"]
UNITS: Final[dict[str, int]] = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""Microseconds in each unit."""

WORDS: Final = {"s": "seconds", "ms": "whole milliseconds", "us": "whole microseconds"}
# What may be meant by a date of 1990 to 2099, in seconds.
_MEANT_S: Final = 631_152_000, 4_102_444_799
# Up to here a number of 53 bits tells microseconds beside the seconds: the year 2106.
_FRACTION_S: Final = 1 << 32


def read_epoch(numbers: pl.Series, unit: str) -> pl.Series:
    """Numbers to times in microseconds; null where no date, or none that can be meant, comes of it.

    >>> read_epoch(pl.Series([1_406_851_200_250, 1_406_851_200]), "ms").to_list()
    [datetime.datetime(2014, 8, 1, 0, 0, 0, 250000), None]
    """
    factor = UNITS[unit]
    keep = _meant(numbers, unit)
    if keep is not None:
        numbers = pl.select(pl.when(keep).then(numbers)).to_series()
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
    factor = UNITS[unit]
    check_years(times)
    numbers = micros(times)
    whole = numbers // factor
    finer = whole * factor != numbers
    keep = _meant(whole, unit)
    if keep is not None and not keep.all():
        raise WriteError(
            f"column {times.name!r}: {told(times, int(keep.arg_min() or 0))} cannot be told from "
            "another time in another unit: write it as text, or see to the unit that it is read in"
        )
    if not finer.any():
        return whole
    if unit == "s" and not (finer & (numbers.abs() >= _FRACTION_S * factor)).any():
        return numbers / factor
    raise WriteError(
        f"column {times.name!r}: {told(times, int(finer.arg_max() or 0))} cannot be told in "
        f'{WORDS[unit]}: declare epoch={{{times.name!r}: "us"}}, or cut it: dt.truncate("1{unit}")'
    )


def fractions(times: pl.Series) -> pl.Series:
    """Which times have a fraction of a second; null is no time."""
    return (micros(times) % UNITS["s"] != 0).fill_null(value=False)


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
    first, last = (time // UNITS[unit] for time in YEARS_US)
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
