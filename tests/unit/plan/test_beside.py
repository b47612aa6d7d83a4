"""What a record has beside its value: what is refused at its line, and what a plan says of it."""

from __future__ import annotations

import polars as pl
import pytest

from processor import Csv, Json, Text, Topology, TopologyError
from processor import functions as F
from processor.plan.compacted import check as compacted
from processor.plan.describe import describe
from processor.plan.fingerprint import fingerprint, identity

COLUMNS = {"user": pl.String, "n": pl.Int64, "dt": pl.Datetime("us")}


def rows(topology=None, **options):
    options = {"key": "k", "headers": {"trace": "t"}, "timestamp": "at", **options}
    topology = topology or Topology("mine")
    form = options.pop("format", Json(COLUMNS))
    return topology.read.kafka("in", format=form, partitioned_by="user", **options)


def told(frame, **written) -> TopologyError:
    with pytest.raises(TopologyError) as caught:
        frame.write.kafka("out", **written)
        frame._topology.plan()
    assert "test_beside.py:" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("options", "words", "remedy"),
    [
        ({"key": "user"}, "key='user' is a column of the format too", 'partitioned_by="user"'),
        ({"offset": "n"}, "offset='n' is a column of the format too", "record's own offset"),
        ({"headers": "n"}, "header='n' is a column of the format too", "otherwise"),
        ({"headers": {"a": "k"}}, "'k' stands for two columns, key and header", "otherwise"),
        ({"headers": {"a": "h", "b": "h"}}, "'h' stands for two columns", "otherwise"),
        ({"partition": "at"}, "'at' stands for two columns", "otherwise"),
        ({"key": "__k"}, "begins with two underscores", "otherwise"),
    ],
)
def test_a_column_of_the_log_that_stands_for_two_is_refused(options, words, remedy):
    error = told(rows(**options))
    assert words in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize("option", ["timestamp", "partition", "offset", "headers"])
def test_no_topic_is_keyed_by_what_is_not_its_key(option):
    frame = Topology("mine").read.kafka(
        "in", format=Json(COLUMNS), partitioned_by="x", **{option: "x"}
    )
    assert "no topic is keyed by its records' " in told(frame).message


@pytest.mark.parametrize(
    ("written", "words", "remedy"),
    [
        ({"key": "nope"}, "key='nope' is no column", "user, n, dt, k, t, at"),
        ({"timestamp": "nope"}, "timestamp='nope' is no column", "user, n, dt, k, t, at"),
        ({"headers": {"a": "nope"}}, "headers={'a': 'nope'} is no column", "user, n, dt"),
        ({"headers": "nope"}, "headers='nope' is no column", "user, n, dt"),
        ({"timestamp": "n"}, "timestamp='n' is Int64, no time", "pl.from_epoch"),
        ({"timestamp": "user"}, "timestamp='user' is String, no time", "to_datetime"),
        ({"headers": "t"}, "headers='t' is String, and no list", 'headers={"name": "t"}'),
        ({"headers": {"processor.watermark": "t"}}, "are the processor's own", "otherwise"),
        ({"headers": ["t"]}, "headers is ['t'] (list)", 'headers={"trace": "trace_id"}'),
        ({"headers": {}}, "headers is {} (dict)", 'headers={"trace": "trace_id"}'),
        ({"headers": {1: "t"}}, "a header's name is 1 (int)", "it is text"),
        ({"headers": {"a": pl.col("t")}}, "the header 'a' is ", "with_columns(k=expression)"),
        ({"timestamp": pl.col("at")}, "timestamp is ", "with_columns(k=expression)"),
        ({"timestamp": 5}, "timestamp is 5 (int)", "a column's name"),
    ],
)
def test_what_cannot_be_beside_a_value_is_refused_at_its_line(written, words, remedy):
    error = told(rows(), **written)
    assert words in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize(
    "kind", [pl.List(pl.Int64), pl.Struct({"a": pl.Int64}), pl.Array(pl.Int64, 2), pl.Duration]
)
def test_a_column_that_is_no_text_is_no_header(kind):
    made = rows().select("user", h=pl.lit(None, dtype=kind))
    error = told(made, headers={"a": "h"}, format=Csv({"user": pl.String}))
    assert "which cannot be a header" in error.message


@pytest.mark.parametrize("written", [
    {"key": "k"}, {"timestamp": "at"}, {"headers": {"trace": "t"}}, {"headers": "t"},
])  # fmt: skip
def test_behind_an_aggregate_a_record_of_its_own_is_not_there(written):
    groups = rows().group_by("user").agg(c=F.count())
    error = told(groups, mode="update", **written)
    assert "is a record's own, and behind the aggregate at " in error.message
    assert "user, c" in error.remedy


def test_a_value_of_no_columns_is_refused():
    frame = rows(headers="h").select("h")
    assert "no column is left for the value" in told(frame, headers="h").message


def test_a_plan_shows_what_is_read_and_written_beside_the_value():
    topology = Topology("mine")
    frame = rows(topology, headers={"trace": "t"}, partition="p", offset="o")
    frame.write.kafka("out", key="k", timestamp="at", headers={"trace": "t"})
    shown = describe(topology.plan())
    assert (
        "the record's key as k, the record's partition as p, the record's offset as o, "
        "the record's timestamp as at, header trace as t" in shown
    )
    assert "write out keyed by k, append, timestamp at, header trace as t" in shown
    topology = Topology("mine")
    rows(topology, headers="h", format=Text(), key=None, timestamp=None)
    frame = Topology("mine").read.kafka("in", format=Text(), headers="h")
    frame.write.kafka("out", headers="h", format=Text())
    assert "all headers as h" in describe(frame._topology.plan())


def plan_of(written=(), **options):
    topology = Topology("mine")
    rows(topology, **options).write.kafka("out", **dict(written))
    return topology.plan()


def test_another_column_or_header_is_another_plan():
    plans = [
        plan_of(),
        plan_of(key="other"),
        plan_of(headers={"span": "t"}),
        plan_of(offset="o"),
        plan_of({"timestamp": "at"}),
        plan_of({"timestamp": "dt"}),
        plan_of({"headers": {"trace": "t"}}),
        plan_of({"headers": {"span": "t"}}),
    ]
    assert len({identity(plan) for plan in plans}) == len(plans)


def test_what_state_is_counted_by_is_part_of_its_fingerprint():
    def counted(**options):
        topology = Topology("mine")
        frame = topology.read.kafka("in", format=Text(), partitioned_by="k", **options)
        frame.group_by("k").agg(n=F.count()).write.kafka("out", key="k", mode="update")
        return fingerprint(topology.plan())

    assert counted(key="k") != counted(key="k", offset="o")


def test_a_key_that_was_read_may_be_null_and_a_compacted_topic_takes_none():
    topology = Topology("mine")
    rows(topology).write.kafka("out", key="k")
    with pytest.raises(TopologyError, match="its key 'k' may be null"):
        compacted(topology.plan(), {"out"})
    topology = Topology("mine")
    rows(topology).filter(pl.col("k").is_not_null()).write.kafka("out", key="k")
    compacted(topology.plan(), {"out"})
    topology = Topology("mine")
    rows(topology, offset="o").write.kafka("out", key="o")
    compacted(topology.plan(), {"out"})
