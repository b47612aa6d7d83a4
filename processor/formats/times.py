"""Columns of dates and times: read from several forms of text, written in one.

A column without a zone is in UTC: a text with an offset is the moment that it names, one without
is taken as it stands. In a column with a zone a text without an offset is the time that a clock
there shows, and is no time where that clock skipped it or showed it twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl

from processor.formats.base import WriteError
from processor.formats.forms import YEARS_US, Form, form, four_digits, in_years

TIMESTAMP: Final = pl.Datetime("us")
READ_FORMS: Final = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%z",
    "%Y-%m-%d %H:%M:%S%.f%z",
    "%Y-%m-%dT%H:%M%z",
    "%Y-%m-%dT%H:%M",
)
ISO: Final = "%Y-%m-%dT%H:%M:%S"
_HALVES: Final = re.compile(
    r"(?P<date>[^%]*(?:%-?[Ymdyj][^%]*)+)(?P<time>(?:%-?[HMSI][^%]*)+?)(?:%\.f)?", re.DOTALL
)
_DAY_S: Final = 86_400
_DAY_UNITS: Final = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_MINUTE_US: Final = 60_000_000
_NANO_US: Final = (2**63 - 1) // 1_000
_TIMEDELTA_DAYS: Final = 999_999_999
# Less a day at either end.
_ZONED_NS: Final = 2**63 - 1 - _DAY_UNITS["ns"]
_DAYS: Final = YEARS_US[0] // 86_400_000_000, YEARS_US[1] // 86_400_000_000
_DAYS_MAX: Final = 4_096
_FEW: Final = 1_000
# Below it, what a look-up costs whatever the height is more than writing.
_ROWS_MIN: Final = 1_000


def parse_times(
    text: pl.Series, forms: Sequence[str] = READ_FORMS, kind: pl.DataType = TIMESTAMP
) -> pl.Series:
    """Text to a column of Datetimes, Dates or Times; null where no form fits.

    The first form is tried on all rows, each further one only on the rows still without a time.
    Leading zeros may be left out, what is finer than ``kind`` is cut off, and second 60 is the
    first of the next minute.

    >>> forms = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%z"
    >>> parse_times(pl.Series(["2014-08-01 00:03:00", "2014-08-01 2:03:00+02:00"]), forms).to_list()
    [datetime.datetime(2014, 8, 1, 0, 3), datetime.datetime(2014, 8, 1, 0, 3)]
    """
    times = _placed(form(forms[0]), text, kind)
    if len(forms) == 1 or times.null_count() == text.null_count():
        return times
    rows = times.is_null().arg_true()
    rest = text.gather(rows)
    found = _few(rest, forms[1:], kind) if len(rest) <= _FEW else None
    return times.scatter(rows, parse_times(rest, forms[1:], kind) if found is None else found)


def _few(text: pl.Series, forms: Sequence[str], kind: pl.DataType) -> pl.Series | None:
    """What `parse_times` gives, by one call for all forms; ``None`` where each needs a look.

    Each call costs the same however few the rows are.
    """
    tried = [form(written) for written in forms]
    if kind != TIMESTAMP or not all(one.plain and one.date for one in tried):
        return None
    texts = pl.col("text")
    found = text.to_frame("text").select(pl.coalesce(one.expression(texts) for one in tried))
    return found.to_series() if four_digits(found.to_series()) else None


def _placed(tried: Form, text: pl.Series, kind: pl.DataType) -> pl.Series:
    if not isinstance(kind, pl.Datetime):
        return tried.read(text).cast(kind)
    found = tried.read(text, "ns" if kind.time_unit == "ns" else "us")
    if kind.time_zone is not None:
        found = _within(found)
    if kind.time_zone is not None and tried.instant:
        found = found.dt.replace_time_zone("UTC").dt.convert_time_zone(kind.time_zone)
    elif kind.time_zone is not None:
        found = found.dt.replace_time_zone(kind.time_zone, ambiguous="null", non_existent="null")
    return found.dt.cast_time_unit("ms") if kind.time_unit == "ms" else found


def in_unit(times: pl.Series, kind: pl.DataType) -> pl.Series:
    """Times as they were read in the unit of a kind; null where it has none of that year.

    >>> import datetime
    >>> times = pl.Series([datetime.datetime(2014, 8, 1), datetime.datetime(1500, 1, 1)])
    >>> in_unit(times, pl.Datetime("ns")).null_count()
    1
    """
    unit: str = times.dtype.time_unit  # type: ignore[attr-defined]
    wanted = kind.time_unit if isinstance(kind, pl.Datetime) else "us"
    if wanted == "ns" and unit == "us":
        times = _only(times, times.cast(pl.Int64).is_between(-_NANO_US, _NANO_US))
    return times if unit == wanted else times.dt.cast_time_unit(wanted)


def _within(times: pl.Series) -> pl.Series:
    """Null for nanoseconds so near the end of their range that a clock elsewhere may have none."""
    if times.dtype.time_unit != "ns" or not _near_end(times):  # type: ignore[attr-defined]
        return times
    return _only(times, times.cast(pl.Int64).is_between(-_ZONED_NS, _ZONED_NS))


def _near_end(times: pl.Series) -> bool:
    numbers = times.cast(pl.Int64)
    low, high = numbers.min(), numbers.max()
    return low is not None and bool(low < -_ZONED_NS or high > _ZONED_NS)  # type: ignore[operator]


def _only(times: pl.Series, keep: pl.Series) -> pl.Series:
    return pl.select(pl.when(keep).then(times)).to_series().alias(times.name)


def written_form(written: Form, kind: pl.DataType) -> Form:
    """The form that times of a kind are really written in.

    It has the fraction of a second, if there is one, and the offset, where they have a zone and
    the form tells no moment.

    >>> written_form(form(ISO), pl.Datetime("us", "Europe/Berlin")).text
    '%Y-%m-%dT%H:%M:%S%.f%:z'
    """
    zoned = isinstance(kind, pl.Datetime) and kind.time_zone is not None
    return form(written.writes + "%:z" * (zoned and written.clock and not written.instant))


def text_of(times: pl.Series, written: Form) -> pl.Series:
    """Dates or times as text; raises `WriteError` for what no text of the form is read back as.

    >>> import datetime
    >>> text_of(pl.Series([datetime.datetime(2014, 8, 1, 0, 0, 0, 250_000)]), form(ISO)).to_list()
    ['2014-08-01T00:00:00.250']
    """
    kind = times.dtype
    full = written_form(written, kind)
    check_years(times)
    if isinstance(kind, pl.Datetime):
        text = _text_of_moments(times, full)
    else:
        text = times.dt.to_string(full.writes)
    date = written.date if kind != pl.Time else True
    clock = written.clock if kind != pl.Date else True
    fine = isinstance(kind, pl.Datetime) and kind.time_unit == "ns" and "%.f" not in full.writes
    if fine or not (written.exact and date and clock and kind != pl.Time):
        _read_back(times, text, full)
    return text


def _text_of_moments(times: pl.Series, full: Form) -> pl.Series:
    if times.dtype.time_zone is None:  # type: ignore[attr-defined]
        there = times.dt.replace_time_zone("UTC") if "offset" in full.tells else times
        return there.dt.to_string(full.writes)
    utc = times.dt.convert_time_zone("UTC")
    if utc.dtype.time_unit == "ns" and _near_end(utc):  # type: ignore[attr-defined]
        raise WriteError(
            f"column {times.name!r}: a time within a day of either end of the nanoseconds, in 1677 "
            "and 2262, cannot be told in a zone"
        )
    if "offset" not in full.tells:
        return (utc if full.instant else times).dt.to_string(full.writes)
    # An offset is told in minutes. Those of before there were standard times have seconds, and at
    # either end of the calendar the year there may be none: both are told in UTC.
    shown = micros(times.dt.replace_time_zone(None))
    ahead = shown - micros(utc)
    text = times.dt.to_string(full.writes)
    odd = ahead % _MINUTE_US != 0
    if not in_years(shown) or odd.any():
        odd |= shown != shown.clip(*YEARS_US)
        text = pl.select(
            pl.when(odd).then(utc.dt.to_string(full.writes)).otherwise(text)
        ).to_series()
    return text


def micros(times: pl.Series) -> pl.Series:
    """Microseconds since 1970 in UTC."""
    unit = times.dtype.time_unit  # type: ignore[attr-defined]
    return (times if unit == "us" else times.dt.cast_time_unit("us")).cast(pl.Int64)


def in_python(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with times and durations as text where Python has none of them.

    It has none before year 1 and after 9999, none of nanoseconds, and none of 10⁹ days.

    >>> in_python(pl.DataFrame({"t": [9_999 * 366]}).cast(pl.Date))["t"].dtype
    String
    """
    far = [
        column.dt.to_string("iso") if column.dtype == pl.Duration else column.cast(pl.String)
        for column in frame.get_columns()
        if _beyond_python(column)
    ]
    return frame.with_columns(far) if far else frame


