from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.app.topics import prepare_topics
from processor.connectors.memory.log import MemoryLog
from processor.errors import SettingsError, TopologyError
from processor.plan.describe import describe
from processor.plan.graph import as_json
from processor.settings import Settings
from processor.testing import TestDriver

ROW = Json({"at": pl.Datetime("us"), "user": pl.String, "n": pl.Int64, "x": pl.Float64})


def read(app: Topology, **options: Any) -> Any:
    return app.read.kafka("in", format=ROW, event_time="at", **options)


def row(number: int) -> dict[str, Any]:
    at = f"2026-01-01T{number // 60:02}:{number % 60:02}:00"
    return {"at": at, "user": f"u{number % 7}", "n": number, "x": 0.5}


def parts(driver: TestDriver, topic: str) -> list[list[int]]:
    """How many rows lie in each partition of an internal topic, and of which users."""
    form = next(plan.source().format for plan in driver.plans if plan.source().topic == topic)
    count = len(driver.log.describe([topic])[topic].extents)
    values: list[list[Any]] = [[] for _ in range(count)]
    for message in driver.log.read(topic):
        values[message.partition()].append(message.value())
    return [form.decode(found).frame["n"].to_list() for found in values]


def test_rows_that_are_alike_in_a_key_come_to_one_partition_and_no_cut_follows():
    app = Topology("app")
    rows = read(app).with_watermark("1 minute").repartition("user", partitions=8)
    rows.group_by(F.window("at", "1 hour"), "user").agg(c=F.count()).write.kafka("out")
    _, second = app.stages()
    assert second.plan.app == "app.repartitioned-by-user"
    assert second.why == "rows are dealt out by user"
    driver = TestDriver(app, partitions=2)
    for partition in (0, 1):
        driver.feed([row(number) for number in range(partition, 100, 2)], partition=partition)
        driver.feed([{**row(0), "at": "2027-01-01T00:00:00", "user": "end"}], partition=partition)
    driver.run()
    lying = parts(driver, "app.repartitioned-by-user")
    assert len(lying) == 8
    for user in range(7):
        assert sum(any(n % 7 == user and n for n in part) for part in lying) == 1
    assert sum(found["c"] for found in driver.json("out")) == 100


def test_without_a_key_they_are_dealt_out_evenly_also_one_by_one():
    app = Topology("app")
    read(app).repartition(partitions=4).with_columns(m=pl.col("n") * 2).select("m").write.kafka(
        "out"
    )
    driver = TestDriver(app)
    driver.feed([row(number) for number in range(40)])
    driver.run()
    assert [len(part) for part in parts(driver, "app.repartitioned")] == [10] * 4
    assert sorted(found["m"] for found in driver.json("out")) == [n * 2 for n in range(40)]
    for number in range(80):
        driver.feed([row(number)])
        driver.run()
    assert min(len(part) for part in parts(driver, "app.repartitioned")) > 20


def test_left_out_there_are_as_many_partitions_as_the_input_has():
    app = Topology("app")
    read(app).repartition("user", name="users").write.kafka("out")
    driver = TestDriver(app, partitions=3)
    driver.feed([row(1)])
    driver.run()
    assert driver.stages() == ["app", "users"]
    assert len(parts(driver, "app.users")) == 3
    assert len(driver.json("out")) == 1


def test_the_run_makes_so_many_partitions_and_refuses_a_topic_that_has_others():
    def plans(count: int) -> list[Any]:
        app = Topology("app")
        read(app).repartition("user", partitions=count).write.kafka("out")
        return [stage.plan for stage in app.stages()]

    log = MemoryLog()
    settings = Settings(create_topics=2)
    assert prepare_topics(log, plans(5), settings) == {"app": 2, "app.repartitioned-by-user": 5}
    assert prepare_topics(log, plans(5), settings)["app.repartitioned-by-user"] == 5
    with pytest.raises(SettingsError, match=r"asks for 6 partitions, and the topic .* has 5"):
        prepare_topics(log, plans(6), settings)


def test_descriptions_show_how_many_partitions_there_are_and_how_rows_are_dealt_out():
    app = Topology("app")
    read(app).repartition(partitions=4).write.kafka("out")
    first, second = app.stages()
    assert "hand on to app.repartitioned evenly" in describe(first.plan)
    assert "4 partitions" in describe(second.plan)
    told = as_json([first, second])
    assert told[1]["reads"]["partitions"] == 4
    assert told[1]["why"] == "rows are dealt out evenly"


def test_streams_that_are_united_are_dealt_out_together_and_windows_of_the_clock_go_along():
    app = Topology("app")
    one, other = read(app), app.read.kafka("other", format=ROW)
    rows = one.union(other).repartition("user", partitions=2)
    rows.group_by(F.window(F.processing_time(), "1 hour"), "user").agg(c=F.count()).write.kafka(
        "out", key="user", mode="update"
    )
    driver = TestDriver(app)
    driver.feed([row(0)], topic="in")
    driver.feed([row(7)], topic="other")
    driver.run()
    assert driver.json("out")[-1]["c"] == 2


def test_windows_that_are_over_are_dealt_out_with_their_beginning_as_event_time():
    app = Topology("app")
    hours = (
        read(app, partitioned_by="user")
        .with_watermark("0 s")
        .group_by(F.window("at", "1 hour"), "user")
    )
    rows = hours.agg(c=F.count()).repartition("user", partitions=2)
    rows.group_by(F.window("window_start", "1 day"), "user").agg(s=F.sum("c")).write.kafka("out")
    driver = TestDriver(app)
    driver.feed([row(number) for number in range(0, 1400, 7)])
    driver.feed([{**row(0), "at": "2027-01-01T00:00:00", "user": "end"}])
    driver.run()
    assert [(found["user"], found["s"]) for found in driver.json("out")] == [("u0", 200)]


def refused(build: Any) -> TopologyError:
    app = Topology("app")
    with pytest.raises(TopologyError) as caught:
        build(read(app)).write.kafka("out")
        app.stages()
    assert f"{__file__}:" in caught.value.message
    return caught.value


def test_what_cannot_be_dealt_out_is_refused_by_name():
    assert "no column 'shop'" in refused(lambda rows: rows.repartition("shop")).message
    assert "cannot be a key" in refused(lambda rows: rows.repartition("x")).message
    assert "partitions is 0" in refused(lambda rows: rows.repartition(partitions=0)).message
    assert (
        "may still change"
        in refused(lambda rows: rows.group_by("user").agg(c=F.count()).repartition("user")).message
    )
    assert (
        "with_watermark behind repartition"
        in refused(lambda rows: rows.repartition("user").with_watermark("1 minute")).message
    )
    assert (
        "come again with every batch"
        in refused(
            lambda rows: rows.group_by("user").agg(c=F.count()).order_by("c").repartition("user")
        ).message
    )
