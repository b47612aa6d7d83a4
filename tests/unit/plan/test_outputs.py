from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from processor import Csv, Json, Text, Topology, TopologyError
from processor import functions as F
from processor.testing import TestDriver

ROW = Json({"target": pl.String, "origin": pl.String, "n": pl.Int64, "t": pl.Datetime("us")})
KINDS = dict(ROW.columns or {})


def read(topology: Topology):
    return topology.read.kafka("in", format=ROW, event_time="t", partitioned_by="origin")


def written(format_, *columns) -> Topology:
    topology = Topology("copy")
    read(topology).select(*columns or KINDS).write.kafka("out", format=format_)
    return topology


@pytest.mark.parametrize("format_", [Csv, Json])
def test_columns_in_another_order_are_written_in_the_format_s(format_: type) -> None:
    driver = TestDriver(
        written(format_({"origin": pl.String, "target": pl.String}), "target", "origin")
    )
    driver.feed([{"target": "b", "origin": "a", "n": 1, "t": "2014-08-01 00:00:00"}])
    driver.run()
    want = b"a,b" if format_ is Csv else b'{"origin":"a","target":"b"}'
    assert driver.values("out") == [want]


@pytest.mark.parametrize(
    ("format_", "message", "remedy"),
    [
        (Csv({**KINDS, "more": pl.String}), "names 'more', and there is no such column",
         "target String, origin String, n Int64, t Datetime"),
        (Csv({"origin": pl.String, "n": pl.Int64}), "does not name the column 'target'",
         '.select("origin", "n")'),
        (Json({"origin": pl.String}), "does not name the column 'target'", '.select("origin")'),
        (Csv({**KINDS, "n": pl.Int32}), "'n' is Int64, and Int32 in the format",
         '.with_columns(pl.col("n").cast(pl.Int32))'),
        (Json({**KINDS, "t": pl.Datetime("ms", "UTC")}), "'t' is Datetime",
         'cast(pl.Datetime("ms", "UTC"))'),
        (Json({**KINDS, "n": pl.String}), "'n' is Int64, and String", "say pl.Int64 in the format"),
        (Json(epoch={"u": "s"}), "has 'u' as a number since 1970, and there is no such column",
         "name a column of times"),
        (Json(millis=frozenset({"n"})), "has 'n' as a number since 1970, and it is Int64",
         "name a column of times"),
    ],
)  # fmt: skip
def test_other_columns_than_the_format_s_are_refused_at_the_line(
    format_: Csv | Json, message: str, remedy: str
) -> None:
    with pytest.raises(TopologyError) as raised:
        written(format_).plan()
    assert raised.value.message.startswith(f"{__file__}:")
    assert "rows cannot be written to 'out'" in raised.value.message
    assert message in raised.value.message
    assert remedy in raised.value.remedy


def test_all_headers_are_written_as_headers_and_not_in_a_format() -> None:
    topology = Topology("headers")
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}), headers="h")
    rows.write.kafka("out", format=Json({"n": pl.Int64}))
    with pytest.raises(TopologyError, match='headers="h"\\) makes headers of it'):
        topology.plan()


@pytest.mark.parametrize(
    "format_",
    [Csv(KINDS), Json(KINDS), Json(), Json(epoch={"t": "us"}), Csv(dict(reversed(KINDS.items())))],
)
def test_the_format_s_own_columns_pass(format_: Csv | Json) -> None:
    written(format_).plan()


def test_text_writes_the_only_column_whatever_its_name() -> None:
    written(Text(), "target").plan()


def test_windows_of_a_quarter_of_a_second_have_each_its_own_times() -> None:
    topology = Topology("quick")
    windows = read(topology).group_by(F.window("t", "250 milliseconds"), "origin").agg(n=F.count())
    windows.write.kafka("out", key="origin", mode="update")
    driver = TestDriver(topology)
    for i in range(3):
        driver.feed(
            [{"target": "b", "origin": "a", "n": 1, "t": f"2014-08-01 00:00:00.{i * 25:02}"}]
        )
    driver.run()
    assert [(row["window_start"], row["window_end"]) for row in driver.json("out")] == [
        ("2014-08-01T00:00:00", "2014-08-01T00:00:00.250"),
        ("2014-08-01T00:00:00.250", "2014-08-01T00:00:00.500"),
        ("2014-08-01T00:00:00.500", "2014-08-01T00:00:00.750"),
    ]


