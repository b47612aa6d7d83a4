from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from processor import Csv, Json, Topology, TopologyError
from processor import functions as F
from processor.plan.fingerprint import fingerprint, identity
from processor.testing import TestDriver

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor import Frame

COLUMNS = {
    "dt": pl.Datetime("us"), "user": pl.String, "city": pl.String, "n": pl.Int64, "x": pl.Float64,
}  # fmt: skip


def read(app: Topology, topic: str = "in", **options: Any) -> Frame:
    options = {"event_time": "dt", "partitioned_by": "user", **options}
    return app.read.kafka(topic, format=Json(COLUMNS), **options)


def counts(rows: Frame, *keys: Any, mode: Any = "update", **options: Any) -> None:
    rows.group_by(*keys, **options).agg(c=F.count()).write.kafka("out", mode=mode)


def stages(build: Callable[[Topology], object]) -> list[tuple[str, str, str]]:
    """Of each stage its application, the topic that it reads, and why it is one."""
    app = Topology("app")
    build(app)
    return [(s.plan.app, s.plan.source().topic, s.why) for s in app.stages()]


def test_what_the_topic_keeps_together_is_one_stage_and_the_plan_that_the_user_wrote() -> None:
    app = Topology("app")
    counts(read(app), "user", "city")
    (stage,) = app.stages()
    assert (stage.plan.app, stage.why) == ("app", "")
    assert stage.plan.sinks == tuple(app._sinks)
    assert stage.plan == app.plan()


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda a: counts(read(a, partitioned_by=()), "user"), "does not say what it is keyed by"),
        (lambda a: counts(read(a), "city"), "is keyed by 'user', its groups by city"),
        (lambda a: counts(read(a, partitioned_by=("user", "city")), "city"),
         "is keyed by 'user', 'city'"),
        (lambda a: counts(read(a, partitioned_by=("user", "city")).with_columns(
            city=pl.lit("x")), "user", "city"), "was dropped or computed anew"),
        (lambda a: counts(read(a), F.window("dt", "1h")), "need all rows in one place"),
        (lambda a: read(a).agg(c=F.count()).write.kafka("out", mode="update"),
         "need all rows in one place"),
        (lambda a: counts(read(a).with_columns(user=pl.col("city")), "user"), "computed anew"),
        (lambda a: counts(read(a).select("dt", pl.col("city").alias("user")), "user"),
         "computed anew"),
        (lambda a: counts(read(a).union(read(a, "other")), "user"), "2 streams come to it"),
        (lambda a: counts(read(a).with_watermark("1m", idle="1m"), F.window("dt", "1h"), "user"),
         "goes on with the clock"),
    ],
)  # fmt: skip
def test_a_stage_of_its_own_is_made_where_a_group_may_lie_in_several_places(build, why) -> None:
    *_, last = stages(build)
    assert why in last[2]
    assert last[0] == last[1] != "app"


def test_stages_are_called_by_their_keys_or_by_their_names_and_no_two_alike() -> None:
    def build(app: Topology) -> None:
        rows = read(app)
        rows.group_by("city").agg(c=F.count()).write.kafka("a", mode="update")
        rows.group_by("city").agg(c=F.max("n")).write.kafka("b", mode="update")
        rows.group_by("city", "n").agg(c=F.count()).write.kafka("c", mode="update")
        rows.group_by("city", name="towns").agg(c=F.count()).write.kafka("d", mode="update")
        rows.group_by(F.window("dt", "1h")).agg(c=F.count()).write.kafka("e", mode="update")
        rows.with_columns(**{"a b": pl.col("n")}).group_by("a b").agg(c=F.count()).write.kafka(
            "f", mode="update"
        )

    assert [name for name, _, _ in stages(build)] == [
        "app", "app.by-city", "app.by-city-2", "app.by-city-n", "app.towns", "app.all",
        "app.by-a-b",
    ]  # fmt: skip


def test_a_stage_is_not_called_as_a_topic_of_the_users() -> None:
    def build(app: Topology) -> None:
        read(app).group_by("city").agg(c=F.count()).write.kafka("app.by-city", mode="update")

    assert [name for name, _, _ in stages(build)] == ["app", "app.by-city-2"]


def test_streams_that_come_from_one_topic_are_one_stage_and_each_has_its_way_to_the_sink() -> None:
    app = Topology("app")
    rows = read(app)
    few, many = rows.filter(pl.col("n") < 3), rows.filter(pl.col("n") >= 2)
    few.union(many).select("user", "n").write.kafka("out")
    assert len(app.plan().sinks) == 2
    driver = TestDriver(app)
    at = "2024-01-01T00:00:00"
    driver.feed([{"dt": at, "user": "a", "city": "x", "n": n, "x": 0.5} for n in range(5)])
    driver.run()
    assert sorted(row["n"] for row in driver.json("out")) == [0, 1, 2, 2, 3, 4]


def test_a_union_has_the_columns_in_the_order_of_the_first_stream() -> None:
    app = Topology("app")
    one, other = read(app).select("user", "n"), read(app, "other").select("n", "user")
    both = one.union(other)
    both.write.kafka("out", format=Csv({"user": pl.String, "n": pl.Int64}))
    both.union(other).write.foreach_batch(lambda frame, epoch: found.append(frame))
    found: list[pl.DataFrame] = []
    driver = TestDriver(app)
    row = {"dt": "2024-01-01T00:00:00", "user": "a", "city": "x", "n": 1, "x": 0.5}
    driver.feed([row], topic="in")
    driver.feed([row], topic="other")
    driver.run()
    assert driver.values("out") == [b"a,1"] * 2
    assert {tuple(frame.columns) for frame in found} == {("user", "n")}
    assert sum(frame.height for frame in found) == 3


