"""The record's own timestamp as a column, and as the event time."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from processor import Json, Text, Topology, TopologyError
from processor import functions as F
from processor.cli.verify import verified
from processor.engine.offline.late import lateness
from processor.model.batch import Slice
from processor.model.log import TopicPartition
from processor.operators.pipeline import Pipeline
from processor.plan.describe import describe
from processor.plan.fingerprint import fingerprint, identity
from processor.testing import TestDriver

AT = [datetime(2024, 5, 1, 10, minute, second, 250_000, UTC)
      for minute, second in ((0, 1), (7, 0), (59, 59), (60 - 1, 0))]  # fmt: skip
IN = TopicPartition("in", 0)


def counted(**options) -> Topology:
    topology = Topology("counted")
    rows = topology.read.kafka(
        "in", format=Json({"k": pl.String}), partitioned_by="k", timestamp="at",
        **{"event_time": "at", **options},
    )  # fmt: skip
    counts = rows.with_watermark("5 minutes").group_by(F.window("at", "10 minutes"), "k")
    counts.agg(n=F.count()).write.kafka("out", key="k", mode="update")
    return topology


def millis(times) -> list[int]:
    return [round(time.timestamp() * 1000) for time in times]


def fed(topology: Topology, times=tuple(AT)) -> TestDriver:
    driver = TestDriver(topology)
    driver.log.feed(
        "in", [b'{"k":"a"}'] * len(times), [b"a"] * len(times), partition=0,
        timestamps_ms=millis(times),
    )  # fmt: skip
    driver.run()
    return driver


def test_windows_are_of_the_times_that_the_log_has():
    driver = fed(counted())
    rows = {row["window_start"]: row["n"] for row in driver.json("out")}
    assert rows == {"2024-05-01T10:00:00": 2, "2024-05-01T10:50:00": 2}
    assert verified(driver.plan, driver.log).findings == []


def test_the_column_is_there_to_the_millisecond_beside_the_others():
    topology = Topology("stamped")
    rows = topology.read.kafka("in", format=Text(), timestamp="at")
    rows.select("value", at=pl.col("at").dt.epoch("ms")).write.kafka("out")
    driver = fed(topology)
    assert [row["at"] for row in driver.json("out")] == millis(AT)


def test_lateness_is_by_them_too():
    topology = counted()
    times = [AT[2], AT[0], AT[1]]
    driver = fed(topology, times)
    assert [row["n"] for row in driver.json("out")] == [1]
    extents = {IN: driver.log.describe(["in"])["in"].extents[0]}
    known = lateness(driver.plan, driver.log.scan, extents)
    assert (known.records, len(known.behind)) == (3, 2)


class Bare:
    """A record of a log that keeps no times."""

    def __init__(self, kind, ms):
        self._stamp = kind, ms

    def value(self):
        return b'{"k":"a"}'

    def key(self):
        return b"a"

    def topic(self):
        return "in"

    def partition(self):
        return 0

    def offset(self):
        return 7

    def headers(self):
        return None

    def timestamp(self):
        return self._stamp


@pytest.mark.parametrize("stamp", [(0, 0), (0, 5), (1, -1)])
def test_a_record_without_a_timestamp_is_bad(stamp):
    pipeline = Pipeline(counted().plan())
    messages = [Bare(*stamp), Bare(1, 1_000)]
    part = Slice(IN, messages, [m.value() for m in messages], 0, 2, None)
    result = pipeline.run([part], [pipeline.new_state()])
    assert (result.counts.dead_lettered, result.counts.contributed) == (1, 1)
    (letter,) = [o for o in result.outputs if o.topic == "counted-dead-letters"]
    assert json.dumps(str(letter.headers)).count("the record has no timestamp") == 1


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"timestamp": "k"}, "timestamp='k' is a column of the format too"),
        ({"timestamp": 5}, "timestamp is 5"),
        ({"timestamp": "at", "partitioned_by": "at"}, "keyed by its records' timestamps"),
    ],
)
def test_what_cannot_be_is_refused_at_its_line(options, what):
    topology = Topology("x")
    with pytest.raises(TopologyError, match=what) as raised:
        topology.read.kafka("in", format=Json({"k": pl.String}), **options).write.kafka("out")
        topology.plan()
    assert raised.value.message.startswith(__file__)


def test_it_is_another_event_time_than_a_column_of_the_same_name():
    def other() -> Topology:
        topology = Topology("counted")
        rows = topology.read.kafka(
            "in", format=Json({"k": pl.String, "at": pl.Datetime("us")}), partitioned_by="k",
            event_time="at",
        )  # fmt: skip
        counts = rows.with_watermark("5 minutes").group_by(F.window("at", "10 minutes"), "k")
        counts.agg(n=F.count()).write.kafka("out", key="k", mode="update")
        return topology

    assert fingerprint(counted().plan()) != fingerprint(other().plan())
    assert identity(counted().plan()) != identity(other().plan())
    assert "event time at, the record's timestamp as at" in describe(counted().plan())
