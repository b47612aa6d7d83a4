from __future__ import annotations

import datetime as dt
import math
from typing import Any

import polars as pl
import pytest

from processor import Json, TopologyError
from processor.formats.base import WriteError

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
        (b'{"dt":null,"cluster":6}', "column 'dt': null"),
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


RAW = ["1", "1.10", "2.0", "1E5", "1e-7", "-0", "-0.0", "1e400", "123456789012345678901234567890",
       "1" * 80, "0.1000000000000000055511151231257827", "true", '{"a": 1.10, "b":[ ]}', "[1, 2.0]",
       "[]"]  # fmt: skip


@pytest.mark.parametrize(
    "company", [[], [b"junk"], [b'{"s":"x\\ud800"}']], ids=["fast", "slow", "odd"]
)
@pytest.mark.parametrize("raw", RAW)
def test_a_column_of_text_takes_what_is_no_text_as_it_stands(
    raw: str, company: list[bytes]
) -> None:
    form = Json({"s": pl.String, "n": pl.Int64})
    value = f'{{"x":1.5,"s" : {raw} ,"n":7}}'.encode()
    plain = b'{"s":"1.10","n":8}'
    decoded = form.decode([plain, value, *company])
    assert not {0, 1} & decoded.bad.keys()
    assert decoded.frame.rows()[:2] == [("1.10", 8), (raw, 7)]


def test_a_member_that_is_no_column_may_be_any_number() -> None:
    values = [
        b'{"x":1e400,"dt":"2014-08-01 00:00:00","cluster":6}',
        b'{"x":%s,%s' % (b"9" * 90, GOOD[1:]),
    ]
    decoded = TRIP.decode(values)
    assert decoded.bad == {}
    assert decoded.frame.rows() == [ROW] * 2


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ('{"s":"1.10","s":2.50}', "1.10"),
        ('{"s":2.50,"s":"1.10"}', "2.50"),
        ('{"o":{"s":2.50},"s":"1.10"}', "1.10"),
        ('{"o":{"s":"1.10"},"s":2.50}', "2.50"),
        (r'{"o":"\"s\":7.70","s":2.50}', "2.50"),
        (r'{"\u0073":2.50,"o":[{"s":1.0}]}', "2.50"),
        ('{"o":"{","s":2.50}', "2.50"),
    ],
)
def test_only_the_member_itself_counts(value: str, want: str) -> None:
    for company in ([], [b"junk"]):
        decoded = Json({"s": pl.String}).decode([value.encode(), *company])
        assert decoded.frame["s"][0] == want


def test_numbers_in_a_text_column_do_not_shift_those_of_other_rows() -> None:
    form = Json({"s": pl.String, "t": pl.String}, optional=frozenset({"s", "t"}))
    values = [
        b'{"s":%s,"t":"%d"}' % (v, i) for i, v in enumerate([b"1.50", b"null", b'"x"', b"2.0"])
    ]
    decoded = form.decode(values)
    assert decoded.frame["s"].to_list() == ["1.50", None, "x", "2.0"]
    assert decoded.frame["t"].to_list() == ["0", "1", "2", "3"]


def test_times_are_numbers_both_ways_where_that_is_declared() -> None:
    kinds = {"a": pl.Datetime("us"), "b": pl.Datetime("ms"), "c": pl.Datetime("us", "UTC")}
    form = Json(kinds, millis=frozenset({"a"}), epoch={"b": "s", "c": "us"})
    values = [b'{"a":1406851380250,"b":1406851380,"c":1406851380000001}']
    decoded = form.decode(values)
    assert decoded.bad == {}
    assert decoded.frame.schema == kinds
    assert decoded.frame.row(0)[0] == dt.datetime(2014, 8, 1, 0, 3, 0, 250_000)
    assert form.encode(decoded.frame) == values


def test_seconds_with_a_fraction_are_written_so_and_their_neighbours_are_not() -> None:
    form = Json({"s": pl.String, "t": pl.Datetime("us")}, epoch={"t": "s"})
    values = [
        b'{"s":"a","t":1406851380}', b'{"s":"b","t":1406851380.25}', b'{"s":"\\"","t":1406851381}',
    ]  # fmt: skip
    assert form.encode(form.decode(values).frame) == values


