from concurrent.futures import Future
from dataclasses import replace

import pytest

from processor.connectors.ports import Owner
from processor.engine.commit import checkpoint
from processor.engine.running.audit import AUDIT_S
from processor.errors import LogError, StoreAwayError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.state import chain
from processor.testing import Crash, TestDriver
from tests.topologies import ride, stateless, totals, windowed
from tests.unit.engine.commit.test_committer import right

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
    driver = TestDriver(totals(), batch_records_max=2, on_checkpoint_loss="changelog")
    driver.feed(map(ride, range(30)))
    kept, lows = [], []

    def meanwhile():
        driver.store.disown(driver.task(), owner)
        kept.extend(driver.store.blobs(driver.task()))
        lows.append(changelog_low(driver))

    driver.pause_at("before:collect", 0, meanwhile)
    driver.crash_at("after:collect")
    with pytest.raises(Crash):
        driver.run()
    assert kept
    assert driver.store.missing({driver.task(): kept}) == {}
    assert lows == [changelog_low(driver)]


def changelog_low(driver: TestDriver) -> int:
    return driver.log.describe(["totals-changelog"])["totals-changelog"].extents[0].low


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


@pytest.mark.parametrize("topology", [totals, windowed])
def test_at_every_batch_the_link_of_a_task_is_the_one_that_a_restart_would_find(short, topology):
    driver = TestDriver(topology(), batch_records_max=2)
    driver.feed(map(ride, range(40)))
    named = set()
    for _ in range(60):
        driver.turn()
        for task in driver._workers[0].tasks.values():
            if task.epoch:
                found = loaded(driver, task)
                named.add(found.snapshot)
                assert same(task.link, found)
    assert len(named) > 3
    right_link = driver._workers[0].tasks[RIDES].link
    assert right_link.chain_length == len(right_link.deltas) < 8


def loaded(driver: TestDriver, task) -> chain.Link:
    def loader(keys):
        return driver.store.load(task.name, keys)

    return chain.load(task.name, Manifest.parse(task.base.metadata), loader).link


def same(ours: chain.Link, found: chain.Link) -> bool:
    # A snapshot's list of chunks comes last when it is written, first when it is read, and its
    # own bytes are not counted then.
    assert set(ours.chunks) == set(found.chunks)
    assert found.snapshot_bytes <= ours.snapshot_bytes < found.snapshot_bytes + 200
    return replace(ours, chunks=(), snapshot_bytes=0) == replace(found, chunks=(), snapshot_bytes=0)


def test_what_is_behind_a_snapshot_is_collected_once_when_the_next_is_committed(short):
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed(map(ride, range(60)))
    driver.run()
    written = [report for report in driver.reports if report.snapshot_bytes]
    assert {report.snapshot_bytes < 0 for report in driver.reports} == {False}
    # Each batch after one that began a snapshot names it, and collects.
    numbers = [report.batch for report in written]
    assert numbers == list(range(4, 31, 4))
    assert driver.steps.count("before:collect") == len([n for n in numbers if n < 30])
    assert driver.steps.count("before:snapshot") == len(numbers)


@pytest.mark.parametrize("error", [StoreAwayError("away"), LogError("away")])
def test_a_snapshot_that_could_not_be_written_is_left_out_and_the_next_one_is_taken(short, error):
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed(map(ride, range(60)))

    def fail():
        raise error

    driver.pause_at("before:snapshot", 0, fail)
    driver.run()
    right(driver, 60)
    assert Manifest.parse(driver.committed()[RIDES].metadata).snapshot
    assert driver.reports[-1].batch == 30


def test_a_changelog_is_cut_behind_what_a_committed_snapshot_holds(short):
    driver = TestDriver(totals(), batch_records_max=2, on_checkpoint_loss="changelog")
    driver.feed(map(ride, range(60)))
    driver.run()
    assert changelog_low(driver) > 20
    driver.store.lose()
    driver.kill()
    driver.restart()
    driver.feed(map(ride, range(60, 70)))
    driver.run()
    right(driver, 70)
    # The snapshot was found there as well: no input had to be read again.
    assert [(h.how, h.records) for h in driver.healed] == [("changelog", 0)]


