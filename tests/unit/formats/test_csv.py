from __future__ import annotations

import datetime as dt
import re

import polars as pl
import pytest

from processor import Csv, Topology, TopologyError
from processor import functions as F
from processor.formats.base import WriteError
from processor.plan import compacted
from processor.testing import TestDriver

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


@pytest.mark.parametrize("separator", ["", ",,", '"', "\n", "é", "-", ".", "+", "1", "e"])
def test_what_cannot_separate_is_refused(separator: str) -> None:
    with pytest.raises(TopologyError, match="cannot separate"):
        Csv({"a": pl.String}, separator=separator)


@pytest.mark.parametrize(
    "kind", [pl.Int128, pl.Decimal, pl.Struct({"a": pl.Int64}), pl.List(pl.Int64), str]
)
def test_a_type_that_cannot_be_read_is_refused(kind: pl.DataType) -> None:
    with pytest.raises(TopologyError, match=r"test_csv.py:\d+: Csv: column 'a' cannot be read as"):
        Csv({"a": kind})


@pytest.mark.parametrize("zone", ["Mars/Base", "europe/berlin", "CEST"])
def test_a_zone_that_is_not_known_is_refused(zone: str) -> None:
    with pytest.raises(TopologyError, match=f"column 'a': there is no zone '{zone}'"):
        Csv({"a": pl.Datetime("us", zone)})


def test_an_offset_may_stand_for_a_zone() -> None:
    form = Csv({"a": pl.Datetime("us", "+02:00")})
    decoded = form.decode([b"2014-08-01 02:00:00", b"2014-08-01T00:00:00Z"])
    assert form.encode(decoded.frame) == [b"2014-08-01 02:00:00+02:00"] * 2
    assert form.decode(form.encode(decoded.frame)).frame.equals(decoded.frame)


def test_no_columns_are_refused() -> None:
    with pytest.raises(TopologyError, match="no columns"):
        Csv({})


def test_columns_without_types_are_refused_and_the_message_says_how_to_name_them() -> None:
    with pytest.raises(TopologyError, match="gives no types of columns") as raised:
        Csv({"origin", "target"})  # type: ignore[arg-type]
    assert 'Csv({"user": pl.String})' in raised.value.remedy


def test_every_row_is_one_value_whatever_its_text() -> None:
    frame = pl.DataFrame({"s": ["a\nb", "x\0\ny", "", None], "n": [1, 2, 3, 4]})
    form = Csv({"s": pl.String, "n": pl.Int64})
    assert form.encode(frame) == [b'"a\nb",1', b'"x\0\ny",2', b'"",3', b",4"]
    assert form.encode(frame.clear()) == []


def test_fields_are_written_in_the_order_of_the_format() -> None:
    form = Csv({"origin": pl.String, "target": pl.String})
    frame = pl.DataFrame({"target": ["b"], "origin": ["a"]})
    assert form.encode(frame) == [b"a,b"]
    assert form.decode(form.encode(frame)).frame.to_dicts() == [{"origin": "a", "target": "b"}]
    with pytest.raises(ValueError, match="the columns are target, not origin, target"):
        form.encode(frame.select("target"))


