"""Offsets and state are reset together, also by one who is killed in between."""

from __future__ import annotations

import orjson
import pytest

from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.store import MemoryStore
from processor.connectors.ports import Owner
from processor.engine.offline.reset import Reset, reset, steps
from processor.errors import FencedError, LogError, SettingsError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.testing import Crash, TestDriver
from tests.topologies import ride, totals

POINTS = ["before:offsets", "after:note", "after:offsets", "after:clear"]


def ran(*, stop=True):
    driver = TestDriver(totals(), partitions=2, batch_records_max=8)
    for number in range(30):
        driver.feed([ride(number)], key=f"k{number % 5}")
    driver.run()
    if stop:
        driver.stop()
    return driver


def final(driver):
    return {row["k"]: (row["n"], row["total"]) for row in driver.json("out")}


def noted(driver):
    """As a worker notes what is committed, now and then."""
    driver.store.begin({step.task: step.offset for step in planned(driver)})


def planned(driver, to="earliest"):
    return steps(driver.plan, driver.log, driver.store, to)


def carried_out(driver, to="earliest", crash=""):
    def probe(step):
        if step == crash:
            raise Crash(step)

    one = Reset(driver.plan, planned(driver, to))
    reset({driver.plan.app: one}, driver.log, driver.store, probe)


def test_a_plan_tells_what_is_there_and_changes_nothing():
    driver = ran()
    before = driver.committed()
    found = planned(driver)
    assert [step.to for step in found] == [0, 0]
    assert {step.partition: step.offset for step in found} == {
        partition: committed.offset for partition, committed in before.items()
    }
    assert all(step.blobs > 0 for step in found)
    assert driver.committed() == before


def test_after_a_reset_everything_is_counted_again_from_nothing():
    driver = ran()
    expected, published = final(driver), len(driver.read("out"))
    carried_out(driver)
    assert [step.blobs for step in planned(driver)] == [0, 0]
    driver.restart()
    driver.run()
    assert final(driver) == expected
    assert len(driver.read("out")) == 2 * published


def test_that_positions_were_committed_is_known_after_a_reset_too():
    """Should the log forget them, they are lost, not to be begun anew."""
    driver = ran()
    carried_out(driver)
    owner = Owner("other", "other", 0)
    found = driver.store.acquire({step.task: owner for step in planned(driver)})
    assert [former.begun for former in found.values()] == [True, True]
    assert [former.owner for former in found.values()] == [None, None]


def test_from_the_end_only_new_records_count():
    driver = ran()
    carried_out(driver, "latest")
    driver.restart()
    driver.feed([ride(1)], key="k1")
    driver.run()
    assert final(driver)["k1"] == (1, 1)


def test_an_offset_is_where_every_partition_begins():
    driver = ran()
    carried_out(driver, "3")
    assert {committed.offset for committed in driver.committed().values()} == {3}
    driver.restart()
    driver.run()
    assert sum(n for n, _ in final(driver).values()) == 30 - 2 * 3


@pytest.mark.parametrize("crash", POINTS)
@pytest.mark.parametrize("again", [True, False])
def test_one_who_is_killed_in_between_leaves_a_whole_application(crash, again):
    driver = ran()
    expected = final(driver)
    noted(driver)
    with pytest.raises(Crash):
        carried_out(driver, crash=crash)
    if again:
        carried_out(driver)
        assert [step.blobs for step in planned(driver)] == [0, 0]
    driver.restart()
    driver.run()
    driver.feed([ride(100)], key="k0")
    driver.run()
    n, total = expected["k0"]
    assert final(driver) == expected | {"k0": (n + 1, total + 100)}
    driver.stop()
    driver.restart()  # what it has left can be loaded
    driver.run()
    assert len(driver.owned()) == 2


@pytest.mark.parametrize("crash", POINTS)
@pytest.mark.parametrize("to", ["latest", "earliest", "3"])
def test_one_who_is_killed_in_between_makes_no_worker_wait(to, crash):
    """Whatever was noted, here or in a former life, what the log tells then is no past."""
    driver = ran()
    driver.feed([ride(number) for number in range(30, 40)], key="k0")
    noted(driver)
    with pytest.raises(Crash):
        carried_out(driver, to, crash=crash)
    driver.restart()
    driver.run()
    assert len(driver.owned()) == 2


def test_a_reset_of_a_group_without_positions_notes_none():
    driver = TestDriver(totals(), partitions=2)
    driver.stop()
    with pytest.raises(Crash):
        carried_out(driver, crash="after:note")
    driver.restart()
    driver.feed([ride(1)], key="k1")
    driver.run()
    assert final(driver)["k1"] == (1, 1)


def test_a_topic_that_is_not_there_is_told():
    with pytest.raises(SettingsError, match="there is no topic 'rides'"):
        steps(totals().plan(), MemoryLog(), MemoryStore(), "earliest")


def test_a_live_group_is_refused():
    driver = ran(stop=False)
    with pytest.raises(LogError, match="is at work"):
        planned(driver)