def test_two_hours_that_clocks_show_alike_are_two_windows_for_a_reader() -> None:
    topology = Topology("autumn")
    zoned = read(topology).with_columns(
        t=pl.col("t").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    )
    zoned.select("t").write.kafka("out", format=Json({"t": pl.Datetime("us", "Europe/Berlin")}))
    driver = TestDriver(topology)
    for hour in (0, 1):
        driver.feed([{"target": "b", "origin": "a", "n": 1, "t": f"2014-10-26 0{hour}:00:00"}])
    driver.run()
    assert [row["t"] for row in driver.json("out")] == [
        "2014-10-26T02:00:00+02:00", "2014-10-26T02:00:00+01:00",
    ]  # fmt: skip


def test_a_time_that_the_form_cannot_bring_back_is_set_aside_and_says_so() -> None:
    driver = TestDriver(written(Json({"t": pl.Datetime("us")}, times=("%Y-%m-%d",)), "t"))
    driver.feed([
        {"target": "b", "origin": "a", "n": 1, "t": f"2014-08-01 00:0{minute}:00"}
        for minute in (0, 3, 0)
    ])  # fmt: skip
    driver.run()
    assert driver.json("out") == [{"t": "2014-08-01"}] * 2
    (letter,) = driver.dead_letters()
    headers = dict(letter.headers())
    assert b"column 't': 2014-08-01 00:03:00" in headers["processor.error"]
    assert b"make it text by dt.to_string()" in headers["processor.error"]
    assert headers["processor.stage"].startswith(f"copy/write at {__file__}:".encode())


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_group_whose_time_has_no_text_is_set_aside_and_says_so(zone: str | None) -> None:
    topology = Topology("far")
    last = pl.col("last") + pl.duration(days=2_916_700)
    if zone is not None:
        last = last.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    groups = read(topology).group_by("origin").agg(last=F.max("t")).with_columns(last=last)
    groups.write.kafka("out", key="origin", mode="update")
    driver = TestDriver(topology)
    row = {"target": "b", "origin": "a", "n": 1, "t": "2014-08-01 00:00:00"}
    driver.feed([row, {**row, "origin": "b", "t": "2013-08-01 00:00:00"}])
    driver.run()
    assert [row["origin"] for row in driver.json("out")] == ["b"]
    (letter,) = driver.dead_letters()
    assert b"years from 1970 have no text" in dict(letter.headers())["processor.error"]
    assert b"10000-" in letter.value()


@pytest.mark.parametrize("kind", [pl.Datetime("ms"), pl.Datetime("us", "Asia/Tokyo"), pl.Date])
def test_times_of_any_declared_type_are_event_times(kind: pl.DataType) -> None:
    topology = Topology("days")
    form = Json({"k": pl.String, "t": kind})
    rows = topology.read.kafka("in", format=form, event_time="t", partitioned_by="k")
    counts = rows.with_watermark("0 s").group_by(F.window("t", "1 day"), "k").agg(n=F.count())
    counts.write.kafka("out", key="k", mode="append")
    driver = TestDriver(topology)
    for day in ("2014-08-01", "2014-08-01", "2014-08-03", "2014-08-04"):
        text = day if kind == pl.Date else f"{day}T12:00:00"
        driver.feed([{"k": "a", "t": text}], key="a")
    driver.run()
    assert [(row["window_start"], row["n"]) for row in driver.json("out")] == [
        ("2014-08-01T00:00:00", 2), ("2014-08-03T00:00:00", 1),
    ]  # fmt: skip
    assert dt.datetime.fromisoformat(driver.json("out")[0]["window_end"]) == dt.datetime(2014, 8, 2)


@pytest.mark.parametrize(
    "kind",
    [pl.Int64, pl.Float32, pl.Boolean, pl.Decimal(6, 2), pl.Date, pl.Datetime("us", "UTC"), pl.Time,
     pl.Enum(["a"])],
)  # fmt: skip
def test_a_text_is_of_any_column_that_has_one(kind):
    rows = Topology("copy").read.kafka("in", format=Json({"a": kind}))
    rows.write.kafka("out", format=Text())
    rows._topology.plan()


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [(pl.Binary, 'format=Bytes("a")'), (pl.List(pl.Int64), "Json()"), (pl.Duration, "Json()"),
     (pl.Struct({"b": pl.Int64}), "Json()")],
)  # fmt: skip
def test_a_text_of_what_has_none_is_refused_at_its_line(kind, remedy):
    rows = Topology("copy").read.kafka("in", format=Json({"a": kind}))
    rows.write.kafka("out", format=Text())
    with pytest.raises(TopologyError, match=r"'a' is .*, and a Text is text, a number") as refused:
        rows._topology.plan()
    assert remedy in refused.value.remedy
    assert "test_outputs.py:" in refused.value.message
