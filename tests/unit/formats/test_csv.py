from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from processor import Csv, TopologyError

TRIP = Csv({"dt": pl.Datetime("us"), "lat": pl.Float64, "lon": pl.Float64, "base": pl.String})
GOOD = b"2014-08-01 00:03:00,40.7,-73.9,B02512"
ROW = (dt.datetime(2014, 8, 1, 0, 3), 40.7, -73.9, "B02512")


def test_an_empty_batch_has_the_columns_and_no_rows() -> None:
    decoded = TRIP.decode([])
    assert dict(decoded.frame.schema) == dict(TRIP.columns)
    assert (decoded.frame.height, decoded.bad) == (0, {})


@pytest.mark.parametrize(
    "line",
    [
        GOOD,
        GOOD + b"\n",
        GOOD + b"\r\n",
        b"8/1/2014 0:03:00,40.7,-73.9,B02512",
        b"2014/8/1 00:03:00,40.7,-73.9,B02512",
        b'"8/1/2014 0:03:00","40.7",-73.9,"B02512"',
    ],
)
def test_a_trip_is_read_in_each_form_it_comes_in(line: bytes) -> None:
    decoded = TRIP.decode([GOOD, line])
    assert decoded.bad == {}
    assert decoded.frame.rows() == [ROW, ROW]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (None, "the record has no value"),
        (b"", "the record is empty"),
        (b"\n", "column 'dt': missing"),
        (b"x" * 2_000_000, "more than 1000000"),
        (b"\xff" + GOOD, "not UTF-8"),
        (GOOD + b"\0", "a NUL byte"),
        (b"2014-08-01 00:03:00,40.7,-73.9", "column 'base': missing"),
        (b"2014-08-01 00:03:00,40.7,-73.9,", "column 'base': missing"),
        (GOOD + b",", "more than 4 fields"),
        (GOOD + b",x", "more than 4 fields"),
        (b"2014-08-01 00:03:00,,-73.9,B", "column 'lat': missing"),
        (b"2014-08-01 00:03:00,north,-73.9,B", "column 'lat': 'north' is no number"),
        (b"2014-08-01 00:03:00,nan,-73.9,B", "column 'lat': 'nan' is no number"),
        (b"2014-08-01 00:03:00,inf,-73.9,B", "column 'lat': 'inf' is no number"),
        (b"noon,40.7,-73.9,B", "column 'dt': 'noon' is no time"),
        (b"2014-02-30 00:03:00,40.7,-73.9,B", "is no time"),
        (b'2014-08-01 00:03:00,40.7,-73.9,"B', "cannot be split"),
        (b'2014-08-01 00:03:00,40.7,-73.9,"B"x', "cannot be split"),
        (GOOD + b"\n" + GOOD, "cannot be split"),
    ],
    ids=range(19),
)
def test_a_bad_line_is_named_and_its_neighbours_stay_in_place(
    line: bytes | None, reason: str
) -> None:
    decoded = TRIP.decode([GOOD, line, GOOD])
    assert set(decoded.bad) == {1}
    assert reason in decoded.bad[1]
    assert decoded.frame.rows()[::2] == [ROW, ROW]
    alone = TRIP.decode([line, line])
    assert set(alone.bad) == {0, 1}
    assert alone.frame.height == 2


def test_quoted_fields_may_hold_what_separates() -> None:
    form = Csv({"n": pl.Int64, "s": pl.String})
    decoded = form.decode([b'1,"a,b"', b'2,"say ""hi"""', b'3,"two\nlines"', b"4,plain"])
    assert decoded.bad == {}
    assert decoded.frame["s"].to_list() == ["a,b", 'say "hi"', "two\nlines", "plain"]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (pl.Int8, b"-128", b"128"),
        (pl.UInt64, b"18446744073709551615", b"-1"),
        (pl.Int64, b"+1", b"1.0"),
        (pl.Float32, b"1e3", b"1e39"),
        (pl.Boolean, b"TRUE", b"yes"),
    ],
)
def test_a_number_that_does_not_fit_its_type_is_bad(kind: type, good: bytes, bad: bytes) -> None:
    decoded = Csv({"x": kind}).decode([good, bad])
    assert set(decoded.bad) == {1}
    assert decoded.frame.schema["x"] == kind


def test_another_separator_is_used_both_ways() -> None:
    form = Csv({"a": pl.String, "b": pl.Int64}, separator=";")
    frame = pl.DataFrame({"a": ["x;y"], "b": [1]})
    assert form.encode(frame) == [b'"x;y";1']
    assert form.decode([b'"x;y";1']).frame.equals(frame)


@pytest.mark.parametrize("separator", ["", ",,", '"', "\n", "é"])
def test_what_cannot_separate_is_refused(separator: str) -> None:
    with pytest.raises(TopologyError, match="cannot separate"):
        Csv({"a": pl.String}, separator=separator)


@pytest.mark.parametrize("kind", [pl.Date, pl.Datetime("ms"), pl.Decimal(10, 2), pl.Binary])
def test_a_type_that_cannot_be_read_is_refused(kind: pl.DataType) -> None:
    with pytest.raises(TopologyError, match="cannot be read as"):
        Csv({"a": kind})


def test_no_columns_are_refused() -> None:
    with pytest.raises(TopologyError, match="no columns"):
        Csv({})


def test_every_row_is_one_value_whatever_its_text() -> None:
    frame = pl.DataFrame({"s": ["a\nb", "x\0\ny", "", None], "n": [1, 2, 3, 4]})
    assert Csv({"s": pl.String}).encode(frame) == [b'"a\nb",1', b'"x\0\ny",2', b'"",3', b",4"]
    assert Csv({"s": pl.String}).encode(frame.clear()) == []


def test_times_are_written_in_the_first_form() -> None:
    frame = pl.DataFrame([ROW], schema=dict(TRIP.columns), orient="row")
    assert TRIP.encode(frame) == [GOOD]


def test_it_describes_itself_in_one_line() -> None:
    assert Csv({"a": pl.String, "n": pl.Int64}).describe() == "csv(a String, n Int64)"