def _beyond_python(column: pl.Series) -> bool:
    kind = column.dtype
    if isinstance(kind, pl.Datetime | pl.Duration) and kind.time_unit == "ns":
        return True
    if isinstance(kind, pl.Duration):
        most = _TIMEDELTA_DAYS * _DAY_UNITS[kind.time_unit]
        return not column.cast(pl.Int64).is_between(-most, most).all()
    return _outside(column, margin=1) is not None


def _outside(times: pl.Series, margin: int = 0) -> float | None:
    """A day of the column that is not of the years 1 to 9999, in days since 1970.

    With a ``margin`` of days, those with a zone have to be so far from either end.
    """
    kind = times.dtype
    if not isinstance(kind, pl.Datetime | pl.Date):
        return None
    a_day = _DAY_UNITS[kind.time_unit] if isinstance(kind, pl.Datetime) else 1
    off = margin * (isinstance(kind, pl.Datetime) and kind.time_zone is not None)
    first, last = (_DAYS[0] + off) * a_day, (_DAYS[1] + 1 - off) * a_day - 1
    # A cast by itself does without the engine's plan: a tenth of the time of a small batch.
    numbers = times.cast(pl.Int64)
    low, high = numbers.min(), numbers.max()
    for extreme in (low, high):
        if isinstance(extreme, int) and not first <= extreme <= last:
            return extreme / a_day
    return None