def test_only_the_columns_that_are_needed_go_from_stage_to_stage() -> None:
    app = Topology("app")
    rows = read(app).with_watermark("1m").group_by(F.window("dt", "1h"), "city")
    rows.agg(c=F.count(), s=F.sum("n")).write.kafka("out", key="city")
    front, behind = (stage.plan for stage in app.stages())
    (sink,) = front.sinks
    assert list(sink.format.columns or ()) == ["dt", "city", "n"]
    source = behind.source()
    assert (source.event_time, source.partitioned_by, source.watermark, source.upstreams) == (
        "dt", ("city",), "carried", ("app",),
    )  # fmt: skip


def test_a_stage_hands_on_to_another_what_it_has_counted_and_shares_what_it_has_read() -> None:
    def build(app: Topology) -> None:
        rows = read(app).with_watermark("1m")
        hours = rows.group_by(F.window("dt", "1h"), "user").agg(s=F.sum("n"))
        hours.write.kafka("hours")
        hours.group_by(F.window("window_start", "1d"), "user").agg(s=F.sum("s")).write.kafka("days")
        rows.select("n").write.kafka("copy")

    assert [name for name, _, _ in stages(build)] == ["app", "app.by-user"]
    app = Topology("app")
    build(app)
    front = app.stages()[0].plan
    assert {sink.topic for sink in front.sinks} == {"hours", "copy", "app.by-user"}


def test_the_identity_of_a_stage_is_the_same_each_time_and_another_for_other_steps() -> None:
    def identities(least: int) -> list[tuple[str, str]]:
        app = Topology("app")
        counts(read(app).filter(pl.col("n") > least), "city")
        return [(identity(stage.plan), fingerprint(stage.plan)) for stage in app.stages()]

    assert identities(1) == identities(1)
    assert identities(1)[0] != identities(2)[0]
    assert identities(1)[0][1] == "stateless"


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda a: counts(read(a).group_by("user").agg(k=F.count()), "k"), "may still change"),
        (lambda a: counts(read(a), F.window("n", "1h"), "city"), "not over the event time"),
        (lambda a: counts(read(a).with_columns(dt=pl.col("dt").dt.offset_by("1h")),
                          F.window("dt", "1h"), "city"), "not over the event time"),
        (lambda a: counts(read(a).union(read(a, "other").select("user")), "user"), "other columns"),
        (lambda a: read(a).union(read(a, "other").select("user")).write.kafka("x"),
         "'dt', 'city', 'n', 'x' only in 'in' ("),
        (lambda a: read(a).select("n").union(read(a, "b").select("n", "x")).write.kafka("x"),
         "'x' only in 'b' ("),
        (lambda a: read(a).union(read(a, "b").with_columns(pl.col("n").cast(pl.String)))
         .write.kafka("x"), "'n' is Int64 in 'in' ("),
        (lambda a: counts(read(a), F.window("time", "1h"), "city"), "no such column"),
        (lambda a: counts(read(a).with_watermark("1m"), F.window("time", "1h"), "city"),
         "no such column"),
        (lambda a: counts(read(a, event_time=None), F.window("time", "1h"), "city"),
         "no such column"),
        (lambda a: counts(read(a).with_watermark("1m").union(read(a, "other")),
                          F.window("dt", "1h"), "user"), "have a watermark"),
        (lambda a: counts(read(a), "x"), "is Float64, which cannot be a key"),
        (lambda a: counts(read(a), "nobody"), "nobody"),
        (lambda a: counts(read(a), F.window("dt", "1h"), "city", mode="append"),
         "windows that close"),
        (lambda a: read(a).union(read(a, "other")).select("nothing").write.kafka("x"), "nothing"),
        (lambda a: (read(a).write.kafka("x"), read(a, "other").write.kafka("x")), "a second time"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused_with_its_line_and_a_remedy(build, words) -> None:
    app = Topology("app")
    build(app)
    with pytest.raises(TopologyError) as caught:
        app.stages()
    assert words in caught.value.message
    assert re.match(re.escape(str(Path(__file__))) + r":\d+: ", caught.value.message)
    assert caught.value.remedy


def test_a_topology_of_several_stages_has_no_single_plan() -> None:
    app = Topology("app")
    counts(read(app), "city")
    with pytest.raises(TopologyError, match="2 stages"):
        app.plan()


@pytest.mark.parametrize(
    ("read", "way"),
    [
        ({"event_time": "at"}, "F.window('at', ...) is over the event time"),
        ({}, "say event_time=... at"),
    ],
)
def test_a_window_over_what_is_no_time_comes_with_a_way_that_can_be_gone(read, way):
    app = Topology("app")
    form = Json({"user": pl.String, "n": pl.Int64, "at": pl.Datetime("us")})
    rows = app.read.kafka("in", format=form, **read)
    rows.group_by(F.window("n", "1 hour"), "user").agg(c=F.count()).write.kafka("o", mode="update")
    with pytest.raises(TopologyError, match="the window is over 'n'") as caught:
        app.stages()
    assert way in caught.value.remedy
