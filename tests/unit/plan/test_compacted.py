"""A compacted topic takes no record without a key: seen before the first one is made."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Csv, Json, Text, Topology, TopologyError
from processor import functions as F
from processor.plan.compacted import check

READ = Json(
    {"k": pl.String, "n": pl.Int64, "maybe": pl.String, "m": pl.Int64, "dt": pl.Datetime("us")},
    optional=frozenset({"maybe", "m"}),
)


def rows(app: Topology) -> Any:
    return app.read.kafka("in", format=READ, partitioned_by="maybe", event_time="dt")


def ways(key: str = "k") -> dict[str, Any]:
    col = pl.col
    return {
        "read": lambda r: r.select("k", "n"),
        "filtered": lambda r: r.filter(col("maybe").is_not_null()).select(k=pl.col("maybe")),
        "filtered by value": lambda r: r.filter(col("maybe") != "").select(k=col("maybe")),
        "filtered among others": lambda r: r.filter((col("n") > 1) & col("maybe").is_not_null())
        .select(k=col("maybe")),
        "filtered under its last name": lambda r: r.select(k=col("maybe"))
        .filter(col("k").is_not_null()),
        "computed, then filtered": lambda r: r.with_columns(k=col("maybe").str.head(1))
        .filter(col("k").is_not_null()),
        "filled": lambda r: r.with_columns(k=col("maybe").fill_null("none")),
        "a value": lambda r: r.with_columns(k=pl.lit("all")),
        "kept beside others": lambda r: r.with_columns(x=col("m") + 1),
        "group": lambda r: r.filter(col("maybe").is_not_null()).group_by("maybe")
        .agg(c=F.count()).select(k=pl.col("maybe")),
        "count": lambda r: r.group_by("maybe").agg(k=F.count()),
        "sum": lambda r: r.group_by("maybe").agg(k=F.sum("m")),
        "window": lambda r: r.group_by(F.window("dt", "1 hour"), "maybe").agg(c=F.count())
        .select(k=pl.col("window_start")),
    }  # fmt: skip


def unsafe() -> dict[str, Any]:
    col = pl.col
    return {
        "optional": lambda r: r.select(k=col("maybe")),
        "optional name": lambda r: r.select("n", "maybe", k=pl.col("maybe")),
        "computed": lambda r: r.with_columns(k=col("k").str.to_uppercase()),
        "filtered by another": lambda r: r.filter(col("m").is_not_null()).select(k=col("maybe")),
        "one or the other": lambda r: r.filter((col("n") > 1) | col("maybe").is_not_null())
        .select(k=col("maybe")),
        "filtered before it is made": lambda r: r.filter(col("k").is_not_null())
        .with_columns(k=col("maybe")),
        "only nulls": lambda r: r.filter(col("maybe").is_null()).select(k=pl.col("maybe")),
        "null": lambda r: r.with_columns(k=pl.lit(None, pl.String)),
        "filled with one that may be null": lambda r: r.with_columns(
            k=col("maybe").fill_null(col("maybe"))
        ),
        "filled, then changed": lambda r: r.with_columns(
            k=col("maybe").fill_null("x").replace("x", None)
        ),
        "several keys": lambda r: r.group_by("maybe", "k").agg(c=F.count())
        .select(k=pl.concat_str("maybe", "k")),
        "group": lambda r: r.group_by("maybe").agg(c=F.count()).select(k=pl.col("maybe")),
        "max": lambda r: r.group_by("maybe").agg(k=F.max("m")),
    }  # fmt: skip


def planned(way: Any, **options: Any) -> Any:
    app = Topology("app")
    frame = way(rows(app))
    aggregated = (
        "Aggregate" in type(frame._node).__name__
        or "Aggregate" in type(getattr(frame._node, "parent", None)).__name__
    )
    mode = "update" if aggregated else "append"
    frame.write.kafka("out", mode=mode, **{"key": "k", **options})
    return app.plan()


@pytest.mark.parametrize("way", ways())
def test_a_key_that_is_never_null_passes(way: str) -> None:
    made = ways()[way]
    check(planned(made), {"out"})


@pytest.mark.parametrize("way", unsafe())
def test_a_key_that_may_be_null_is_refused_at_the_sink(way: str) -> None:
    plan = planned(unsafe()[way])
    check(plan, {"another"})
    with pytest.raises(TopologyError, match="'out' is compacted, and its key 'k' may be") as caught:
        check(plan, {"out"})
    assert caught.value.message.startswith(f"{plan.sinks[0].at}: ")
    assert 'filter(pl.col("k").is_not_null())' in caught.value.remedy


def test_a_sink_without_a_key_is_refused() -> None:
    with pytest.raises(TopologyError, match="takes no record without a key"):
        check(planned(lambda r: r, key=None), {"out"})


@pytest.mark.parametrize(
    "format_", [Csv({"k": pl.String}), Text(), Json({"k": pl.String})], ids=str
)
def test_a_column_that_a_format_always_has_is_never_null(format_: Any) -> None:
    app = Topology("app")
    (column,) = format_.columns
    app.read.kafka("in", format=format_).write.kafka("out", key=column, format=format_)
    check(app.plan(), {"out"})


@pytest.mark.parametrize("topic", ["app-dead-letters", "late"])
def test_what_is_set_aside_goes_to_no_compacted_topic(topic: str) -> None:
    app = Topology("app")
    rows(app).with_watermark("1 hour", late="late").write.kafka("out")
    with pytest.raises(TopologyError, match=f"'{topic}' is compacted"):
        check(app.plan(), {topic})


def test_a_function_of_the_users_that_fails_on_null_proves_nothing() -> None:
    plan = planned(
        lambda r: r.filter(
            pl.col("maybe").map_elements(lambda v: v[0] == "a", pl.Boolean, skip_nulls=False)
        ).select(k=pl.col("maybe"))
    )
    with pytest.raises(TopologyError, match="may be null"):
        check(plan, {"out"})
