from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from processor.formats.times import (
    ISO,
    TIMESTAMP,
    format_times,
    is_timestamp,
    parse_times,
    time_texts,
)

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
    ],
)
def test_each_form_of_a_moment_is_that_moment(text: str) -> None:
    mixed = parse_times(pl.Series([text, "2014-08-01 00:03:00", None, text]))
    assert mixed.to_list() == [THEN, THEN, None, THEN]
    assert mixed.dtype == TIMESTAMP


@pytest.mark.parametrize(
    "text",
    ["", "?", "2014-08-01", "13/1/2014 0:00:00", "2014-02-30 00:00:00", "2014-08-01 24:00:00",
     "2014-08-01T00:03:00+02:00", "2014-08-01 00:03:00x"],
)  # fmt: skip
def test_what_is_no_time_is_null(text: str) -> None:
    assert parse_times(pl.Series([text])).to_list() == [None]


def test_fractions_are_cut_to_microseconds() -> None:
    found = parse_times(pl.Series(["2014-08-01T00:03:00.1234567Z", "2014-08-01 00:03:00.5"]))
    assert [time.microsecond for time in found] == [123456, 500000]


def test_no_text_gives_no_times() -> None:
    assert parse_times(pl.Series([], dtype=pl.String)).dtype == TIMESTAMP
    assert parse_times(pl.Series([None], dtype=pl.String)).to_list() == [None]


def test_only_microseconds_without_a_zone_are_timestamps() -> None:
    kinds = [pl.Datetime, pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.Date]
    assert [is_timestamp(kind) for kind in kinds] == [True, True, False, False, False]


def test_only_columns_of_timestamps_become_text() -> None:
    frame = pl.DataFrame({"t": [THEN, None], "n": [1, 2]})
    assert format_times(frame, "%Y-%m-%dT%H:%M:%S").rows() == [
        ("2014-08-01T00:03:00", 1),
        (None, 2),
    ]
    assert format_times(frame.select("n"), "%Y").equals(frame.select("n"))


FORMS = [
    ISO, "%Y-%m-%d %H:%M:%S", "%d.%m.%y, %H:%M", "%j/%Y %I:%M:%S", "on %e at %H", "%H:%M %d",
    "%Y-%m-%d", "%Y %H:%M:%S%.f", "%d%%%H", "%H", "iso", "%Y-%m-%dT%H:%M:%S%z",
]  # fmt: skip
TIMES = [
    dt.datetime(2014, 8, 1, 0, 3), dt.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    dt.datetime(1970, 1, 1), dt.datetime(2024, 2, 29, 12, 0, 0, 1),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS[:-1])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("years", [range(2014, 2015), range(1969, 2025)], ids=["one", "many"])
@pytest.mark.parametrize("repeats", [1, 1_000], ids=["few rows", "many rows"])
def test_looked_up_or_written_the_text_of_a_time_is_the_same(
    form: str, unit: str, years: range, repeats: int
) -> None:
    moments = [t for t in TIMES if t.year in years] * repeats
    times = pl.Series(moments, dtype=pl.Datetime(unit))
    texts = [column.to_list() for column in time_texts(times, form)]
    joined = ["".join(cells) for cells in zip(*texts, strict=True)]
    assert joined == times.dt.to_string(form).to_list()


def test_a_time_with_a_zone_is_written_in_its_zone() -> None:
    times = pl.Series([TIMES[0]]).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    (texts,) = time_texts(times, FORMS[-1])
    assert texts.to_list() == ["2014-08-01T09:03:00+0900"]
    (texts,) = time_texts(times, ISO)
    assert texts.to_list() == ["2014-08-01T09:03:00"]