def check_years(times: pl.Series) -> None:
    """Raise `WriteError` for a date or time whose year has not four digits."""
    day = _outside(times)
    if day is not None:
        raise WriteError(
            f"column {times.name!r}: {day / 365.2425:+,.0f} years from 1970 have no text: a year "
            "has four digits"
        )


def _read_back(times: pl.Series, text: pl.Series, full: Form) -> None:
    """Raise `WriteError` for the first time that is not what its text says."""
    back = parse_times(text, (full.text,), times.dtype)
    if back.equals(times, null_equal=True):
        return
    row = int(times.ne_missing(back).arg_max() or 0)
    raise WriteError(
        f"column {times.name!r}: {told(times, row)} written by {full.text!r} is {text[row]!r}, "
        f"which is read as {told(back, row)}: write more of it, or make it text by dt.to_string()"
    )


def told(times: pl.Series, row: int) -> str:
    """A time in a message: not every one is of those that Python has."""
    return str(times.gather([row]).cast(pl.String).item())


def time_texts(times: pl.Series, written: str) -> list[pl.Series]:
    r"""The text of timestamps without nulls, in one column or in two to be joined.

    Where they are many, whole seconds without a zone and within a few years, and the form is a date
    and then hours, minutes and seconds, both are looked up instead of written: in a quarter of the
    time. Raises `WriteError` as `text_of` does.

    >>> import datetime
    >>> times = pl.Series([datetime.datetime(2014, 8, 1, 0, 3)])
    >>> [column.to_list() for column in time_texts(times, ISO)]
    [['2014-08-01T00:03:00']]
    >>> [column[0] for column in time_texts(pl.concat([times] * 1_000), ISO)]
    ['2014-08-01T', '00:03:00']
    """
    found = form(written)
    halves = _HALVES.fullmatch(found.writes)
    if halves is None or not found.exact or len(times) < _ROWS_MIN or times.dtype != TIMESTAMP:
        return [text_of(times, found)]
    numbers = times.cast(pl.Int64).to_numpy()
    whole = numbers // 1_000_000
    days, seconds = np.divmod(whole, _DAY_S)
    first, last = int(days.min()), int(days.max())
    tellable = first >= _DAYS[0] and last <= _DAYS[1] and np.array_equal(whole * 1_000_000, numbers)
    if last - first >= _DAYS_MAX or not tellable:
        return [text_of(times, found)]
    dates = pl.int_range(first, last + 1, dtype=pl.Int32, eager=True).cast(pl.Date)
    return [
        dates.dt.to_string(halves["date"]).gather(days - first),
        _clock(halves["time"]).gather(seconds),
    ]


@lru_cache(maxsize=8)
def _clock(written: str) -> pl.Series:
    """The text of every second of a day."""
    seconds = pl.int_range(_DAY_S, eager=True) * 1_000_000
    return seconds.cast(TIMESTAMP).dt.to_string(written)
