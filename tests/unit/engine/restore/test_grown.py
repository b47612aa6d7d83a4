"""A topic is given more partitions, and a stage behind counts on the watermarks of all."""

from __future__ import annotations

import json

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.errors import StateMismatchError
from processor.testing import Crash, TestDriver
from tests.unit.engine.offline.test_rescale import grow

FORM = Json({"at": pl.Datetime("us"), "id": pl.Int64, "user": pl.String})


def hours() -> Topology:
    app = Topology("app")
    rows = app.read.kafka("in", format=FORM, event_time="at")
    rows = rows.with_watermark("10 minutes", late="late")
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
