from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from processor.formats.base import WriteError
from processor.formats.forms import form
from processor.formats.times import ISO, TIMESTAMP, parse_times, text_of, time_texts

THEN = dt.datetime(2014, 8, 1, 0, 3)


@pytest.mark.parametrize(
    "text",
    [
        "2014-08-01 00:03:00",
        "8/1/2014 0:03:00",
        "08/01/2014 00:03:00",
        "2014/8/1 00:03:00",
        "2014-08-01T00:03:00",
        "2014-08-01T00:03:00Z",
        "2014-08-01 00:03:00.000000",
        "2014-08-01T00:03:00+00:00",
        "2014-08-01T02:03:00+02:00",
        "2014-07-31 20:33:00-0330",
        "2014-08-01 00:03:00+00",
        "2014-08-01T00:03:00.000000000Z",
        "2014-08-01T00:03Z",
        "2014-08-01T02:03+02:00",
        "2014-08-01T00:03",
    ],
)
def test_each_form_of_a_moment_is_that_moment(text: str) -> None:
    mixed = parse_times(pl.Series([text, "2014-08-01 00:03:00", None, text]))
    assert mixed.to_list() == [THEN, THEN, None, THEN]
    assert mixed.dtype == TIMESTAMP


@pytest.mark.parametrize(
    "text",
    ["", "?", "2014-08-01", "13/1/2014 0:00:00", "2014-02-30 00:00:00", "2014-08-01 24:00:00",
     "08/01/14 00:03:00", "2014-08-01T00:03:00+2", "2014-08-01 00:03:00 CET",
     "2014-08-01 00:03:00x"],
)  # fmt: skip
def test_what_is_no_time_is_null(text: str) -> None:
    assert parse_times(pl.Series([text])).to_list() == [None]


def test_fractions_are_cut_to_microseconds() -> None:
    found = parse_times(pl.Series(["2014-08-01T00:03:00.1234567Z", "2014-08-01 00:03:00.5"]))
    assert [time.microsecond for time in found] == [123456, 500000]


def test_no_text_gives_no_times() -> None:
    assert parse_times(pl.Series([], dtype=pl.String)).dtype == TIMESTAMP
    assert parse_times(pl.Series([None], dtype=pl.String)).to_list() == [None]


def test_second_60_is_the_first_of_the_next_minute() -> None:
    found = parse_times(pl.Series(["2016-12-31 23:59:60"]))
    assert found.to_list() == [dt.datetime(2017, 1, 1)]


@pytest.mark.parametrize(
    "kind",
    [pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.Datetime("ms", "Asia/Kolkata")],
    ids=str,
)
def test_the_type_that_comes_is_the_one_that_is_asked_for(kind: pl.Datetime) -> None:
    texts = pl.Series(["2014-08-01 00:03:00", "1969-12-31T23:59:59.9996Z", "?", None])
    found = parse_times(texts, kind=kind)
    assert found.dtype == kind
    assert found.null_count() == 2
    first = dt.datetime(1969, 12, 31, 23, 59, 59, 999_000 if kind.time_unit == "ms" else 999_600)
    assert found.dt.convert_time_zone("UTC")[1].replace(tzinfo=None) == first


def test_in_a_zone_a_text_without_an_offset_is_what_a_clock_there_shows() -> None:
    berlin = pl.Datetime("us", "Europe/Berlin")
    texts = ["2014-10-26 01:30:00", "2014-10-26 02:30:00", "2014-10-26T02:30:00+01:00",
             "2014-03-30 02:30:00", "2014-08-01T00:00:00Z"]  # fmt: skip
    found = parse_times(pl.Series(texts), kind=berlin)
    assert found.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_list() == [
        dt.datetime(2014, 10, 25, 23, 30), None, dt.datetime(2014, 10, 26, 1, 30), None,
        dt.datetime(2014, 8, 1),
    ]  # fmt: skip


def test_dates_and_times_of_day_are_types_too() -> None:
    days = parse_times(pl.Series(["2014-08-01", "14-08-01"]), ["%Y-%m-%d"], pl.Date())
    assert (days.dtype, days.to_list()) == (pl.Date, [dt.date(2014, 8, 1), None])
    clocks = parse_times(pl.Series(["12:03:00", "12:03"]), ["%H:%M:%S", "%H:%M"], pl.Time())
    assert (clocks.dtype, clocks.to_list()) == (pl.Time, [dt.time(12, 3)] * 2)


