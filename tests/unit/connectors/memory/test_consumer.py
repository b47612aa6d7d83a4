"""A member of the in-memory log, poll by poll: exact positions, ends, standings and refusals."""

from __future__ import annotations

import pytest

from processor.clock import ManualClock
from processor.connectors.memory.group import MemberToken
from processor.connectors.memory.log import MemoryLog
from processor.errors import (
    AbortableError,
    FencedError,
    IdentityTakenError,
    LogError,
    RetriableError,
)
from processor.model.log import (
    Assigned,
    Committed,
    Extent,
    Lost,
    Membership,
    Output,
    Revoked,
    TopicPartition,
)

TP0, TP1, TP2 = (TopicPartition("t", number) for number in range(3))


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(ManualClock(1_000), session_timeout_s=10.0)
    log.create({"t": 3})
    return log


def opened(log, instance="a", at=0):
    consumer = log.consumer("g", instance, ["t"])
    consumer.poll(0, 0)
    consumer.open({TP0: at, TP1: at, TP2: at})
    return consumer


def seen(polled):
    return [(m.partition(), m.offset()) for m in polled.messages]


def test_a_poll_begins_behind_the_partition_that_gave_last_and_tells_the_ends(log):
    consumer = opened(log)
    log.feed("t", [b"x"] * 4, partition=0)
    log.feed("t", [b"x"] * 2, partition=1)
    first = consumer.poll(3, 0)
    assert (seen(first), first.ends) == ([(0, 0), (0, 1), (0, 2)], {TP2: 0})
    second = consumer.poll(2, 0)
    assert (seen(second), second.ends) == ([(1, 0), (1, 1)], {TP1: 2, TP2: 0})
    third = consumer.poll(9, 0)
    assert (seen(third), third.ends) == ([(0, 3)], {TP0: 4, TP1: 2, TP2: 0})
    fourth = consumer.poll(9, 0)
    assert (seen(fourth), fourth.ends) == ([], {TP0: 4, TP1: 2, TP2: 0})
    consumer.open({TP0: 3, TP1: 0})
    assert seen(consumer.poll(9, 0)) == [(0, 3), (1, 0), (1, 1)]
    consumer.shut([TP0])
    consumer.open({TP1: 1})
    fifth = consumer.poll(9, 0)
    assert (seen(fifth), fifth.ends) == ([(1, 1)], {TP1: 2, TP2: 0})
    consumer.open({TP1: 0})
    assert seen(consumer.poll(0, 0)) == []
    assert seen(consumer.poll(1, 0)) == [(1, 0)]


def test_every_partition_has_its_turn_and_a_poll_that_gave_nothing_takes_none(log):
    consumer = opened(log)
    for _ in range(2):
        assert seen(consumer.poll(9, 0)) == []
    for number in range(3):
        log.feed("t", [b"x"] * 6, partition=number)
    assert [seen(consumer.poll(1, 0))[0] for _ in range(9)] == [
        (number, offset) for offset in range(3) for number in range(3)
    ]
    assert seen(consumer.poll(4, 0)) == [(0, 3), (0, 4), (0, 5), (1, 3)]
    assert seen(consumer.poll(4, 0)) == [(2, 3), (2, 4), (2, 5), (1, 4)]
    assert sorted(consumer._turn) == [TP0, TP1, TP2]


def test_a_poll_waits_as_long_as_it_may_and_not_where_it_may_not(log, monkeypatch):
    consumer, waits = opened(log), []
    monkeypatch.setattr(log._broker.changed, "wait_for", lambda _, limit_s: waits.append(limit_s))
    for limit_s in (0, -1, 0.001, 0.5, 7):
        consumer.poll(1, limit_s)
    assert waits == [0.001, 0.5, 7]
    producer = log.producer("p")
    producer.start(0)
    producer.begin()
    producer.send_offsets({TP0: Committed(1, "")}, consumer.membership(), 0)
    waits.clear()
    for limit_s in (0, -1, 0.5):
        with pytest.raises(RetriableError):
            consumer.committed([TP0], limit_s)
    assert waits == [0, 0, 0.5]


def test_ends_are_those_of_committed_records_with_the_marks(log):
    consumer, producer = opened(log), log.producer("p")
    producer.start(0)
    producer.begin()
    producer.produce(Output("t", [b"x"] * 2, partition=0))
    assert consumer.poll(9, 0).ends == {TP0: 0, TP1: 0, TP2: 0}
    assert consumer.lag({TP0: 0, TP1: 5}) == {TP0: 0, TP1: 0}
    producer.abort(0)
    polled = consumer.poll(9, 0)
    assert (seen(polled), polled.ends) == ([], {TP0: 3, TP1: 0, TP2: 0})
    assert consumer.lag({TP0: 1, TP1: 5}) == {TP0: 2, TP1: 0}
    assert consumer.extent(TP0, 0) == Extent(0, 3)


