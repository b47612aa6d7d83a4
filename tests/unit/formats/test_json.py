from __future__ import annotations

import datetime as dt
import time

import polars as pl
import pytest

from processor import Json, TopologyError

TRIP = Json({"dt": pl.Datetime("us"), "cluster": pl.Int64})
GOOD = b'{"dt":"2014-08-01 00:00:00","cluster":6}'
ROW = (dt.datetime(2014, 8, 1), 6)


def test_an_empty_batch_has_the_columns_and_no_rows() -> None:
    decoded = TRIP.decode([])
    assert dict(decoded.frame.schema) == {"dt": pl.Datetime("us"), "cluster": pl.Int64}
    assert decoded.frame.height == 0
    assert decoded.bad == {}


def test_members_that_are_no_column_are_ignored() -> None:
    assert TRIP.decode([GOOD[:-1] + b',"x":[{"y":null}]}']).frame.rows() == [ROW]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the record has no value"),
        (b"", "the record is empty"),
        (b"x" * 2_000_000, "the record has 2000000 bytes, more than 1000000"),
        (b'{"dt":"' + b"x" * 2_000_000 + b'"}', "more than 1000000"),
        (b"\0", "no JSON"),
        (GOOD + b"\0", "no JSON"),
        (b'{"dt":"\xff","cluster":1}', "no JSON"),
        (b"{", "no JSON"),
        (GOOD + GOOD, "no JSON"),
        (GOOD + b"\n" + GOOD, "no JSON"),
        (b"[1]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"6", "no JSON object"),
        (b"{}", "column 'dt': missing"),
        (b'{"cluster":6}', "column 'dt': missing"),
        (b'{"dt":null,"cluster":6}', "column 'dt': missing"),
        (b'{"dt":"2014-08-01 00:00:00"}', "column 'cluster': missing"),
        (b'{"dt":"yesterday","cluster":6}', "column 'dt': 'yesterday' is no time"),
        (b'{"dt":6,"cluster":6}', "column 'dt': '6' is no time"),
        (b'{"dt":"2014-08-01 00:00:00","cluster":"6"}', "column 'cluster': '6' is no Int64"),
        (b'{"dt":"2014-08-01 00:00:00","cluster":6.5}', "column 'cluster': 6.5 is no Int64"),
        (b'{"dt":"2014-08-01 00:00:00","cluster":true}', "column 'cluster': True is no Int64"),
        (b'{"dt":"2014-08-01 00:00:00","cluster":[6]}', r"column 'cluster': [6] is no Int64"),
        (b'{"dt":"2014-08-01 00:00:00","cluster":9223372036854775808}', "is no Int64"),
        (b"\xef\xbb\xbf" + GOOD, "no JSON"),
        (b'{"dt":"\\ud800","cluster":6}', "no JSON"),
    ],
    ids=range(27),
)
def test_a_bad_record_is_named_and_its_neighbours_stay_in_place(
    value: bytes | None, reason: str
) -> None:
    decoded = TRIP.decode([GOOD, value, GOOD])
    assert set(decoded.bad) == {1}
    assert reason in decoded.bad[1]
    assert decoded.frame.rows()[::2] == [ROW, ROW]
    assert set(TRIP.decode([value]).bad) == {0}


def test_line_breaks_between_tokens_do_no_harm() -> None:
    spread = b'\n{\n"dt": "2014-08-01 00:00:00",\r\n\t"cluster"\n:6}\r\n'
    assert TRIP.decode([spread, GOOD, spread]).frame.rows() == [ROW] * 3
    assert TRIP.decode([GOOD + b"\n", GOOD + b"\r\n"]).bad == {}


def test_values_that_make_one_object_only_together_are_bad_each() -> None:
    halves = [b'{"dt":"2014-08-01 00:00:00",', b'"cluster":6}', GOOD + GOOD]
    assert set(TRIP.decode(halves).bad) == {0, 1, 2}


@pytest.mark.parametrize("text", ["2014-08-01 00:03:00", "8/1/2014 0:03:00", "2014/8/1 00:03:00"])
def test_three_forms_of_time_are_read_side_by_side(text: str) -> None:
    value = b'{"dt":"%s","cluster":6}' % text.encode()
    decoded = TRIP.decode([GOOD, value])
    assert decoded.bad == {}
    assert decoded.frame["dt"][1] == dt.datetime(2014, 8, 1, 0, 3)


def test_the_first_of_members_with_one_name_counts_in_any_company() -> None:
    first = b'{"dt":"2014-08-01 00:00:00","cluster":6,"cluster":"x"}'
    last = b'{"dt":"2014-08-01 00:00:00","cluster":"x","cluster":6}'
    for company in ([], [b"junk"]):
        decoded = TRIP.decode([first, last, *company])
        assert 0 not in decoded.bad
        assert 1 in decoded.bad
        assert decoded.frame.row(0) == ROW


