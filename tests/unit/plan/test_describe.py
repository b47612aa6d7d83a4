from __future__ import annotations

import polars as pl

from processor import Json, Topology
from processor import functions as F
from processor.plan.describe import describe


def test_a_plan_reads_as_its_steps_from_source_to_sinks() -> None:
    app = Topology("popular")
    form = Json({"dt": pl.Datetime("us"), "user": pl.String, "n": pl.Int64})
    rows = app.read.kafka(
        "in", format=form, event_time="dt", partitioned_by="user", on_error="skip"
    )
    rows = rows.with_watermark("1h").filter(pl.col("n") > 1).with_columns(m=pl.col("n") * 2)
    totals = rows.group_by(F.window("dt", "1h"), "user").agg(c=F.count(), s=F.sum("m"))
    totals.select("user", pl.col("c")).write.kafka("out", key="user", mode="update")
    lines = describe(app.plan()).splitlines()
    assert [line.strip() for line in lines] == [
        "topology popular",
        (
            "read in as json(dt Datetime(time_unit='us', time_zone=None), user String, n Int64), "
            "partitioned by user, event time dt"
        ),
        "watermark 1h",
        'filter [(col("n")) > (dyn int: 1)]',
        "with columns m",
        "group by window of 1h, user: c=count(), s=sum(m)",
        "select user, c",
        "write out keyed by user, update",
        "on error: skip, dead letters to popular-dead-letters",
    ]
    indents = [len(line) - len(line.lstrip()) for line in lines]
    assert indents == [0, 2, 4, 6, 8, 10, 12, 14, 2]


def test_a_topic_for_late_records_is_told() -> None:
    app = Topology("rides")
    rows = app.read.kafka("in", format=Json({"dt": pl.Datetime("us")}), event_time="dt")
    rows.with_watermark("1h", late="behind").write.kafka("out")
    assert "watermark 1h, late records to behind" in describe(app.plan())


def test_a_watermark_that_records_carry_is_told_at_both_ends() -> None:
    app = Topology("rides")
    form = Json({"dt": pl.Datetime("us"), "user": pl.String})
    rows = app.read.kafka("in", format=form, event_time="dt", watermark="carried")
    rows.write.kafka("out", key="user", watermark="carried")
    told = describe(app.plan())
    assert "event time dt, the watermark that its records carry" in told
    assert "write out keyed by user, append, carrying the watermark" in told


def test_a_window_that_slides_is_told_with_its_slide_and_its_start() -> None:
    app = Topology("rides")
    rows = app.read.kafka("in", format=Json({"dt": pl.Datetime("us")}), event_time="dt")
    for topic, start in (("a", "0 s"), ("b", "5 minutes")):
        rows.group_by(F.window("dt", "1h", "20m", start)).agg(c=F.count()).write.kafka(
            topic, mode="update"
        )
    told = [line for stage in app.stages() for line in describe(stage.plan).splitlines()]
    groups = [line.strip() for line in told if "group by" in line]
    assert groups == [
        "group by window of 1h every 20m: c=count()",
        "group by window of 1h every 20m from 5m on: c=count()",
    ]
