"""One plan at a time in a group: an upgrade passes, and a stranger waits."""

from __future__ import annotations

import json

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.engine.running.succession import Succession
from processor.errors import RetriableError, StandbyError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest
from processor.plan.fingerprint import identity
from processor.testing import TestDriver

FORM = Json({"k": pl.String, "n": pl.Int64})


def copying(output: str = "out", app: str = "a") -> Topology:
    topology = Topology(app)
    topology.read.kafka("in", format=FORM).write.kafka(output)
    return topology


def counting(*, more: bool = False) -> Topology:
    topology = Topology("a")
    rows = topology.read.kafka("in", format=FORM, partitioned_by="k")
    counts = rows.group_by("k").agg(c=F.count())
    if more:
        counts = counts.with_columns(twice=pl.col("c") * 2)
    counts.write.kafka("out", mode="update")
    return topology


def rows(count: int, first: int = 0) -> list[bytes]:
    return [json.dumps({"k": "k", "n": n}).encode() for n in range(first, first + count)]


def beside(driver: TestDriver, topology: Topology, *workers: int) -> TestDriver:
    """Other workers, with identities of their own."""
    partitions = len(driver.log.describe(["in"])["in"].extents)
    options = {"log": driver.log, "store": driver.store, "partitions": partitions}
    made = TestDriver(topology, workers=0, **options)
    for worker in workers:
        made.restart(worker)
    return made


def numbers(driver: TestDriver, topic: str) -> list[int]:
    return sorted(row["n"] for row in driver.json(topic))


def test_a_second_topology_under_the_application_id_of_another_waits_and_publishes_nothing():
    first = TestDriver(copying("first"), partitions=4)
    first.feed(rows(40))
    first.run()
    second = beside(first, copying("second"), 5)
    first.feed(rows(40, 40))
    second.run()
    first.run()
    assert numbers(first, "first") == list(range(80))
    assert second.values("second") == []
    assert "another topology runs under this application id" in second.noted[0]
    waiting = second._workers[5]
    assert waiting.ready
    assert not waiting.idle
    assert waiting.standing().standby
    assert len(second.noted) == 1


def test_a_rolling_upgrade_passes():
    old = TestDriver(counting(), partitions=4, workers=2)
    old.feed(rows(40))
    old.run()
    new = beside(old, counting(more=True), 5, 6)
    new.run()
    old.stop(0)
    old.feed(rows(40, 40))
    new.run()
    old.run()
    assert sum(row["c"] for row in _state(old)) == 80
    old.stop(1)
    new.feed(rows(40, 80))
    new.run()
    assert sum(row["c"] for row in _state(new)) == 120
    assert {len(new.owned(5)), len(new.owned(6))} == {2}


def _state(driver: TestDriver) -> list[dict]:
    return [row for state in driver.state().values() for row in state["aggregate-0"]]


def test_an_old_worker_that_is_started_again_in_an_upgrade_joins_its_own_and_waits_for_others():
    old = TestDriver(copying("first"), partitions=4, workers=2)
    old.feed(rows(8))
    old.run()
    new = beside(old, copying("second"), 5)
    new.run()
    old.kill(0)
    old.evict(0)
    old.restart(0)
    old.run()
    assert len(old.owned(0)) == 2
    old.stop(0)
    old.stop(1)
    new.run()
    assert len(new.owned(5)) == 4
    old.restart(0)
    old.feed(rows(8, 8))
    old.run()
    new.run()
    assert numbers(new, "second") == list(range(8, 16))
    new.stop(5)
    old.feed(rows(8, 16))
    old.run()
    assert numbers(old, "first") == [*range(8), *range(16, 24)]


def test_who_is_restarted_under_its_own_identity_does_not_wait_for_its_former_self():
    old = TestDriver(copying("first"))
    old.feed(rows(1))
    old.run()
    old.drop()
    new = beside(old, copying("second"), 0)
    new.feed(rows(1, 1))
    new.run()
    assert numbers(new, "second") == [1]


