from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from processor.connectors.ports import Owner
from processor.engine.offline.reset import reset, resets
from processor.engine.restore.recovery import UNSTABLE_S
from processor.engine.running.audit import AUDIT_S
from processor.errors import InputLostError, RetriableError, StateLostError, StateMismatchError
from processor.model.log import Committed, Output, TopicPartition
from processor.model.manifest import Manifest
from processor.testing import Crash, TestDriver
from processor.testing.faults import SteppedStore
from tests.topologies import ride, stateless, totals, windowed
from tests.unit.engine.commit.test_committer import right
from tests.unit.engine.offline.test_rescale import grow

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


def test_an_offset_beyond_the_end_is_named_and_one_at_the_end_is_not():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    head = driver.committed()[RIDES]
    driver.kill()
    group = driver.log._broker.groups["totals"]
    beyond = replace(Manifest.parse(head.metadata), end=head.offset + 1)
    group.committed[RIDES] = Committed(head.offset + 1, str(beyond))
    driver.restart()
    with pytest.raises(InputLostError, match="the committed offset 6 is beyond the topic's end 5"):
        driver.run()
    assert driver.committed()[RIDES].offset == 6
    driver.kill()
    group.committed[RIDES] = head
    driver.restart()
    driver.run()
    right(driver, 5)


def test_input_that_begins_at_the_committed_offset_is_all_there():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    driver.kill()
    driver.feed(map(ride, range(5, 10)))
    driver.log.trim(RIDES, 5)
    driver.restart()
    driver.run()
    assert driver.committed()[RIDES].offset == 10


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


def forgotten(driver: TestDriver, *, store: bool) -> None:
    """The group's offsets are gone, and perhaps all that the store knew."""
    driver.stop()
    driver.log._broker.groups[driver.plan.app].committed.clear()
    if store:
        driver.store.lose()
    driver.restart()


@pytest.mark.parametrize("topology", [stateless, totals])
def test_lost_offsets_are_known_by_the_store_with_and_without_state(topology):
    """Found by an oracle: without state everything was published again, without a word."""
    driver = TestDriver(topology())
    driver.feed(map(ride, range(5)))
    driver.run()
    published = driver.values("out")
    forgotten(driver, store=False)
    with pytest.raises(StateMismatchError, match="no committed offset") as caught:
        driver.run()
    assert "processor reset" in caught.value.remedy
    assert driver.values("out") == published


@pytest.mark.parametrize("topology", [stateless, totals])
def test_the_lost_offset_of_one_partition_is_known_by_the_others_where_the_store_is_empty(topology):
    """Found by an oracle: that partition began anew beside the others, without a word."""
    driver = TestDriver(topology(), partitions=3)
    driver.run()
    driver.advance(AUDIT_S + 1)
    driver.run()
    for partition in range(3):
        driver.feed(map(ride, range(10)), partition=partition)
    driver.run()
    published = driver.values("out")
    driver.stop()
    del driver.log._broker.groups[driver.plan.app].committed[TopicPartition("rides", 1)]
    driver.store.lose()
    driver.restart()
    with pytest.raises(StateMismatchError, match=r"rides\[1\].*no committed offset"):
        driver.run()
    assert driver.values("out") == published


@pytest.mark.parametrize("by", [-3, 2])
@pytest.mark.parametrize("topology", [stateless, totals, windowed])
def test_an_offset_that_was_moved_and_kept_its_manifest_is_refused(topology, by):
    """Found by an oracle: whatever sets an offset and keeps the metadata was believed."""
    driver = TestDriver(topology(), batch_records_max=4)
    driver.feed(map(ride, range(9)))
    driver.run()
    driver.stop()
    committed = driver.log._broker.groups[driver.plan.app].committed
    head = committed[RIDES]
    committed[RIDES] = Committed(head.offset + by, head.metadata)
    driver.feed(map(ride, range(9, 20)))
    driver.restart()
    with pytest.raises(StateMismatchError, match="was moved"):
        driver.run()


def test_who_works_on_with_an_emptied_store_notes_again_that_the_group_has_begun():
    """Found by an oracle: offsets that were lost later were then no longer known as lost."""
    driver = TestDriver(stateless())
    driver.feed(map(ride, range(5)))
    driver.run()
    driver.store.lose()
    driver.advance(AUDIT_S + 1)
    driver.feed(map(ride, range(5, 10)))
    driver.run()
    forgotten(driver, store=False)
    with pytest.raises(StateMismatchError, match="no committed offset"):
        driver.run()