@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("rest", [',"x"', ",x", ",x\r\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_cell(mark: str, rest: str) -> None:
    lines = [f"{mark}2014-08-01 00:03:00{rest}".encode(), b"2014-08-01 00:03:00,x"]
    times = Csv({"t": pl.Datetime("us"), "s": pl.String}).decode(lines)
    assert times.bad == {}
    texts = Csv({"t": pl.String, "s": pl.String}).decode(lines)
    assert texts.frame["t"].to_list() == ["2014-08-01 00:03:00"] * 2


def test_a_cell_that_begins_with_such_a_mark_is_read_back() -> None:
    form = Csv({"s": pl.String, "u": pl.String})
    frame = pl.DataFrame({"s": ["\ufeffa", "\ufeff\ufeff", "b"], "u": ["x", "\ufeffy", "z"]})
    assert form.decode(form.encode(frame)).frame.equals(frame)


@pytest.mark.parametrize("text", ["1.10", "2.0", "1E5", "-0", "007", "9" * 40, "TRUE", " 1"])
def test_a_column_of_text_takes_a_field_as_it_stands(text: str) -> None:
    decoded = Csv({"s": pl.String, "n": pl.Int64}).decode([f"{text},1".encode()])
    assert decoded.frame["s"].to_list() == [text]


def test_each_declared_type_of_times_is_the_type_that_comes() -> None:
    kinds = {
        "a": pl.Datetime("ms"), "b": pl.Datetime("us", "Asia/Tokyo"), "c": pl.Date, "d": pl.Time,
        "e": pl.Datetime, "f": pl.Datetime("ms", "UTC"),
    }  # fmt: skip
    form = Csv(kinds, epoch={"e": "s", "f": "us"})
    line = "2014-08-01 00:03:00.5,2014-08-01T00:03:00+09:00,8/1/2014,00:03,1406851380.5,"
    decoded = form.decode([f"{line}1406851380500000".encode()])
    assert decoded.bad == {}
    assert decoded.frame.schema == {**kinds, "e": pl.Datetime("us")}
    then = dt.datetime(2014, 8, 1, 0, 3, 0, 500_000)
    assert decoded.frame.row(0)[0] == decoded.frame.row(0)[4] == then
    assert decoded.frame.row(0)[2:4] == (then.date(), dt.time(0, 3))
    assert form.decode(form.encode(decoded.frame)).frame.equals(decoded.frame)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1406851380000", "1406851380000 is 46551-05-07"),
        (b"1406851380000", "but 2014-08-01 in milliseconds: declare epoch={'t': 'ms'}"),
        (b"noon", "column 't': 'noon' is no date in seconds since 1970"),
    ],
)
def test_a_number_that_cannot_be_meant_is_bad_with_the_unit_that_would_be(
    line: bytes, reason: str
) -> None:
    decoded = Csv({"t": pl.Datetime("us")}, epoch={"t": "s"}).decode([line])
    assert reason in decoded.bad[0]


def test_an_hour_that_a_clock_shows_twice_is_bad_and_says_what_is_missing() -> None:
    decoded = Csv({"t": pl.Datetime("us", "Europe/Berlin")}).decode([b"2014-10-26 02:30:00", b"x"])
    assert "shown twice by clocks in Europe/Berlin: write it with its offset" in decoded.bad[0]
    assert decoded.bad[1] == "column 't': 'x' is no time"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": "%Y-%m-%d"}, "is no list of forms"),
        ({"times": ()}, "is no list of forms"),
        ({"times": ("%Y-%m-%d %Q",)}, "'%Q' in '%Y-%m-%d %Q' is no directive"),
        ({"times": ("%H:%M",)}, "no form of times tells the date of 't'"),
        ({"epoch": {"t": "h"}}, "is no unit"),
        ({"epoch": {"s": "s"}}, "declared for 's', which is String"),
        ({"epoch": {"x": "s"}}, "declared for 'x', which is no column"),
    ],
)
def test_what_is_wrong_about_times_is_refused_at_the_line(options: dict, message: str) -> None:
    with pytest.raises(TopologyError) as raised:
        Csv({"t": pl.Datetime("us"), "s": pl.String}, **options)
    assert message in raised.value.message
    assert raised.value.message.startswith(__file__)
    assert raised.value.remedy


def test_times_are_written_in_the_first_form() -> None:
    frame = pl.DataFrame([ROW], schema=dict(TRIP.columns), orient="row")
    assert TRIP.encode(frame) == [GOOD]


def test_it_describes_itself_in_one_line() -> None:
    assert Csv({"a": pl.String, "n": pl.Int64}).describe() == "csv(a String, n Int64)"


NULLS = Csv(
    {"id": pl.Int64, "s": pl.String, "x": pl.Float64, "t": pl.Datetime("us"), "b": pl.Binary},
    optional=frozenset({"s", "x", "t", "b"}), nulls=("NA", ""),
)  # fmt: skip


