import pytest

from processor.clock import ManualClock
from processor.connectors.memory.log import MemoryLog
from processor.engine.batcher import Batcher, Limits
from processor.model.log import TopicPartition

FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)


def made(**limits) -> tuple[Batcher, MemoryLog, ManualClock]:
    clock = ManualClock()
    log = MemoryLog(clock)
    log.create({"in": 2})
    consumer = log.consumer("group", "one", ["in"])
    consumer.poll(1, 0)
    consumer.open({FIRST: 0, SECOND: 0})
    return Batcher(consumer, "in", clock, Limits(wait_s=0.0, **limits)), log, clock


def test_nothing_is_due_without_a_record():
    batcher, _, clock = made(interval_s=0.0)
    batcher.poll()
    clock.advance(100)
    assert not batcher.due()
    assert batcher.empty()


def test_a_record_on_a_quiet_topic_is_due_at_once():
    batcher, log, _ = made(interval_s=1.0)
    log.feed("in", [b"a"], partition=0)
    batcher.poll()
    assert batcher.due()


@pytest.mark.parametrize("interval_s", [0.0, 0.1])
def test_what_is_ready_behind_a_first_record_comes_along_and_nothing_is_waited_for(
    interval_s, monkeypatch
):
    clock = ManualClock()
    log = MemoryLog(clock)
    log.create({"in": 2})
    consumer = log.consumer("group", "one", ["in"])
    consumer.poll(1, 0)
    consumer.open({FIRST: 0, SECOND: 0})
    batcher = Batcher(consumer, "in", clock, Limits(interval_s=interval_s))
    log.feed("in", [b"a", b"b"], partition=0)
    asked: list[float] = []
    poll = consumer.poll
    monkeypatch.setattr(
        consumer, "poll", lambda n, wait_s: (asked.append(wait_s), poll(n, wait_s))[1]
    )
    batcher.poll()
    assert asked == [0.1, 0.0]
    assert batcher.take()[FIRST].values == [b"a", b"b"]


def test_two_batches_start_no_closer_than_the_interval():
    batcher, log, clock = made(interval_s=1.0)
    log.feed("in", [b"a"], partition=0)
    batcher.poll()
    batcher.take()
    log.feed("in", [b"b"], partition=0)
    batcher.poll()
    assert not batcher.due()
    clock.advance(0.5)
    log.feed("in", [b"c"], partition=1)
    batcher.poll()
    assert not batcher.due()
    clock.advance(0.5)
    assert batcher.due()
    shares = batcher.take()
    assert {p: s.values for p, s in shares.items()} == {FIRST: [b"b"], SECOND: [b"c"]}


def test_a_full_batch_does_not_wait_for_the_interval_and_takes_no_more():
    batcher, log, _ = made(interval_s=60.0, records_max=3)
    batcher.take()
    log.feed("in", [b"a"] * 5, partition=0)
    for _ in range(4):
        batcher.poll()
    assert batcher.due()
    assert len(batcher.take()[FIRST].messages) == 3


def test_a_batch_is_due_when_it_holds_enough_bytes():
    batcher, log, _ = made(interval_s=60.0, bytes_max=1000)
    batcher.take()
    log.feed("in", [b"x" * 600], partition=0)
    batcher.poll()
    assert not batcher.due()
    log.feed("in", [b"x" * 600, None], partition=1)
    batcher.poll()
    assert batcher.due()


def test_what_was_polled_of_a_lost_partition_is_forgotten():
    batcher, log, clock = made(interval_s=60.0)
    batcher.take()
    log.feed("in", [b"a"], partition=0)
    log.feed("in", [b"b"], partition=1)
    for _ in range(3):
        batcher.poll()
    batcher.drop([FIRST])
    clock.advance(60)
    assert list(batcher.take()) == [SECOND]
    batcher.drop([FIRST, SECOND])
    assert batcher.empty()