def test_optional_columns_may_be_null_but_not_wrong() -> None:
    form = Json({"n": pl.Int64, "t": pl.Datetime("us")}, optional=frozenset({"n", "t"}))
    decoded = form.decode([b"{}", b'{"n":null}', b'{"n":"x"}', b'{"t":"x"}'])
    assert set(decoded.bad) == {2, 3}
    assert decoded.frame.rows()[:2] == [(None, None)] * 2


def test_milliseconds_are_read_as_times() -> None:
    form = Json({"t": pl.Datetime("us")}, millis=frozenset({"t"}))
    decoded = form.decode(
        [b'{"t":1500}', b'{"t":"1500"}', b'{"t":9000000000000000000}', b'{"t":-1}', b'{"t":1.5}']
    )
    assert set(decoded.bad) == {1, 2, 4}
    assert decoded.frame["t"][0] == dt.datetime(1970, 1, 1, 0, 0, 1, 500_000)
    assert decoded.frame["t"][3] == dt.datetime(1969, 12, 31, 23, 59, 59, 999_000)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (pl.Int8, b"-128", b"128"),
        (pl.UInt8, b"255", b"-1"),
        (pl.Int16, b"32767", b"40000"),
        (pl.UInt16, b"65535", b"65536"),
        (pl.Int32, b"-5", b"5000000000"),
        (pl.UInt32, b"5", b"5000000000"),
        (pl.UInt64, b"18446744073709551615", b"-1"),
        (pl.Float32, b"1.5", b"1e39"),
        (pl.Float64, b"-1e300", b"1e400"),
        (pl.Float64, b"7", b"true"),
        (pl.Float64, b"7", b"NaN"),
        (pl.Boolean, b"true", b"1"),
    ],
)
def test_a_number_that_does_not_fit_its_type_is_bad(kind: type, good: bytes, bad: bytes) -> None:
    decoded = Json({"x": kind}).decode([b'{"x":%s}' % good, b'{"x":%s}' % bad])
    assert set(decoded.bad) == {1}
    assert decoded.frame.schema["x"] == kind


def test_text_columns_take_other_values_as_their_json() -> None:
    form = Json({"s": pl.String})
    assert form.decode([b'{"s":1}', b'{"s":"a\\n\\u0000b"}']).frame["s"].to_list() == [
        "1",
        "a\n\0b",
    ]


@pytest.mark.parametrize(
    "kind", [pl.Date, pl.Decimal(10, 2), pl.List(pl.Int64), pl.Datetime("ms"), pl.Int128, pl.Binary]
)
def test_a_type_that_cannot_be_read_is_refused_at_once(kind: pl.DataType) -> None:
    with pytest.raises(TopologyError, match="'x' cannot be read as"):
        Json({"x": kind})


def test_a_name_that_is_no_column_is_refused() -> None:
    with pytest.raises(TopologyError, match="'y' is no column"):
        Json({"x": pl.Int64}, optional=frozenset({"y"}))


def test_objects_are_written_in_the_order_of_the_columns_one_a_row() -> None:
    frame = pl.DataFrame({"b": ["x\ny"], "a": [1.5], "t": [dt.datetime(2014, 8, 1)], "n": [None]})
    assert Json().encode(frame) == [b'{"b":"x\\ny","a":1.5,"t":"2014-08-01T00:00:00","n":null}']
    assert Json(time_form="%Y").encode(frame.select("t")) == [b'{"t":"2014"}']
    assert Json().encode(frame.clear()) == []


@pytest.mark.parametrize("bad", [b"junk", b'{"dt":"2014-08-01 00:00:00","cluster":"x"}'])
def test_fifty_bad_rows_of_fifty_thousand_cost_little(bad: bytes) -> None:
    values = [GOOD] * 50_000
    values[::1000] = [bad] * 50
    TRIP.decode(values[:2])
    spent = []
    for _ in range(5):
        begin = time.thread_time()
        decoded = TRIP.decode(values)
        spent.append(time.thread_time() - begin)
        assert len(decoded.bad) == 50
    assert min(spent) < 0.3


def test_a_batch_of_bad_rows_only_costs_little_too() -> None:
    begin = time.thread_time()
    assert len(TRIP.decode([b'{"dt":"?","cluster":"x"}'] * 50_000).bad) == 50_000
    assert time.thread_time() - begin < 3.0, "0.4 s, in seconds of work, not of waiting"