def test_a_word_for_null_is_null_in_optional_columns_and_the_first_is_written() -> None:
    decoded = NULLS.decode(
        [b"1,NA,NA,NA,NA", b"2,,,,", b'3,"NA","",NA,', b"4,x,1.5,2014-08-01 00:03:00,YQ=="]
    )
    assert decoded.bad == {}
    assert decoded.frame.rows() == [
        *((i, None, None, None, None) for i in (1, 2, 3)),
        (4, "x", 1.5, dt.datetime(2014, 8, 1, 0, 3), b"a"),
    ]
    assert NULLS.encode(decoded.frame)[::3] == [
        b"1,NA,NA,NA,NA",
        b"4,x,1.5,2014-08-01 00:03:00,YQ==",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"NA,x,1,NA,NA", "column 'id': 'NA' is no number"),
        (b",x,1,NA,NA", "column 'id': missing"),
        (b"1,x,na,NA,NA", "column 'x': 'na' is no number"),
        (b"1,x,1,NULL,NA", "column 't': 'NULL' is no time"),
        (b"1,x,1,NA,YQ", "column 'b': 'YQ' is no base64"),
        (b"1,x,1,NA", "column 'b': missing"),
        (b"1,x,1,NA,NA,NA", "more than 5 fields"),
    ],
)
def test_what_is_neither_null_nor_of_its_type_is_bad(line: bytes, reason: str) -> None:
    good = b"1,NA,1.5,NA,NA"
    decoded = NULLS.decode([good, line, good])
    assert set(decoded.bad) == {1}
    assert reason in decoded.bad[1]
    assert decoded.frame["x"].to_list()[::2] == [1.5, 1.5]


@pytest.mark.parametrize(
    ("cells", "told"),
    [({"s": "NA"}, "'NA', which is read as null"), ({"s": ""}, "'', which is read as null"),
     ({"s": "a\0"}, "text with a NUL"), ({"x": float("nan")}, "nan, which is no number"),
     ({"b": b""}, "which is read as null")],
)  # fmt: skip
def test_a_cell_that_a_reader_would_take_for_another_is_not_written(cells: dict, told: str) -> None:
    rows = [{"id": 1}, {"id": 2} | cells]
    frame = pl.DataFrame(rows, schema=dict(NULLS.columns))
    with pytest.raises(WriteError, match=re.escape(told)):
        NULLS.encode(frame)
    assert NULLS.encode(frame[:1]) == [b"1,NA,NA,NA,NA"]


def test_a_number_may_stand_for_null_and_is_then_no_number() -> None:
    form = Csv({"n": pl.Int64}, optional=frozenset({"n"}), nulls=("-999",))
    assert form.decode([b"-999", b"5"]).frame["n"].to_list() == [None, 5]
    assert form.encode(pl.DataFrame({"n": [None, 5]})) == [b"-999", b"5"]
    with pytest.raises(WriteError, match="column 'n' is -999, which is read as null"):
        form.encode(pl.DataFrame({"n": [-999]}))


def test_words_for_null_are_text_where_the_column_is_not_optional() -> None:
    form = Csv({"s": pl.String, "n": pl.Int64}, optional=frozenset({"n"}), nulls=("NA",))
    frame = pl.DataFrame({"s": ["NA", "x"], "n": [None, 1]})
    assert form.encode(frame) == [b"NA,NA", b"x,1"]
    assert form.decode(form.encode(frame)).frame.equals(frame)


def test_a_lone_null_is_a_line_and_no_empty_record() -> None:
    form = Csv({"s": pl.String}, optional=frozenset({"s"}))
    assert form.encode(pl.DataFrame({"s": [None, "a"]}, schema={"s": pl.String})) == [b'""', b"a"]
    assert form.decode([b'""', b"a"]).frame["s"].to_list() == [None, "a"]


HEADER = Csv({"id": pl.Int64, "s": pl.String}, header=True)


@pytest.mark.parametrize("line", [b"id,s", b"id,s\r\n", b'"id","s"', b"\xef\xbb\xbfid,s"])
def test_a_line_of_the_columns_names_is_passed_wherever_it_comes(line: bytes) -> None:
    decoded = HEADER.decode([line, b"1,s", line, b"2,s"])
    assert (decoded.passed, decoded.bad) == ({0, 2}, {})
    assert decoded.frame["id"].to_list()[1::2] == [1, 2]
    assert HEADER.decode([]).passed == frozenset()


