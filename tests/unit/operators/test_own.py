"""Key, headers, partition and offset of a record as columns, and back on what is written."""

from __future__ import annotations

import json
from dataclasses import dataclass

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor import Csv, Json, Text, Topology
from processor import functions as F
from processor.cli.verify import verified
from processor.model.letters import REDRIVEN
from processor.model.watermark import HEADER
from processor.operators import own
from processor.testing import TestDriver
from tests.property.profile import QUICK

ALL = {"key": "k", "headers": {"trace": "trace", "who": "w"}, "partition": "p", "offset": "o"}


def kept(**written) -> Topology:
    """What comes in goes out, with its key and all its headers."""
    topology = Topology("kept")
    rows = topology.read.kafka("in", format=Text(), key="k", headers="h", timestamp="at")
    rows.write.kafka(
        "out", **{"format": Text(), "key": "k", "headers": "h", "timestamp": "at", **written}
    )
    return topology


def ran(topology: Topology, *records, partitions: int = 1) -> TestDriver:
    """Records are (key, value, headers), or with a time."""
    driver = TestDriver(topology, partitions=partitions)
    for number, (key, value, headers, *time) in enumerate(records):
        driver.log.feed(
            "in", [value], [key], headers=[headers], partition=number % partitions,
            timestamps_ms=time or [1_700_000_000_000 + number],
        )  # fmt: skip
    driver.run()
    return driver


def test_what_the_log_has_of_a_record_are_columns():
    topology = Topology("own")
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}), timestamp="at", **ALL)
    rows.write.kafka("out")
    assert rows._node.own() == {
        "k": pl.String(), "trace": pl.String(), "w": pl.String(), "p": pl.Int32(),
        "o": pl.Int64(), "at": pl.Datetime("us"),
    }  # fmt: skip
    driver = ran(
        topology,
        (b"a", b'{"n":1}', [("trace", b"t1"), ("other", b"x"), ("trace", b"t2")]),
        (None, b'{"n":2}', [("who", None), ("trace", b"")]),
        (b"", b'{"n":3}', []),
        partitions=2,
    )
    found = sorted(driver.json("out"), key=lambda row: row["n"])
    at = "2023-11-14 22:13:20"
    assert [{**row, "at": row["at"].replace("T", " ")[: len(at)]} for row in found] == [
        {"n": 1, "k": "a", "trace": "t2", "w": None, "p": 0, "o": 0, "at": at},
        {"n": 2, "k": None, "trace": "", "w": None, "p": 1, "o": 0, "at": at},
        {"n": 3, "k": "", "trace": None, "w": None, "p": 0, "o": 1, "at": at},
    ]


@pytest.mark.parametrize(
    ("key", "headers", "reason"),
    [
        (b"\xff", [], "the record's key is not UTF-8"),
        (b"a", [("trace", b"\xfe")], "the header 'trace' is not UTF-8"),
    ],
)
def test_a_key_or_a_header_that_is_no_text_makes_a_record_bad_and_not_its_neighbours(
    key, headers, reason
):
    topology = Topology("own")
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}), **ALL)
    rows.write.kafka("out")
    good = (b"a", b'{"n":1}', [("other", b"\xff")])
    driver = ran(topology, good, (key, b'{"n":2}', headers), good)
    assert [row["n"] for row in driver.json("out")] == [1, 1]
    (letter,) = driver.dead_letters()
    assert (letter.key(), letter.value()) == (key, b'{"n":2}')
    assert dict(letter.headers())["processor.error"].decode() == reason


