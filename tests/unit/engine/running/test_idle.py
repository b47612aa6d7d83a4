"""Partitions that stand still do not hold back a stage behind."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.connectors.ports import Producer
from processor.engine.running.idle import TIMEOUT
from processor.model.log import Output, TopicPartition
from processor.model.manifest import Manifest
from processor.testing import TestDriver

FORM = Json({"at": pl.Datetime("us"), "user": pl.String})
MINUTE = 60_000_000


def hours(*, idle: str | None = None) -> Topology:
    app = Topology("app")
    rows = app.read.kafka("in", format=FORM, event_time="at")
    rows = rows.with_watermark("10 minutes", idle=idle)
    rows.group_by(F.window("at", "1 hour"), "user").agg(n=F.count()).write.kafka("out")
    return app


def fed(driver: TestDriver, partition: int, *minutes: int) -> None:
    values = [
        {"at": f"2024-01-01T{m // 60:02}:{m % 60:02}:00", "user": "ann"} for m in minutes
    ]  # fmt: skip
    driver.feed(values, partition=partition)


def starts(driver: TestDriver) -> list[int]:
    return sorted(int(row["window_start"][11:13]) for row in driver.json("out"))


def heads(driver: TestDriver) -> dict[int, Manifest]:
    return {p.partition: Manifest.parse(c.metadata) for p, c in driver.committed().items()}


def waited(driver: TestDriver, seconds: float) -> None:
    for _ in range(3):
        driver.advance(seconds / 3)
        driver.run()


def test_a_partition_that_never_had_a_record_holds_nothing_back():
    driver = TestDriver(hours(), partitions=3)
    fed(driver, 0, 5, 130)
    fed(driver, 1, 7, 190)
    driver.run()
    waited(driver, 3)
    assert starts(driver) == [0]
    fed(driver, 2, 100)
    driver.run()
    assert sum(r.late for r in driver.reports) == 1  # 100 is behind 130 by more than ten minutes


def test_one_that_has_stood_still_for_the_time_out_takes_the_least_of_the_others():
    driver = TestDriver(hours(), partitions=3)
    for partition, minutes in enumerate(([5, 20], [6, 200], [7, 150])):
        fed(driver, partition, *minutes)
    driver.run()
    assert starts(driver) == []
    waited(driver, TIMEOUT.total_seconds() - 2)
    fed(driver, 1, 201)
    fed(driver, 2, 151)
    driver.run()
    assert starts(driver) == []
    waited(driver, 3)
    assert starts(driver) == [0]
    assert heads(driver)[0].idle
    assert not heads(driver)[1].idle
    least = heads(driver)[2].event_time_max
    assert heads(driver)[0].event_time_max == least


def test_where_all_stand_still_the_largest_counts_and_goes_no_further():
    driver = TestDriver(hours(), partitions=2, workers=2)
    fed(driver, 0, 5, 20)
    fed(driver, 1, 6, 250)
    driver.run()
    waited(driver, 200)
    assert starts(driver) == [0]
    assert len({head.event_time_max for head in heads(driver).values()}) == 1
    batches = len(driver.reports)
    waited(driver, 100_000)
    assert starts(driver) == [0]
    assert len(driver.reports) == batches  # nothing is told again and again


@pytest.mark.parametrize("workers", [1, 2])
def test_where_the_topology_says_so_it_goes_on_with_the_clock_and_what_comes_is_late(workers):
    driver = TestDriver(hours(idle="30 seconds"), partitions=2, workers=workers)
    fed(driver, 0, 5, 20)
    fed(driver, 1, 6, 90)
    driver.run()
    waited(driver, 45)
    assert starts(driver) == [0]
    for _ in range(40):
        waited(driver, 60)
    assert starts(driver) == [0, 1]
    fed(driver, 0, 91)
    driver.run()
    assert sum(r.late for r in driver.reports) == 1
    fed(driver, 0, 500)
    driver.run()
    assert not heads(driver)[0].idle


def test_what_the_clock_has_done_is_kept_across_a_crash():
    driver = TestDriver(hours(), partitions=2)
    fed(driver, 0, 5, 20)
    fed(driver, 1, 6, 250)
    driver.run()
    waited(driver, 200)
    raised = heads(driver)[0].event_time_max
    driver.kill()
    driver.restart()
    driver.run()
    fed(driver, 0, 30)
    driver.run()
    assert sum(r.late for r in driver.reports) == 1
    assert heads(driver)[0].event_time_max == raised


@pytest.mark.parametrize("again", [False, True])
def test_an_empty_partition_follows_the_others_and_holds_nothing_back(again):
    driver = TestDriver(hours(), partitions=3)
    fed(driver, 0, 5, 70)
    fed(driver, 1, 7, 75)
    driver.run()
    waited(driver, 3)
    for hour in range(2, 6):
        fed(driver, 0, 60 * hour + 15)
        fed(driver, 1, 60 * hour + 15)
        driver.run()
        if again:
            driver.kill()
            driver.restart()
        waited(driver, 3)
        assert max(starts(driver)) == hour - 1


def open_transaction(driver: TestDriver, partition: int) -> Producer:
    """Somebody writes, and has not committed."""
    producer = driver.log.producer("somebody")
    producer.start(1.0)
    producer.begin()
    producer.produce(Output("in", [b"{}"], partition=partition))
    producer.flush(1.0)
    return producer


def test_one_with_records_in_an_open_transaction_is_not_idle():
    driver = TestDriver(hours(), partitions=2)
    fed(driver, 0, 5, 20)
    fed(driver, 1, 6, 250)
    driver.run()
    producer = open_transaction(driver, 0)
    waited(driver, 300)
    assert starts(driver) == []
    assert not heads(driver)[0].idle
    producer.abort(1.0)
    waited(driver, 300)
    assert starts(driver) == [0]


def test_a_stage_with_state_of_its_own_keeps_to_its_records():
    app = Topology("app")
    rows = app.read.kafka("in", format=FORM, event_time="at", partitioned_by="user")
    rows = rows.with_watermark("10 minutes")
    rows.group_by(F.window("at", "1 hour"), "user").agg(n=F.count()).write.kafka("own")
    rows.group_by(F.window("at", "1 hour")).agg(n=F.count()).write.kafka("out")
    driver = TestDriver(app, partitions=2)
    fed(driver, 0, 5, 20)
    fed(driver, 1, 6, 250)
    driver.run()
    waited(driver, 300)
    assert not any(head.idle for head in heads(driver).values())
    assert [row["n"] for row in driver.json("own")] == [1]


def test_other_workers_partitions_are_known_by_what_they_have_committed():
    driver = TestDriver(hours(), partitions=4, workers=3)
    seen: dict[int, Any] = {}
    for partition, minutes in enumerate(([5, 20], [6, 200], [7, 150], [8, 140])):
        fed(driver, partition, *minutes)
    driver.run()
    waited(driver, 200)
    seen = heads(driver)
    assert {head.event_time_max for head in seen.values()} == {seen[1].event_time_max}
    assert all(head.idle for head in seen.values())
    assert {p.partition for p in driver.owned(0)} != {0, 1, 2, 3}
    assert TopicPartition("in", 0) in driver.committed()


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("empty", [(0, 2), (0, 1, 2), (1, 3), (0, 3), (3,)])
def test_empty_partitions_hold_nothing_back_whoever_has_them(empty, workers):
    driver = TestDriver(hours(), partitions=4, workers=workers)
    for partition in {0, 1, 2, 3} - set(empty):
        fed(driver, partition, 5, 70)
    driver.run()
    waited(driver, 6)
    for partition in {0, 1, 2, 3} - set(empty):
        fed(driver, partition, 75)
    driver.run()
    waited(driver, 6)
    assert starts(driver) == [0]
    assert {head.event_time_max for head in heads(driver).values()} <= {
        heads(driver)[min({0, 1, 2, 3} - set(empty))].event_time_max
    }