@pytest.mark.parametrize("line", [b"id,x", b"s,id", b"id", b"id,s,", b"ID,S"])
def test_another_line_is_no_header_but_bad(line: bytes) -> None:
    decoded = HEADER.decode([line])
    assert (decoded.passed, set(decoded.bad)) == (frozenset(), {0})


def test_without_a_header_a_line_of_names_is_bad_or_a_row() -> None:
    assert set(Csv({"id": pl.Int64, "s": pl.String}).decode([b"id,s"]).bad) == {0}
    assert Csv({"id": pl.String}).decode([b"id"]).frame.rows() == [("id",)]


@pytest.mark.parametrize("on_error", ["dead_letter", "fail", "skip"])
def test_headers_are_counted_as_filtered_and_are_no_dead_letters(on_error) -> None:
    topology = Topology("t")
    form = Csv({"at": pl.Datetime("us"), "id": pl.Int64}, header=True)
    rows = topology.read.kafka("in", format=form, event_time="at", on_error=on_error)
    rows.with_watermark("1 hour").write.kafka("out", format=form)
    driver = TestDriver(topology)
    driver.feed(["at,id", "2014-08-01 00:03:00,1", "at,id", "2014-08-01 00:03:00,2"])
    driver.run()
    assert driver.values("out") == [b"2014-08-01 00:03:00,1", b"2014-08-01 00:03:00,2"]
    assert sum(report.filtered for report in driver.reports) == 2
    assert driver.dead_letters() == []


def test_another_quote_is_read_and_written() -> None:
    form = Csv({"a": pl.String, "b": pl.String}, quote="'")
    frame = pl.DataFrame({"a": ["x,y", "it's", 'a "b"', "l\nm"], "b": ["z"] * 4})
    assert form.encode(frame) == [b"'x,y',z", b"'it''s',z", b'a "b",z', b"'l\nm',z"]
    decoded = form.decode(form.encode(frame))
    assert decoded.bad == {}
    assert decoded.frame.equals(frame)


def test_without_quotes_a_quote_is_text_and_a_separator_in_a_text_is_not_written() -> None:
    form = Csv({"a": pl.String, "n": pl.Int64}, separator="\t", quote=None)
    frame = pl.DataFrame({"a": ['"x"', 'a "b', "x,y"], "n": [1, 2, 3]})
    assert form.encode(frame) == [b'"x"\t1', b'a "b\t2', b"x,y\t3"]
    assert form.decode(form.encode(frame)).frame.equals(frame)
    for text in ("x\ty", "x\ny", "x\ry"):
        with pytest.raises(WriteError, match="cannot be told without quotes"):
            form.encode(pl.DataFrame({"a": [text], "n": [1]}))
    assert "line break" in form.decode([b"x\ny\t1"]).bad[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quote": "ab"}, "'ab' cannot be the quote"),
        ({"quote": "x"}, "'x' cannot be the quote"),
        ({"quote": "-"}, "'-' cannot be the quote"),
        ({"quote": ""}, "'' cannot be the quote"),
        ({"quote": ","}, "',' cannot separate fields"),
        ({"separator": '"'}, "cannot separate fields"),
        ({"separator": ""}, "'' cannot separate fields"),
        ({"optional": {"x"}}, "'x' is no column"),
        ({"nulls": "NA"}, "nulls='NA' is no list of texts"),
        ({"nulls": (None,)}, "is no list of texts"),
        ({"nulls": (), "optional": {"s"}}, "nothing is written for null"),
        ({"nulls": ("a,b",)}, "'a,b' cannot stand for null"),
        ({"nulls": ('"',)}, "cannot stand for null"),
        ({"nulls": ("a\n",)}, "cannot stand for null"),
        ({"quote": None, "optional": {"s"}}, "a line of one empty field"),
    ],
)
def test_what_cannot_be_is_refused_at_the_line(options: dict, message: str) -> None:
    with pytest.raises(TopologyError) as raised:
        Csv({"s": pl.String}, **options)
    assert message in raised.value.message
    assert raised.value.message.startswith(__file__)
    assert raised.value.remedy