@pytest.mark.parametrize(("at", "right"), [(1, False), (2, True), (3, True), (4, False)])
def test_a_position_may_be_anywhere_from_the_first_record_to_the_end(log, at, right):
    consumer = opened(log)
    log.feed("t", [b"x"] * 3, partition=1)
    log.trim(TP1, 2)
    consumer.open({TP1: at})
    if right:
        assert seen(consumer.poll(9, 0)) == [(1, offset) for offset in range(at, 3)]
    else:
        with pytest.raises(LogError, match=f"offset {at} of .* is out of range"):
            consumer.poll(9, 0)


def test_standings_follow_the_group_and_carry_its_token(log):
    a = log.consumer("g", "a", ["t"])
    outside = Membership(-1, frozenset(), MemberToken("g", "", 0))
    assert a.membership() == outside
    assert a.poll_interval_s == float("inf")
    a.poll(0, 0)
    assert a.membership() == Membership(
        1, frozenset({TP0, TP1, TP2}), MemberToken("g", "a", a._member.id)
    )
    before = a.membership()
    a.poll(0, 0)
    assert a.membership() is before
    b = log.consumer("g", "b", ["t"])
    assert a.membership() is before
    b.poll(0, 0)
    assert b.membership() == Membership(2, frozenset(), MemberToken("g", "b", b._member.id))
    assert a.poll(0, 0).changes == [Revoked(frozenset({TP2}))]
    assert a.membership() == Membership(
        3, frozenset({TP0, TP1}), MemberToken("g", "a", a._member.id)
    )
    assert b.poll(0, 0).changes == [Assigned(frozenset({TP2}))]
    assert (b.membership().generation, b.membership().partitions) == (3, {TP2})


def test_what_is_taken_away_is_read_no_more_and_its_end_is_not_told(log):
    a = opened(log)
    log.feed("t", [b"x"], partition=2)
    b = log.consumer("g", "b", ["t"])
    polled = a.poll(9, 0)
    assert (seen(polled), polled.ends) == ([], {TP0: 0, TP1: 0})
    with pytest.raises(LogError, match="not assigned"):
        a.open({TP2: 0, TP0: 0})
    b.close(leave=True)
    assert a.poll(9, 0).changes == [Assigned(frozenset({TP2}))]
    assert seen(a.poll(9, 0)) == []  # only when it is opened again
    a.open({TP2: 0})
    assert seen(a.poll(9, 0)) == [(2, 0)]


def test_who_was_thrown_out_tells_it_once_and_joins_with_the_poll_after(log):
    a = opened(log)
    log.feed("t", [b"x"], partition=0)
    log.evict("a")
    polled = a.poll(9, 0)
    assert (polled.changes, seen(polled), polled.ends) == (
        [Lost(frozenset({TP0, TP1, TP2}))], [], {}
    )  # fmt: skip
    assert a.membership() == Membership(-1, frozenset(), MemberToken("g", "", 0))
    assert log.members("g") == frozenset()
    with pytest.raises(FencedError, match="in no group"):
        a.commit({}, 0)
    log._broker.clock.advance(5)
    assert a.poll(9, 0).changes == [Assigned(frozenset({TP0, TP1, TP2}))]
    assert log.members("g") == {"a"}
    assert a.poll(9, 0).changes == []
    assert a._member.seen_s == log._broker.clock.monotonic_s()
    a.commit({TP0: Committed(1, "m")}, 0)
    assert a.committed([TP0, TP1], 0) == {TP0: Committed(1, "m"), TP1: None}
    log.evict("a")
    a.poll(0, 0)
    log.consumer("g", "a", ["t"])
    with pytest.raises(IdentityTakenError):
        a.poll(0, 0)


def test_who_owned_nothing_has_nothing_to_lose(log):
    a, b = log.consumer("g", "a", ["none"]), opened(log, "b")
    a.poll(0, 0)
    log.evict("a")
    assert a.poll(0, 0).changes == []
    assert a.membership().generation == -1
    a.poll(0, 0)
    assert a.membership().generation > 0
    assert b.membership().partitions == {TP0, TP1, TP2}


