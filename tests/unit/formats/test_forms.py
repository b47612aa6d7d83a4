from __future__ import annotations

import datetime as dt
import warnings

import polars as pl
import pytest

from processor.formats.forms import FormError, form

DIFFERENTIAL = [
    ("%Y-%m-%d %H:%M:%S", ["2014-08-01 00:03:09", "2014-8-1 0:3:9", "14-08-01 00:00:00"]),
    ("%Y-%m-%d %H:%M:%S", ["999-08-01 00:00:00", "0999-08-01 00:00:00", "2014-08-01 00:00"]),
    ("%m/%d/%Y %H:%M:%S", ["08/01/14 00:00:00", "08/01/0014 00:00:00", "13/01/2014 00:00:00"]),
    ("%m/%d/%y %H:%M", ["08/01/14 00:03", "08/01/68 00:03", "08/01/69 00:03", "08/01/2014 00:03"]),
    ("%Y-%m-%dT%H:%M:%S.%f", ["2014-08-01T00:00:00.25", "2014-08-01T00:00:00.000250"]),
    ("%Y-%m-%dT%H:%M:%S.%f", ["2014-08-01T00:00:00", "2014-08-01T00:00:00.1234567"]),
    ("%Y-%m-%d %H:%M:%S,%f", ["2014-08-01 00:00:00,250", "2014-08-01 00:00:00,5"]),
    ("%Y%m%d%H%M%S%f", ["20140801120000250", "20140801120000000250", "2014080112"]),
    ("%d/%m/%Y %I:%M:%S %p", ["01/08/2014 12:03:00 AM", "1/8/2014 1:03:00 pm"]),
    ("%d/%m/%Y %I:%M:%S %p", ["1/8/2014 13:00:00 PM"]),
    ("%d/%m/%Y %I:%M", ["01/08/2014 12:03", "01/08/2014 11:03"]),
    ("%d/%m/%Y %H:%M %p", ["01/08/2014 13:03 PM", "01/08/2014 13:03"]),
    ("%Y %j", ["2014 213", "2014 1", "2012 366", "2014 367", "2014 000"]),
    ("%d. %B %Y", ["1. August 2014", "1. Aug 2014", "1. AUGUST 2014", "31. February 2014"]),
    ("%a %b %d %H:%M:%S %Y", ["Fri Aug  1 00:03:00 2014", "Mon Aug 01 00:03:00 2014", "Aug 1"]),
    ("%A, %d %b %Y %H:%M:%S GMT", ["Friday, 01 Aug 2014 00:03:00 GMT", "Fri, 01 Aug 2014"]),
    ("%Y-%m-%dT%H:%M:%S%z", ["2014-08-01T12:00:00+0200", "2014-08-01T12:00:00-02:30"]),
    ("%Y-%m-%dT%H:%M:%S%z", ["2014-08-01T12:00:00Z", "2014-08-01T12:00:00"]),
    ("%Y-%m-%dT%H:%M:%S%z", ["2014-08-01T12:00:00 CET"]),
    ("%I %p, %d.%m.%y %z", ["3 PM, 01.08.14 +0000", "12 am, 31.12.99 -1130"]),
    ("%Y", ["2014", "214"]),
    ("%Y-%m", ["2014-08", "2014-8", "2014-13"]),
    ("%Y-%m-%d %H", ["2014-08-01 13", "2014-08-01 24"]),
    ("%%%Y-%m-%d%%", ["%2014-08-01%", "2014-08-01"]),
    ("%S:%M:%H %d/%m/%Y", ["9:3:0 1/8/2014", "09:03:00 01/08/2014"]),
]  # fmt: skip


@pytest.mark.parametrize(("written", "texts"), DIFFERENTIAL, ids=str)
def test_a_form_means_what_strptime_says(written: str, texts: list[str]) -> None:
    found = form(written).read(pl.Series(texts)).to_list()
    assert found == [strptime(text, written) for text in texts]


