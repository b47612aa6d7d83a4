from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.clock import ManualClock
from processor.engine.running import clocked
from processor.engine.running.clocked import Clocked
from processor.errors import TopologyError
from processor.model.log import TopicPartition
from processor.testing import Crash, TestDriver
from processor.testing.driver import START_MS

ROW = Json({"user": pl.String, "at": pl.Datetime("us"), "n": pl.Int64}, optional=frozenset({"n"}))
MINUTE_MS = 60_000
FIRST_MS = START_MS // MINUTE_MS * MINUTE_MS


def topology(*window: str, mode: Any = "append", steps: Any = lambda rows: rows) -> Topology:
    app = Topology("app")
    rows = steps(app.read.kafka("in", format=ROW, event_time="at", partitioned_by="user"))
    minutes = rows.group_by(F.window(F.processing_time(), *(window or ("1 minute",))), "user")
    minutes.agg(c=F.count()).write.kafka("out", key="user", mode=mode)
    return app


def row(user: str = "ann", n: int = 1) -> dict[str, Any]:
    return {"user": user, "at": "2001-01-01T00:00:00", "n": n}


def shown(driver: TestDriver) -> list[tuple[float, str, int]]:
    """Minutes from the first one, user and count."""
    return [
        (
            (datetime.fromisoformat(found["window_start"]).replace(tzinfo=UTC).timestamp() * 1000
             - FIRST_MS) / MINUTE_MS,
            found["user"], found["c"],
        )
        for found in driver.json("out")
    ]  # fmt: skip


def test_a_row_counts_when_it_is_read_and_windows_close_though_nothing_comes():
    driver = TestDriver(topology(), partitions=3)
    driver.advance((FIRST_MS + MINUTE_MS - START_MS) / 1000)
    driver.feed([row(), row()], partition=0)
    driver.run()
    driver.advance(30)
    driver.feed([row(), row("bob")], partition=1)
    driver.run()
    assert shown(driver) == []
    driver.advance(30)
    driver.run()
    assert sorted(shown(driver)) == [(1, "ann", 3), (1, "bob", 1)]
    driver.advance(600)
    driver.feed([row()], partition=2)
    driver.run()
    driver.advance(60)
    driver.run()
    assert shown(driver)[2:] == [(12, "ann", 1)]
    assert not sum(report.late for report in driver.reports)
    assert not driver.dead_letters()


def test_the_time_of_a_row_does_not_go_back_with_the_clock_nor_after_a_restart():
    driver = TestDriver(topology())
    driver.advance(600)
    driver.feed([row()])
    driver.run()
    driver.advance(-500)
    driver.restart(0)
    driver.feed([row()])
    driver.run()
    driver.advance(600)
    driver.run()
    assert [count for _, _, count in shown(driver)] == [2]
    assert not sum(report.late for report in driver.reports)


def test_a_task_that_forgets_its_last_time_is_found(monkeypatch):
    monkeypatch.setattr(
        clocked, "stamp_of",
        lambda plan, clock: lambda _: clock.now_ms() * 1000 if plan.source().clock else None,
    )  # fmt: skip
    from processor.engine.running import worker

    monkeypatch.setattr(worker, "stamp_of", clocked.stamp_of)
    with pytest.raises(AssertionError):
        test_the_time_of_a_row_does_not_go_back_with_the_clock_nor_after_a_restart()


@pytest.mark.parametrize("step", ["after:stage", "before:commit", "after:commit"])
def test_state_that_is_run_again_comes_to_the_same_answer(step):
    driver = TestDriver(topology(mode="update"), partitions=2, workers=2)
    for minute in range(4):
        driver.feed([row(n=minute), row("bob")], partition=minute % 2)
        if minute == 2:
            driver.crash_at(step, ("by-user", 0))
            driver.crash_at(step, 0)
        while True:
            try:
                driver.run()
                break
            except Crash:
                for who in (0, ("by-user", 0)):
                    if who not in driver.running():
                        driver.expire(who)
                        driver.restart(who)
        driver.advance(60)
    last = {(minute, user): count for minute, user, count in shown(driver)}
    assert sum(last.values()) == 8
    assert len(last) == 8


