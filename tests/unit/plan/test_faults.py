"""A topology with several faults is refused with all of them, each with its line."""

import re

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.errors import TopologyError

ORDERS = Json({"user": pl.String, "n": pl.Int64, "at": pl.Datetime("us")})


def rows_of(topology, topic="in"):
    return topology.read.kafka(topic, format=ORDERS, event_time="at", partitioned_by="user")


def faults_of(topology):
    """What is said, without the lines."""
    with pytest.raises(TopologyError) as caught:
        topology.stages()
    every = (caught.value, *caught.value.others)
    return [re.sub(r"^\S+:\d+: ", "", fault.message) for fault in every]


def lines_of(topology):
    with pytest.raises(TopologyError) as caught:
        topology.stages()
    return [
        int(fault.message.split(":")[1]) for fault in (caught.value, *caught.value.others)
    ]  # fmt: skip


def test_one_fault_is_told_as_it_is():
    topology = Topology("spend")
    rows_of(topology).write.kafka("out", mode="all")
    with pytest.raises(TopologyError, match="mode='all'") as caught:
        topology.stages()
    assert caught.value.others == ()


def test_each_sink_is_told_of():
    topology = Topology("spend")
    rows = rows_of(topology)
    rows.write.kafka("a", mode="all")
    rows.write.kafka("b", key="nobody")
    rows.write.kafka("c")
    rows.write.kafka("no topic")
    assert [fault.partition(":")[0] for fault in faults_of(topology)] == [
        "mode='all'", "key='nobody' is no column", "'no topic' cannot be a topic",
    ]  # fmt: skip


def test_they_come_in_the_order_of_their_lines():
    topology = Topology("spend")
    rows = rows_of(topology)
    wrong = rows.filter(pl.col("missing") > 0)
    rows.write.kafka("a", key="nobody")
    wrong.write.kafka("b", mode="all")
    found = lines_of(topology)
    assert found == sorted(found)
    assert len(found) == 3


def test_a_step_that_keeps_its_columns_does_not_hide_what_is_behind_it():
    topology = Topology("spend")
    rows = rows_of(topology).filter(pl.col("missing") > 0)
    rows = rows.filter(pl.col("other") > 0)
    rows.write.kafka("out", key="nobody")
    first, second, third = faults_of(topology)
    assert "missing" in first
    assert "other" in second
    assert "nobody" in third


def test_what_only_follows_from_a_fault_is_not_told():
    topology = Topology("spend")
    rows = rows_of(topology).with_columns(cost=pl.col("price") * 2, twice=pl.col("n") * 2)
    by_user = rows.group_by("user").agg(total=F.sum("cost"), most=F.max("twice"))
    by_user.write.kafka("out", key="user", mode="whenever")
    first, second = faults_of(topology)
    assert "price" in first
    assert second == "mode='whenever'"


def test_several_columns_of_one_step_are_told_of():
    topology = Topology("spend")
    rows_of(topology).with_columns(a=pl.col("x") + 1, b=pl.col("y") + 1).write.kafka("out")
    first, second = faults_of(topology)
    assert '"x"' in first
    assert '"y"' in second


def test_what_an_aggregate_cannot_compute_does_not_hide_the_sink():
    topology = Topology("spend")
    grouped = rows_of(topology).group_by("user").agg(total=F.sum("user"))
    grouped.write.kafka("out", key="nobody", mode="update")
    first, second = faults_of(topology)
    assert first.startswith("sum of 'user' is not possible")
    assert second.startswith("key='nobody'")


def test_both_sides_of_a_union_are_looked_at():
    topology = Topology("spend")
    left = rows_of(topology, "left").filter(pl.col("l") > 0)
    right = rows_of(topology, "right").filter(pl.col("r") > 0)
    left.union(right).write.kafka("out")
    first, second = faults_of(topology)
    assert '"l"' in first
    assert '"r"' in second


def test_both_sides_of_a_join_are_looked_at():
    topology = Topology("spend")
    left = rows_of(topology, "left").with_watermark("1 minute").filter(pl.col("l") > 0)
    right = rows_of(topology, "right").with_watermark("1 minute").filter(pl.col("r") > 0)
    left.join(right, on="user", within="5 minutes").write.kafka("out", key="nobody")
    first, second, third = faults_of(topology)
    assert '"l"' in first
    assert '"r"' in second
    assert "nobody" in third


def test_steps_of_every_stage_are_looked_at():
    topology = Topology("spend")
    rows = rows_of(topology).filter(pl.col("missing") > 0)
    by_n = rows.group_by("n").agg(total=F.count())
    by_n.filter(pl.col("gone") > 1).write.kafka("out", key="n", mode="all")
    first, second, third = faults_of(topology)
    assert "missing" in first
    assert "gone" in second
    assert third == "mode='all'"


def test_what_is_wrong_between_sinks_is_told_with_what_is_wrong_in_one():
    topology = Topology("spend")
    rows = rows_of(topology)
    rows.write.kafka("out")
    rows.write.kafka("out")
    rows.write.kafka("b", mode="all")
    first, second = faults_of(topology)
    assert first.startswith("'out' is written a second time")
    assert second == "mode='all'"


def test_a_shared_step_is_told_of_once():
    topology = Topology("spend")
    rows = rows_of(topology).filter(pl.col("missing") > 0)
    rows.write.kafka("a")
    rows.write.kafka("b")
    (only,) = faults_of(topology)
    assert "missing" in only


def test_the_text_has_each_with_its_remedy():
    topology = Topology("spend")
    rows = rows_of(topology)
    rows.write.kafka("a", mode="all")
    rows.write.kafka("b", key="nobody")
    with pytest.raises(TopologyError) as caught:
        topology.stages()
    told = str(caught.value).splitlines()
    assert len(told) == 4
    assert told[1] == "  remedy: say append, update or complete"
    assert told[3].startswith("  remedy: the columns here are")
