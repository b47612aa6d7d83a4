from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.engine.commit.task import task_name
from processor.engine.restore import upgrade
from processor.errors import StateLostError, StateMismatchError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.operators.aggregate import Term
from processor.plan import fingerprint as plan_fingerprint
from processor.plan.fingerprint import fingerprint, layout
from processor.testing import Crash, TestDriver

RIDES = TopicPartition("rides", 0)
LONG = "x" * 60


def rides(
    *keys: str,
    window: str | None = None,
    delay: str | None = None,
    above: int = -1,
    mode: str = "update",
    **aggregates: Any,
) -> Topology:
    topology = Topology("app")
    form = Json(
        {"k": pl.String, "c": pl.String, "t": pl.Datetime("us"), "n": pl.Int64}, optional=("c",)
    )
    rows = topology.read.kafka("rides", format=form, event_time="t", partitioned_by="k")
    if delay is not None:
        rows = rows.with_watermark(delay)
    rows = rows.filter(pl.col("n") > above)
    group = [F.window("t", window)] if window else []
    totals = rows.group_by(*group, *(keys or ("k",)))
    totals.agg(**aggregates or {"n": F.count(), "total": F.sum("n")}).write.kafka(
        "out", key="k", mode=mode
    )
    return topology


def ride(number: int) -> dict[str, object]:
    key, city = f"k{number % 3}", [None, "b", LONG][number // 3 % 3]
    time = f"2024-01-01T{number // 60 % 24:02d}:{number % 60:02d}:00"
    return {"k": key, "c": city, "t": time, "n": number}


def begun(topology: Topology, records: int = 30, **options: Any) -> TestDriver:
    driver = TestDriver(topology, batch_records_max=7, **options)
    driver.feed(map(ride, range(records)))
    driver.run()
    return driver


def changed(driver: TestDriver, topology: Topology, **options: Any) -> TestDriver:
    """The same log and store under another topology."""
    for worker in list(driver._workers):
        driver.stop(worker)
    return TestDriver(topology, log=driver.log, store=driver.store, batch_records_max=7, **options)


def whole(topology: Topology, records: int) -> list[dict[str, Any]]:
    """The state of a topology that has run from the beginning."""
    return state(begun(topology, records))


def state(driver: TestDriver, name: str = "aggregate-0") -> list[dict[str, Any]]:
    rows = driver.state()[RIDES][name]
    return sorted(rows, key=str)


def manifest(driver: TestDriver) -> Manifest:
    return Manifest.parse(driver.committed()[RIDES].metadata)


def go_on(driver: TestDriver, first: int = 30, last: int = 40) -> TestDriver:
    driver.feed(map(ride, range(first, last)))
    driver.run()
    return driver


def test_an_unchanged_topology_takes_nothing_over():
    driver = changed(begun(rides()), rides())
    driver.run()
    assert driver.upgraded == []
    assert manifest(driver).trail


MIGRATIONS = {
    "left out": {"total": F.sum("n")},
    "renamed": {"rides": F.count(), "sum": F.sum("n")},
    "swapped": {"n": F.sum("n"), "total": F.count()},
    "twice": {"n": F.count(), "total": F.sum("n"), "again": F.sum("n")},
}


@pytest.mark.parametrize("case", MIGRATIONS)
def test_a_migrated_state_is_what_the_new_topology_would_have_come_to(case: str):
    after = rides(**MIGRATIONS[case])
    driver = go_on(changed(begun(rides()), after))
    assert "migrated" in driver.upgraded[0].table
    assert state(driver) == whole(after, 40)
    driver.kill()
    driver.restart()
    driver.run()
    assert state(driver) == whole(after, 40)
    assert len(driver.upgraded) == 1


def test_a_mean_is_taken_apart_into_what_it_was_made_of():
    driver = begun(rides(m=F.mean("n"), n=F.count("n")))
    driver = go_on(changed(driver, rides(many=F.count("n"), mean=F.mean("n"))))
    assert state(driver) == whole(rides(many=F.count("n"), mean=F.mean("n")), 40)


def test_a_mean_is_made_of_a_stored_sum_and_count_of_the_column():
    driver = begun(rides(total=F.sum("n"), many=F.count("n")))
    after = rides(total=F.sum("n"), many=F.count("n"), mean=F.mean("n"))
    driver = go_on(changed(driver, after))
    assert "mean.sum=sum(n: Int64) comes from total" in driver.upgraded[0].table
    assert state(driver) == whole(after, 40)


def test_a_mean_that_misses_a_part_is_told_which_one():
    after = rides(n=F.count(), total=F.sum("n"), mean=F.mean("n"))
    with pytest.raises(StateMismatchError) as caught:
        changed(begun(rides()), after).run()
    assert "mean.sum=sum(n: Int64) has no history" not in str(caught.value)
    assert 'mean.count=count(n: Int64) has no history: it would be that of F.count("n")' in str(
        caught.value
    )


def test_keys_in_another_order_take_nulls_and_long_texts_with_them():
    driver = begun(rides("k", "c", window="1 hour", delay="9 hours"))
    after = rides("c", "k", window="1 hour", delay="9 hours")
    driver = go_on(changed(driver, after))
    assert state(driver) == whole(after, 40)
    assert {row["c"] for row in state(driver)} == {None, "b", LONG}


def test_a_changed_filter_keeps_the_state_and_tells_so():
    driver = go_on(changed(begun(rides()), rides(above=34)))
    assert "the steps before it have changed" in driver.upgraded[0].table
    assert sum(row["n"] for row in state(driver)) == 30 + 5


def test_an_aggregation_without_history_is_refused_with_the_table_and_the_remedy():
    driver = changed(begun(rides()), rides(n=F.count(), total=F.sum("n"), low=F.min("n")))
    before = driver.committed()
    with pytest.raises(StateMismatchError) as caught:
        driver.run()
    assert "aggregate-0 to out  incompatible  low=min(n: Int64) has no history" in str(caught.value)
    assert "3 groups in state would have it from here on only" in str(caught.value)
    assert "processor reset" in caught.value.remedy
    assert driver.committed() == before


def test_an_aggregation_without_history_is_right_where_no_group_is():
    before = rides(window="1 hour", delay="0 s")
    driver = begun(before, 30)
    driver.feed([{"k": "k0", "c": "b", "t": "2024-01-01T03:00:00", "n": -5}])  # closes all
    driver.run()
    assert state(driver) == []
    after = rides(window="1 hour", delay="0 s", n=F.count(), low=F.min("n"))
    driver = changed(driver, after)
    driver.feed(map(ride, range(180, 190)))
    driver.run()
    assert sum(row["n"] for row in state(driver)) == 10
    assert min(row["low"] for row in state(driver)) == 180


def test_other_keys_are_refused():
    driver = changed(begun(rides()), rides("k", "c"))
    with pytest.raises(StateMismatchError, match="incompatible  keys k: String -> k: String, c"):
        driver.run()


def test_state_that_nothing_needs_is_refused_without_the_option():
    topology = Topology("app")
    rows = topology.read.kafka("rides", format=Json({"k": pl.String, "n": pl.Int64}))
    rows.write.kafka("out", key="k")
    driver = changed(begun(rides()), topology)
    with pytest.raises(StateMismatchError, match="aggregate-0 to out  dropped") as caught:
        driver.run()
    assert "--allow-dropped-state" in caught.value.remedy
    driver = changed(driver, topology, allow_dropped_state=True)
    before = len(driver.values("out"))
    go_on(driver)
    assert len(driver.values("out")) == before + 10
    assert manifest(driver).fingerprint == "stateless"


def test_a_new_operator_begins_with_nothing_and_its_beginning_is_not_run_again():
    topology = Topology("app")
    form = Json({"k": pl.String, "n": pl.Int64})
    topology.read.kafka("rides", format=form).write.kafka("out", key="k")
    driver = go_on(changed(begun(topology), rides()))
    assert "aggregate-0 to out  new" in driver.upgraded[0].table
    assert sum(row["n"] for row in state(driver)) == 10
    assert manifest(driver).origin is None


def test_a_longer_delay_opens_no_window_that_was_closed():
    driver = begun(rides(window="1 hour", delay="0 s", mode="append"), 125)
    closed = driver.json("out")
    driver = changed(driver, rides(window="1 hour", delay="1 hour", mode="append"))
    driver.feed(map(ride, range(100, 250)))
    driver.run()
    told = driver.json("out")
    windows = [(row["window_start"], row["k"]) for row in told]
    assert len(set(windows)) == len(windows) > len(closed)
    assert sum(report.late for report in driver.reports) == 24  # behind minute 124


def test_windows_that_left_state_cannot_be_asked_for_again():
    driver = begun(rides(window="1 hour", delay="0 s"), 125)
    driver = changed(driver, rides(window="1 hour", delay="0 s", mode="complete"))
    with pytest.raises(StateMismatchError, match="closed windows were freed"):
        driver.run()


@pytest.mark.parametrize("step", ["before:migrate", "after:migrate", "before:commit"])
def test_killed_before_the_first_commit_either_topology_can_go_on(step: str):
    driver = begun(rides())
    base = driver.committed()
    after = rides(sum=F.sum("n"))
    driver = changed(driver, after)
    driver.feed(map(ride, range(30, 40)))
    driver.crash_at(step)
    with pytest.raises(Crash):
        driver.run()

    forward = changed(driver, after)
    forward.crash_at(step)
    with pytest.raises(Crash):
        forward.run()
    forward.expire()
    assert forward.committed() == base
    back = changed(forward, rides())
    back.run()
    assert state(back) == whole(rides(), 40)
    forward = changed(back, after)
    go_on(forward, 40, 50)
    assert state(forward) == whole(after, 50)


def test_killed_right_after_the_first_commit_the_new_topology_goes_on():
    after = rides(sum=F.sum("n"))
    driver = changed(begun(rides()), after)
    driver.feed(map(ride, range(30, 40)))
    driver.crash_at("after:commit")
    with pytest.raises(Crash):
        driver.run()
    driver.restart()
    driver.run()
    assert state(driver) == whole(after, 40)
    assert manifest(driver).fingerprint == fingerprint(driver.plan)


def test_after_the_first_commit_the_way_back_is_a_change_like_any_other():
    driver = go_on(changed(begun(rides()), rides(total=F.sum("n"))))
    driver = changed(driver, rides())
    with pytest.raises(StateMismatchError, match=r"n=count\(\) has no history"):
        driver.run()


def test_each_partition_is_taken_over_by_itself():
    after = rides(sum=F.sum("n"))
    driver = TestDriver(rides(), partitions=4, workers=2)
    for number in range(60):
        driver.feed([ride(number)], partition=number % 4)
    driver.run()
    driver = changed(driver, after, partitions=4, workers=2)
    driver.run()
    assert len({event.task for event in driver.upgraded}) == 4
    for number in range(60, 80):
        driver.feed([ride(number)], partition=number % 4)
    driver.run()
    assert sum(
        row["sum"] for rows in driver.state().values() for row in rows["aggregate-0"]
    ) == sum(range(80))


def test_a_migration_that_changes_no_history_can_be_run_again_from_the_beginning():
    after = rides(sum=F.sum("n"))
    driver = go_on(changed(begun(rides()), after))
    driver.kill()
    driver.store.lose()
    driver = TestDriver(
        after, log=driver.log, store=driver.store, on_checkpoint_loss="replay", batch_records_max=7
    )
    driver.run()
    assert state(driver) == whole(after, 40)


def test_after_a_changed_filter_the_beginning_is_not_run_again():
    after = rides(above=10)
    driver = go_on(changed(begun(rides()), after))
    driver.kill()
    driver.store.lose()
    driver = TestDriver(after, log=driver.log, store=driver.store, on_checkpoint_loss="replay")
    with pytest.raises(StateLostError) as caught:
        driver.run()
    assert "has changed since" in caught.value.remedy


def test_lost_checkpoints_are_healed_before_the_topology_is_changed():
    driver = begun(rides())
    driver.store.lose()
    driver = changed(driver, rides(sum=F.sum("n")), on_checkpoint_loss="replay")
    with pytest.raises(StateLostError, match="start the former topology once"):
        driver.run()


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_lost_part_of_the_chain_is_told_with_what_heals_it(number: int):
    driver = begun(rides())
    task = task_name("app", RIDES)
    key = sorted(driver.store.blobs(task))[number]
    driver.store.drop(task, [key])
    driver = changed(driver, rides(sum=F.sum("n")), on_checkpoint_loss="replay")
    told = rf"the topology has changed, and .*{key}"
    with pytest.raises(StateLostError, match=told) as caught:
        driver.run()
    assert "start the former topology once" in caught.value.remedy


def earlier(driver: TestDriver, topology: Topology) -> None:
    """Let the driver's worker write as a version did that kept no descriptions."""
    checkpointer = driver._workers[0]._checkpointer
    checkpointer._fingerprint, checkpointer._description = layout(topology.plan()), ""


def test_a_checkpoint_of_an_earlier_version_is_loaded_where_the_layout_is_the_same():
    driver = TestDriver(rides(), batch_records_max=7)
    earlier(driver, rides())
    go_on(driver, 0, 30)
    assert manifest(driver).fingerprint == layout(driver.plan)
    driver = go_on(changed(driver, rides()))
    assert driver.upgraded == []
    assert state(driver) == whole(rides(), 40)
    assert manifest(driver).fingerprint == fingerprint(driver.plan)
    driver = go_on(changed(driver, rides(sum=F.sum("n"))), 40, 50)
    assert state(driver) == whole(rides(sum=F.sum("n")), 50)


def test_a_checkpoint_of_an_earlier_version_and_another_layout_is_refused():
    driver = TestDriver(rides(), batch_records_max=7)
    earlier(driver, rides())
    go_on(driver, 0, 30)
    driver = changed(driver, rides(sum=F.sum("n")))
    with pytest.raises(StateMismatchError, match="an earlier version of the processor"):
        driver.run()


def paired(how: str, upper: str) -> Topology:
    topology = Topology("paired")
    form = Json({"k": pl.String, "t": pl.Datetime("us"), "n": pl.Int64})
    left, right = (
        topology.read.kafka(name, format=form, event_time="t").with_watermark("1 minute")
        for name in ("left", "right")
    )
    left.join(right, on="k", how=how, between=("0 s", upper)).write.kafka("pairs")
    return topology


def test_a_stage_that_could_not_go_on_is_refused_before_those_in_front_read_by_the_changed_plan():
    driver = TestDriver(paired("left", "10 minutes"))
    driver.feed([{"k": "a", "t": "2024-01-01T00:00:00", "n": 1}], topic="left")
    driver.run()

    def check(how: str, upper: str, *, allow_dropped: bool = False) -> None:
        for stage in paired(how, upper).stages():
            upgrade.check(stage.plan, driver.log, driver.store, allow_dropped=allow_dropped)

    check("left", "10 minutes")
    for changed in (("inner", "10 minutes"), ("left", "20 minutes")):
        with pytest.raises(StateMismatchError, match="another topology"):
            check(*changed)
        with pytest.raises(StateMismatchError):
            check(*changed, allow_dropped=True)


EXTREMES = {"n": F.count(), "low": F.min("n"), "high": F.max("n")}
LEAST, MOST = -(2**63), 2**63 - 1


@pytest.fixture
def former(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As a version that took what folding leaves alone for no value; ``undo`` brings this one."""
    cells, told = Term.cells, plan_fingerprint._cells
    monkeypatch.setattr(Term, "cells", lambda t: [c for c in cells(t) if c.tells is None])

    def filled(term: Term) -> list[pl.Expr]:
        if term.aggregation.function not in ("min", "max"):
            return []
        return [pl.col(term.aggregation.name).fill_null(term.cells()[0].identity())]

    monkeypatch.setattr(Term, "known", filled)
    monkeypatch.setattr(
        Term,
        "output",
        lambda t, gather: pl.Series(t.aggregation.name, gather(t.aggregation.name)),
    )
    monkeypatch.setattr(
        plan_fingerprint,
        "_cells",
        lambda *given: [c for c in told(*given) if not c.function.endswith("known")],
    )
    return monkeypatch


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("described", [False, True])
def test_extremes_of_an_earlier_version_are_taken_over(
    former: pytest.MonkeyPatch, *, renamed: bool, described: bool
):
    driver = TestDriver(rides(**EXTREMES), batch_records_max=7)
    if not described:
        earlier(driver, rides(**EXTREMES))
    go_on(driver, 0, 30)
    former.undo()
    driver = go_on(changed(driver, rides(**EXTREMES)))
    if described:
        assert "migrated" not in driver.upgraded[0].table
    assert state(driver) == whole(rides(**EXTREMES), 40)
    after = {"n": F.count(), "a": F.max("n"), "low": F.min("n")} if renamed else EXTREMES
    driver.feed([{"k": "k9", "c": "b", "t": "2024-01-01T03:00:00", "n": n} for n in (MOST, MOST)])
    driver = changed(driver, rides(**after))
    driver.feed([{"k": "k9", "c": "b", "t": "2024-01-01T03:00:00", "n": MOST}])
    driver.run()
    row = driver.json("out")[-1]
    assert (row["k"], row["n"], row["low"], row["a" if renamed else "high"]) == (
        "k9",
        3,
        MOST,
        MOST,
    )


def test_no_value_of_an_earlier_version_is_still_none(former: pytest.MonkeyPatch):
    form = Json({"k": pl.String, "n": pl.Int64, "x": pl.Float64}, optional=("n", "x"))

    def topology() -> Topology:
        app = Topology("app")
        rows = app.read.kafka("rides", format=form, partitioned_by="k")
        rows.group_by("k").agg(low=F.min("n"), high=F.max("x")).write.kafka("out", mode="update")
        return app

    driver = TestDriver(topology())
    driver.feed([{"k": "a"}, {"k": "b", "n": 5, "x": 2.5}, {"k": "c", "n": 7, "x": 7.0}])
    driver.run()
    former.undo()
    driver = changed(driver, topology())
    driver.feed([{"k": "a"}, {"k": "b"}, {"k": "c", "n": LEAST, "x": 8.0}])
    driver.run()
    assert driver.json("out")[-3:] == [
        {"k": "a", "low": None, "high": None}, {"k": "b", "low": 5, "high": 2.5},
        {"k": "c", "low": LEAST, "high": 8.0},
    ]  # fmt: skip