def test_windows_of_the_clock_slide_too():
    driver = TestDriver(topology("2 minutes", "1 minute"))
    driver.advance((FIRST_MS + MINUTE_MS - START_MS) / 1000)
    driver.feed([row()])
    driver.run()
    driver.advance(120)
    driver.run()
    assert shown(driver) == [(0, "ann", 1), (1, "ann", 1)]


def test_the_steps_in_front_and_streams_that_are_united_keep_the_time():
    app = Topology("app")
    one = app.read.kafka("one", format=ROW).filter(pl.col("n") > 0)
    other = app.read.kafka("other", format=ROW).with_columns(n=pl.col("n") + 1)
    both = one.select("user").union(other.select("user"))
    both.group_by(F.window(F.processing_time(), "1 hour"), "user").agg(c=F.count()).write.kafka(
        "out", key="user", mode="update"
    )
    driver = TestDriver(app)
    driver.feed([row(), row(n=0)], topic="one")
    driver.feed([row()], topic="other")
    driver.run()
    assert shown(driver)[-1][1:] == ("ann", 2)


def test_beside_windows_of_event_times_the_topic_is_read_by_a_stage_of_its_own():
    app = Topology("app")
    rows = app.read.kafka("in", format=ROW, event_time="at", partitioned_by="user")
    hours = rows.with_watermark("1 minute").group_by(F.window("at", "1 hour"), "user")
    hours.agg(c=F.count()).write.kafka("hours", key="user", mode="update")
    rows.group_by(F.window(F.processing_time(), "1 hour"), "user").agg(c=F.count()).write.kafka(
        "out", key="user", mode="update"
    )
    stages = app.stages()
    assert [(s.plan.app, s.plan.source().topic) for s in stages] == [
        ("app", "in"), ("app.in", "in"), ("app.by-user", "app.by-user"),
    ]  # fmt: skip
    assert "of the clock" in stages[2].why
    driver = TestDriver(app)
    driver.feed([row(), row()])
    driver.run()
    assert [found["c"] for found in driver.json("hours")] == [2]
    assert shown(driver)[-1][1:] == ("ann", 2)


def refused(build: Any) -> TopologyError:
    app = Topology("app")
    with pytest.raises(TopologyError) as caught:
        build(app)
        app.stages()
    assert f"{__file__}:" in caught.value.message
    return caught.value


def test_what_no_time_can_be_given_to_is_refused():
    clock = F.window(F.processing_time(), "1 minute")

    def marked(app: Topology) -> None:
        rows = app.read.kafka("in", format=ROW, event_time="at").with_watermark("1 minute")
        rows.group_by(clock, "user").agg(c=F.count()).write.kafka("out", mode="update")

    def counted(app: Topology) -> None:
        rows = app.read.kafka("in", format=ROW, partitioned_by="user")
        groups = rows.group_by("user").agg(c=F.count())
        groups.group_by(clock, "user").agg(n=F.count()).write.kafka("out", mode="update")

    def named(app: Topology) -> None:
        form = Json({"processing_time": pl.Datetime("us")})
        app.read.kafka("in", format=form).group_by(clock).agg(c=F.count()).write.kafka("out")

    assert "behind a watermark of event times" in refused(marked).message
    assert "no row of a topic any more" in refused(counted).message
    assert "has a column 'processing_time'" in refused(named).message


def test_a_bounded_run_ends_and_has_all_rows():
    found = topology(mode="update").collect(feed={"in": [row(), row(), row("bob")]})
    assert sorted(found["c"].to_list()) == [1, 2]


def test_a_window_is_over_in_the_very_moment_of_its_end_and_not_before():
    (first, _), partition = topology().stages(), TopicPartition("in", 0)
    start_us = FIRST_MS * 1000
    for moment_ms, due in ((MINUTE_MS - 1, False), (MINUTE_MS, True), (MINUTE_MS + 1, True)):
        clock = Clocked(first.plan, ManualClock(FIRST_MS + moment_ms), bounded=False)
        tasks: Any = {partition: SimpleNamespace(event_time_max=start_us)}
        raised = clock.raised(tasks, {partition: 0})
        assert raised == ({partition: start_us + moment_ms * 1000} if due else {})
