"""A branch that is not behind the watermark, and loses late records too, is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.plan.describe import describe
from processor.plan.lateness import beside
from processor.testing import TestDriver

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor import Frame

FORM = Json({"at": pl.Datetime("us"), "c": pl.String, "n": pl.Int64})


def read(app: Topology) -> Frame:
    return app.read.kafka("in", format=FORM, event_time="at", partitioned_by="c")


def hours(rows: Frame) -> None:
    windows = rows.with_watermark("1m").group_by(F.window("at", "1h"), "c")
    windows.agg(n=F.count()).write.kafka("hours", key="c", mode="update")


def notes(build: Callable[[Frame], object]) -> list[str]:
    app = Topology("app")
    rows = read(app)
    build(rows)
    hours(rows)
    return [note for stage in app.stages() for note in beside(stage.plan)]


@pytest.mark.parametrize(
    "build",
    [
        lambda r: r.write.kafka("all"),
        lambda r: r.select("c").write.kafka("all"),
        lambda r: r.group_by("c").agg(k=F.count()).write.kafka("all", key="c", mode="update"),
        lambda r: r.group_by("n").agg(k=F.count()).write.kafka("all", key="n", mode="update"),
        lambda r: r.repartition("n").write.kafka("all"),
        lambda r: r.write.foreach_batch(print),
        lambda r: r.write.foreach(print),
        lambda r: r.write.files("out"),
        lambda r: (r.write.kafka("all"), r.with_watermark("1m") and None),
    ],
)
def test_a_branch_beside_the_watermark_is_told_with_its_line_and_that_of_the_watermark(
    build: Callable[[Frame], object],
) -> None:
    (note,) = notes(build)
    line = build.__code__.co_firstlineno
    assert note.startswith(f"{__file__}:{line}: late records are left out here too")
    assert f"with_watermark at {__file__}:{hours.__code__.co_firstlineno + 1} " in note
    assert "read the topic a second time" in note


def test_each_line_is_told_once() -> None:
    def build(rows: Frame) -> None:
        few = rows.filter(pl.col("n") < 3)
        few.write.kafka("few")
        few.select("c").write.kafka("names")
        rows.write.kafka("all")

    assert len(notes(build)) == 2


def test_what_is_behind_the_watermark_or_has_none_is_not_told() -> None:
    app = Topology("app")
    rows = read(app).with_columns(m=pl.col("n") + 1).with_watermark("1m")
    rows.write.kafka("all")
    rows.filter(pl.col("n") > 1).group_by("c").agg(k=F.count()).write.kafka(
        "out", key="c", mode="update"
    )
    assert list(beside(app.plan())) == []
    bare = Topology("app")
    read(bare).write.kafka("all")
    assert list(beside(bare.plan())) == []


def test_the_description_tells_it() -> None:
    app = Topology("app")
    rows = read(app)
    rows.write.kafka("all")
    hours(rows)
    told = describe(app.plan())
    assert "watermark 1m, of all that is read" in told
    assert "see whether this is right: " in told


def test_a_topic_that_is_read_a_second_time_keeps_its_late_records_there() -> None:
    app = Topology("app")
    read(app).write.kafka("all")
    hours(read(app))
    assert [note for stage in app.stages() for note in beside(stage.plan)] == []
    driver = TestDriver(app)
    times = ("00:00", "05:00", "01:00")
    driver.feed([{"at": f"2026-01-01T{t}:00", "c": "a", "n": 1} for t in times], key="a")
    driver.run()
    assert len(driver.json("all")) == 3
    assert sum(row["n"] for row in driver.json("hours")) == 2
