"""A topology with several faults is refused with all of them, each with its line."""

import re

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.errors import TopologyError
from processor.plan import rowwise, stages

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


def test_a_mode_that_is_none_is_not_told_of_as_another_mode():
    topology = Topology("spend")
    grouped = rows_of(topology).group_by("user").agg(n=F.count())
    grouped.write.kafka("a", key="user", mode="all")
    grouped.write.kafka("b", key="user", mode="update")
    assert faults_of(topology) == ["mode='all'"]


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


def test_behind_a_wrong_step_only_the_words_of_the_sink_are_looked_at():
    topology = Topology("spend")
    grouped = rows_of(topology).group_by("user").agg(total=F.sum("user"))
    grouped.filter(pl.col("m") > 0).write.kafka("no topic", key="nobody", mode="all")
    first, *others = faults_of(topology)
    assert first.startswith("sum of 'user' is not possible")
    assert [each.partition(":")[0] for each in others] == [
        "mode='all'",
        "'no topic' cannot be a topic",
    ]


def test_a_sink_is_told_of_each_column_that_it_has_not():
    topology = Topology("spend")
    rows_of(topology).write.kafka("out", key="a", timestamp="b", headers={"h": "c", "i": "d"})
    assert [each.split(" is no")[0] for each in faults_of(topology)] == [
        "key='a'", "timestamp='b'", "headers={'h': 'c'}", "headers={'i': 'd'}",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["update", "all"])
def test_a_sink_outside_of_kafka_is_no_topic(mode, tmp_path):
    topology = Topology("spend")
    rows_of(topology).write.files(tmp_path, mode=mode)
    rows_of(topology, "other").write.kafka("out", key="nobody")
    found = faults_of(topology)
    assert len(found) == 2
    assert not any("cannot be a topic" in each for each in found)


def test_a_mode_that_nobody_wrote_is_not_told_of():
    topology = Topology("spend")
    grouped = rows_of(topology).group_by("user").agg(n=F.count())
    outs = [grouped.order_by("m"), grouped]
    for out, name in zip(outs, ("out", "no topic"), strict=True):
        out.write.kafka(name, mode="complete")
    first, second = sorted(faults_of(topology))
    assert first == "'no topic' cannot be a topic"
    assert "order_by" in second


def test_a_wrong_key_of_groups_is_all_that_is_told_of_them():
    topology = Topology("spend")
    grouped = rows_of(topology).group_by("usr").agg(n=F.count())
    grouped.order_by("n").limit(3).write.kafka("out", mode="complete")
    grouped.write.kafka("other", key="user", mode="update")
    (only,) = faults_of(topology)
    assert "usr" in only


def test_a_wrong_event_time_is_told_of_where_it_is_read_and_not_where_it_is_missed():
    topology = Topology("spend")
    left = topology.read.kafka("left", format=ORDERS, event_time="att").with_watermark("1 hour")
    right = rows_of(topology, "right").with_watermark("1 hour").filter(pl.col("r") > 0)
    left.join(right, on="user", within="1 hour").write.kafka("out")
    first, second = faults_of(topology)
    assert first == "'left' has no column 'att'"
    assert '"r"' in second


def test_a_wide_step_is_looked_at_a_few_times_and_not_once_for_each_column(monkeypatch):
    topology = Topology("spend")
    names = {f"c{number}": pl.col("n") + number for number in range(40)}
    rows_of(topology).with_columns(**names, wrong=pl.col("x")).write.kafka("out", mode="all")
    looks = []
    right = rowwise.check
    monkeypatch.setattr(rowwise, "check", lambda *given: (looks.append(given), right(*given))[1])
    first, second = faults_of(topology)
    assert '"x"' in first
    assert second == "mode='all'"
    assert len(looks) < 200


def test_a_long_plan_is_checked_a_few_times_and_not_once_for_each_step(monkeypatch):
    topology = Topology("spend")
    rows = rows_of(topology)
    for number in range(81):
        rows = rows.filter(pl.col("missing" if number == 40 else "n") > number)
    for number in range(5):
        rows.write.kafka(f"out{number}")
    checks = []
    right = stages.cut
    monkeypatch.setattr(stages, "cut", lambda plan: (checks.append(plan), right(plan))[1])
    (only,) = faults_of(topology)
    assert "missing" in only
    assert len(checks) < 40


@pytest.mark.parametrize("place", range(7))
def test_the_wrong_step_is_found_wherever_it_is(place):
    topology = Topology("spend")
    rows = rows_of(topology)
    for number in range(7):
        rows = rows.filter(pl.col("missing" if number == place else "n") > number)
    rows.write.kafka("out", mode="all")
    first, second = faults_of(topology)
    assert "missing" in first
    assert second == "mode='all'"


def test_every_column_that_a_step_misses_is_told_of():
    topology = Topology("spend")
    grouped = rows_of(topology).group_by("usr", "zip").agg(n=F.sum("m"))
    grouped.write.kafka("out", key="usr", mode="update")
    by_user = rows_of(topology).group_by("user").agg(n=F.count())
    by_user.order_by("a", "b").write.kafka("sorted", mode="complete")
    rows_of(topology).repartition("c", "d").write.kafka("dealt")
    grouped, ordered, dealt = faults_of(topology)
    assert '"usr" and column "zip" and column "m"' in grouped
    assert '"a" and column "b"' in ordered
    assert "'c' and no 'd'" in dealt


def test_what_each_side_of_a_join_lacks_is_told_of():
    topology = Topology("spend")
    left = rows_of(topology, "left").with_watermark("1 minute")
    right = topology.read.kafka("right", format=Json({"user": pl.String, "n": pl.Int64}))
    left.join(right, on=["user", "x", "y"], within="5 minutes").write.kafka("out", mode="all")
    assert faults_of(topology) == [
        "the join's left side has no column 'x' and no 'y'",
        "the join's right side has no column 'x' and no 'y'",
        "mode='all'",
    ]


def test_a_wrong_partitioned_by_does_not_hide_what_is_behind_it():
    topology = Topology("spend")
    rows = topology.read.kafka("in", format=ORDERS, partitioned_by=["usr", "zip"])
    rows.filter(pl.col("missing") > 0).write.kafka("out", key="nobody")
    first, second, third = faults_of(topology)
    assert first == "'in' has no column 'usr' and no 'zip'"
    assert "missing" in second
    assert "nobody" in third


def test_a_topic_written_twice_is_told_of_where_its_first_sink_is_wrong():
    topology = Topology("spend")
    rows = rows_of(topology)
    rows.write.kafka("out", mode="all")
    rows.write.kafka("out")
    rows.write.kafka("out", key="nobody")
    told = [fault.partition(":")[0].partition(",")[0] for fault in faults_of(topology)]
    assert sorted(told) == [
        "'out' is written a second time", "'out' is written a second time",
        "key='nobody' is no column", "mode='all'",
    ]  # fmt: skip


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