def test_a_number_that_cannot_be_meant_is_bad_and_says_which_unit_would_be() -> None:
    form = Json({"t": pl.Datetime("us")}, millis=frozenset({"t"}))
    decoded = form.decode([b'{"t":1406851380000}', b'{"t":1406851380}', b'{"t":1406851380000000}'])
    assert set(decoded.bad) == {1, 2}
    assert "2014-08-01 in seconds: declare epoch={'t': 's'}" in decoded.bad[1]
    assert "2014-08-01 in microseconds: declare epoch={'t': 'us'}" in decoded.bad[2]


@pytest.mark.parametrize(
    "text", ["2014-08-01T00:03:00+00:00", "2014-08-01T02:03:00.000+02:00", "2014-08-01T00:03Z"]
)
def test_forms_with_and_without_an_offset_are_read_side_by_side(text: str) -> None:
    value = b'{"dt":"%s","cluster":6}' % text.encode()
    for batch in ([GOOD, value], [value, GOOD], [value] * 2):
        decoded = TRIP.decode(batch)
        assert decoded.bad == {}
        assert decoded.frame["dt"][batch.index(value)] == dt.datetime(2014, 8, 1, 0, 3)


def test_own_forms_with_and_without_an_offset_do_not_end_the_run() -> None:
    form = Json({"t": pl.Datetime("us")}, times=("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M %z"))
    decoded = form.decode(
        [b'{"t":"01.08.2014 00:03"}', b'{"t":"01.08.2014 02:03 +0200"}', b'{"t":"?"}']
    )
    assert decoded.frame["t"].to_list()[:2] == [dt.datetime(2014, 8, 1, 0, 3)] * 2
    assert set(decoded.bad) == {2}


def test_the_form_that_is_written_is_read_before_those_that_it_could_be_taken_for() -> None:
    form = Json({"t": pl.Datetime("us")}, time_form="%d/%m/%Y %H:%M:%S")
    frame = pl.DataFrame(
        {"t": [dt.datetime(2014, 3, 2), dt.datetime(2014, 3, 2, 0, 0, 0, 250_000)]}
    )
    values = form.encode(frame)
    assert values == [b'{"t":"02/03/2014 00:00:00"}', b'{"t":"02/03/2014 00:00:00.250"}']
    assert form.decode(values).frame.equals(frame)


def test_of_own_forms_the_first_is_written() -> None:
    form = Json({"t": pl.Datetime("us")}, times=("%Y%m%d %H%M%S", "%Y"))
    frame = pl.DataFrame({"t": [dt.datetime(2014, 8, 1, 0, 3)]})
    assert form.encode(frame) == [b'{"t":"20140801 000300"}']


def test_a_quote_in_a_form_is_escaped() -> None:
    form = Json({"t": pl.Datetime("us")}, time_form='%Y-%m-%d "%H:%M:%S"')
    frame = pl.DataFrame({"t": [dt.datetime(2014, 8, 1, 0, 3)]})
    assert form.encode(frame) == [rb'{"t":"2014-08-01 \"00:03:00\""}']
    assert form.decode(form.encode(frame)).frame.equals(frame)


def test_members_are_written_in_the_order_of_the_format() -> None:
    form = Json({"b": pl.Int64, "a": pl.Int64})
    assert form.encode(pl.DataFrame({"a": [1], "b": [2]})) == [b'{"b":2,"a":1}']


def test_times_of_every_kind_are_written_without_columns_too() -> None:
    moment = dt.datetime(2014, 10, 26, 0, 30, 0, 250_000, dt.UTC)
    frame = pl.DataFrame({
        "z": pl.Series([moment]).dt.convert_time_zone("Europe/Berlin"), "d": [moment.date()],
        "c": [dt.time(0, 30)], "m": pl.Series([moment]).dt.replace_time_zone(None),
    })  # fmt: skip
    assert Json(millis=frozenset({"m"})).encode(frame) == [
        b'{"z":"2014-10-26T02:30:00.250+02:00","d":"2014-10-26","c":"00:30:00","m":1414283400250}'
    ]