def test_a_worker_that_was_killed_counts_until_its_session_ends():
    driver = ran(stop=False)
    driver.kill()
    with pytest.raises(LogError, match="is at work"):
        planned(driver)
    driver.expire()
    assert len(planned(driver)) == 2


def test_an_open_transaction_is_waited_for():
    driver = ran(stop=False)
    driver.feed([ride(1)], key="k1")
    driver.crash_at("before:commit")
    with pytest.raises(Crash):
        driver.run()
    driver.evict()
    with pytest.raises(LogError, match="still open"):
        planned(driver)
    driver.log.expire()
    assert len(planned(driver)) == 2


def test_a_worker_that_comes_in_between_stops_it_before_anything_is_changed():
    driver = ran()
    wanted, before = planned(driver), driver.committed()
    driver.restart()
    driver.run()
    with pytest.raises(FencedError):
        reset({driver.plan.app: Reset(driver.plan, wanted)}, driver.log, driver.store)
    assert driver.committed() == before
    assert all(driver.store.blobs(step.task) for step in wanted)


@pytest.mark.parametrize("to", ["soon", "99999", "-1"])
def test_a_place_that_is_not_in_the_topic_is_refused(to):
    with pytest.raises(SettingsError, match="--to"):
        planned(ran(), to)


def test_what_retention_took_cannot_be_gone_back_to():
    driver = ran()
    driver.log.trim(TopicPartition("rides", 0), 2)
    with pytest.raises(SettingsError, match="holds the offsets 2 to"):
        planned(driver, "0")
    assert [step.to for step in planned(driver)] == [2, 0]


NOON_MS = 1_785_585_600_000  # 2026-08-01T12:00:00Z


def timed():
    """Two partitions of ten records: a second apart in one, ten seconds in the other."""
    driver = TestDriver(totals(), partitions=2, batch_records_max=8)
    for partition, apart_ms in enumerate((1_000, 10_000)):
        values = [orjson.dumps(ride(number)) for number in range(10)]
        times = [NOON_MS + number * apart_ms for number in range(10)]
        driver.log.feed("rides", values, partition=partition, timestamps_ms=times)
    driver.run()
    driver.stop()
    return driver


@pytest.mark.parametrize(
    ("to", "offsets"),
    [
        ("2026-08-01T12:00:00", [0, 0]),
        ("2026-08-01T12:00:05", [5, 1]),
        ("2026-08-01T12:00:05.000001Z", [6, 1]),
        ("2026-08-01 14:00:05+02:00", [5, 1]),
        ("2026-08-01T12:01:00", [10, 6]),
        ("2026-08-02", [10, 10]),
        ("1969-12-31", [0, 0]),
        ("0001-01-01T00:00:00+14:00", [0, 0]),
        ("9999-12-31T23:59:59-14:00", [10, 10]),
    ],
)
def test_a_time_is_each_partitions_first_record_of_it_or_later_or_its_end(to, offsets):
    assert [step.to for step in planned(timed(), to)] == offsets


def test_after_a_reset_to_a_time_what_is_of_it_and_later_is_counted_anew():
    driver = timed()
    before = sum(report.contributed for report in driver.reports)
    carried_out(driver, "2026-08-01T12:00:05")
    driver.restart()
    driver.run()
    assert sum(report.contributed for report in driver.reports) - before == 5 + 9


def test_some_partitions_are_reset_and_the_others_are_left_as_they_are():
    driver = TestDriver(totals(), partitions=3)
    for partition in range(3):
        driver.feed([ride(n) for n in range(10)], partition=partition)
    driver.run()
    driver.stop()
    before = driver.committed()
    blobs = driver.store.blobs(driver.task(1))
    wanted = steps(driver.plan, driver.log, driver.store, "4", [2, 0])
    assert [step.partition.partition for step in wanted] == [0, 2]
    reset({driver.plan.app: Reset(driver.plan, wanted)}, driver.log, driver.store)
    after = driver.committed()
    assert {p.partition: head.offset for p, head in after.items()} == {0: 4, 1: 10, 2: 4}
    assert after[TopicPartition("rides", 1)] == before[TopicPartition("rides", 1)]
    assert driver.store.blobs(driver.task(1)) == blobs
    assert driver.store.blobs(driver.task(0)) == {}
    # The topic still has three partitions, which is what the state is compared with.
    assert {Manifest.parse(head.metadata).partitions for head in after.values()} == {3}
    driver.restart()
    driver.run()
    assert sum(report.records_in for report in driver.reports[-1:]) == 12


def test_a_partition_that_is_not_there_is_refused_by_its_name():
    driver = ran()
    with pytest.raises(SettingsError, match=r"--partitions: rides\[2\] is not there") as told:
        steps(driver.plan, driver.log, driver.store, "earliest", [0, 2])
    assert "0 to 1" in told.value.remedy


def test_an_offset_is_asked_only_of_the_partitions_that_are_reset():
    driver = ran()
    driver.log.trim(TopicPartition("rides", 0), 2)
    (step,) = steps(driver.plan, driver.log, driver.store, "1", [1])
    assert step.to == 1