def test_an_owner_is_told_apart_from_one_of_the_same_name_and_generation_of_a_former_group():
    """Found by an oracle: a worker of a deleted group woke up and deleted its successor's state."""
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    task = driver._workers[0].tasks[RIDES]
    again = driver._workers[0]._recovery._me()
    assert again.generation == task.owner.generation
    assert again != task.owner


def test_a_worker_killed_between_its_first_commit_and_the_note_of_it_goes_on():
    driver = TestDriver(stateless(), store=SteppedStore())
    driver.store.step = driver.passes
    driver.feed(map(ride, range(5)))
    driver.crash_at("before:store-begin")
    with pytest.raises(Crash):
        driver.run()
    driver.restart()
    driver.run()
    assert len(driver.values("out")) == 5
    assert driver.store.acquire({driver.task(): Owner("", "", 0)})[driver.task()].begun


def test_a_worker_killed_before_its_first_commit_begins_anew():
    driver = TestDriver(stateless())
    driver.feed(map(ride, range(5)))
    driver.crash_at("after:acquire")
    with pytest.raises(Crash):
        driver.run()
    driver.restart()
    driver.run()
    assert len(driver.values("out")) == 5


@pytest.mark.parametrize("what", ["dead letter", "late record", "changelog"])
def test_offsets_lost_together_with_the_store_are_known_by_the_topics(what):
    policy = "changelog" if what == "changelog" else "stop"
    driver = TestDriver(windowed(late="late"), partitions=2, on_checkpoint_loss=policy)
    driver.feed(map(ride, range(5)), key="k0")
    if what == "dead letter":
        driver.feed(["{malformed"], key="k0")
    if what == "late record":
        driver.feed([ride(600), ride(1)], key="k0")
    driver.run()
    published = driver.values("out")
    forgotten(driver, store=True)
    with pytest.raises(StateMismatchError, match="has been at work: it wrote") as caught:
        driver.run()
    assert "processor reset" in caught.value.remedy
    assert driver.values("out") == published


def test_dead_letters_of_others_are_no_trace_of_ones_own():
    driver = TestDriver(stateless("copy"))
    driver.feed(["{malformed"])
    driver.run()
    other = TestDriver(stateless("copy2"), log=driver.log)
    other.run()
    assert len(other.dead_letters()) == 2


def test_records_in_an_output_topic_that_name_nobody_are_noted():
    driver = TestDriver(stateless())
    driver.feed(map(ride, range(5)))
    driver.run()
    assert driver.noted == []
    forgotten(driver, store=True)
    driver.run()
    assert len(driver.noted) == 1
    assert "records in out already" in driver.noted[0]


def test_after_a_reset_a_group_that_had_lost_its_offsets_goes_on():
    driver = TestDriver(stateless())
    driver.feed([*map(ride, range(5)), "{malformed"])
    driver.run()
    forgotten(driver, store=True)
    driver.kill()
    driver.expire()
    reset(resets(driver.plans, driver.log, driver.store, "5"), driver.log, driver.store)
    driver.restart()
    driver.run()
    assert len(driver.values("out")) == 5
    assert len(driver.dead_letters()) == 2


@pytest.mark.parametrize(
    "name", ["other-app.host-0", "totals2.host-0", "", "totals", "totals.b:host-0"]
)
def test_only_transactions_of_the_own_application_are_ended(name, monkeypatch):
    """Who may write to the store must not have a worker fence anybody's producer."""
    driver = TestDriver(totals())
    driver.run()
    driver.kill()
    foreign = driver.log.producer(name)
    foreign.start(0)
    foreign.begin()
    own = driver.log.producer("totals:killed")
    own.start(0)
    driver.store.disown(driver.task(), Owner("x", name, 1))
    driver.restart()
    consumer = type(driver._workers[0]._consumer)
    monkeypatch.setattr(consumer, "committed", pending_once(consumer.committed))
    driver.run()
    foreign.produce(Output("out", [b"x"]))
    foreign.commit(0)
    assert driver.values("out") == [b"x"]


def pending_once(committed):
    asked = []

    def ask(self, partitions, timeout_s):
        asked.append(partitions)
        if len(asked) == 1:
            raise RetriableError("a transaction is open")
        return committed(self, partitions, timeout_s)

    return ask