@pytest.mark.parametrize(
    "kind", [pl.Decimal, pl.Enum([]), pl.Int128, pl.Categorical, pl.Array(pl.Int64, 2), int]
)
def test_a_type_that_cannot_be_read_is_refused_at_once(kind: pl.DataType) -> None:
    with pytest.raises(TopologyError, match="'x' cannot be read as"):
        Json({"x": kind})


def test_a_name_that_is_no_column_is_refused() -> None:
    with pytest.raises(TopologyError, match=r"test_json.py:\d+: Json: 'y' is no column"):
        Json({"x": pl.Int64}, optional=frozenset({"y"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"millis": {"x"}}, "declared for 'x', which is Int64"),
        ({"millis": {"t"}, "epoch": {"t": "s"}}, "in 's' and in milliseconds"),
        ({"time_form": "%Y-%m-%d %Z"}, "'%Z' in '%Y-%m-%d %Z'"),
        ({"times": "%Y"}, "is no list of forms"),
        ({"times": ["%Y", 5]}, "5 is no form of times"),
        ({"millis": "t"}, "'t' is a text where a set of names is due"),
        ({"optional": "t"}, "'t' is a text where a set of names is due"),
        ({"epoch": "t"}, "epoch='t' gives no units"),
    ],
)
def test_what_is_wrong_about_times_is_refused_at_the_line(options: dict, message: str) -> None:
    with pytest.raises(TopologyError) as raised:
        Json({"x": pl.Int64, "t": pl.Datetime("us")}, **options)
    assert message in raised.value.message
    assert raised.value.message.startswith(__file__)
    assert raised.value.remedy