def test_a_header_is_passed_where_an_event_time_is_computed_and_keys_are_read() -> None:
    topology = Topology("t")
    form = Csv({"day": pl.String, "id": pl.Int64}, header=True)
    at = pl.col("day").str.to_datetime("%Y-%m-%d").alias("at")
    rows = topology.read.kafka("in", format=form, event_time=at, key="k", on_error="fail")
    rows.with_watermark("1 day").select("id", "k").write.kafka("out")
    driver = TestDriver(topology)
    driver.feed(["day,id"], key=b"\xff")
    driver.feed(["2014-08-01,1"], key="a")
    driver.run()
    assert driver.json("out") == [{"id": 1, "k": "a"}]
    assert sum(report.filtered for report in driver.reports) == 1


def test_an_optional_column_is_no_event_time_and_no_key_of_a_compacted_topic() -> None:
    form = Csv({"at": pl.Datetime("us"), "k": pl.String}, optional=frozenset({"at", "k"}))
    topology = Topology("t")
    topology.read.kafka("in", format=form, event_time="at").write.kafka("out")
    with pytest.raises(TopologyError, match="event_time='at' may be missing"):
        topology.plan()
    topology = Topology("t")
    topology.read.kafka("in", format=form).write.kafka("out", key="k", format=form)
    with pytest.raises(TopologyError, match="its key 'k' may be null"):
        compacted.check(topology.plan(), {"out"})


def test_a_row_that_a_reader_would_take_for_another_is_set_aside_alone() -> None:
    topology = Topology("t")
    rows = topology.read.kafka("in", format=Csv({"n": pl.Int64, "s": pl.String}))
    form = Csv({"n": pl.Int64, "s": pl.String}, optional=frozenset({"s"}), nulls=("NA",))
    rows.write.kafka("out", format=form)
    driver = TestDriver(topology)
    driver.feed(["1,a", "2,NA", "3,b"])
    driver.run()
    assert driver.values("out") == [b"1,a", b"3,b"]
    (letter,) = driver.dead_letters()
    assert b"'NA', which is read as null" in dict(letter.headers())["processor.error"]


def test_a_header_says_nothing_of_keys() -> None:
    topology = Topology("t")
    form = Csv({"k": pl.String, "n": pl.Int64}, header=True)
    rows = topology.read.kafka("in", format=form, partitioned_by="k")
    rows.group_by("k").agg(n=F.sum("n")).write.kafka("out", key="k", mode="update")
    driver = TestDriver(topology, partitions=4)
    driver.feed(["k,n"], key="no key of any row")
    driver.feed(["a,1"], key="a")
    driver.run()
    assert driver.json("out") == [{"k": "a", "n": 1}]
    assert sum(report.misplaced for report in driver.reports) == 0


def test_a_row_that_would_be_read_as_the_header_is_not_written():
    form = Csv({"a": pl.String, "b": pl.String}, header=True)
    with pytest.raises(WriteError, match="read as a header"):
        form.encode(pl.DataFrame({"a": ["c", "a"], "b": ["d", "b"]}))
    assert form.encode(pl.DataFrame({"a": ["a"], "b": ["a"]})) == [b"a,a"]
    numbers = Csv({"a": pl.Int64, "b": pl.String}, header=True)
    assert numbers.encode(pl.DataFrame({"a": [1], "b": ["b"]})) == [b"1,b"]


@pytest.mark.parametrize(
    ("field", "kind", "reason"),
    [
        (b"300", pl.UInt8, "'300' is no UInt8"), (b"-1", pl.UInt64, "'-1' is no UInt64"),
        (b"1.5", pl.Int64, "'1.5' is no Int64"), (b"x", pl.UInt8, "'x' is no number"),
        (b"1e400", pl.Float64, "'1e400' is no Float64"), (b"yes", pl.Boolean, "is no boolean"),
    ],
)  # fmt: skip
def test_a_number_that_does_not_fit_is_not_told_to_be_none(field, kind, reason):
    bad = Csv({"a": kind, "b": pl.String}).decode([field + b",x"]).bad
    assert bad[0].startswith("column 'a': ")
    assert reason in bad[0]


def test_a_quoted_field_may_be_as_long_as_its_record() -> None:
    form = Csv({"a": pl.String, "n": pl.Int64})
    text = "y," * 200_000
    decoded = form.decode([f'"{text}",1'.encode()])
    assert (decoded.frame.rows(), decoded.bad) == ([(text, 1)], {})
