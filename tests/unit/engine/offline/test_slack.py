"""How far sums of fractions may be apart: what the theory grants, to the bit."""

from __future__ import annotations

import math
import sys

import orjson
import polars as pl
import pytest

from processor import Csv, Json, Topology
from processor import functions as F
from processor.engine.offline.slack import slack_of
from processor.model.log import Output

E = sys.float_info.epsilon
FORM = Json({"k": pl.Int64, "x": pl.Float64, "n": pl.Int64})


def made(**aggregates):
    topology = Topology("sums")
    rows = topology.read.kafka("in", format=FORM, partitioned_by="k")
    rows.group_by("k").agg(**aggregates).write.kafka("out", key="k", mode="update")
    plan = topology.plan()
    (sink,) = plan.sinks
    published = {a.name: a for a in sink.parent.aggregations}
    return slack_of(plan, sink, sink.parent, ["k"], published)


def told(slack, k, **measured):
    row = {"k": k}
    for name, (count, size, odd) in measured.items():
        row |= {f"processor.{kind}.{name}": value
                for kind, value in (("count", count), ("size", size), ("odd", odd))}  # fmt: skip
    slack.expect(Output(slack.sink.topic, [orjson.dumps(row)]))
    return slack.of((k,))


def test_a_sum_is_granted_twice_the_theorys_bound_and_a_mean_a_counts_part_of_it():
    slack = made(s=F.sum("x"), m=F.mean("x"), w=F.mean("n"))
    found = told(slack, 1, x=(3, 0.5, 0), n=(2, 7.0, 0))
    assert found == {"s": 2 * E * 0.5 * 3, "m": 2 * E * 0.5, "w": 2 * E * 7.0}
    assert told(slack, 1, x=(1, 8.0, 0), n=(1, 0.0, 0)) == {"s": 16 * E, "m": 16 * E, "w": 0.0}
    assert slack.of((2,)) == {}


@pytest.mark.parametrize(
    ("measured", "granted"),
    [
        ((2, 1.0, 1), 0.0),
        ((2, 2.0**1000, 0), math.inf),
        ((2, 2.0**1000, 1), 0.0),
        ((2, None, 0), math.inf),
        ((1, 2.0**999, 0), 2 * E * 2.0**999),
    ],
)
def test_what_is_no_number_is_so_in_any_order_and_what_is_huge_may_be_anything(measured, granted):
    assert told(made(s=F.sum("x")), 1, x=measured) == {"s": granted}


def test_what_is_whole_needs_none():
    assert made(s=F.sum("n"), c=F.count("x"), low=F.min("x")) is None


def test_the_sizes_are_those_of_the_rows():
    """Of values however large, infinite or missing; by the same groups."""
    slack = made(s=F.sum("x"))
    extend = slack.sink.parent.parent
    values = [-1.5, 2.0, None, math.inf, math.nan, -1e308]
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    found = frame.with_columns(extend.expressions)
    assert found["processor.size.x"].to_list()[:4] == [1.5, 2.0, None, 2.0**1000]
    assert found["processor.size.x"].to_list()[5] == 2.0**1000
    assert found["processor.odd.x"].to_list() == [0, 0, None, 1, 1, 0]
    assert [(a.function, a.column) for a in slack.sink.parent.aggregations] == [
        ("count", "x"), ("sum", "processor.size.x"), ("sum", "processor.odd.x"),
    ]  # fmt: skip


def test_a_format_of_its_own_kind_writes_them():
    topology = Topology("sums")
    rows = topology.read.kafka("in", format=FORM, partitioned_by="k")
    form = Csv({"k": pl.Int64, "s": pl.Float64}, separator=";")
    rows.group_by("k").agg(s=F.sum("x")).write.kafka("out", format=form, key="k", mode="update")
    plan = topology.plan()
    (sink,) = plan.sinks
    aggregate = sink.parent
    slack = slack_of(plan, sink, aggregate, ["k"], {"s": aggregate.aggregations[0]})
    slack.expect(Output(slack.sink.topic, [b"1;3;0.5;0"]))
    assert slack.of(("1",)) == {"s": 3 * E}