def test_of_two_that_begin_at_one_moment_one_leaves():
    topologies = sorted(
        (copying("first"), copying("second")), key=lambda topology: identity(topology.plan())
    )
    one = TestDriver(topologies[0], partitions=4)
    other = beside(one, topologies[1], 1)
    one.feed(rows(40))
    for _ in range(20):
        one.turn(0)
        other.turn(1)
    for driver in (one, other):
        driver.advance(6)
    other.turn(1)
    one.run()
    one.feed(rows(40, 40))
    before = len(other.values(other.plan.sinks[0].topic))
    other.run()
    one.run()
    assert len(other.values(other.plan.sinks[0].topic)) == before
    assert len(one.values(one.plan.sinks[0].topic)) + before == 80


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.read.kafka("in", format=FORM).write.kafka("other"),
        lambda t: t.read.kafka("in", format=FORM).write.kafka("out", key="k"),
        lambda t: t.read.kafka("in", format=FORM).filter(pl.col("n") > 1).write.kafka("out"),
        lambda t: t.read.kafka("in", format=FORM, on_error="skip").write.kafka("out"),
        lambda t: t.read.kafka("in", format=FORM, dead_letters="d").write.kafka("out"),
        lambda t: t.read.kafka("in", format=Json({"k": pl.String})).write.kafka("out"),
        lambda t: t.read.kafka("in", format=FORM).select("k", "n").write.kafka("out"),
    ],
)
def test_what_a_topology_does_is_its_identity(change):
    topology = Topology("a")
    change(topology)
    assert identity(topology.plan()) != identity(copying().plan())
    assert identity(copying().plan()) == identity(copying().plan())


ZERO, ONE = (TopicPartition("in", number) for number in range(2))


class Heads:
    """A log: by partition, the plan that committed its head."""

    def __init__(self, **plans: str) -> None:
        self.plans = plans
        self.others = frozenset({"other"})
        self.error: Exception | None = None
        self.stable: list[bool] = []

    def heads(self) -> dict[TopicPartition, Committed]:
        found = {}
        for name, plan in self.plans.items():
            manifest = Manifest(1, "a", "", "", None, "f", 2, "t", 0, (), "log", plan)
            found[{"zero": ZERO, "one": ONE}[name]] = Committed(5, str(manifest))
        return found

    def members(self, _: str) -> frozenset[str]:
        return self.others

    def committed(self, *_: object, stable: bool | None = None) -> dict[TopicPartition, Committed]:
        if self.error:
            raise self.error
        if stable is not None:
            self.stable.append(stable)
        return self.heads()


def succession(log: Heads, noted: list[str]) -> Succession:
    return Succession(log, "a", "in", plan="m", instance="me", note=noted.append)  # type: ignore[arg-type]


def test_who_waits_says_so_once_each_time_and_asks_what_is_held_open_too():
    log, noted = Heads(zero="x", one="y"), []
    ours = succession(log, noted)
    for _ in range(2):
        with pytest.raises(StandbyError, match="another topology"):
            ours.check_start()
    assert len(noted) == 1
    log.plans["one"] = "m"
    ours.check_start()
    log.plans["one"] = "y"
    with pytest.raises(StandbyError):
        ours.check_start()
    assert len(noted) == 2
    # A transaction that is open decides nothing here, and is not waited for.
    assert set(log.stable) == {False}
    log.others = frozenset({"me"})
    ours.check_start()


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize(("rival", "gives_way"), [("b", True), ("x", False)])
def test_of_two_plans_in_a_group_the_greater_gives_way_when_it_sees_the_others_new_head(
    started, rival, gives_way
):
    log, noted = Heads(zero="m", one="y"), []
    ours = succession(log, noted)
    if started:
        ours.check_start()
    else:
        ours.check_running(2, {ZERO})
    log.plans = {"one": rival}
    if gives_way:
        with pytest.raises(StandbyError, match="both have begun"):
            ours.check_running(2, {ZERO})
    else:
        ours.check_running(2, {ZERO})
    assert len(noted) == gives_way


def test_all_have_begun_when_every_partition_has_a_head_and_not_before():
    log = Heads()
    ours = succession(log, [])
    assert ours.begun == 0
    ours.check_running(2, {ZERO})
    assert ours.begun == 0
    log.plans = {"one": "m"}
    log.error = RetriableError("no answer")
    ours.check_running(2, {ZERO})
    assert ours.begun == 0
    log.error = None
    ours.check_running(2, {ZERO})
    assert ours.begun == 2
    # The others' transactions follow one another: to wait until none is open would take seconds.
    assert set(log.stable) == {False}


def test_who_has_all_partitions_asks_nobody():
    log = Heads()
    log.error = AssertionError("it was asked")
    ours = succession(log, [])
    ours.check_running(2, {ZERO, ONE})
    assert ours.begun == 2


def test_a_head_that_is_no_manifest_is_nobodys(monkeypatch):
    log = Heads()
    foreign = {ZERO: Committed(5, "somebody else's")}
    monkeypatch.setattr(log, "heads", lambda: foreign)
    ours = succession(log, [])
    ours.check_start()  # what it is, is told when it is loaded
    ours.check_running(2, {ONE})
    assert ours.is_of_another(foreign[ZERO])
