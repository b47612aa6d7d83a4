"""What the in-memory log has beyond the contract: time-outs on demand, test hooks, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.clock import ManualClock
from processor.connectors.memory.group import Member, assign
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.store import MemoryStore
from processor.connectors.ports import Blob, Consumer, Log, Owner, Producer, Store
from processor.errors import (
    AbortableError,
    FencedError,
    LogError,
    RetriableError,
    StoreError,
)
from processor.model.log import (
    Assigned,
    Committed,
    Lost,
    Membership,
    Output,
    Polled,
    Revoked,
    TopicPartition,
)

TP0, TP1 = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(ManualClock(1_000))
    log.create({"t": 2})
    return log


def opened(log: MemoryLog, instance: str = "a", at: int = 0):
    consumer = log.consumer("g", instance, ["t"])
    for change in consumer.poll(0, 0).changes:
        consumer.open(dict.fromkeys(change.partitions, at))
    return consumer


def started(log: MemoryLog, name: str = "p"):
    producer = log.producer(name)
    producer.start(0)
    return producer


def values(polled: Polled) -> list[bytes | None]:
    return [message.value() for message in polled.messages]


def test_the_log_has_the_shape_of_the_ports(log):
    made: Log = log
    consumer: Consumer = made.consumer("g", "a", ["t"])
    producer: Producer = made.producer(None)
    store: Store = MemoryStore()
    assert consumer
    assert producer
    assert store


def test_what_is_fed_has_the_times_keys_and_headers_given(log):
    log.feed("t", [b"x"], [b"k"], partition=1, timestamps_ms=[5], headers=[[("h", b"1")]])
    (message,) = log.read("t")
    assert (message.topic(), message.partition(), message.offset()) == ("t", 1, 0)
    assert (message.key(), message.timestamp(), message.headers()) == (b"k", (1, 5), [("h", b"1")])
    assert repr(message) == "t[1]@0: b'k' b'x'"


def test_what_is_published_has_the_time_of_the_clock(log):
    started(log, "p")
    producer = log.producer(None)
    producer.produce(Output("t", [b"x"]))
    (message,) = log.read("t")
    assert message.timestamp() == (1, 1_000)
    assert message.headers() is None


def test_columns_of_different_lengths_are_refused(log):
    with pytest.raises(LogError):
        log.feed("t", [b"x", b"y"], [b"k"])
    with pytest.raises(LogError):
        log.producer(None).produce(Output("t", [b"x"], None, [[], []]))


def test_an_unknown_topic_or_partition_is_refused(log):
    with pytest.raises(LogError):
        log.producer(None).produce(Output("nope", [b"x"]))
    with pytest.raises(LogError):
        log.feed("t", [b"x"], partition=2)
    with pytest.raises(LogError):
        log.create({"none": 0})


def test_a_topic_created_later_is_handed_out(log):
    consumer = log.consumer("g", "a", ["late"])
    assert consumer.poll(1, 0) == Polled([], [])
    log.create({"late": 1})
    assert consumer.poll(1, 0).changes == [Assigned(frozenset({TopicPartition("late", 0)}))]


def test_polls_go_round_the_partitions(log):
    log.feed("t", [b"a", b"b"], partition=0)
    log.feed("t", [b"c", b"d"], partition=1)
    consumer = opened(log)
    seen = [consumer.poll(1, 0).messages[0].partition() for _ in range(4)]
    assert seen in ([0, 1, 0, 1], [1, 0, 1, 0])


def test_a_poll_goes_past_aborted_records_to_fill_up(log):
    producer = started(log)
    for n in range(5):
        producer.begin()
        producer.produce(Output("t", [b"no"] * 3 + [b"yes"], [b"k"] * 4))
        if n == 3:
            producer.commit(0)
        else:
            producer.abort(0)
    assert values(opened(log).poll(4, 0)) == [b"no", b"no", b"no", b"yes"]


def test_retention_takes_the_oldest_and_reading_below_it_fails(log):
    log.feed("t", [b"a", b"b", b"c"], partition=0)
    consumer = opened(log)
    log.trim(TP0, 2)
    assert consumer.extent(TP0, 0) == (2, 3)
    with pytest.raises(LogError, match="out of range"):
        consumer.poll(1, 0)
    consumer.open({TP0: 2})
    assert values(consumer.poll(5, 0)) == [b"c"]


def test_an_abort_after_retention_took_some_of_it(log):
    producer = started(log)
    producer.begin()
    producer.produce(Output("t", [b"x"] * 3, [b"k"] * 3))
    (name,) = [TopicPartition("t", p) for p in range(2) if log._broker.topics["t"][p].end]
    log.trim(name, 2)
    producer.abort(0)
    assert log.read("t") == []


def test_a_position_beyond_the_end_is_out_of_range(log):
    consumer = opened(log, at=1)
    with pytest.raises(LogError, match="out of range"):
        consumer.poll(1, 0)


def test_only_what_is_assigned_may_be_opened(log):
    consumer = log.consumer("g", "a", ["t"])
    with pytest.raises(LogError):
        consumer.open({TP0: 0})


def test_a_transaction_that_expires_is_aborted_and_its_producer_fenced(log):
    producer, other = started(log), started(log, "other")
    for one in (producer, other):
        one.begin()
        one.produce(Output("t", [b"x"]))
    log.expire("p")
    with pytest.raises(FencedError):
        producer.commit(0)
    other.commit(0)
    assert len(log.read("t")) == 1
    log.expire()
    other.begin()
    log.expire()
    with pytest.raises(FencedError):
        other.flush(0)


def test_a_closed_producer_leaves_its_transaction_open(log):
    producer = started(log)
    producer.begin()
    producer.produce(Output("t", [b"x"], [b"k"]))
    producer.close()
    with pytest.raises(LogError):
        producer.commit(0)
    log.feed("t", [b"y"], [b"k"])
    assert log.read("t") == []
    log.expire()
    assert [message.value() for message in log.read("t")] == [b"y"]


def test_a_producer_has_to_be_started_and_to_begin(log):
    producer = log.producer("p")
    with pytest.raises(LogError):
        producer.begin()
    with pytest.raises(LogError):
        log.producer(None).begin()
    producer.start(0)
    with pytest.raises(LogError):
        producer.produce(Output("t", [b"x"]))
    with pytest.raises(LogError):
        producer.commit(0)


def test_an_evicted_member_is_told_lost_and_joins_anew(log):
    a, b = opened(log, "a"), opened(log, "b")
    assert a.poll(0, 0).changes == [Revoked(frozenset({TP1}))]
    assert b.poll(0, 0).changes == [Assigned(frozenset({TP1}))]
    log.evict("a")
    assert b.poll(0, 0).changes == [Assigned(frozenset({TP0}))]
    assert a.poll(0, 0).changes == [Lost(frozenset({TP0}))]
    assert a.membership().generation == -1
    assert a.membership().partitions == frozenset()
    with pytest.raises(LogError):
        a.open({TP0: 0})
    with pytest.raises(FencedError):
        a.commit({TP0: Committed(1, "")}, 0)
    assert a.poll(0, 0).changes == []
    (revoked,) = b.poll(0, 0).changes
    assert isinstance(revoked, Revoked)
    assert a.poll(0, 0).changes == [Assigned(revoked.partitions)]


def test_an_evicted_member_whose_identity_is_taken_is_fenced(log):
    a = opened(log, "a")
    log.evict("a")
    opened(log, "a")
    with pytest.raises(FencedError):
        a.poll(0, 0)


def test_an_identity_taken_between_lost_and_joining_anew_fences(log):
    a = opened(log, "a")
    log.evict("a")
    a.poll(0, 0)
    opened(log, "a")
    with pytest.raises(FencedError):
        a.poll(0, 0)


def test_silent_members_lose_their_session_by_the_clock_and_only_when_asked(log):
    clock = ManualClock()
    log = MemoryLog(clock, session_timeout_s=10)
    log.create({"t": 2})
    a, b = opened(log, "a"), opened(log, "b")
    a.poll(0, 0)
    b.poll(0, 0)
    clock.advance(6)
    b.poll(0, 0)
    clock.advance(6)
    assert b.poll(0, 0).changes == []
    log.expire_sessions()
    assert b.poll(0, 0).changes == [Assigned(frozenset({TP0}))]
    assert a.poll(0, 0).changes == [Lost(frozenset({TP0}))]


def test_a_member_that_stops_without_leaving_keeps_its_partitions_until_evicted(log):
    a, b = opened(log, "a"), opened(log, "b")
    a.poll(0, 0)
    b.poll(0, 0)
    a.close(leave=False)
    assert b.poll(0, 0).changes == []
    with pytest.raises(LogError):
        a.poll(0, 0)
    log.evict("a")
    assert b.poll(0, 0).changes == [Assigned(frozenset({TP0}))]


def test_a_partition_goes_over_only_when_its_owner_was_told(log):
    a = opened(log, "a")
    b = log.consumer("g", "b", ["t"])
    assert b.poll(0, 0).changes == []
    assert a.poll(0, 0).changes == [Revoked(frozenset({TP1}))]
    assert a.membership().partitions == {TP0}
    assert b.poll(0, 0).changes == [Assigned(frozenset({TP1}))]


def test_no_message_comes_of_a_partition_taken_away_in_the_same_poll(log):
    log.feed("t", [b"x"] * 3, partition=0)
    log.feed("t", [b"y"] * 3, partition=1)
    a = opened(log, "a")
    log.consumer("g", "b", ["t"])
    assert values(a.poll(10, 0)) == [b"x"] * 3


def test_the_real_brokers_gaps_in_checking_offsets_are_there(log):
    producer = started(log)
    consumer = log.consumer("g", "a", ["t"])
    outside = consumer.membership()
    consumer.close(leave=True)
    producer.begin()
    producer.send_offsets({TP0: Committed(1, "group is empty")}, outside, 0)
    producer.commit(0)
    a = opened(log, "a")
    producer.begin()
    with pytest.raises(AbortableError):
        producer.send_offsets({TP0: Committed(2, "")}, outside, 0)
    producer.send_offsets({TopicPartition("t", 9): Committed(2, "not owned")}, a.membership(), 0)
    log.evict("a")
    with pytest.raises(AbortableError):
        producer.send_offsets({TP0: Committed(2, "")}, a.membership(), 0)
    with pytest.raises(AbortableError):
        producer.send_offsets({TP0: Committed(2, "")}, Membership(1, frozenset()), 0)
    producer.abort(0)
    assert log.committed("g", "t") == {TP0: Committed(1, "group is empty")}


def test_a_pending_offset_stops_readers_from_inside_and_outside_at_once(log):
    a = opened(log)
    producer = started(log)
    producer.begin()
    producer.send_offsets({TP0: Committed(1, "m")}, a.membership(), 0)
    with pytest.raises(RetriableError):
        a.committed([TP0], 0)
    with pytest.raises(RetriableError):
        log.committed("g", "t")
    assert a.committed([TP1], 0) == {TP1: None}
    assert log.committed("none", "t") == {}


def test_committing_outside_a_transaction_is_refused_to_a_stale_member(log):
    a = opened(log, "a")
    log.consumer("g", "b", ["t"])
    with pytest.raises(FencedError):
        a.commit({TP0: Committed(1, "")}, 0)
    a.poll(0, 0)
    a.commit({TP0: Committed(1, "")}, 0)
    with pytest.raises(FencedError):
        a.commit({TP1: Committed(1, "")}, 0)


def test_a_waiting_poll_wakes_up_for_records_of_another_thread(log):
    consumer = opened(log)
    waiting = Event()

    def wait() -> Polled:
        waiting.set()
        return consumer.poll(10, 60)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(wait)
        waiting.wait(10)
        log.feed("t", [b"x"])
        assert values(future.result(30)) == [b"x"]


def test_waiting_for_a_position_ends_with_its_transaction(log):
    a = opened(log)
    producer = started(log)
    producer.begin()
    producer.send_offsets({TP0: Committed(1, "m")}, a.membership(), 0)
    waiting = Event()

    def wait():
        waiting.set()
        return a.committed([TP0], 60)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(wait)
        waiting.wait(10)
        producer.commit(0)
        assert future.result(30) == {TP0: Committed(1, "m")}


def test_threads_carry_every_record_over_exactly_once():
    log = MemoryLog()
    log.create({"in": 6, "out": 3})
    records, batches = 3_000, 30
    stop = Event()

    def work(instance: str) -> None:
        consumer = log.consumer("g", instance, ["in"])
        producer = started(log, instance)
        positions: dict[TopicPartition, int] = {}
        while not stop.is_set():
            polled = consumer.poll(50, 0.02)
            for change in polled.changes:
                if isinstance(change, Assigned):
                    committed = consumer.committed(change.partitions, 10)
                    at = {name: c.offset if c else 0 for name, c in committed.items()}
                    consumer.open(at)
                    positions |= at
                else:
                    for name in change.partitions:
                        del positions[name]
            if not polled.messages:
                continue
            after = {TopicPartition("in", m.partition()): m.offset() + 1 for m in polled.messages}
            producer.begin()
            producer.produce(Output("out", values(polled)))
            offsets = {name: Committed(at, "") for name, at in after.items()}
            try:
                producer.send_offsets(offsets, consumer.membership(), 1)
            except AbortableError:
                producer.abort(1)
                consumer.open(positions)
                continue
            producer.commit(1)
            positions |= after
        consumer.close(leave=True)

    def feed() -> None:
        size = records // batches
        for n in range(batches):
            numbers = [b"%d" % i for i in range(n * size, (n + 1) * size)]
            log.feed("in", numbers, numbers)

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work, name) for name in "abc"]
        pool.submit(feed).result(30)
        sink = log.consumer("sink", "s", ["out"])
        seen: list[bytes | None] = []
        polls = 0
        while len(seen) < records and polls < 2_000 and not any(w.done() for w in workers):
            polls += 1
            polled = sink.poll(500, 0.05)
            for change in polled.changes:
                sink.open(dict.fromkeys(change.partitions, 0))
            seen += values(polled)
        stop.set()
        for worker in workers:
            worker.result(30)
    out = sorted(int(m.value() or b"-1") for m in log.read("out"))
    assert out == list(range(records))
    assert sorted(map(int, filter(None, seen))) == out


@given(
    st.lists(st.sets(st.sampled_from("xyz"), min_size=1), min_size=1, max_size=6),
    st.integers(0, 7),
)
def test_an_assignment_is_complete_and_disjoint_and_even(subscriptions, count):
    members = {
        f"m{n}": Member(f"m{n}", frozenset(topics), 0.0) for n, topics in enumerate(subscriptions)
    }
    assign(members, lambda _: count)
    given_out = [name for member in members.values() for name in member.target]
    wanted = {TopicPartition(topic, n) for topics in subscriptions for topic in topics
              for n in range(count)}  # fmt: skip
    assert len(given_out) == len(set(given_out))
    assert set(given_out) == wanted
    assert all(name.topic in m.topics for m in members.values() for name in m.target)
    if len({frozenset(topics) for topics in subscriptions}) == 1:
        loads = [len(member.target) for member in members.values()]
        assert max(loads) - min(loads) <= 1
    before = {name: set(member.target) for name, member in members.items()}
    assign(members, lambda _: count)
    assert {name: member.target for name, member in members.items()} == before


def test_a_store_that_is_down_says_so_and_one_that_lost_all_is_empty():
    store = MemoryStore()
    store.acquire({"t": Owner("a", "p", 1)})
    store.stage({"t": [Blob("k", b"abc", 1)]})
    store.damage("t", "k")
    assert store.load("t", ["k"]) == [b"acc"]
    store.down = True
    with pytest.raises(StoreError):
        store.ping()
    store.down = False
    store.lose()
    assert store.load("t", ["k"]) == [None]
    assert store.owners(["t"]) == {"t": None}
