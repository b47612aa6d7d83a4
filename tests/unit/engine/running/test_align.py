"""Partitions that are far ahead of the others wait, and all is read in the end."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.errors import TopologyError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.testing import Crash, TestDriver

FORM = Json({"at": pl.Datetime("us"), "user": pl.String})
MINUTE_US = 60_000_000
BEGIN_US = 1_704_067_200_000_000


def hours(max_ahead: str | None = "60 minutes", *, topics: int = 1) -> Topology:
    app = Topology("app")
    streams = [
        app.read.kafka(name, format=FORM, event_time="at").with_watermark(
            "10 minutes", max_ahead=max_ahead
        )
        for name in ("in", "other")[:topics]
    ]
    rows = streams[0].union(*streams[1:]) if topics > 1 else streams[0]
    rows.group_by(F.window("at", "1 hour"), "user").agg(n=F.count()).write.kafka("out")
    return app


def fed(driver: TestDriver, topic: str, partition: int, minutes: range) -> None:
    values = [
        {"at": f"2024-01-01T{m // 60:02}:{m % 60:02}:00", "user": "ann"} for m in minutes
    ]  # fmt: skip
    driver.feed(values, topic=topic, partition=partition)


def at(driver: TestDriver, stage: int = 0) -> dict[int, int | None]:
    """The minute that each partition of a stage has come to."""
    heads = driver.committed(stage)
    found = {p.partition: Manifest.parse(c.metadata).event_time_max for p, c in heads.items()}
    return {p: None if t is None else (t - BEGIN_US) // MINUTE_US for p, t in found.items()}


def total(driver: TestDriver) -> int:
    return sum(row["n"] for row in driver.json("out"))


def spread(driver: TestDriver, worker: int, turns: int) -> int:
    """How far the first partition came ahead of the second, looked at a second after each turn."""
    most = 0
    for _ in range(turns):
        driver.turn(worker)
        driver.advance(1)
        minutes = at(driver)
        most = max(most, (minutes.get(0) or 0) - (minutes.get(1) or 0))
    return most


def test_a_partition_that_is_ahead_by_more_is_not_read_until_the_others_follow():
    driver = TestDriver(hours(), partitions=2, workers=2, batch_records_max=10)
    first = next(w for w in (0, 1) if driver.turn(w) or TopicPartition("in", 0) in driver.owned(w))
    fed(driver, "in", 0, range(720))
    fed(driver, "in", 1, range(720))
    driver.turn(1 - first)
    assert spread(driver, first, 60) <= 60 + 10
    before = at(driver)[0]
    assert spread(driver, 1 - first, 5) >= 0
    assert before is not None
    driver.run()
    assert (at(driver)[0], at(driver)[1]) == (719, 719)
    assert total(driver) == 2 * 660  # of 719 minutes less ten, eleven hours are over


def test_without_it_a_partition_goes_as_far_as_it_can():
    driver = TestDriver(hours(None), partitions=2, workers=2, batch_records_max=10)
    first = next(w for w in (0, 1) if driver.turn(w) or TopicPartition("in", 0) in driver.owned(w))
    fed(driver, "in", 0, range(720))
    fed(driver, "in", 1, range(720))
    driver.turn(1 - first)
    assert spread(driver, first, 60) > 500


def test_one_that_has_nothing_to_read_holds_nobody_back():
    driver = TestDriver(hours(), partitions=2, batch_records_max=10)
    fed(driver, "in", 0, range(720))
    driver.run()
    assert at(driver)[0] == 719
    assert driver.noted == []


def test_the_other_topic_of_a_union_is_waited_for_and_one_that_nobody_reads_is_told():
    driver = TestDriver(hours(topics=2), partitions=1, batch_records_max=10)
    fed(driver, "in", 0, range(720))
    fed(driver, "other", 0, range(720))
    for _ in range(100):
        driver.turn()
        driver.advance(1)
    assert (at(driver)[0] or 0) <= 60 + 10
    (note,) = driver.noted
    assert "in[0] has waited for 60 s" in note
    assert "other[0] has records" in note
    for _ in range(3):
        driver.run()
        driver.advance(1)
    assert at(driver)[0] == 719
    assert total(driver) == 2 * 660


@pytest.mark.parametrize("step", ["before:commit", "after:commit"])
def test_a_crash_of_a_worker_that_waits_loses_and_doubles_nothing(step):
    driver = TestDriver(hours(topics=2), partitions=1, batch_records_max=10)
    fed(driver, "in", 0, range(720))
    fed(driver, "other", 0, range(720))
    driver.crash_at(step)
    with pytest.raises(Crash):
        for _ in range(100):
            driver.turn()
            driver.advance(1)
    driver.expire()
    driver.restart()
    for _ in range(3):
        driver.run()
        driver.advance(1)
    assert total(driver) == 2 * 660


@pytest.mark.parametrize("given", ["0 s", timedelta(seconds=-1)])
def test_a_bound_that_holds_everything_is_refused(given):
    app = Topology("app")
    rows = app.read.kafka("in", format=FORM, event_time="at")
    with pytest.raises(TopologyError, match="max_ahead"):
        rows.with_watermark("1 minute", max_ahead=given)