def test_a_changelog_is_cut_behind_what_was_written_anew_from_memory():
    driver = TestDriver(totals(), batch_records_max=2, on_checkpoint_loss="changelog")
    driver.feed(map(ride, range(10)))
    driver.run()
    assert changelog_low(driver) == 0
    driver.store.lose()
    driver.advance(AUDIT_S + 1)
    driver.run()
    assert driver.healed[0].how == "memory"
    low = changelog_low(driver)
    assert low > 0
    driver.store.lose()
    driver.kill()
    driver.restart()
    driver.feed(map(ride, range(10, 20)))
    driver.run()
    right(driver, 20)
    assert [h.how for h in driver.healed] == ["memory", "changelog"]


def test_what_is_committed_is_what_a_later_batch_goes_back_to():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(10)))
    driver.run()
    before = driver.state()
    for slab in driver._workers[0].tasks[RIDES].state.values():
        slab.rollback()
    assert driver.state() == before
    assert len(before[RIDES]["aggregate-0"]) == 5


def test_what_is_written_anew_is_not_replaced_by_a_snapshot_that_was_being_written(short):
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed(map(ride, range(8)))
    driver.run()
    worker, task = driver._workers[0], driver._workers[0].tasks[RIDES]
    assert worker._checkpointer._writing
    driver.store.lose()
    worker._recovery.mend([task])
    written = task.link.snapshot
    driver.feed(map(ride, range(8, 10)))
    driver.run()
    assert Manifest.parse(driver.committed()[RIDES].metadata).snapshot == written
    driver.kill()
    driver.restart()
    driver.feed(map(ride, range(10, 20)))
    driver.run()
    right(driver, 20)


def test_a_snapshot_of_many_chunks_is_named_by_the_list_of_them(short, monkeypatch):
    monkeypatch.setattr(chain, "CHUNK_BYTES_MAX", 200)
    driver = TestDriver(totals(), batch_records_max=20)
    driver.feed([ride(number, keys=40) for number in range(400)])
    driver.run()
    task = driver._workers[0].tasks[RIDES]
    assert len(task.link.chunks) > 3
    before = driver.state()
    driver.kill()
    driver.restart()
    driver.run()
    assert driver.state() == before


def test_the_store_is_searched_for_blobs_only_where_its_index_was_lost(short, monkeypatch):
    driver = TestDriver(totals(), batch_records_max=2)
    reindex, searched = driver.store.reindex, []

    def watched(task):
        searched.append(task)
        return reindex(task)

    monkeypatch.setattr(driver.store, "reindex", watched)
    driver.feed(map(ride, range(60)))
    driver.run()
    collected = driver.steps.count("before:collect")
    assert collected > 3
    assert searched == []
    driver.store.drop_index(driver.task())
    driver.feed(map(ride, range(60, 120)))
    driver.run()
    assert driver.steps.count("before:collect") > collected + 3
    assert searched == [driver.task()]


def test_of_a_task_that_is_gone_nothing_is_remembered(short):
    """Else a snapshot of its former life would be named by the next."""
    driver = TestDriver(totals(), batch_records_max=2, on_checkpoint_loss="changelog")
    checkpointer = driver._workers[0]._checkpointer
    checkpointer._writing[RIDES] = Future()
    checkpointer._floors[RIDES] = 5
    checkpointer._uncollected.add(RIDES)
    checkpointer._superseded[RIDES] = {"d:1:a"}
    checkpointer.forget(RIDES)
    assert not checkpointer._writing
    assert not checkpointer._floors
    assert not checkpointer._uncollected
    assert not checkpointer._superseded
    checkpointer.forget(RIDES)