def strptime(text: str, written: str) -> dt.datetime | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            time = dt.datetime.strptime(text, written)  # noqa: DTZ007
    except ValueError:
        return None
    return time if time.tzinfo is None else time.astimezone(dt.UTC).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("%Y-%m-%d %H:%M:%S%.f", "2014-08-01 00:00:00.25"),
        ("%Y-%m-%d %H:%M:%S.%3f", "2014-08-01 00:00:00.250"),
        ("%Y-%m-%d %H:%M:%S%.3f", "2014-08-01 00:00:00.250"),
        ("%Y-%m-%d %H:%M:%S%.6f", "2014-08-01 00:00:00.250000"),
        ("%F %T%.f", "2014-08-01 00:00:00.250"),
        ("%D %R:%S,%3f", "08/01/14 00:00:00,250"),
        ("%Y%m%dT%H%M%S%6f", "20140801T000000250000"),
        ("%Y-%m-%dT%H:%M:%S%.f%:z", "2014-08-01T02:00:00.25+02:00"),
        ("%Y-%m-%dT%H:%M:%S%.f%z", "2014-08-01T02:00:00.25+02"),
    ],
)
def test_fractions_of_so_many_digits_are_read_as_what_they_are(written: str, text: str) -> None:
    assert form(written).read(pl.Series([text]))[0] == dt.datetime(2014, 8, 1, 0, 0, 0, 250_000)


def test_a_form_without_a_date_gives_times_of_day() -> None:
    found = form("%H:%M:%S%.f").read(pl.Series(["12:03:00.25", "24:00:00"]))
    assert found.to_list() == [dt.time(12, 3, 0, 250_000), None]


@pytest.mark.parametrize("written", ["%Y-%m-%d %H:%M:%SZ", "%Y-%m-%d %H:%M:%S UTC"])
def test_a_form_that_ends_in_utc_tells_a_moment(written: str) -> None:
    assert form(written).instant
    assert not form(written[:17]).instant


@pytest.mark.parametrize(
    ("written", "message", "remedy"),
    [
        ("%Y-%m-%d %Q", "'%Q' in '%Y-%m-%d %Q' is no directive", "%Y %y %m"),
        ("%Y-%m-%d %", "'%' in", "%Y %y %m"),
        ("%Y-%m-%d %Z", "'%Z' in", "say %z"),
        ("%s", "'%s' in", "epoch={'ts': 's'}"),
        ("%Y-%m-%d %H:%M:%S.%9f", "'%9f' in", "say %.f, which takes any number of digits"),
        ("%c", "'%c' in", "in full"),
        ("%+", "'%+' in", "%Y-%m-%dT%H:%M:%S%.f%z"),
        ("%G-W%V-%u", "'%G' in", "with %j"),
        ("%-Y", "'%-Y' in", "%Y %y %m"),
        ("%Y %y", "tells the year twice", "one directive"),
        ("%Y-%m-%d %M %H:%M", "tells the minute twice", "one directive"),
        ("%H:%M %d", "tells no year", "begin it with %Y"),
        ("noon", "tells no year", "begin it with %Y"),
        ("", "tells no year", "begin it with %Y"),
        ("%Y %j %d", "tells the day in two ways", "%j alone"),
        ("%Y-%m-%d %S", "a second without the minute", "the minute too"),
        ("%Y-%m-%d %f", "a fraction without the second", "the second too"),
        ("%Y-%m-%d%z", "an offset of no moment", "the hour too"),
        ("%Y %p", "%p without an hour", "%I %p"),
    ],
)
def test_what_strptime_does_not_say_is_refused_with_what_would_be_right(
    written: str, message: str, remedy: str
) -> None:
    with pytest.raises(FormError) as raised:
        form(written)
    assert message in str(raised.value)
    assert remedy in raised.value.remedy


def test_years_have_four_digits_and_end_with_9999() -> None:
    texts = ["0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"]
    found = form("%Y-%m-%dT%H:%M:%S%z").read(pl.Series(texts))
    assert found.to_list() == [dt.datetime(1, 1, 1), None, None]
    assert form("%Y-%m-%dT%H:%M:%S").read(pl.Series(["+10000-01-01T00:00:00"])).to_list() == [None]


@pytest.mark.parametrize(
    ("written", "text", "wanted"),
    [
        ("%d%m%Y %R%z", "2810204 16:54-0500", dt.datetime(204, 1, 28, 21, 54)),
        ("%d%m%Y", "1112024", dt.datetime(2024, 1, 11)),
        ("%d%m%Y", "281204", dt.datetime(1204, 8, 2)), ("%Y-%m-%d", "204-01-28", None),
        ("%Y-%m-%d", "0204-01-28", dt.datetime(204, 1, 28)), ("%Y", "204", None),
        ("%m%d%Y %H:%M:%S.%f", "1280204 16:54:00.5", None),
        ("%d.%m.%Y", "1.2.24", None), ("%Y-%m-%d", "0000-01-28", None),
    ],
)  # fmt: skip
def test_a_year_has_four_digits(written: str, text: str, wanted: dt.datetime | None) -> None:
    beside = "01-01-2024"
    assert form(written).read(pl.Series([text, beside])).to_list()[0] == wanted
    assert form(written).read(pl.Series([text])).to_list() == [wanted]
