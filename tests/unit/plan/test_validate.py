from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from processor import CloudEvents, Csv, Json, JsonSchema, Text, Topology, TopologyError
from processor import functions as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor import Frame

COLUMNS = {
    "dt": pl.Datetime("us"), "user": pl.String, "city": pl.String, "n": pl.Int64, "x": pl.Float64,
    "u": pl.UInt64, "b": pl.Boolean,
}  # fmt: skip


def read(app: Topology, **options: Any) -> Frame:
    options = {"event_time": "dt", "partitioned_by": "user", "format": Json(COLUMNS), **options}
    return app.read.kafka(options.pop("topic", "in"), **options)


def refusal(build: Callable[[Topology], object]) -> TopologyError:
    app = Topology("app")
    with pytest.raises(TopologyError) as caught:
        build(app)
        app.plan()
    error = caught.value
    assert re.match(re.escape(str(Path(__file__))) + r":\d+: ", error.message), error.message
    assert error.remedy
    return error


def counts(rows: Frame, *keys: Any, mode: Any = "update", **aggregates: Any) -> None:
    rows.group_by(*keys).agg(**aggregates or {"c": F.count()}).write.kafka("out", mode=mode)


def accepted(build: Callable[[Topology], object]) -> None:
    app = Topology("app")
    build(app)
    app.plan()


