"""A topic is given more partitions, and a stage behind counts on the watermarks of all."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.connectors.memory.producer import MemoryProducer
from processor.engine.restore import grown
from processor.errors import AbortableError, StateMismatchError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest
from processor.testing import Crash, TestDriver
from tests.unit.engine.offline.test_rescale import grow

FORM = Json({"at": pl.Datetime("us"), "id": pl.Int64, "user": pl.String})


def hours(max_ahead: str | None = None) -> Topology:
    app = Topology("app")
    rows = app.read.kafka("in", format=FORM, event_time="at")
    rows = rows.with_watermark("10 minutes", late="late", max_ahead=max_ahead)
    rows.group_by(F.window("at", "1 hour"), "user").agg(n=F.count()).write.kafka("out")
    return app


def fed(driver: TestDriver, partition: int, *minutes: int) -> None:
    values = [
        {"at": f"2024-01-01T{m // 60:02}:{m % 60:02}:00", "id": m, "user": "ann"} for m in minutes
    ]
    driver.feed(values, topic="in", partition=partition)


def counted(driver: TestDriver) -> int:
    """How many rows are in windows that are over."""
    return sum(row["n"] for row in driver.json("out"))


def late(driver: TestDriver) -> list[int]:
    return [json.loads(message.value())["id"] for message in driver.read("late")]


def inner(driver: TestDriver) -> int:
    """Rows that were late behind the first stage, where nothing may be."""
    return sum(report.late for report in driver.reports if report.topology != "app")


def waited(driver: TestDriver) -> None:
    for _ in range(4):
        driver.advance(3)
        driver.run()


def begun(workers: int = 1, partitions: int = 1) -> TestDriver:
    driver = TestDriver(hours(), partitions=partitions, workers=workers)
    for partition in range(partitions):
        fed(driver, partition, 5, 70, 200)
    driver.run()
    waited(driver)
    return driver


@pytest.mark.parametrize(("workers", "partitions"), [(1, 1), (1, 2), (2, 2), (3, 3)])
def test_partitions_that_are_added_while_workers_run_stop_them_by_name(workers, partitions):
    driver = begun(workers, partitions)
    grow(driver, 2 * partitions, "in")
    fed(driver, 2 * partitions - 1, 100)
    with pytest.raises(StateMismatchError, match="that app hands on knows nothing of them") as e:
        waited(driver)
    assert e.value.remedy.startswith("start all workers again")


@pytest.mark.parametrize(("workers", "partitions"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)])
@pytest.mark.parametrize("crash", [None, "after:commit", "before:commit"])
def test_after_a_restart_no_row_is_lost_and_what_is_late_is_told(workers, partitions, crash):
    driver = begun(workers, partitions)
    for who in list(driver.running()):
        driver.stop(who)
    grow(driver, 2 * partitions, "in")
    again = TestDriver(
        hours(), partitions=2 * partitions, workers=workers, log=driver.log, store=driver.store
    )
    if crash:
        again.crash_at(crash)
    for partition in range(partitions, 2 * partitions):
        fed(again, partition, 100, 189, 190, 199, 210)
    for _ in range(2):
        try:
            waited(again)
        except Crash:
            again.restart()
    for partition in range(2 * partitions):
        fed(again, partition, 400)
    waited(again)
    assert inner(again) == 0
    assert sorted(late(again)) == sorted([100, 189] * partitions)
    assert counted(again) == 3 * partitions + 3 * partitions


def turned(driver: TestDriver, who: int = 0) -> None:
    for _ in range(8):
        driver.turn(who)


def test_raised_twice_before_the_first_added_partition_had_begun_nothing_is_late_inside():
    driver = begun()
    driver.stop()
    grow(driver, 2, "in")
    fed(driver, 1, 100, 210)
    second = TestDriver(hours(), partitions=2, log=driver.log, store=driver.store, workers=2)
    turned(second)  # the other one never turns
    for who in list(second.running()):
        second.drop(who)
        second.expire(who)
    grow(second, 3, "in")
    third = TestDriver(hours(), partitions=3, log=driver.log, store=driver.store, workers=3)
    turned(third)
    waited(third)
    for partition in range(3):
        fed(third, partition, 400)
    waited(third)
    assert (inner(third), late(third), counted(third)) == (0, [100], 4)


def test_what_was_only_pinned_tells_the_former_number_too():
    def copy() -> Topology:
        app = Topology("app")
        app.read.kafka("in", format=FORM).write.kafka("copy")
        return app

    driver = TestDriver(copy(), partitions=1)
    driver.run()
    where = TopicPartition("in", 0)
    assert Manifest.parse(driver.committed()[where].metadata).epoch == 0
    driver.stop()
    grow(driver, 2, "in")
    fed(driver, 0, 5)
    again = TestDriver(copy(), partitions=2, log=driver.log, store=driver.store)
    again.run()
    head = Manifest.parse(again.committed()[where].metadata)
    assert (head.epoch, head.partitions, head.former) == (1, 2, 1)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("before", [(), (5, 70, 200)])
def test_a_commit_that_tells_of_the_new_number_is_tried_until_it_is_done(
    workers, before, monkeypatch
):
    def carried() -> Topology:
        app = Topology("app")
        rows = app.read.kafka("in", format=FORM, event_time="at")
        rows = rows.with_watermark("10 minutes", late="late")
        rows.write.kafka("copy", key="user", watermark="carried")
        return app

    driver = TestDriver(carried(), partitions=1)
    fed(driver, 0, *before)
    waited(driver)
    driver.stop()
    grow(driver, 2, "in")
    fed(driver, 1, 210, 220, 500)
    flush, left = MemoryProducer.flush, [1]

    def once(self: MemoryProducer, timeout_s: float) -> None:
        if left[0]:
            left[0] -= 1
            raise AbortableError("a broker was away for a moment")
        flush(self, timeout_s)

    monkeypatch.setattr(MemoryProducer, "flush", once)
    again = TestDriver(carried(), partitions=2, workers=workers, log=driver.log, store=driver.store)
    for _ in range(20):
        again.advance(3)
        for who in list(again.running()):
            again.turn(who)
    assert [row["id"] for row in again.json("copy")] == [*before, 210, 220, 500]


@pytest.mark.parametrize("workers", [1, 2])
def test_where_none_may_be_far_ahead_an_added_partition_stands_in_nobodys_way(workers):
    driver = TestDriver(hours("1 hour"), partitions=1, workers=workers)
    fed(driver, 0, 5, 70, 200)
    waited(driver)
    for who in list(driver.running()):
        driver.stop(who)
    grow(driver, 2, "in")
    fed(driver, 1, 210, 220)
    again = TestDriver(
        hours("1 hour"), partitions=2, workers=workers, log=driver.log, store=driver.store
    )
    for _ in range(4):
        for who in list(again.running()):
            again.turn(who)
        again.advance(1.1)
    for minute in (400, 410):
        for partition in (0, 1):
            fed(again, partition, minute)
        waited(again)
    assert (inner(again), late(again), counted(again)) == (0, [], 5)


def test_a_batch_of_an_added_partition_that_was_promised_is_shown_again_as_it_was():
    shown: list[tuple[object, ...]] = []

    def with_calls() -> Topology:
        app = Topology("app")
        rows = app.read.kafka("in", format=FORM, event_time="at")
        rows = rows.with_watermark("10 minutes", late="late")
        rows.select("id").write.foreach_batch(
            lambda frame, epoch, batch: shown.append((batch.key, *frame["id"].to_list())),
            name="seen", per="task",
        )  # fmt: skip
        rows.group_by(F.window("at", "1 hour"), "user").agg(n=F.count()).write.kafka("out")
        return app

    driver = TestDriver(with_calls(), partitions=1)
    fed(driver, 0, 5, 70, 200)
    waited(driver)
    driver.stop()
    grow(driver, 2, "in")
    fed(driver, 1, 195, 230, 300)
    again = TestDriver(with_calls(), partitions=2, log=driver.log, store=driver.store)
    again.crash_at("after:call")
    with pytest.raises(Crash):
        waited(again)
    fed(again, 0, 500)
    again.restart()
    waited(again)
    of_added = [call for call in shown if "in[1]" in map(str, call[0])]
    assert of_added == [of_added[0]] * 2
    assert of_added[0][1:] == (195, 230, 300)
    assert late(again) == []


def test_without_a_watermark_to_hand_on_added_partitions_are_read_without_a_restart():
    app = Topology("app")
    app.read.kafka("in", format=FORM).repartition("user").write.kafka("out")
    driver = TestDriver(app, partitions=1)
    fed(driver, 0, 5)
    driver.run()
    grow(driver, 2, "in")
    fed(driver, 1, 6)
    waited(driver)
    assert sorted(row["id"] for row in driver.json("out")) == [5, 6]


def test_an_added_partition_waits_for_workers_that_know_nothing_of_it():
    driver = begun()
    grow(driver, 2, "in")
    fed(driver, 1, 195, 210)
    driver.restart(1)  # a new process, which knows of both
    with pytest.raises(StateMismatchError, match="knows nothing of them"):
        for _ in range(20):
            driver.advance(1)
            for who in list(driver.running()):
                driver.turn(who)
    driver.drop(0)
    driver.expire(0)
    driver.restart(0)
    waited(driver)
    fed(driver, 0, 400)
    fed(driver, 1, 400)
    waited(driver)
    assert (inner(driver), late(driver), counted(driver)) == (0, [], 5)


def committed(number: int, manifest: Manifest) -> tuple[TopicPartition, Committed]:
    return TopicPartition("in", number), Committed(0, str(manifest))


ADDED = Manifest(0, "", "", "", None, "f00d", 2, "app.1", former=1)


def test_an_added_partition_waits_for_one_that_was_pinned_and_never_had_a_record() -> None:
    where, pin = committed(1, ADDED)
    pinned = Manifest(0, "", "", "", None, "f00d", 1, "app.0")
    assert grown.begun(pin, where, dict([committed(0, pinned)]), 2) is None
    told = dict([committed(0, replace(pinned, partitions=2))])
    assert grown.begun(pin, where, told, 2) is not None


@pytest.mark.parametrize("time", [60, None])
def test_an_added_partition_is_idle_where_it_was_given_a_time_and_holds_nothing_back(
    time: int | None,
) -> None:
    where, pin = committed(1, ADDED)
    other = Manifest(7, "a", "", "", time, "f00d", 2, "app.0", idle=time is None)
    found = grown.begun(pin, where, dict([committed(0, other)]), 2)
    assert found is not None
    manifest = Manifest.parse(found.metadata)
    assert (manifest.event_time_max, manifest.idle, manifest.former) == (time, time is not None, 0)
