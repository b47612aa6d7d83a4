"""Columns of dates and times: read from several forms of text, written in one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl

TIMESTAMP: Final = pl.Datetime("us")
READ_FORMS: Final = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
)
ISO: Final = "%Y-%m-%dT%H:%M:%S"
_HALVES: Final = re.compile(
    r"(?P<date>[^%]*(?:%[Ymdyje][^%]*)+)(?P<time>(?:%[HMSI][^%]*)+)", re.DOTALL
)
_DAY_S: Final = 86_400
_DAYS_MAX: Final = 4_096
# Below it, what a look-up costs whatever the height is more than writing.
_ROWS_MIN: Final = 1_000
_SPECIAL: Final = re.compile(r'["\\\x00-\x1f]|%[-_0]?[nt]')


def is_timestamp(kind: pl.DataType | type[pl.DataType]) -> bool:
    """Whether a column type is the one that formats read times as: ``Datetime("us")``, no zone.

    >>> is_timestamp(pl.Datetime), is_timestamp(pl.Datetime("ms"))
    (True, False)
    """
    return kind is pl.Datetime or (isinstance(kind, pl.Datetime) and kind == TIMESTAMP)


def parse_times(text: pl.Series, forms: Sequence[str] = READ_FORMS) -> pl.Series:
    """Text to timestamps (microseconds, UTC); null where no form fits.

    The first form is tried on all rows, each further one only on the rows still without a time.
    Leading zeros may be left out, and fractions finer than a microsecond are cut off.

    >>> parse_times(pl.Series(["2014-08-01 00:03:00", "8/1/2014 0:03:00", "?"])).to_list()
    [datetime.datetime(2014, 8, 1, 0, 3), datetime.datetime(2014, 8, 1, 0, 3), None]
    """
    times = text.str.to_datetime(forms[0], time_unit="us", strict=False, cache=False)
    if times.null_count() == text.null_count():
        return times
    rows = times.is_null().arg_true()
    tried = [
        pl.col("text").str.to_datetime(form, time_unit="us", strict=False, cache=False)
        for form in forms
    ]
    found = text.gather(rows).to_frame("text").select(pl.coalesce(tried)).to_series()
    return times.scatter(rows, found)


def format_times(frame: pl.DataFrame, form: str) -> pl.DataFrame:
    """The frame with every column of timestamps as text of that form."""
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).dt.to_string(form)) if times else frame


def time_texts(times: pl.Series, form: str) -> list[pl.Series]:
    r"""The text of timestamps without nulls, in one column or in two to be joined.

    Where they are many, microseconds without a zone and within a few years, and the form is a date
    and then hours, minutes and seconds, both are looked up instead of written: in a quarter of the
    time.

    >>> import datetime
    >>> times = pl.Series([datetime.datetime(2014, 8, 1, 0, 3)])
    >>> [column.to_list() for column in time_texts(times, ISO)]
    [['2014-08-01T00:03:00']]
    >>> [column[0] for column in time_texts(pl.concat([times] * 1_000), ISO)]
    ['2014-08-01T', '00:03:00']
    """
    halves = _HALVES.fullmatch(form)
    if halves is None or len(times) < _ROWS_MIN or times.dtype != TIMESTAMP:
        return [times.dt.to_string(form)]
    days, seconds = np.divmod(times.cast(pl.Int64).to_numpy() // 1_000_000, _DAY_S)
    first, last = int(days.min()), int(days.max())
    if last - first >= _DAYS_MAX:
        return [times.dt.to_string(form)]
    dates = pl.int_range(first, last + 1, dtype=pl.Int32, eager=True).cast(pl.Date)
    return [
        dates.dt.to_string(halves["date"]).gather(days - first),
        _clock(halves["time"]).gather(seconds),
    ]


@lru_cache(maxsize=8)
def _clock(form: str) -> pl.Series:
    """The text of every second of a day."""
    seconds = pl.int_range(_DAY_S, eager=True) * 1_000_000
    return seconds.cast(TIMESTAMP).dt.to_string(form)


def plain_form(form: str) -> bool:
    r"""Whether what is written in a form has no quote, no backslash and no control character.

    >>> plain_form(ISO), plain_form("%H\"%M"), plain_form("%H%n%M")
    (True, False, False)
    """
    return _SPECIAL.search(form) is None
