from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Bytes, Csv, Json, Parquet, Text, Topology, TopologyError
from processor import functions as F
from processor.plan import graph, nodes
from processor.plan.describe import describe
from processor.plan.fingerprint import fingerprint, identity

ROW = Json({"at": pl.Datetime("us"), "user": pl.String, "n": pl.Int64})


def rows(app: Topology, topic: str = "in") -> Any:
    return app.read.kafka(topic, format=ROW, event_time="at").with_watermark("1 minute")


def save(frame: pl.DataFrame, epoch: int) -> None: ...


def groups(of: Any, name: str | None = None) -> Any:
    return of.group_by("user", name=name).agg(s=F.sum("n"))


def stages(app: Topology) -> dict[str, nodes.Plan]:
    return {stage.plan.app: stage.plan for stage in app.stages()}


def test_all_rows_of_a_batch_come_to_one_place_for_one_call_and_stay_for_a_call_of_each_task() -> (
    None
):
    app = Topology("app")
    rows(app).write.foreach_batch(save)
    rows(app).write.foreach_batch(save, per="task", name="near")
    rows(app).write.foreach(print)
    found = stages(app)
    (behind,) = found["app.save"].sinks
    assert found["app.save"].source().gathered()
    assert isinstance(behind.outside, nodes.Call)
    assert [s.topic for s in found["app"].sinks if s.outside] == []
    near = [s.topic for plan in found.values() for s in plan.sinks if s.outside]
    assert near == ["call:save", "call:near", "call:print"]


def test_of_groups_that_change_the_newest_of_a_batch_is_shown() -> None:
    app = Topology("app")
    groups(rows(app)).write.foreach_batch(save, mode="update")
    groups(rows(app), "table").write.memory("t", mode="update")
    found = stages(app)
    (handed,) = found["app.by-user"].sinks
    assert (handed.mode, handed.internal) == ("update", True)
    (call,) = found["app.save"].sinks
    assert (call.mode, call.newest) == ("append", ("user",))
    (table,) = found["app.table"].sinks
    assert (table.mode, table.newest) == ("update", ("user",))


def test_all_groups_come_to_one_call_by_being_counted_in_one_place() -> None:
    app = Topology("app")
    groups(rows(app)).write.foreach_batch(save, mode="complete")
    found = stages(app)
    assert [*found] == ["app", "app.by-user"]
    assert found["app.by-user"].source().gathered()


def test_groups_in_order_are_in_one_place_already() -> None:
    app = Topology("app")
    top = groups(rows(app)).order_by("s").limit(3)
    top.write.foreach_batch(save, mode="complete")
    assert [*stages(app)] == ["app", "app.by-user", "app.ordered-by-user"]


def test_streams_that_are_united_come_to_one_call_and_write_to_one_directory() -> None:
    app = Topology("app")
    both = rows(app).union(rows(app, "other"))
    both.write.foreach_batch(save)
    both.write.files("out")
    found = stages(app)
    assert found["app.save"].source().upstreams == ("app", "app.other")
    assert [s.topic for p in found.values() for s in p.sinks if s.outside] == [
        "files:out", "files:out", "call:save",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("write", "message", "way"),
    [
        (lambda r: groups(r).write.files("out", mode="update"), "files are written once", "topic"),
        (lambda r: groups(r).write.files("out", mode="complete"), "written once", "foreach_batch"),
        (lambda r: groups(r).write.files("out"), "append of an aggregate needs", "F.window"),
        (lambda r: r.write.files("out", mode="all"), "mode='all'", "append"),
        (lambda r: r.write.files("out", format=Bytes()), "no format of files", "Parquet"),
        (lambda r: r.write.files("o\0"), "cannot be a directory", "characters"),
        (lambda r: r.write.files(7), "the directory is 7", "write.files"),
        (lambda r: r.write.files("out", partition_by="n"), "partition_by", "rows.filter"),
        (lambda r: r.write.kafka("out", format=Parquet()), "is a topic", "write.files"),
        (lambda r: r.write.foreach_batch(save, mode="update"), "without an aggregate", "append"),
        (lambda r: r.write.foreach_batch(save, mode="complete"), "without an agg", "append"),
        (lambda r: r.write.memory("t", mode="update"), "without an aggregate", "append"),
        (lambda r: r.union(r).write.memory("t", mode="update"), "are united", "aggregate behind"),
        (lambda r: groups(r).select("s").write.memory("t", mode="update"), "'user'", "keep"),
        (
            lambda r: groups(r).with_columns(user=pl.lit("x")).write.foreach_batch(
                save, mode="update"
            ), "dropped or computed anew", 'per="task"',
        ),
        (lambda r: r.write.files("out", format=Csv({"x": pl.String})), "names 'x'", "x"),
    ],
)  # fmt: skip
def test_what_a_sink_cannot_do_is_refused_at_its_line(write: Any, message: str, way: str) -> None:
    app = Topology("app")
    with pytest.raises(TopologyError, match=message) as caught:
        write(rows(app))
        app.stages()
    assert "test_outside.py:" in caught.value.message
    assert way in caught.value.remedy


def test_what_is_outside_is_described_and_is_part_of_what_a_topology_is() -> None:
    app = Topology("app")
    rows(app).select("n").write.files("out", format=Text())
    rows(app).write.foreach(print)
    rows(app).write.memory("t")
    plans = [stage.plan for stage in app.stages()]
    told = "\n".join(map(describe, plans))
    assert "write files in out as text, append" in told
    assert "call print with each row, append" in told
    assert "keep in memory as the table t, append" in told
    shown = [each for stage in graph.as_json(app.stages()) for each in stage["shows"]]
    assert shown == [
        {"files": "out", "format": "text", "mode": "append"},
        {"call": "print", "per": "row", "mode": "append"},
        {"table": "t", "mode": "append"},
    ]
    assert '[/"files out, format text, mode append"/]' in graph.as_mermaid(app.stages())


def test_a_sink_that_is_added_changes_what_a_topology_does_and_not_its_state() -> None:
    def made(*, files: bool) -> nodes.Plan:
        app = Topology("app")
        source = app.read.kafka("in", format=ROW, partitioned_by="user")
        groups(source).write.kafka("out", key="user", mode="update")
        if files:
            source.write.files("out")
        return app.plan()

    assert fingerprint(made(files=True)) == fingerprint(made(files=False))
    assert identity(made(files=True)) != identity(made(files=False))