REFUSED: list[tuple[Callable[[Topology], object], str]] = [
    (read, "writes nowhere"),
    (lambda a: read(a, format=Json()).write.kafka("x"), "no columns to read"),
    (lambda a: read(a, format=Json(), key="k").write.kafka("x"), "no columns to read"),
    (lambda a: read(a, event_time="when").write.kafka("x"), "no column 'when'"),
    (lambda a: read(a, partitioned_by="who").write.kafka("x"), "no column 'who'"),
    (lambda a: read(a, event_time="n").write.kafka("x"), "is Int64, no time"),
    (lambda a: read(a, format=Json(COLUMNS, optional=frozenset({"dt"}))).write.kafka("x"),
     "may be missing"),
    (lambda a: read(a).write.kafka("in"), "read and written"),
    (lambda a: read(a, dead_letters="in").write.kafka("x"), "read and written"),
    (lambda a: read(a, topic="app-dead-letters").write.kafka("x"), "read and written"),
    (lambda a: read(a).write.kafka("no/topic"), "cannot be a topic"),
    (lambda a: read(a).write.kafka("__consumer_offsets"), "Kafka keeps its own records"),
    (lambda a: read(a).with_watermark("1s", late="app-changelog").write.kafka("x"),
     "state is kept"),
    (lambda a: read(a, format=Json(COLUMNS, value_bytes_max="1MB")).write.kafka("x"),
     "value_bytes_max is '1MB'"),
    (lambda a: read(a, format=Csv(COLUMNS, value_bytes_max=-1)).write.kafka("x"),
     "value_bytes_max is -1"),
    (lambda a: read(a, format=Text(value_bytes_max=None)).write.kafka("x"),
     "value_bytes_max is None"),
    (lambda a: read(a, topic="").write.kafka("x"), "cannot be a topic"),
    (lambda a: read(a, dead_letters="ä").write.kafka("x"), "cannot be a topic"),
    (lambda a: read(a).with_watermark("1s").with_watermark("2s").write.kafka("x"),
     "a second watermark"),
    (lambda a: read(a, event_time=None).with_watermark("1s").write.kafka("x"),
     "needs event times"),
    (lambda a: read(a, event_time=None, watermark="carried").write.kafka("x"),
     "needs event times"),
    (lambda a: read(a, watermark="10 minutes").write.kafka("x"), "watermark is '10 minutes'"),
    (lambda a: read(a).with_watermark("1s").write.kafka("x", watermark=True), "watermark is True"),
    (lambda a: read(a).write.kafka("x", key="user", watermark="carried"), "without a watermark"),
    (lambda a: read(a).with_watermark("1s").write.kafka("x", watermark="carried"),
     "without a key"),
    (lambda a: read(a).with_watermark("1s").with_columns(dt=pl.col("dt").dt.truncate("1h"))
     .write.kafka("x", key="user", watermark="carried"), "without the event time"),
    (lambda a: read(a).with_watermark("1s").select("user", pl.col("dt").dt.offset_by("-1h"))
     .write.kafka("x", key="user", watermark="carried"), "without the event time"),
    (lambda a: read(a).with_watermark("1s").select("user", "n")
     .write.kafka("x", key="user", watermark="carried"), "without the event time"),
    (lambda a: read(a, event_time=pl.col("dt").dt.truncate("1h").alias("h"), watermark="carried")
     .write.kafka("x"), "as it was written"),
    (lambda a: read(a).with_watermark("1s").group_by("user").agg(c=F.count()).write.kafka(
        "x", key="user", mode="update", watermark="carried"), "published again"),
    (lambda a: read(a).with_watermark(timedelta.max).write.kafka("x"), "out of bounds"),
    (lambda a: counts(read(a, partitioned_by="x"), "x"), "is Float64, which cannot be a key"),
    (lambda a: counts(read(a), F.window("n", "1h"), "user"), "not over the event time"),
    (lambda a: counts(read(a).with_columns(dt=pl.col("dt").dt.offset_by("1h")),
                      F.window("dt", "1h"), "user"), "computed anew"),
    (lambda a: counts(read(a).select("user"),
                      F.window("dt", "1h"), "user"), "over 'dt', and there is no such column"),
    (lambda a: counts(read(a), F.window("time", "1h"), "user"), "over 'time', and there is no"),
    (lambda a: read(a, topic="a,b").write.kafka("x"), "looks like several"),
    (lambda a: counts(read(a).group_by("user").agg(k=F.count()), "user"),
     "groups that may still change"),
    (lambda a: counts(read(a), "user", user=F.count()), "'user' stands for two"),
    (lambda a: counts(read(a), "user", "user"), "'user' stands for two"),
    (lambda a: counts(read(a), F.window("dt", "1h"), "user", window_end=F.count()),
     "'window_end' stands for two"),
    (lambda a: counts(read(a), "user", **{"m": F.mean("n"), "m.sum": F.count()}),
     "'m.sum' stands for two"),
    (lambda a: counts(read(a), "nobody"), "nobody"),
    (lambda a: counts(read(a), "user", c=F.sum("nothing")), "nothing"),
    (lambda a: counts(read(a), "user", c=F.sum("city")), "sum of 'city' is not possible"),
    (lambda a: counts(read(a), "user", c=F.sum("dt")), "sum of 'dt' is not possible"),
    (lambda a: counts(read(a), "user", c=F.max("b")), "max of 'b' is not possible"),
    (lambda a: counts(read(a), "user", c=F.max("u")), "max of 'u' is not possible"),
    (lambda a: read(a).write.kafka("x", key="who"), "key='who' is no column"),
    (lambda a: read(a).write.kafka("x", mode="update"), "without an aggregate"),
    (lambda a: read(a).write.kafka("x", mode="often"), "mode='often'"),  # type: ignore[arg-type]
    (lambda a: counts(read(a), "user", mode="append"), "needs windows that close"),
    (lambda a: counts(read(a), F.window("dt", "1h"), "user", mode="append"), "windows that close"),
    (lambda a: counts(read(a).with_watermark("1s"), "user", mode="append"), "windows that close"),
    (lambda a: read(a).write.kafka("x", format=Text()), "text is one column"),
    (lambda a: read(a).select(s=pl.struct("n", "x")).write.kafka("x", format=Csv({"s": pl.String})),
     "cannot be written"),
    (lambda a: read(a).select("nothing").write.kafka("x"), "nothing"),
    (lambda a: read(a).filter(pl.col("n") + 1).write.kafka("x"), "filter cannot be computed"),
    (lambda a: read(a).with_columns(__y=pl.col("n")).write.kafka("x"), "two underscores"),
    (lambda a: read(a).with_columns(y=pl.col("n").cum_sum()).write.kafka("x"), "other rows"),
    (lambda a: read(a).select(y=pl.col("n").sum()).write.kafka("x"), "other rows"),
    (lambda a: read(a).filter(pl.col("n") > pl.col("n").shift()).write.kafka("x"), "other rows"),
    (lambda a: read(a).with_columns(
        y=pl.col("n").map_batches(lambda s: 1 // 0, return_dtype=pl.Int64, is_elementwise=True)
     ).write.kafka("x"), "cannot be computed"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "what"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_run_is_refused_with_its_line_and_a_remedy(
    build: Callable[[Topology], object], what: str
) -> None:
    assert what in refusal(build).message


def test_sinks_behind_one_aggregate_have_one_mode() -> None:
    def build(app: Topology) -> None:
        totals = read(app).group_by("user").agg(c=F.count())
        totals.write.kafka("x", mode="update")
        totals.write.kafka("y", mode="complete")

    assert "different output modes: complete, update" in refusal(build).message


@pytest.mark.parametrize(
    "build",
    [
        lambda a: read(a).write.kafka("x"),
        lambda a: counts(read(a), "user"),
        lambda a: counts(read(a), "user", "city", "n", "b", "u"),
        lambda a: counts(read(a).with_watermark("0s"), F.window("dt", "1h"), "user", mode="append"),
        lambda a: counts(read(a).select(pl.all()), F.window("dt", "1h"), "user"),
        lambda a: counts(read(a).with_columns(y=pl.col("user")), "user", "y"),
        lambda a: read(a).select("user").write.kafka("x", format=Text(), key="user"),
        lambda a: read(a).write.kafka("x", key="dt"),
        lambda a: (
            read(a)
            .with_columns(y=pl.when(pl.col("n") > 1).then(pl.lit("a")).otherwise(pl.col("city")))
            .write.kafka("x")
        ),
        lambda a: read(a).with_columns(c=F.nearest("x", "n", [(0.0, 0.0)])).write.kafka("x"),
    ],
    ids=range(10),
)
def test_what_can_run_is_accepted(build: Callable[[Topology], object]) -> None:
    accepted(build)


@pytest.mark.parametrize("late", ["in", "x", "app-dead-letters"])
def test_late_records_need_a_topic_of_their_own(late: str) -> None:
    def build(app: Topology) -> None:
        read(app).with_watermark("0s", late=late).write.kafka("x")

    assert "has a use for" in refusal(build).message


def test_the_topic_for_late_records_is_one() -> None:
    def build(app: Topology) -> None:
        read(app).with_watermark("0s", late="no topic").write.kafka("x")

    assert "cannot be a topic" in refusal(build).message


@pytest.mark.parametrize(
    ("build", "way"),
    [
        (lambda a: read(a, event_time="n").write.kafka("x"), "epoch={'n': \"s\"}"),
        (lambda a: read(a, event_time="city").write.kafka("x"), "read it as pl.Datetime"),
        (lambda a: counts(read(a), F.window("n", "1h"), "user"), "F.window('dt', ...)"),
        (lambda a: counts(read(a, event_time=None), F.window("n", "1h"), "user"), "event_time='n'"),
        (
            lambda a: counts(
                read(
                    a, event_time=None, format=Json({"o": pl.Struct({"id": pl.Int64})}),
                    partitioned_by="o",
                ),
                "o",
            ),
            "key='id', partitioned_by='id'",
        ),
    ],
)  # fmt: skip
def test_a_column_of_another_type_comes_with_the_way_to_the_right_one(
    build: Callable[[Topology], object], way: str
) -> None:
    assert way in refusal(build).remedy


TIMED = {"at": pl.Datetime("us"), "time": pl.Int64}
SCHEMA = {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}


@pytest.mark.parametrize(
    ("form", "column"),
    [
        (Json(TIMED, optional={"at"}), "at"),
        (JsonSchema(SCHEMA), "at"),
        (CloudEvents(Json({"n": pl.Int64})), "time"),
        (CloudEvents(Json({"at": TIMED["at"]}, optional={"at"})), "at"),
    ],
)
@pytest.mark.parametrize("computed", [False, True])
def test_what_is_said_of_an_event_time_that_may_be_missing_is_right_as_it_stands(
    form, column, computed
) -> None:
    def planned(event_time) -> None:
        topology = Topology("timed")
        topology.read.kafka("in", format=form, event_time=event_time).write.kafka("out")
        topology.plan()

    with pytest.raises(TopologyError) as refused:
        planned(pl.col(column).alias(column) if computed else column)
    found = re.search(r'alias\("(\w+)"\)', str(refused.value))
    assert found is not None
    planned(pl.col(column).alias(found[1]))
    if isinstance(form, CloudEvents) and column == "time" and not computed:
        assert 'required={"time"}' in refused.value.remedy


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (pl.Float64, 'with_columns(k=pl.col("k").cast(pl.Int64))'),
        (pl.Decimal(10, 2), 'with_columns(k=pl.col("k").cast(pl.String))'),
        (pl.List(pl.String), "Many rows in a record"),
        (pl.Binary, "read the column as one"),
    ],
)
def test_what_cannot_be_a_key_is_told_with_the_way_to_one_that_can(kind: Any, way: str) -> None:
    def build(app: Topology) -> None:
        rows = app.read.kafka("in", format=Json({"t": pl.String}))
        counts(rows.select(k=pl.lit(None, kind)), "k")

    assert way in refusal(build).remedy