def test_what_the_store_lost_is_written_anew_by_a_new_owner_and_only_while_in_the_group(
    monkeypatch,
):
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    worker = driver._workers[0]
    task, before = worker.tasks[RIDES], worker.tasks[RIDES].owner
    driver.store.lose()
    outside = replace(worker._consumer.membership(), generation=-1)
    with monkeypatch.context() as patch:
        patch.setattr(worker._consumer, "membership", lambda: outside)
        assert not worker._recovery.mend([task])
    assert (driver.healed, driver.store.blobs(task.name)) == ([], {})
    assert worker._recovery.mend([task])
    assert driver.healed[0].how == "memory"
    assert driver.store.owners([task.name])[task.name] == task.owner != before


@pytest.mark.parametrize(("generation", "member"), [(-1, False), (0, True), (1, True)])
def test_who_is_in_no_generation_owns_nothing(generation, member, monkeypatch):
    driver = TestDriver(totals())
    consumer = driver._workers[0]._consumer
    standing = replace(consumer.membership(), generation=generation)
    monkeypatch.setattr(consumer, "membership", lambda: standing)
    owner = driver._workers[0]._recovery._me()
    assert (owner is not None) == member
    assert owner is None or owner.generation == generation


def test_who_finds_that_another_has_begun_while_it_looked_stays_pending(monkeypatch):
    """It saw no position, then its successor began: what lies in the store is no loss."""
    driver = TestDriver(totals(), workers=2)
    driver.feed(map(ride, range(10)))
    late = driver_owner_before_it_loads(driver)
    worker = driver._workers[late]
    check, passed = worker._recovery._lineage.check, []

    def overtaken():
        check()
        if not passed:
            passed.append(True)
            driver.evict(late)
            while not driver.reports:
                driver.turn(1 - late)

    monkeypatch.setattr(worker._recovery._lineage, "check", overtaken)
    assert worker._recovery.load([RIDES]) == []
    assert passed
    driver.run()
    right(driver, 10)


def driver_owner_before_it_loads(driver: TestDriver) -> int:
    """The worker that was given the partition, and has not loaded it."""
    for _ in range(4):
        for number, worker in driver._workers.items():
            if worker._batcher.poll().changes:
                return number
    raise AssertionError("nobody was given the partition")


def test_who_ends_a_former_owners_transaction_lets_go_of_its_producer(monkeypatch):
    driver = TestDriver(totals())
    producer = driver.log.producer
    made, closed = [], []

    def watched(name):
        client = producer(name)
        made.append(name)
        monkeypatch.setattr(client, "close", lambda: closed.append(name))
        return client

    monkeypatch.setattr(driver.log, "producer", watched)
    driver._workers[0]._recovery._fence({"totals:b", "totals:a"})
    assert made == closed == ["totals:a", "totals:b"]


def test_what_has_gone_on_to_another_is_healed_no_more(monkeypatch):
    driver = TestDriver(totals())
    driver.feed(map(ride, range(5)))
    driver.run()
    recovery = driver._workers[0]._recovery
    forgotten = []

    def gone(*_):
        raise InputLostError("it begins later now")

    monkeypatch.setattr(recovery, "_loaded", gone)
    monkeypatch.setattr(recovery.healer, "forget", forgotten.append)
    owner = driver._workers[0].tasks[RIDES].owner
    head = driver.committed()[RIDES]
    with pytest.raises(InputLostError):
        recovery._task(RIDES, driver.task(), owner, head)
    assert forgotten == []
    former = Committed(head.offset - 1, head.metadata)
    assert recovery._task(RIDES, driver.task(), owner, former) is None
    assert forgotten == [RIDES]


def test_only_state_of_another_topology_is_taken_over(monkeypatch):
    driver = TestDriver(totals("a"))
    driver.run()
    other = again(driver, windowed("a"))  # nothing was read yet: nothing is to be taken over
    asked = upgrades(other, monkeypatch)
    other.feed(map(ride, range(5)))
    other.run()
    other.kill()
    other.restart()  # its own state is not, either
    asked += upgrades(other, monkeypatch)
    other.feed(map(ride, range(5, 10)))
    other.run()
    assert asked == []
    assert other.committed()[RIDES].offset == 10


def upgrades(driver: TestDriver, monkeypatch) -> list[TopicPartition]:
    """The partitions that are taken over from now on."""
    upgrader, asked = driver._workers[0]._recovery._upgrader, []
    load = upgrader.load

    def watched(name, partition, owner, head):
        asked.append(partition)
        return load(name, partition, owner, head)

    monkeypatch.setattr(upgrader, "load", watched)
    return asked


