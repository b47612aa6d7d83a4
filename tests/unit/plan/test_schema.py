from __future__ import annotations

import polars as pl
import pytest

from processor import Json, Topology, TopologyError
from processor import functions as F
from processor.operators.steps import compiled
from processor.plan import schema
from processor.plan.fingerprint import describe, identity, layout
from processor.plan.order import unordered

FORM = Json({"dt": pl.Datetime("us"), "user": pl.String, "i": pl.Int8, "f": pl.Float32})


def test_every_step_has_the_columns_that_the_rows_will_have() -> None:
    app = Topology("a")
    source = app.read.kafka("in", format=FORM, event_time="dt", partitioned_by="user")
    source = source.with_watermark("1s").filter(pl.col("i") > 0)
    wide = source.with_columns(g=pl.col("i") + pl.lit(0.5, pl.Float64))
    narrow = wide.select("user", "dt", "i", "f")
    totals = narrow.group_by(F.window("dt", "1h"), "user").agg(
        n=F.count("i"), s=F.sum("i"), t=F.sum("f"), low=F.min("f"), last=F.max("dt"), m=F.mean("i")
    )
    totals.write.kafka("out", mode="update")
    plan = app.plan()
    columns = schema.columns(plan)
    source_, _, _, extend, select, aggregate = plan.nodes()
    assert columns[id(source_)] == dict(FORM.columns or {})
    assert columns[id(extend)]["g"] == pl.Float64
    assert list(columns[id(select)]) == ["user", "dt", "i", "f"]
    assert columns[id(aggregate)] == {
        "window_start": pl.Datetime("us"), "window_end": pl.Datetime("us"), "user": pl.String,
        "n": pl.Int64, "s": pl.Int64, "t": pl.Float64, "low": pl.Float32,
        "last": pl.Datetime("us"), "m": pl.Float64,
    }  # fmt: skip


def test_a_function_of_the_users_is_asked_once_however_many_look_at_the_plan() -> None:
    asked: list[int] = []

    def slow(values: pl.Series) -> pl.Series:
        asked.append(len(values))
        return values

    app = Topology("a")
    rows = app.read.kafka("in", format=FORM, event_time="dt", partitioned_by="user")
    rows = rows.with_watermark("1s").with_columns(
        g=pl.col("i").map_batches(slow, return_dtype=pl.Int8, is_elementwise=True)
    )
    totals = rows.group_by(F.window("dt", "1h"), "user").agg(s=F.sum("g"))
    totals.write.kafka("out", key="user", watermark="carried")
    plan = app.plan()
    describe(plan), identity(plan), layout(plan), list(unordered(plan)), compiled(plan, print)
    assert asked == [0]


NESTED = Json({"n": pl.Int64, "o": pl.Struct({"t": pl.String, "u": pl.Struct({"v": pl.Int64})})})


@pytest.mark.parametrize(
    ("build", "way"),
    [
        (lambda rows: rows.select("o.t"), 'with_columns(t=pl.col("o").struct.field("t"))'),
        (lambda rows: rows.filter(pl.col("o.u.v") > 1), '.struct.field("u").struct.field("v")'),
        (lambda rows: rows.group_by("n").agg(s=F.max("o.t")), 'pl.col("o").struct.field("t")'),
        (lambda rows: rows.select(z=pl.col("o").struct.field("x")), "'o' has t, u"),
        (lambda rows: rows.select("p.t"), "the columns here are: n, o"),
        (lambda rows: rows.select("x"), "the columns here are: n, o"),
    ],
)  # fmt: skip
def test_a_member_of_an_object_that_is_no_column_comes_with_the_way_to_it(build, way) -> None:
    app = Topology("a")
    rows = app.read.kafka("in", format=NESTED, partitioned_by="n")
    build(rows).write.kafka("out")
    with pytest.raises(TopologyError) as caught:
        app.plan()
    assert way in caught.value.remedy
