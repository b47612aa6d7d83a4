"""A worker's membership: what it opens, forgets and lets go of."""

from dataclasses import replace

import pytest

from processor.clock import ManualClock
from processor.engine.commit.protocol import Verdict
from processor.engine.running.audit import AUDIT_S
from processor.engine.running.redo import REDO_MAX
from processor.engine.running.worker import Worker
from processor.errors import AbortableError, LogError, StoreAwayError
from processor.model.log import Assigned, Polled, Revoked, TopicPartition
from processor.testing import TestDriver
from processor.testing.faults import FaultyLog
from tests.topologies import ride, totals, windowed
from tests.unit.engine.commit.test_committer import right

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


def test_a_worker_that_was_not_started_is_not_ready_and_has_nothing_to_let_go_of(
    driver, monkeypatch
):
    driver.stop()
    monkeypatch.setattr(Worker, "start", lambda _: None)
    driver.restart()
    worker = driver._workers[0]
    assert (worker.ready, worker.standby, worker.settled) == (False, False, False)
    worker.close(leave=True)


def test_a_worker_is_settled_in_its_second_turn_as_a_member(driver):
    worker = driver._workers[0]
    worker.rejoin()
    seen = []
    for _ in range(3):
        seen.append((worker.member, worker.settled))
        driver.turn()
    assert seen == [(False, False), (True, False), (True, True)]


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


def test_a_worker_has_not_caught_up_with_what_it_has_not_read():
    driver = TestDriver(totals())
    driver.turn()
    driver.feed([ride(0)])
    assert driver.owned() == {RIDES}
    assert not driver._workers[0].caught_up({RIDES: 1})
    assert driver.reports == []
    driver.run()
    assert driver._workers[0].caught_up({RIDES: 1})


@pytest.mark.parametrize("late", [None, "late"])
def test_late_records_are_no_results_where_they_are_set_aside(late):
    driver = TestDriver(windowed(late=late, delay="0 s"))
    driver.feed([ride(600)])
    driver.run()
    driver.feed([ride(1)])
    driver.run()
    assert len(driver.values("out")) == 1
    assert [(report.late, report.records_out) for report in driver.reports] == [(0, 1), (1, 0)]


def test_the_first_batch_of_a_membership_has_waited_for_no_other_and_its_time_is_its_own(
    driver, monkeypatch
):
    driver.advance(7.0)
    driver._workers[0].rejoin()
    run = driver._workers[0]._pipeline.run

    def slow(*args):
        driver.advance(2.0)
        return run(*args)

    monkeypatch.setattr(driver._workers[0]._pipeline, "run", slow)
    driver.feed([ride(9)])
    driver.run()
    phases = driver.reports[-1].phases
    assert (phases["poll"], phases["process"]) == (0.0, 2.0)


def test_the_store_is_looked_at_when_it_is_time_and_what_it_has_lost_is_mended(driver):
    driver._workers[0].rejoin()
    due_s = driver.clock.monotonic_s() + AUDIT_S
    driver.run()
    driver.store.lose()
    driver.advance(due_s - driver.clock.monotonic_s() - 0.5)
    driver.turn()
    assert "before:audit" not in driver.steps
    worker = driver._workers[0]
    worker._audit._at_s = driver.clock.monotonic_s()
    driver.turn()
    assert driver.steps.count("before:audit") == 1
    assert [healed.how for healed in driver.healed] == ["memory"]
    driver.turn()
    assert driver.steps.count("before:audit") == 1


def test_a_batch_that_took_too_long_is_undone_and_told(driver, monkeypatch):
    worker = driver._workers[0]
    state, run = driver.state(), worker._pipeline.run
    worker.pace.limit_s = 10.0

    def slow(*args):
        driver.advance(11.0)
        return run(*args)

    driver.feed(map(ride, range(9, 12)))
    with monkeypatch.context() as patch:
        patch.setattr(worker._pipeline, "run", slow)
        assert not driver.turn()
    assert driver.undone == [Verdict.REDO]
    assert driver.state() == state
    driver.run()
    right(driver, 12)


def test_a_batch_that_the_store_did_not_take_is_undone_before_it_is_told(driver):
    state = driver.state()
    driver.feed(map(ride, range(9, 12)))
    driver.pause_at("before:stage", 0, lambda: setattr(driver.store, "down", True))
    with pytest.raises(StoreAwayError):
        driver.turn()
    assert driver.state() == state
    driver.store.down = False
    driver.run()
    right(driver, 12)


@pytest.mark.parametrize("failures", [REDO_MAX, REDO_MAX + 1])
def test_a_batch_may_fail_so_many_times_in_a_row_and_each_batch_anew(failures):
    log = FaultyLog(ManualClock())
    driver = TestDriver(totals(), log=log)
    for first in (0, 5):
        driver.feed(map(ride, range(first, first + 5)))
        log.before["flush"] = [AbortableError("refused", remedy="less")] * REDO_MAX
        driver.run()
        assert driver._workers[0]._redone == 0
    right(driver, 10)
    assert driver.undone == [Verdict.REDO] * (2 * REDO_MAX)
    log.before["flush"] = [AbortableError("refused", remedy="less")] * failures
    driver.feed(map(ride, range(10, 15)))
    committed = []
    if failures > REDO_MAX:
        with pytest.raises(LogError, match=f"failed {failures} times in a row, with: refused"):
            driver.run()
    else:
        while not any(committed):
            committed.append(driver.turn())
        assert committed == [False] * failures + [True]
        right(driver, 15)