FORMS = [
    ISO, "%Y-%m-%d %H:%M:%S", "%d.%m.%Y, %H:%M:%S", "%j/%Y %I:%M:%S.%f %p", "%Y-%m-%d %H:%M:%S%.f",
    "%-d. %B %Y at %T", "%Y%m%d%H%M%S%6f", "%%%Y-%m-%d%%%H:%M:%S",
]  # fmt: skip
TIMES = [
    dt.datetime(2014, 8, 1, 0, 3), dt.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    dt.datetime(1970, 1, 1), dt.datetime(2024, 2, 29, 12, 0, 0, 1),
]  # fmt: skip


@pytest.mark.parametrize("written", FORMS)
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("years", [range(2014, 2015), range(1969, 2025)], ids=["one", "many"])
@pytest.mark.parametrize("repeats", [1, 1_000], ids=["few rows", "many rows"])
def test_looked_up_or_written_the_text_of_a_time_is_the_same(
    written: str, unit: str, years: range, repeats: int
) -> None:
    moments = [t for t in TIMES if t.year in years] * repeats
    times = pl.Series(moments, dtype=pl.Datetime(unit))
    texts = [column.to_list() for column in time_texts(times, written)]
    joined = ["".join(cells) for cells in zip(*texts, strict=True)]
    assert joined == times.dt.to_string(form(written).writes).to_list()


@pytest.mark.parametrize("repeats", [1, 1_000], ids=["few rows", "many rows"])
def test_a_fraction_of_a_second_is_written_where_there_is_one(repeats: int) -> None:
    times = pl.Series([THEN, THEN.replace(microsecond=250_000), THEN.replace(microsecond=1)])
    texts = time_texts(pl.concat([times] * repeats), ISO)
    joined = ["".join(cells) for cells in zip(*texts, strict=True)]
    assert joined[:3] == [
        "2014-08-01T00:03:00", "2014-08-01T00:03:00.250", "2014-08-01T00:03:00.000001",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (ISO, "2014-08-01T09:03:00+09:00"),
        ("%d.%m.%Y %H:%M", "01.08.2014 09:03+09:00"),
        ("%Y-%m-%dT%H:%M:%S%z", "2014-08-01T09:03:00+0900"),
        ("%Y-%m-%d %H:%M:%S UTC", "2014-08-01 00:03:00 UTC"),
        ("%Y-%m-%dT%H:%M:%SZ", "2014-08-01T00:03:00Z"),
    ],
)
def test_a_time_with_a_zone_is_written_as_the_moment_that_it_is(written: str, text: str) -> None:
    times = pl.Series([TIMES[0]]).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    assert text_of(times, form(written)).to_list() == [text]


