import pytest

from processor.errors import InputLostError, StateLostError, StateMismatchError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest
from processor.testing import Crash, TestDriver
from tests.topologies import ride, stateless, totals, windowed
from tests.unit.engine.test_committer import right

RIDES = TopicPartition("rides", 0)


def manifest(driver: TestDriver) -> Manifest:
    return Manifest.parse(driver.committed()[RIDES].metadata)


def again(driver: TestDriver, topology, **options) -> TestDriver:
    """The same log and store under another topology."""
    driver.stop()
    return TestDriver(topology, log=driver.log, store=driver.store, **options)


def test_a_new_task_pins_where_it_began():
    driver = TestDriver(totals())
    driver.run()
    assert driver.committed()[RIDES].offset == 0
    assert manifest(driver).epoch == 0


def test_a_worker_goes_on_exactly_where_the_last_commit_was():
    driver = TestDriver(totals(), batch_records_max=3)
    driver.feed(map(ride, range(20)))
    driver.run()
    before = driver.state()
    driver.kill()
    driver.restart()
    driver.run()
    assert driver.state() == before
    driver.feed(map(ride, range(20, 40)))
    driver.run()
    right(driver, 40)


def test_the_event_time_seen_survives_a_restart():
    driver = TestDriver(windowed(delay="0 s"))
    driver.feed([ride(120)])
    driver.run()
    driver.kill()
    driver.restart()
    driver.feed([ride(0)])
    driver.run()
    assert driver.reports[-1].late == 1


def test_state_of_another_topology_is_refused_by_name():
    driver = TestDriver(totals("app"))
    driver.feed(map(ride, range(5)))
    driver.run()
    with pytest.raises(StateMismatchError, match="another topology"):
        again(driver, windowed("app")).run()


def test_another_partition_count_is_refused():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    other = again(driver, totals())
    other._workers[0]._recovery._identity = type(other._workers[0]._identity)(
        "totals", "totals.0", manifest(driver).fingerprint, 7, "earliest"
    )
    with pytest.raises(StateMismatchError, match="7 partitions"):
        other.run()


def test_a_missing_checkpoint_is_named_and_nothing_is_reset():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    driver.kill()
    driver.store.lose()
    driver.restart()
    with pytest.raises(StateLostError, match=r"d:1:\w+ of task totals/rides/0 is missing"):
        driver.run()
    assert manifest(driver).epoch == 1


def test_an_altered_checkpoint_is_named():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    driver.kill()
    task = driver.task()
    driver.store.damage(task, next(iter(driver.store.blobs(task))))
    driver.restart()
    with pytest.raises(StateLostError, match="was altered"):
        driver.run()


def test_a_checkpoint_that_nobody_committed_is_ignored():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(10)))
    driver.crash_at("after:stage")
    with pytest.raises(Crash):
        driver.run()
    assert len(driver.store.blobs(driver.task())) == 1
    driver.restart()
    driver.run()
    right(driver, 10)


def test_input_that_is_no_longer_there_is_named():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    driver.kill()
    driver.feed(map(ride, range(5, 10)))
    driver.log.trim(RIDES, 8)
    driver.restart()
    with pytest.raises(InputLostError, match="begins at 8"):
        driver.run()


def test_lost_offsets_beside_living_state_are_refused():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    driver.stop()
    group = driver.log._broker.groups["totals"]
    group.committed.clear()
    driver.restart()
    with pytest.raises(StateMismatchError, match="no committed offset"):
        driver.run()


def begun_anew(driver: TestDriver, *, forgets: bool) -> None:
    """The group counts its generations from the first again, below those of the former owners."""
    driver.feed(map(ride, range(5)))
    for _ in range(5):
        driver.run()
        driver.stop()
        driver.restart()
    driver.stop()
    group = next(iter(driver.log._broker.groups.values()))
    group.generation = 0
    if forgets:
        group.committed.clear()
    driver.restart()
    driver.feed(map(ride, range(5, 10)))


def test_a_group_that_begins_anew_takes_over_from_the_owners_of_its_former_life():
    driver = TestDriver(totals())
    begun_anew(driver, forgets=False)
    driver.run()
    right(driver, 10)


def test_a_group_that_begins_anew_and_has_lost_its_offsets_is_refused():
    driver = TestDriver(totals())
    begun_anew(driver, forgets=True)
    with pytest.raises(StateMismatchError, match="no committed offset"):
        driver.run()


def test_metadata_of_another_program_is_refused():
    driver = TestDriver(stateless())
    driver.run()
    driver.stop()
    driver.log._broker.groups["copy"].committed[RIDES] = Committed(0, "somebody else's")
    driver.restart()
    with pytest.raises(StateMismatchError, match="somebody else"):
        driver.run()


def test_a_former_owners_open_transaction_is_ended_by_the_new_owner():
    driver = TestDriver(totals(), workers=2, partitions=1)
    driver.feed(map(ride, range(10)))
    owner = 0 if driver_owner(driver) == 0 else 1
    driver.crash_at("after:send-offsets", worker=owner)
    with pytest.raises(Crash):
        driver.run()
    driver.log.evict(driver._instance(owner))
    driver.run()
    right(driver, 10)
    assert driver.owned(1 - owner) == {RIDES}


def driver_owner(driver: TestDriver) -> int:
    for _ in range(4):
        for worker in (0, 1):
            driver.turn(worker)
            if driver.owned(worker):
                return worker
    raise AssertionError("nobody owns the partition")
