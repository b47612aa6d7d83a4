"""Which stages a run is of, and what only a run of Python can have."""

from __future__ import annotations

import polars as pl
import pytest
from structlog.testing import capture_logs

from processor import Json, Topology, app
from processor import functions as F
from processor.app.backends import Backends
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.store import MemoryStore
from processor.engine.commit import changelog
from processor.errors import SettingsError, TopologyError
from processor.plan.nodes import Plan
from processor.settings import Settings


def plans() -> list[Plan]:
    topology = Topology("spend")
    rows = topology.read.kafka("in", format=Json({"user": pl.String, "n": pl.Int64}))
    rows.group_by("user").agg(n=F.sum("n")).write.kafka("out", key="user", mode="update")
    return [stage.plan for stage in topology.stages()]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, [0, 1]),
        ("spend", [0]),
        ("by-user", [1]),
        ("spend.by-user", [1]),
        ("by-user, spend", [0, 1]),
        (["by-user"], [1]),
    ],
)
def test_a_stage_is_named_as_describe_shows_it_or_without_its_topology(asked, found):
    assert app.picked(plans(), Settings(stages=asked)) == found


def test_a_stage_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(SettingsError, match="no stage 'by-shop'") as told:
        app.looked_at(plans(), Settings(stages="by-shop"))
    assert "spend, spend.by-user" in str(told.value)


def test_only_the_stages_named_are_run():
    topology = Topology("spend")
    rows = topology.read.kafka("in", format=Json({"user": pl.String, "n": pl.Int64}))
    rows.group_by("user").agg(n=F.sum("n")).write.kafka("out", key="user", mode="update")
    assert topology.collect(feed={"in": [{"user": "a", "n": 1}]}, stages="spend").is_empty()
    assert topology.collect(feed={"in": [{"user": "a", "n": 1}]}).height == 1


def test_a_table_is_for_who_can_ask_it_and_the_command_line_refuses_it():
    topology = Topology("spend")
    rows = topology.read.kafka("in", format=Json({"user": pl.String, "n": pl.Int64}))
    rows.group_by("user").agg(n=F.sum("n")).write.memory("totals", mode="update")
    plans = [stage.plan for stage in topology.stages()]
    with pytest.raises(TopologyError, match="nobody can look into the table 'totals'") as told:
        app.looked_at(plans, Settings())
    assert "topology.start(...)" in told.value.remedy
    fed = {"in": [{"user": user, "n": n} for n, user in enumerate("abab")]}
    with topology.start(feed=fed, until_caught_up=True) as query:
        query.await_termination(timeout=60)
    assert sorted(query.table("totals").rows()) == [("a", 2), ("b", 4)]
    assert query.sql("select max(n) from totals").item() == 4
    assert topology.collect(feed=fed).sort("user").rows() == [("a", 2), ("b", 4)]


def test_a_branch_that_loses_late_records_too_is_told_before_the_run():
    topology = Topology("spend")
    form = Json({"at": pl.Datetime("us")})
    rows = topology.read.kafka("in", format=form, event_time="at")
    rows.write.kafka("all")
    rows.with_watermark("1 hour").write.kafka("in-time")
    with capture_logs() as lines:
        app.looked_at([topology.plan()], Settings())
    (told,) = [line for line in lines if line["event"] == "see whether this is right"]
    assert told["log_level"] == "warning"
    assert "late records are left out here too" in told["what"]


def test_a_stage_without_state_needs_no_changelog_and_one_with_too_few_partitions_says_so():
    log = MemoryLog()
    settings = Settings(on_checkpoint_loss="changelog")
    used = Backends(log, MemoryStore(), "")
    app.prepared(plans(), settings, used, {}, lambda _: None)
    assert "spend.by-user-changelog" in log.describe(["spend.by-user-changelog"])
    assert not log.describe(["spend-changelog"])


def test_a_changelog_with_too_few_partitions_says_how_it_gets_more():
    log = MemoryLog()
    log.create({"a-changelog": 1})
    with pytest.raises(SettingsError, match="has 1 partitions; it needs 3") as told:
        changelog.prepare(log, {"a": 3}, create=True)
    assert told.value.remedy.endswith("--alter --topic a-changelog --partitions 3")
