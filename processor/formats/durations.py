"""Columns of durations: text as ISO 8601 has it, or numbers of a unit, read and written.

::

    PT1H30M    P1DT0.25S    -PT5M    P2W    PT0S

Years and months have no length of their own, and are not read. What is finer than the column's type
is no duration of it: nothing is cut off.
"""

from __future__ import annotations

import contextlib
from typing import Final

import polars as pl

from processor.formats.base import WriteError, shown
from processor.formats.epoch import UNITS, WORDS

_LOWEST: Final = -(2**63)
_EXACT: Final = 2**53
"""Below it a float tells each whole number from the next."""
# At least one part, and one behind a T: so it ends in a number with its letter.
_PARTS: Final = (
    r"^[+-]?P(?:[0-9]{1,19}W)?(?:[0-9]{1,19}D)?"
    r"(?:T(?:[0-9]{1,19}H)?(?:[0-9]{1,19}M)?(?:[0-9]{1,19}(?:[.,][0-9]{1,9}0*)?S)?)?$"
)
_END: Final = "[0-9][WDHMS]$"
_NANOSECONDS: Final = {
    "([0-9]+)W": 7 * 86_400 * 10**9,
    "([0-9]+)D": 86_400 * 10**9,
    "([0-9]+)H": 3_600 * 10**9,
    "([0-9]+)M": 60 * 10**9,
    "([0-9]+)(?:[.,][0-9]+)?S": 10**9,
}
_FRACTION: Final = "[.,]([0-9]{1,9})"


def read_durations(cells: pl.Series, kind: pl.Duration, unit: str | None) -> pl.Series:
    """Text, or numbers of a unit, as durations; null for what is none, or does not fit the type.

    Seconds are fractions.

    >>> read_durations(pl.Series(["PT1M", "P1Y"]), pl.Duration("ms"), None).to_list()
    [datetime.timedelta(seconds=60), None]
    >>> read_durations(pl.Series([1500]), pl.Duration("us"), "ms").to_list()
    [datetime.timedelta(seconds=1, microseconds=500000)]
    """
    own = UNITS[kind.time_unit]
    if unit is None:
        return _whole(_nanoseconds(cells), own, kind)
    if unit != "s":
        return _whole(_times(cells, UNITS[unit]), own, kind)
    most = UNITS["s"] // own
    numbers = (cells * most).round()
    # What stands for a duration of this type is the fraction that is nearest to it.
    fits = (numbers / most == cells) & (cells.abs() < _EXACT)
    return pl.select(
        pl.when(fits).then(numbers.cast(pl.Int64, strict=False).cast(kind))
    ).to_series()


def write_durations(durations: pl.Series, unit: str | None) -> pl.Series:
    """Durations as text, or as numbers of a unit: whole ones, or fractions where any has one.

    Raises `WriteError` for one that would be read back as another.

    >>> import datetime
    >>> write_durations(pl.Series([datetime.timedelta(minutes=90)]), None).to_list()
    ['PT1H30M']
    """
    kind = durations.dtype
    numbers = durations.cast(pl.Int64)
    own = UNITS[kind.time_unit]  # type: ignore[attr-defined]
    if unit is None:
        if numbers.min() == _LOWEST:
            raise _error(durations, numbers == _LOWEST, "as text")
        return durations.dt.to_string("iso")
    found = _divided(_times(numbers, own), UNITS[unit])
    wrong = found.is_null() & numbers.is_not_null()
    if unit == "s":
        if wrong.any():
            found = numbers / (UNITS["s"] // own)
        back = read_durations(found.cast(pl.Float64), kind, unit)  # type: ignore[arg-type]
        wrong = back.ne_missing(durations)
    if wrong.any():
        raise _error(durations, wrong, f"in {WORDS[unit]}")
    return found


def parts_of_seconds(durations: pl.Series) -> pl.Series:
    """Which durations are no whole seconds; null is none.

    >>> import datetime
    >>> parts_of_seconds(pl.Series([datetime.timedelta(seconds=1.5), None])).to_list()
    [True, False]
    """
    second = UNITS["s"] // UNITS[durations.dtype.time_unit]  # type: ignore[attr-defined]
    return (durations.cast(pl.Int64) % second != 0).fill_null(value=False)


def why_no_duration(cell: object, kind: pl.Duration, unit: str | None) -> str:
    """Why a cell is no duration of a type.

    >>> why_no_duration("PT0.0005S", pl.Duration("ms"), None)
    "'PT0.0005S' has no place in Duration(time_unit='ms')"
    """
    if unit is None:
        if _nanoseconds(pl.Series([str(cell)])).null_count():
            return f"{shown(cell)} is no duration as in 'P1DT2H30M', of weeks to seconds"
        return f"{shown(cell)} has no place in {kind}"
    if isinstance(cell, str):
        with contextlib.suppress(ValueError):
            cell = float(cell) if unit == "s" else int(cell)
    if isinstance(cell, str):
        return f"{shown(cell)} is no number"
    return f"{cell} {WORDS[unit].split()[-1]} have no place in {kind}"


def _nanoseconds(text: pl.Series) -> pl.Series:
    """As many as a text tells, exactly; null for what is none."""
    fits = text.str.contains(_PARTS) & text.str.contains(_END)
    parts = [
        _times(text.str.extract(pattern), size).fill_null(0)
        for pattern, size in _NANOSECONDS.items()
    ]
    fraction = text.str.extract(_FRACTION).str.pad_end(9, "0")
    parts.append(_times(fraction, 1).fill_null(0))
    total = pl.sum_horizontal(map(pl.lit, parts))
    signed = pl.when(text.str.starts_with("-")).then(pl.lit(0, pl.Int128) - total).otherwise(total)
    return pl.select(pl.when(fits).then(signed)).to_series()


def _times(numbers: pl.Series, factor: int) -> pl.Series:
    """Numbers, or the text of some, so many times, which 128 bits have room for."""
    wide = pl.lit(numbers).cast(pl.Int128, strict=False) * pl.lit(factor, pl.Int128)
    return pl.select(wide).to_series()


def _divided(nanoseconds: pl.Series, size: int) -> pl.Series:
    """Whole numbers of 64 bits; null for what is no such number of that size."""
    of, by = pl.lit(nanoseconds), pl.lit(size, pl.Int128)
    exact = pl.when(of % by == pl.lit(0, pl.Int128)).then(of // by)
    return pl.select(exact.cast(pl.Int64, strict=False)).to_series()


def _whole(nanoseconds: pl.Series, own: int, kind: pl.Duration) -> pl.Series:
    return _divided(nanoseconds, own).cast(kind)


def _error(durations: pl.Series, wrong: pl.Series, how: str) -> WriteError:
    cell = durations.gather([int(wrong.arg_max() or 0)]).cast(pl.Int64).item()
    unit = durations.dtype.time_unit  # type: ignore[attr-defined]
    return WriteError(
        f"column {durations.name!r}: {cell} {unit} cannot be told {how}: choose a finer unit, or "
        "leave the column out of durations, which writes text"
    )