def test_a_commit_outside_a_transaction_is_of_a_current_owner_only(log):
    a = opened(log)
    a.commit({TP0: Committed(4, "m"), TP1: Committed(5, "")}, 0)
    assert log.committed("g", "t") == {TP0: Committed(4, "m"), TP1: Committed(5, "")}
    with pytest.raises(FencedError, match="not assigned"):
        a.commit({TP0: Committed(9, ""), TopicPartition("t", 3): Committed(9, "")}, 0)
    b = log.consumer("g", "b", ["t"])
    with pytest.raises(FencedError, match="the generation is 2, not 1"):
        a.commit({TP0: Committed(9, "")}, 0)
    with pytest.raises(FencedError, match="in no group"):
        b.commit({}, 0)
    assert log.committed("g", "t") == {TP0: Committed(4, "m"), TP1: Committed(5, "")}


def test_a_position_that_is_held_open_is_told_of_at_once_without_a_limit(log):
    a, producer = opened(log), log.producer("p")
    producer.start(0)
    producer.begin()
    producer.send_offsets({TP1: Committed(7, "")}, a.membership(), 0)
    for timeout_s in (0, -1, 0.01):
        with pytest.raises(RetriableError, match="holds the position"):
            a.committed([TP0, TP1], timeout_s)
    assert a.committed([TP0], 0) == {TP0: None}
    producer.abort(0)
    assert a.committed([TP1], 0) == {TP1: None}


def test_a_closed_member_answers_nothing_and_leaves_only_if_it_is_to(log):
    a = opened(log)
    a.close(leave=False)
    for ask in (
        lambda: a.poll(0, 0), lambda: a.committed([TP0], 0), lambda: a.commit({}, 0)
    ):  # fmt: skip
        with pytest.raises(LogError, match="the consumer is closed"):
            ask()
    a.close(leave=True)
    assert log.members("g") == {"a"}
    b = opened(log)
    log.consumer("g", "a", ["t"])
    b.close(leave=True)
    assert log.members("g") == {"a"}  # the later holder of the identity stays


def test_offsets_go_with_their_transaction_to_the_group_of_the_token(log):
    a, producer = opened(log), log.producer("p")
    producer.start(0)
    with pytest.raises(LogError, match="no transaction is open"):
        producer.send_offsets({}, a.membership(), 0)
    producer.begin()
    with pytest.raises(AbortableError, match="not of this log"):
        producer.send_offsets({}, Membership(1, frozenset(), None), 0)
    producer.send_offsets({TP0: Committed(1, "")}, a.membership(), 0)
    producer.send_offsets({TP1: Committed(2, "")}, a.membership(), 0)
    producer.produce(Output("t", [b"x"], partition=2))
    assert log.committed("g", "t", stable=False) == {}
    producer.commit(0)
    assert log.committed("g", "t") == {TP0: Committed(1, ""), TP1: Committed(2, "")}
    producer.begin()
    producer.commit(0)
    producer.flush(0)
    producer.close()
    for ask in (
        lambda: producer.start(0), lambda: producer.flush(0), producer.begin,
        lambda: producer.produce(Output("t", [b"x"])), lambda: producer.abort(0),
    ):  # fmt: skip
        with pytest.raises(LogError, match="the producer is closed"):
            ask()


def test_a_producer_without_an_identity_publishes_at_once_and_has_no_transactions(log):
    producer = log.producer(None)
    producer.start(0)
    producer.flush(0)
    producer.produce(Output("t", [b"x"], partition=1))
    assert [(m.partition(), m.value()) for m in log.read("t")] == [(1, b"x")]
    for ask in (producer.begin, lambda: producer.commit(0), lambda: producer.abort(0)):
        with pytest.raises(LogError, match="not started with a transactional id"):
            ask()
    producer.close()
    for ask in (
        lambda: producer.start(0), lambda: producer.flush(0),
        lambda: producer.produce(Output("t", [b"x"])),
    ):  # fmt: skip
        with pytest.raises(LogError, match="the producer is closed"):
            ask()
    unstarted = log.producer("p")
    for ask in (lambda: unstarted.flush(0), unstarted.begin, lambda: unstarted.commit(0)):
        with pytest.raises(LogError, match="not started with a transactional id"):
            ask()
    older, newer = log.producer("p"), log.producer("p")
    older.start(0)
    newer.start(0)
    for ask in (lambda: older.flush(0), older.begin):
        with pytest.raises(FencedError):
            ask()
    newer.begin()
    newer.abort(0)