def test_an_offset_of_seconds_is_written_as_utc() -> None:
    times = pl.Series([dt.datetime(1880, 1, 1), dt.datetime(2014, 1, 1)]).dt.replace_time_zone(
        "UTC"
    )
    there = times.dt.convert_time_zone("Europe/Berlin")
    assert text_of(there, form(ISO)).to_list() == [
        "1880-01-01T00:00:00+00:00", "2014-01-01T01:00:00+01:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("time", "written", "told"),
    [
        (THEN, "%Y-%m-%d", "column 't': 2014-08-01 00:03:00.000000 written by '%Y-%m-%d' is"),
        (THEN, "%Y-%m-%d", "'2014-08-01', which is read as 2014-08-01 00:00:00.000000"),
        (THEN, "%I %Y-%m-%d", "is read as"),
        (THEN.replace(year=1914), "%y-%m-%d %H:%M", "is read as 2014-08-01"),
        (THEN.replace(microsecond=1), "%Y-%m-%d %H:%M:%S.%3f", "is read as"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_bring_a_time_back_does_not_write_another(
    time: dt.datetime, written: str, told: str
) -> None:
    with pytest.raises(WriteError) as raised:
        text_of(pl.Series("t", [THEN.replace(minute=0), time]), form(written))
    assert told in str(raised.value)


@pytest.mark.parametrize("year", [0, 10_000, -5_000, 200_000])
@pytest.mark.parametrize("repeats", [1, 1_000])
def test_a_year_that_has_not_four_digits_is_not_written(year: int, repeats: int) -> None:
    numbers = pl.Series("t", [(year - 1970) * 31_556_952_000_000] * repeats)
    for kind, factor in ((TIMESTAMP, 1), (pl.Datetime("ms"), 1_000), (pl.Date, 86_400_000_000)):
        with pytest.raises(WriteError, match=r"column 't': .* years from 1970 have no text"):
            time_texts((numbers // factor).cast(kind), ISO if kind != pl.Date else "%Y-%m-%d")


NANO = pl.Datetime("ns")


@pytest.mark.parametrize(
    ("written", "text", "nanos"),
    [
        (ISO + "%.f", "2014-08-01T00:03:00.123456789", 123_456_789),
        (ISO + "%.f", "2014-08-01T00:03:00.1234567891", 123_456_789),
        (ISO + "%.f", "2014-08-01T00:03:00", 0),
        (ISO + "%.f%z", "2014-08-01T02:03:00.000000001+02:00", 1),
        ("%d. %b %y, %I:%M:%S%.f %p", "1. Aug 14, 12:03:00.000000001 AM", 1),
        (ISO + ".%f", "2014-08-01T00:03:00.123456", 123_456_000),
        (ISO + ".%f", "2014-08-01T00:03:00.123456789", None),
    ],
)
def test_a_column_of_nanoseconds_reads_as_many_digits_as_the_form_takes(
    written: str, text: str, nanos: int | None
) -> None:
    found = parse_times(pl.Series([text, None, "x"]), (written,), NANO)
    whole = int((THEN - dt.datetime(1970, 1, 1)).total_seconds()) * 10**9
    wanted = None if nanos is None else whole + nanos
    assert found.cast(pl.Int64).to_list() == [wanted, None, None]
    assert found.dtype == NANO


def test_a_time_before_1970_keeps_its_nanoseconds() -> None:
    found = parse_times(pl.Series(["1969-12-31T23:59:59.999999999"]), (ISO + "%.f",), NANO)
    assert found.cast(pl.Int64).to_list() == [-1]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2262-04-11T23:47:16.854775807", 2**63 - 1),
        ("2262-04-11T23:47:16.854775808", None),
        ("1677-09-21T00:12:43.145224192", -(2**63)),
        ("1677-09-21T00:12:43.145224191", None),
        ("0001-01-01T00:00:00", None),
        ("9999-12-31T23:59:59.999999999", None),
    ],
)
def test_beyond_their_ends_there_are_no_nanoseconds(text: str, number: int | None) -> None:
    found = parse_times(pl.Series([text, "2014-08-01T00:03:00"]), (ISO + "%.f",), NANO)
    assert found.cast(pl.Int64).to_list()[0] == number
    assert found.null_count() == (number is None)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_within_a_day_of_their_ends_nanoseconds_have_no_zone(zone: str) -> None:
    kind = pl.Datetime("ns", zone)
    for number in (2**63 - 1, -(2**63)):
        times = pl.Series("t", [0, number]).cast(kind)
        with pytest.raises(WriteError, match="cannot be told in a zone"):
            text_of(times, form(ISO))
    text = pl.Series(["2262-04-11T23:47:16.854775807+00:00", "1677-09-21T00:12:43.145224192+00:00"])
    assert parse_times(text, (ISO + "%.f%z",), kind).null_count() == 2


@pytest.mark.parametrize("written", [ISO + ".%f", ISO + "%.3f", ISO + "%.6f"])
def test_a_form_that_is_too_coarse_for_nanoseconds_does_not_write_another_time(
    written: str,
) -> None:
    fine = pl.Series("t", [1_000_000, 1]).cast(NANO)
    assert text_of(fine[:1], form(written)).null_count() == 0
    with pytest.raises(WriteError, match=r"00\.000000001 written by"):
        text_of(fine, form(written))
    assert text_of(fine, form(ISO)).to_list()[1] == "1970-01-01T00:00:00.000000001"
