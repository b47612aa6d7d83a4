"""Columns of dates and times: read from several forms of text, written in one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

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
    times = text.str.to_datetime(forms[0], time_unit="us", strict=False)
    rows = (times.is_null() & text.is_not_null()).arg_true()
    for form in forms[1:]:
        if rows.is_empty():
            break
        found = text.gather(rows).str.to_datetime(form, time_unit="us", strict=False)
        read = found.is_not_null()
        if read.any():
            times = times.scatter(rows.filter(read), found.filter(read))
            rows = rows.filter(~read)
    return times


def plain_form(form: str) -> bool:
    r"""Whether what is written in a form has no quote, no backslash and no control character.

    >>> plain_form(ISO), plain_form("%H\"%M"), plain_form("%H%n%M")
    (True, False, False)
    """
    return _SPECIAL.search(form) is None


def format_times(frame: pl.DataFrame, form: str) -> pl.DataFrame:
    """The frame with every column of timestamps as text of that form."""
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).dt.to_string(form)) if times else frame