@pytest.mark.parametrize("together", [True, False])
def test_who_begins_at_the_end_does_so_in_every_partition_whoever_comes_first(together):
    driver = TestDriver(stateless(), partitions=2, workers=0)
    driver._options = replace(driver._options, start_from="latest")
    for partition in range(2):
        driver.feed(map(ride, range(5)), partition=partition)
    driver.restart(0)
    if together:
        driver.restart(1)
        driver.run()
    else:  # the second partition is found without a position when the first has one
        worker = driver._workers[0]
        worker._batcher.poll()
        for partition in range(2):
            worker._recovery.load([TopicPartition("rides", partition)])
    assert {p: head.offset for p, head in driver.committed().items()} == {
        TopicPartition("rides", partition): 5 for partition in range(2)
    }
    assert driver.values("out") == []


@pytest.mark.parametrize("number", [2, 3])
def test_a_partition_that_was_added_while_the_worker_runs_is_not_begun(number):
    """Else keys that lie elsewhere now would be counted anew there, by who was given it alone."""
    driver = TestDriver(totals(), partitions=2)
    driver.run()
    grow(driver, 4)
    worker = driver._workers[0]
    worker._batcher.poll()
    with pytest.raises(StateMismatchError, match=rf"rides\[{number}\]: .* was given more"):
        worker._recovery.load([TopicPartition("rides", number)])
    assert len(driver.committed()) == 2


def test_a_partition_is_not_begun_beside_others_of_another_count():
    """The topic was given more, and all who knew it as it was are gone."""
    driver = TestDriver(totals(), partitions=2)
    driver.run()
    driver.stop()
    grow(driver, 3)
    after = TestDriver(totals(), log=driver.log, store=driver.store, partitions=3)
    worker = after._workers[0]
    worker._batcher.poll()
    with pytest.raises(StateMismatchError, match=r"the state was written with 2"):
        worker._recovery.load([TopicPartition("rides", 2)])
    assert len(after.committed()) == 2


NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)


def at_noon(topology=stateless, **options):
    driver = TestDriver(topology(), partitions=2, workers=0, **options)
    driver._options = replace(driver._options, start_from=NOON)
    for partition, first_s in enumerate((-5, 0)):
        times = [round(NOON.timestamp() + first_s + n) * 1000 for n in range(10)]
        values = [orjson.dumps(ride(n)) for n in range(10)]
        driver.log.feed("rides", values, partition=partition, timestamps_ms=times)
    return driver


@pytest.mark.parametrize("topology", [stateless, totals])
def test_a_new_group_begins_at_the_first_records_of_a_time_or_later(topology):
    driver = at_noon(topology)
    driver.restart()
    driver.run()
    assert sum(report.records_in for report in driver.reports) == 5 + 10
    origins = {Manifest.parse(head.metadata).origin for head in driver.committed().values()}
    assert origins == {5, 0}


def test_where_no_record_is_that_late_a_new_group_begins_at_the_end():
    driver = at_noon()
    driver._options = replace(driver._options, start_from=NOON + timedelta(days=1))
    driver.restart()
    driver.run()
    assert {head.offset for head in driver.committed().values()} == {10}


def test_a_group_that_has_begun_goes_on_where_it_was_whatever_the_time():
    driver = at_noon()
    driver._options = replace(driver._options, start_from="earliest")
    driver.restart()
    driver.run()
    driver.stop()
    driver._options = replace(driver._options, start_from=NOON)
    driver.restart()
    driver.run()
    assert sum(report.records_in for report in driver.reports) == 20


def test_positions_that_are_held_open_are_waited_for_and_told_of_when_that_lasts(monkeypatch):
    driver = TestDriver(totals(), batch_records_max=3)
    driver.feed(map(ride, range(20)))
    worker = driver._workers[0]
    monkeypatch.setattr(worker._recovery, "_stable_s", UNSTABLE_S / 3)
    committed = worker._consumer.committed

    asked = []

    def held_open(partitions, timeout_s):
        asked.append(partitions)
        raise RetriableError("a transaction is open")

    for times in (3, 6):  # what was once told is forgotten
        committed = worker._consumer.committed
        monkeypatch.setattr(worker._consumer, "committed", held_open)
        monkeypatch.setattr(worker._recovery, "_stable_s", UNSTABLE_S / 3)
        with pytest.raises(RetriableError, match="totals are not told: a transaction is open"):
            while len(asked) <= times:
                assert not worker.turn()
        assert len(asked) == times
        monkeypatch.setattr(worker._consumer, "committed", committed)
        driver.run()
        right(driver, 20)
        worker.rejoin()
