"""A worker's membership: what it opens, forgets and lets go of."""

from dataclasses import replace

import pytest

from processor.model.log import Assigned, Polled, Revoked, TopicPartition
from processor.testing import TestDriver
from tests.topologies import ride, totals

RIDES = TopicPartition("rides", 0)


@pytest.fixture
def driver():
    made = TestDriver(totals(), batch_records_max=3)
    made.feed(map(ride, range(9)))
    made.run()
    return made


def polling(worker, monkeypatch, *polls):
    """What the next polls bring, instead of the log."""
    left = list(polls)
    monkeypatch.setattr(worker._batcher, "poll", lambda: left.pop(0) if left else Polled())


def test_it_is_ready_when_it_is_a_member_and_all_is_loaded_and_idle_when_nothing_waits(driver):
    worker = driver._workers[0]
    assert (worker.member, worker.ready, worker.idle) == (True, True, True)
    worker._pending.add(RIDES)
    assert (worker.ready, worker.idle) == (False, False)
    worker._pending.clear()
    worker.member = False
    assert (worker.ready, worker.idle) == (False, False)
    worker.member = True
    worker._lost.add(RIDES)
    assert (worker.ready, worker.idle) == (True, False)
    worker._lost.clear()
    driver.feed([ride(9)])
    worker._batcher.poll()
    assert (worker.ready, worker.idle) == (True, False)


def test_a_worker_without_a_generation_is_no_member(driver, monkeypatch):
    worker = driver._workers[0]
    membership = worker._consumer.membership()
    for generation, member in ((-1, False), (0, True), (1, True)):
        told = type(membership)(generation, membership.partitions, membership.token)
        monkeypatch.setattr(worker._consumer, "membership", lambda told=told: told)
        driver.turn()
        assert worker.member is member


def test_what_was_given_back_is_forgotten_everywhere(driver, monkeypatch):
    worker = driver._workers[0]
    told, forgotten = [], []
    monkeypatch.setattr(worker._batcher, "shut", lambda p: forgotten.append(("batcher", set(p))))
    monkeypatch.setattr(
        worker._checkpointer, "forget", lambda p: forgotten.append(("checkpointer", {p}))
    )
    monkeypatch.setattr(
        worker._recovery.healer, "forget", lambda p: forgotten.append(("healer", {p}))
    )
    worker._listener = replace(worker._listener, change=told.append)
    worker._lost.add(RIDES)
    worker._pending.add(RIDES)
    change = Revoked(frozenset({RIDES}))
    polling(worker, monkeypatch, Polled((), [change]))
    worker.turn()
    assert told == [change]
    assert [name for name, where in forgotten if where == {RIDES}] == [
        "batcher", "checkpointer", "healer"
    ]  # fmt: skip
    assert (worker.tasks, worker._lost, worker._pending) == ({}, set(), set())


def test_what_is_given_twice_is_loaded_anew(driver, monkeypatch):
    worker = driver._workers[0]
    before = worker.tasks[RIDES]
    polling(worker, monkeypatch, Polled((), [Assigned(frozenset({RIDES}))]))
    worker.turn()
    assert worker.tasks[RIDES] is not before
    assert worker.tasks[RIDES].base == before.base


def test_to_join_anew_lets_go_of_all_that_belonged_to_the_former_membership(driver, monkeypatch):
    worker = driver._workers[0]
    closed = []
    consumer, producer = worker._consumer, worker._committer.producer
    for name, client in (("consumer", consumer), ("producer", producer)):
        close = client.close
        monkeypatch.setattr(
            client, "close", lambda name=name, close=close, **how: (closed.append((name, how)),
                                                                     close(**how))
        )  # fmt: skip
    monkeypatch.setattr(worker._recovery.healer, "close", lambda: closed.append(("healer", {})))
    worker._checkpointer._floors[RIDES] = 1
    worker._redone = 3
    worker.rejoin()
    assert closed == [("healer", {}), ("consumer", {"leave": False}), ("producer", {})]
    assert (worker.tasks, worker._redone, worker.member) == ({}, 0, False)
    assert not worker._checkpointer._floors
    assert worker._consumer is not consumer
    driver.run()
    assert RIDES in worker.tasks
    # Closed twice, it lets go once.
    left = []
    monkeypatch.setattr(worker._consumer, "close", lambda **how: left.append(how))
    worker.close(leave=True)
    worker.close(leave=True)
    assert left == [{"leave": True}]


class Refusing:
    """A producer that does not start, or starts beside a consumer that does not."""

    def __init__(self, error=None):
        self.error, self.closed = error, 0

    def start(self, timeout_s):
        if self.error:
            raise self.error

    def close(self):
        self.closed += 1


@pytest.mark.parametrize("error", [RuntimeError("producer"), None])
def test_a_start_that_fails_leaves_no_producer_open(driver, monkeypatch, error):
    worker = driver._workers[0]
    worker.close(leave=False)
    producer = Refusing(error)

    def refuse(*_):
        raise RuntimeError("consumer")

    monkeypatch.setattr(driver.log, "producer", lambda _: producer)
    monkeypatch.setattr(driver.log, "consumer", refuse)
    with pytest.raises(RuntimeError, match="producer" if error else "consumer"):
        worker.start()
    assert producer.closed == 1


def test_the_records_of_a_batch_are_let_go_before_its_outputs_are_sent(driver, monkeypatch):
    worker = driver._workers[0]
    held = []
    commit = worker._committer.commit

    def watched(work):
        held.extend(len(share.messages) for share in shares.values())
        return commit(work)

    driver.feed(map(ride, range(9, 12)))
    worker._batcher.poll()
    shares = worker._batcher.take()
    monkeypatch.setattr(worker._committer, "commit", watched)
    assert worker._run(shares)
    assert held == [0]


def test_batches_are_counted_from_one_and_their_waiting_is_not_told(driver, monkeypatch):
    assert [report.batch for report in driver.reports] == [1, 2, 3]
    worker = driver._workers[0]
    poll = worker._batcher.poll

    def slow():
        driver.advance(2.0)
        return poll()

    monkeypatch.setattr(worker._batcher, "poll", slow)
    driver.feed(map(ride, range(9, 15)))
    driver.reports.clear()
    while len(driver.reports) < 2:
        driver.turn()
    assert [report.phases["poll"] for report in driver.reports] == [0.0, 0.0]


def test_a_worker_has_not_caught_up_while_something_is_pending_or_waits(driver):
    worker = driver._workers[0]
    ends = {RIDES: 9}
    assert worker.caught_up(ends)
    worker._pending.add(TopicPartition("rides", 1))
    assert not worker.caught_up(ends)
    worker._pending.clear()
    driver.feed([ride(9)])
    worker._batcher.poll()
    assert not worker.caught_up(ends)