def test_objects_are_written_in_the_order_of_the_columns_one_a_row() -> None:
    frame = pl.DataFrame({"b": ["x\ny"], "a": [1.5], "t": [dt.datetime(2014, 8, 1)], "n": [None]})
    assert Json().encode(frame) == [b'{"b":"x\\ny","a":1.5,"t":"2014-08-01T00:00:00","n":null}']
    assert Json(time_form="%d.%m.%Y").encode(frame.select("t")) == [b'{"t":"01.08.2014"}']
    assert Json().encode(frame.clear()) == []


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each call of the parser."""
    sizes: list[int] = []
    parse = pl.read_ndjson

    def counted(joined: bytes, **options: Any) -> pl.DataFrame:
        sizes.append(len(joined))
        return parse(joined, **options)

    monkeypatch.setattr(pl, "read_ndjson", counted)
    return sizes


@pytest.mark.parametrize("bad", [b"junk", b'{"dt":"2014-08-01 00:00:00","cluster":"x"}'])
def test_fifty_bad_rows_of_fifty_thousand_are_found_in_two_passes(
    parsed: list[int], bad: bytes
) -> None:
    values = [GOOD] * 50_000
    values[::1000] = [bad] * 50
    assert len(TRIP.decode(values).bad) == 50
    assert len(parsed) <= 2
    assert sum(parsed) <= 2 * sum(len(value) + 1 for value in values)


def test_a_batch_of_bad_rows_only_is_found_in_two_passes_too(parsed: list[int]) -> None:
    assert len(TRIP.decode([b'{"dt":"?","cluster":"x"}'] * 50_000).bad) == 50_000
    assert len(parsed) <= 2


@pytest.mark.parametrize(
    "beside",
    [rb'"s":"\ud83d"', rb'"s":"\udc00x"', b'"s":"\xff"', rb'"s":"a","z":["\ud83d"]',
     b'"s":"\xed\xa0\xbd"', rb'"\ud83d":1,"s":"a"', b'"s":"a","z":NaN',
     b'"s":"a","z":-Infinity', rb'"s":"\ud83d","s":"a"'],
)  # fmt: skip
def test_a_number_that_is_too_large_lets_nothing_through_that_is_bad_without_it(
    beside: bytes,
) -> None:
    form = Json({"s": pl.String, "n": pl.Int64})
    for many in (b"1e400", b"-1.5E+999", b"1"):
        good = b'{"x":' + many + b',"s":"1e400 \\" \\ud83d\\ude00","n":1}'
        found = form.decode([good, b'{"x":' + many + b"," + beside + b',"n":1}', good])
        assert list(found.bad) == [1]
        assert found.frame["s"][0] == '1e400 " \U0001f600'


def test_decimals_are_read_to_the_last_digit_and_never_rounded() -> None:
    form = Json({"d": pl.Decimal(6, 2)})
    good = [b'{"d":1.10}', b'{"d":"-0.05"}', b'{"d":12}', b'{"d":1.5000}', b'{"d":9999.99}']
    assert [str(cell) for cell in form.decode(good).frame["d"]] == [
        "1.10", "-0.05", "12.00", "1.50", "9999.99",
    ]  # fmt: skip
    assert form.encode(form.decode(good[:1]).frame) == [b'{"d":"1.10"}']
    bad = [b'{"d":1.239}', b'{"d":10000}', b'{"d":1e2}', b'{"d":"x"}', b'{"d":true}', b'{"d":[1]}']
    reasons = form.decode(bad).bad
    assert reasons[0] == "column 'd': '1.239' is no Decimal(precision=6, scale=2)"
    assert reasons.keys() == set(range(6))


def test_words_of_an_enumeration_are_those_that_are_declared() -> None:
    form = Json({"size": pl.Enum(["small", "large"])})
    decoded = form.decode([b'{"size":"large"}', b'{"size":"LARGE"}', b'{"size":1}'])
    assert decoded.frame["size"][0] == "large"
    assert decoded.bad.keys() == {1, 2}
    assert form.encode(decoded.frame[:1]) == [b'{"size":"large"}']


def test_a_number_that_is_not_finite_is_null_only_where_null_is_read():
    form = Json({"x": pl.Float64, "y": pl.Float64}, optional=frozenset({"y"}), nan="null")
    assert form.encode(pl.DataFrame({"x": [1.0], "y": [math.nan]})) == [b'{"x":1.0,"y":null}']
    with pytest.raises(WriteError, match="column 'x' is nan"):
        form.encode(pl.DataFrame({"x": [math.nan], "y": [1.0]}))


@pytest.mark.parametrize("kind", [pl.Int8, pl.UInt8, pl.UInt16, pl.Int32, pl.Float32])
@pytest.mark.parametrize("cell", ['"x"', "[1]", "true"])
def test_a_reason_names_the_type_that_was_declared_wherever_it_stands(kind, cell):
    form = Json({"a": kind, "o": pl.Struct({"b": pl.List(kind)})}, optional={"a", "o"})
    values = [b'{"a":%s}' % cell.encode(), b'{"o":{"b":[1,%s]}}' % cell.encode()]
    reasons = form.decode(values).bad
    assert [reason.partition(": ")[0] for reason in reasons.values()] == [
        "column 'a'", "column 'o.b[1]'",
    ]  # fmt: skip
    assert all(reason.endswith(f" is no {kind}") for reason in reasons.values())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"a":"x","a":1}', "column 'a': 'x' is no Int64"),
        (b'{"a":{"b":1},"a":1}', "column 'a': {'b': 1} is no Int64"),
        (b'{"a":1,"o":{"b":"x","b":1}}', "column 'o.b': 'x' is no Int64"),
        (b'{"a":1,"d":{"e":1e400}}', "column 'd': {'e': inf} cannot be read"),
    ],
)
def test_the_first_of_two_members_is_the_one_that_is_told_of(value, reason):
    columns = {"a": pl.Int64, "o": pl.Struct({"b": pl.Int64}),
               "d": pl.Struct({"e": pl.Decimal(5, 2)})}  # fmt: skip
    form = Json(columns, optional={"o", "d"})
    assert form.decode([b'{"a":1}', value]).bad == {1: reason}
    assert form.decode([value]).bad == {0: reason}
