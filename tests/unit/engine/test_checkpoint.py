import pytest

from processor.connectors.ports import Owner
from processor.engine import checkpoint
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.testing import Crash, TestDriver
from tests.topologies import ride, stateless, totals, windowed
from tests.unit.engine.test_committer import right

RIDES = TopicPartition("rides", 0)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 4)


def test_a_topology_without_state_writes_nothing_to_the_store():
    driver = TestDriver(stateless())
    driver.feed(map(ride, range(10)))
    driver.run()
    assert driver.store.blobs(driver.task()) == {}
    assert len(driver.values("out")) == 10


def test_a_long_chain_is_folded_into_a_snapshot_and_what_is_behind_it_deleted(short):
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed(map(ride, range(60)))
    driver.run()
    manifest = Manifest.parse(driver.committed()[RIDES].metadata)
    assert manifest.epoch == 30
    assert manifest.snapshot
    assert len(driver.store.blobs(driver.task())) < 16
    driver.kill()
    driver.restart()
    driver.feed(map(ride, range(60, 80)))
    driver.run()
    right(driver, 80)


def test_a_heavy_chain_is_folded_too(monkeypatch):
    monkeypatch.setattr(checkpoint, "SNAPSHOT_BYTES_MIN", 500)
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed(map(ride, range(20)))
    driver.run()
    assert any(key.startswith("s:") for key in driver.store.blobs(driver.task()))


@pytest.mark.parametrize("turns", range(1, 14))
def test_a_worker_killed_after_any_batch_comes_back_with_the_same_state(short, turns):
    driver = TestDriver(windowed(delay="6 hours"), batch_records_max=7)
    driver.feed(map(ride, range(400)))
    driver.crash_at("after:adopt")
    for _ in range(turns - 1):
        driver._crashes[0].append("after:adopt")
    for _ in range(turns):
        with pytest.raises(Crash):
            driver.run()
        driver.restart()
    driver.run()
    straight = TestDriver(windowed(delay="6 hours"))
    straight.feed(map(ride, range(400)))
    straight.run()

    def final(d):
        return {(r["k"], r["window_start"]): (r["n"], r["total"]) for r in d.json("out")}

    def rows(d):
        (operators,) = d.state().values()
        return sorted(operators["aggregate-0"], key=str)

    assert final(driver) == final(straight)
    assert rows(driver) == rows(straight)


def test_orphans_of_aborted_tries_go_with_the_next_collection(short):
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed(map(ride, range(4)))
    for _ in range(3):
        driver.crash_at("after:stage")
        with pytest.raises(Crash):
            driver.run()
        driver.restart()
    driver.feed(map(ride, range(4, 60)))
    driver.run()
    task = driver.task()
    oldest = min(driver.store.blobs(task).values())
    assert oldest > 4
    right(driver, 60)


def test_who_wakes_up_late_deletes_nothing_that_the_new_owner_rests_on(short):
    """Found by an oracle: stopped before it collected, it deleted the new owner's snapshot."""
    driver = TestDriver(totals(), workers=2, partitions=1, batch_records_max=2)
    driver.feed(map(ride, range(30)))
    owner = None
    while owner is None:
        for worker in (0, 1):
            driver.turn(worker)
            owner = worker if driver.owned(worker) else owner

    def meanwhile():
        driver.evict(owner)
        driver.feed(map(ride, range(30, 90)))
        while driver.turn(1 - owner) or driver.committed()[RIDES].offset < 90:
            pass

    driver.pause_at("before:collect", owner, meanwhile)
    while not any(driver.owned(worker) for worker in (1 - owner,)):
        driver.turn(owner)
    driver.kill(0)
    driver.kill(1)
    driver.restart(0)
    driver.expire(1)
    driver.feed(map(ride, range(90, 100)))
    driver.run()
    right(driver, 100)


@pytest.mark.parametrize("owner", [None, Owner("other;7", "totals.other", 7)])
def test_who_is_not_the_owner_any_more_deletes_nothing(short, owner):
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed(map(ride, range(30)))
    kept = []

    def meanwhile():
        driver.store.disown(driver.task(), owner)
        kept.extend(driver.store.blobs(driver.task()))

    driver.pause_at("before:collect", 0, meanwhile)
    driver.crash_at("after:collect")
    with pytest.raises(Crash):
        driver.run()
    assert kept
    assert driver.store.missing({driver.task(): kept}) == {}


def test_blobs_that_a_lost_index_does_not_name_are_found_and_deleted(short):
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed(map(ride, range(30)))
    driver.run()
    old = set(driver.store.blobs(driver.task()))
    driver.store.drop_index(driver.task())
    driver.feed(map(ride, range(30, 90)))
    driver.run()
    assert not old & driver.store.reindex(driver.task()).keys()
    right(driver, 90)
