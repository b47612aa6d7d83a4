"""What of joins is refused, with its line and the way out; how both sides are handed on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from processor import Json, Queue, Topology, TopologyError
from processor import functions as F
from processor.plan import nodes
from processor.plan.describe import describe
from processor.plan.fed import feeds
from processor.plan.fingerprint import describe as described
from processor.plan.graph import as_json, as_mermaid

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor import Frame

COLUMNS = {"at": pl.Datetime("us"), "user": pl.String, "n": pl.Int64, "x": pl.Float64}


def plain(app: Topology, topic: str = "in", **options: Any) -> Frame:
    return app.read.kafka(topic, format=Json(COLUMNS), **{"event_time": "at", **options})


def read(app: Topology, topic: str = "in", **options: Any) -> Frame:
    return plain(app, topic, **options).with_watermark("10 minutes")


def pair(left: Frame, right: Frame, **options: Any) -> None:
    left.join(right, **{"on": "user", "within": "1 hour", **options}).write.kafka("out")


def windows(rows: Frame) -> Frame:
    return rows.group_by(F.window("at", "1 hour"), "user").agg(c=F.count())


REFUSED: list[tuple[Callable[[Topology], Any], str, str]] = [
    (lambda a: pair(plain(a), read(a, "b")), "the join's left side has no watermark",
     "left.with_watermark"),
    (lambda a: pair(read(a), plain(a, "b")), "the join's right side has no watermark",
     "right.with_watermark"),
    (lambda a: pair(plain(a, event_time=None), read(a, "b")), "left side has no event time",
     "event_time="),
    (lambda a: pair(read(a).select("user"), read(a, "b")), "no event time any more", "keep 'at'"),
    (lambda a: pair(read(a).with_columns(at=pl.col("at").dt.offset_by("1h")), read(a, "b")),
     "no event time any more", "as it was read"),
    (lambda a: pair(read(a), read(a, "b"), right_time="n"), "right_time='n' is no event time",
     "take one of at"),
    (lambda a: pair(read(a), read(a, "b"), on="shop"), "left side has no column 'shop'", "renamed"),
    (lambda a: pair(read(a), read(a, "b").with_columns(user=pl.col("n"))),
     "the key 'user' is String on the left side and Int64", "cast(pl.String)"),
    (lambda a: pair(read(a), read(a, "b"), on="x"), "'x' is Float64, which cannot be a key",
     "join by text"),
    (lambda a: pair(read(a), read(a, "b").with_columns(n_right=pl.lit(1))),
     "both sides have a column 'n', and 'n_right' is there too", "suffix="),
    (lambda a: pair(read(a).group_by("user").agg(c=F.count()), read(a, "b")),
     "a join of groups that may still change", "behind with_watermark"),
    (lambda a: pair(read(a).join(read(a, "b"), "user", within="1h").with_watermark("1h"), read(a)),
     "with_watermark behind the join", "before the join"),
    (lambda a: pair(windows(read(a)).order_by("c"), read(a, "b")), "rows in order",
     "let order_by and limit be the last steps"),
    (lambda a: read(a).join(read(a, "b"), "user", within="1h").group_by(
        F.window(F.processing_time(), "1 minute")).agg(c=F.count()).write.kafka("o", mode="update"),
     "windows of the clock behind what is no row of a topic", "a topology of its own"),
    (lambda a: pair(read(a), read(a, "b"), within=None), "neither between nor within", "between="),
    (lambda a: pair(read(a), read(a, "b"), between=("0s", "1h")), "both between and within", "say"),
    (lambda a: pair(read(a), read(a, "b"), within="-1h"), "within is negative", "say"),
    (lambda a: pair(read(a), read(a, "b"), within=None, between=("1h", "0s")),
     "begins behind its end", "say"),
    (lambda a: pair(read(a), read(a, "b"), within=None, between="1h"), "between is '1h'", "say"),
    (lambda a: pair(read(a), read(a, "b"), within=7), "within is 7", "10 minutes"),
    (lambda a: pair(read(a), read(a, "b"), within="400000d"), "365000 days", "between"),
    (lambda a: pair(read(a), read(Topology("b"))), "another frame of the same topology", "join("),
    (lambda a: pair(read(a), "views"), "another frame of the same topology", "join("),  # type: ignore[arg-type]
    (lambda a: pair(read(a), read(a, "b"), on=[]), "names no key", "user"),
    (lambda a: pair(read(a), read(a, "b"), on=["n", "n"]), "or one twice", "user"),
    (lambda a: pair(read(a), read(a, "b"), how="right"), "how='right'", "turn it round"),
    (lambda a: pair(read(a), read(a, "b"), how="outer"), "how='outer'", "not there yet"),
    (lambda a: pair(read(a), read(a, "b"), how="semi"), "how='semi'", "not there yet"),
    (lambda a: pair(read(a), read(a, "b"), how="leftanti"), "how='leftanti'", "not there yet"),
    (lambda a: pair(read(a), read(a, "b"), how="x"), "how='x'", "inner"),
    (lambda a: pair(read(a), read(a, "b"), left_on="user"), "left_on", "called the same"),
    (lambda a: pair(read(a), read(a, "b").union(read(a, "c").select("at", "user"))),
     "union of streams with other columns: 'n', 'x' only in 'b'", "select the same"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "told", "way"), REFUSED)
def test_what_cannot_be_joined_is_refused_with_its_line_and_the_way_out(
    build: Callable[[Topology], Any], told: str, way: str
) -> None:
    app = Topology("app")
    with pytest.raises(TopologyError, match=re.escape(told)) as caught:
        build(app)
        app.stages()
    (fault,) = (f for f in (caught.value, *caught.value.others) if told in f.message)
    assert "test_joining.py:" in fault.message
    assert way in fault.remedy


def test_both_sides_go_into_one_topic_that_the_join_reads() -> None:
    app = Topology("app")
    pair(read(app), read(app, "b").filter(pl.col("n") > 3), how="left")
    first, second, last = (stage.plan for stage in app.stages())
    assert [p.app for p in (first, second, last)] == ["app", "app.b", "app.join-user"]
    assert {s.topic for p in (first, second) for s in p.sinks} == {"app.join-user"}
    source = last.source()
    assert source.sides == (("app",), ("app.b",))
    assert list(source.format.columns or ()) == [
        "side", "at", "k.user", "l.at", "l.n", "l.x", "r.at", "r.n", "r.x",
    ]  # fmt: skip
    assert app.stages()[2].why == "both sides of a join come to it"


@pytest.mark.parametrize(
    ("build", "sides"),
    [
        (lambda r, b: r.join(r, "user", within="1h"), (("app",), ("app",))),
        (lambda r, b: r.union(b).join(b, "user", within="1h"), (("app", "app.b"), ("app.b",))),
        (lambda r, b: windows(r).join(b, "user", within="1h"), (("app.by-user",), ("app.b",))),
        (lambda r, b: r.join(b, "user", within="1h").join(r, "user", within="1h", suffix="_2"),
         (("app.join-user",), ("app",))),
    ],
)  # fmt: skip
def test_a_join_stands_behind_other_steps_and_knows_who_writes_each_side(build, sides) -> None:
    app = Topology("app")
    build(read(app), read(app, "b")).write.kafka("out")
    assert app.stages()[-1].plan.source().sides == sides


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [(pl.Int8, pl.Int32, "Int64"), (pl.UInt64, pl.UInt8, "UInt64"), (pl.Int8, pl.Int8, "Int8")],
)
def test_whole_numbers_of_other_widths_are_made_one(left: Any, right: Any, wanted: str) -> None:
    app = Topology("app")
    sides = [
        app.read.kafka(
            topic, format=Json({"k": kind, "at": pl.Date}), event_time="at"
        ).with_watermark("1d")
        for topic, kind in (("a", left), ("b", right))
    ]
    pair(*sides, on="k", name="wide")
    plan = app.stages()[-1].plan
    assert str(dict(plan.source().format.columns or {})["k.k"]) == wanted
    assert plan.app == "app.wide"


def test_the_time_is_the_one_that_was_read_or_that_is_named() -> None:
    app = Topology("app")
    hours = windows(read(app))
    hours.join(hours, "user", within="1h", left_time="window_end").write.kafka("out")
    *_, front, last = app.stages()
    left, right = (sink.parent.expressions[1] for sink in front.plan.sinks)
    assert (str(left), str(right)) == (
        'col("window_end").alias("at")', 'col("window_start").alias("at")',
    )  # fmt: skip
    (node,) = [n for n in last.plan.nodes() if type(n).__name__ == "Joined"]
    assert node.times == ("window_end", "window_start_right")


def test_a_left_joins_right_time_may_be_null_and_is_no_event_time() -> None:
    app = Topology("app")
    both = read(app).join(read(app, "b"), "user", "left", within="1h")
    both.group_by(F.window("at_right", "1 hour")).agg(n=F.count()).write.kafka("out")
    with pytest.raises(TopologyError, match="the window is over 'at_right', not over the event"):
        app.stages()


def test_both_sides_may_be_fed() -> None:
    app = Topology("app")
    form = Json({"user": pl.String, "at": pl.Datetime("us")})
    sides = [
        app.read.queue(Queue(), format=form, event_time="at", name=name).with_watermark("1 hour")
        for name in ("views", "buys")
    ]
    pair(*sides)
    plan = nodes.Plan("app", tuple(app._sinks), app._sinks[0].at)
    assert sorted(feed.topic for feed in feeds(plan)) == ["app.buys", "app.views"]


def test_people_and_programs_see_the_join() -> None:
    app = Topology("app")
    pair(read(app), read(app, "b"), within=None, between=("-10 minutes", "1 hour"))
    stages = app.stages()
    text = describe(stages[2].plan)
    assert "inner join by user, the right from 10m before to 1h behind of the left's time" in text
    told = as_json(stages)[2]
    assert told["joins"] == [{
        "how": "inner", "keys": ["user"], "lower_s": -600.0, "upper_s": 3600.0,
        "left_from": ["app"], "right_from": ["app.b"],
    }]  # fmt: skip
    assert "{{app.join-user}}" in as_mermaid(stages)
    names = [(o.name, o.keys, o.frees) for o in described(stages[2].plan).operators]
    keys = (("user", "String"),)
    assert names[:2] == [("join-left", keys, True), ("join-right", keys, True)]
