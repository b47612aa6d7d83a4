"""Groups that are published again are told of where their records have no order."""

from __future__ import annotations

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.plan.describe import describe
from processor.plan.nodes import Plan
from processor.plan.order import unordered

FORM = Json({"at": pl.Datetime("us"), "c": pl.String, "d": pl.String, "x": pl.Float64})


def plan(behind=lambda groups: groups, *, window=False, mode="update", **options) -> Plan:
    topology = Topology("spend")
    rows = topology.read.kafka("in", format=FORM, partitioned_by="c", event_time="at")
    keys = [F.window("at", "1h")] * window
    groups = rows.with_watermark("1h").group_by(*keys, "c", "d").agg(n=F.count(), s=F.sum("x"))
    behind(groups).write.kafka("out", mode=mode, **options)
    return topology.plan()


@pytest.mark.parametrize("mode", ["update", "complete"])
@pytest.mark.parametrize(("key", "told"), [(None, "without a key"), ("n", "keyed by 'n'")])
def test_a_key_that_is_none_of_the_group_is_told_with_the_line_and_the_remedy(mode, key, told):
    (note,) = unordered(plan(mode=mode, key=key))
    assert note.startswith(f"{__file__}:")
    assert f'(mode="{mode}"), and {told} records of one group lie in any' in note
    assert note.endswith('key="c"')


@pytest.mark.parametrize(
    ("behind", "key"),
    [
        (lambda g: g, "c"),
        (lambda g: g, "d"),
        (lambda g: g.select(pl.col("d").alias("e"), "n"), "e"),
        (lambda g: g.with_columns(k=pl.concat_str("c", "d")), "k"),
        (lambda g: g.with_columns(pl.all().cast(pl.String)), "c"),
        (lambda g: g.with_columns(k=pl.lit("all")), "k"),
    ],
)
def test_a_key_that_is_the_same_for_a_group_is_not_told(behind, key):
    assert list(unordered(plan(behind, key=key))) == []


@pytest.mark.parametrize(
    ("behind", "key", "remedy"),
    [
        (lambda g: g.with_columns(k=pl.concat_str("c", "n")), "k", 'key="c"'),
        (lambda g: g.with_columns(c=pl.col("n").cast(pl.String)), "c", 'key="d"'),
        (lambda g: g.select(pl.col("c").alias("e"), "n"), None, 'key="e"'),
        (lambda g: g.select("n"), None, "Keep a column of the group, and write by it: key='c'"),
    ],
)
def test_a_key_that_depends_on_more_than_the_group_is_told(behind, key, remedy):
    (note,) = unordered(plan(behind, key=key))
    assert note.endswith(remedy)


def test_a_window_is_of_the_group_too():
    assert list(unordered(plan(window=True, key="window_start"))) == []


def test_windows_that_are_published_once_need_no_order():
    assert list(unordered(plan(window=True, mode="append"))) == []


def test_what_is_shown_on_the_screen_needs_no_key():
    topology = Topology("spend")
    rows = topology.read.kafka("in", format=FORM, partitioned_by="c")
    rows.group_by("c").agg(n=F.count()).write.console(mode="update")
    assert list(unordered(topology.plan())) == []


def test_the_description_tells_it_too():
    assert "see whether this is right: " in describe(plan())
    assert "see whether" not in describe(plan(key="c"))


def test_groups_that_are_handed_on_to_a_gather_lie_in_one_partition() -> None:
    topology = Topology("a")
    rows = topology.read.kafka("in", format=Json({"c": pl.String}), partitioned_by="c")
    groups = rows.group_by("c").agg(n=F.count()).order_by("n")
    groups.write.kafka("out", mode="complete")
    assert not [note for stage in topology.stages() for note in unordered(stage.plan)]