headers = st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=3)
records = st.lists(
    st.tuples(
        st.none() | st.text(max_size=3).map(str.encode),
        st.text("ab", min_size=1, max_size=3).map(str.encode),
        headers,
        st.integers(1, 2**41),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@QUICK
@given(records)
def test_key_headers_and_timestamp_of_the_input_are_kept_as_they_were(given_records):
    driver = ran(kept(), *given_records)
    found = [(m.key(), m.value(), m.headers() or [], m.timestamp()[1]) for m in driver.read("out")]
    assert sorted(found, key=repr) == sorted((tuple(record) for record in given_records), key=repr)


def test_a_watermark_that_the_input_carries_is_not_kept_it_holds_there_alone():
    driver = ran(kept(), (b"a", b"v", [("x", b"1"), (HEADER, b"{}"), ("y", b"2")]))
    (message,) = driver.read("out")
    assert message.headers() == [("x", b"1"), ("y", b"2")]


def test_how_often_a_record_was_sent_to_the_input_again_is_not_kept_it_holds_there_alone():
    driver = ran(kept(), (b"a", b"v", [("x", b"1"), (REDRIVEN, b"2")]))
    (message,) = driver.read("out")
    assert message.headers() == [("x", b"1")]


@pytest.mark.parametrize("form", [Text(), Csv({"value": pl.String}), Json({"value": pl.String})])
def test_a_format_that_does_not_name_them_leaves_key_header_and_time_out_of_the_value(form):
    driver = ran(kept(format=form), (b"a", b"v", [("x", b"1")]))
    (message,) = driver.read("out")
    assert (message.key(), message.headers()) == (b"a", [("x", b"1")])
    assert message.value() in {b"v", b'{"value":"v"}'}


def test_a_format_that_names_no_columns_has_them_in_the_value_too_but_for_all_headers():
    driver = ran(kept(format=Json()), (b"a", b"v", [("x", b"1")]))
    assert driver.json("out")[0].keys() == {"value", "k", "at"}


def test_headers_are_the_text_of_their_columns_and_null_is_none():
    topology = Topology("made")
    rows = topology.read.kafka(
        "in", format=Json({"n": pl.Int64, "t": pl.String}, optional=frozenset({"n", "t"}))
    )
    rows.write.kafka("out", headers={"number": "n", "trace": "t"}, format=Json())
    driver = TestDriver(topology)
    driver.feed([{"n": 6, "t": "x"}, {"n": None, "t": "y"}, {"n": None, "t": None}])
    driver.run()
    assert [m.headers() for m in driver.read("out")] == [
        [("number", b"6"), ("trace", b"x")], [("trace", b"y")], None,
    ]  # fmt: skip


@dataclass
class Stamped:
    kind: int
    ms: int

    def timestamp(self):
        return self.kind, self.ms


def test_a_record_has_no_timestamp_where_the_log_says_so_or_it_lies_before_1970():
    bad = {4: "other"}
    stamps = [Stamped(1, 0), Stamped(2, 5), Stamped(1, -1), Stamped(0, 7), Stamped(1, 8)]
    times = own._times("at", stamps, bad)
    assert times.dtype == pl.Datetime("us")
    assert times.to_physical().to_list() == [0, 5_000, -1_000, 7_000, 8_000]
    none = "the record has no timestamp"
    assert bad == {2: none, 3: none, 4: "other"}


def timed(kind=None, **options) -> Topology:
    topology = Topology("timed")
    columns = {"n": pl.Int64, "at": kind or pl.Datetime("us")}
    rows = topology.read.kafka("in", format=Json(columns, optional=frozenset({"at"})), **options)
    rows.write.kafka("out", timestamp="at")
    return topology


@pytest.mark.parametrize(
    ("kind", "text", "ms"),
    [
        (pl.Datetime("us"), "2024-05-01T10:00:00.250999", 1_714_557_600_250),
        (pl.Datetime("ms"), "2024-05-01T10:00:00.250", 1_714_557_600_250),
        (pl.Datetime("us", "Europe/Berlin"), "2024-05-01T10:00:00+02:00", 1_714_550_400_000),
        (pl.Date, "2024-05-01", 1_714_521_600_000),
        (pl.Datetime("us"), "1970-01-01T00:00:00.001", 1),
    ],
)
def test_the_timestamp_of_a_record_is_the_time_of_its_column(kind, text, ms):
    driver = TestDriver(timed(kind))
    driver.feed([{"n": 1, "at": text}])
    driver.run()
    assert [m.timestamp()[1] for m in driver.read("out")] == [ms]


def test_where_the_column_is_null_the_timestamp_is_that_of_writing():
    driver = TestDriver(timed())
    driver.feed([{"n": 1, "at": None}, {"n": 2, "at": "2024-05-01T10:00:00"}])
    driver.run()
    written_ms, given_ms = (m.timestamp()[1] for m in driver.read("out"))
    assert given_ms == 1_714_557_600_000
    assert written_ms >= driver.read("in")[0].timestamp()[1]


def test_a_time_that_is_no_records_timestamp_sets_its_record_aside():
    driver = TestDriver(timed())
    times = ["2024-05-01T10:00:00", "1969-12-31T23:59:59", "1970-01-01T00:00:00", "2024-05-02"]
    driver.feed([{"n": n, "at": time} for n, time in enumerate([*times[:3], times[0]])])
    driver.run()
    assert [row["n"] for row in driver.json("out")] == [0, 3]
    letters = driver.dead_letters()
    assert [json.loads(m.value())["n"] for m in letters] == [1, 2]
    told = dict(letters[0].headers())["processor.error"].decode()
    assert "column 'at': 1969-12-31 23:59:59 is no record's timestamp" in told


def test_counts_by_the_records_own_key_and_the_last_time_of_a_group_as_its_timestamp():
    topology = Topology("by-key")
    rows = topology.read.kafka("in", format=Text(), key="k", timestamp="at", partitioned_by="k")
    groups = rows.group_by("k").agg(n=F.count(), last=F.max("at"))
    groups.write.kafka("out", key="k", timestamp="last", mode="update")
    driver = ran(topology, (b"a", b"1", []), (b"b", b"1", []), (b"a", b"1", []))
    found = {m.key(): (json.loads(m.value())["n"], m.timestamp()[1]) for m in driver.read("out")}
    assert found == {b"a": (2, 1_700_000_000_002), b"b": (1, 1_700_000_000_001)}
    report = verified(topology.plan(), driver.log)
    assert not report.findings
    assert "out: headers and timestamps are not compared" in report.notes


@pytest.mark.parametrize("form", [Text(), Json(), Csv({"value": pl.String})])
def test_verify_judges_keys_and_values_and_says_that_it_does_not_compare_the_rest(form):
    topology = kept(format=form)
    driver = ran(topology, (b"a", b"v", [("x", b"1")]), (None, b"w", []))
    report = verified(topology.plan(), driver.log)
    assert not report.findings
    assert report.notes == ["out: headers and timestamps are not compared"]
    driver.log.feed("out", [b"else"], [b"a"])
    assert [f.kind for f in verified(topology.plan(), driver.log).findings] == ["wrong"]


def test_the_driver_feeds_headers():
    driver = TestDriver(kept())
    driver.feed(["v"], key="a", headers={"x": "1"})
    driver.run()
    assert driver.read("out")[0].headers() == [("x", b"1")]
