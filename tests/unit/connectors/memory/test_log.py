"""What the in-memory log tells from outside of groups, exactly, and its hooks for tests."""

from __future__ import annotations

import pytest

from processor.clock import ManualClock, SystemClock
from processor.connectors.memory import log as module
from processor.connectors.memory.log import MemoryLog
from processor.errors import FencedError, LogError, RetriableError
from processor.model.log import Committed, Extent, Output, TopicPartition, View

TP0, TP1 = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(ManualClock(1_000), session_timeout_s=10.0)
    log.create({"t": 2, "u": 1})
    return log


def producing(log, name="p"):
    producer = log.producer(name)
    producer.start(0)
    producer.begin()
    return producer


def seen(messages):
    return [(m.partition(), m.offset(), m.value()) for m in messages]


def test_a_look_tells_the_ends_with_and_without_what_is_open_and_what_is_gone(log):
    log.feed("t", [b"x"] * 2, partition=0)
    producing(log).produce(Output("t", [b"x"] * 3, partition=0))
    asked = [TP0, TopicPartition("t", 2), TopicPartition("none", 0), TopicPartition("u", 0)]
    assert log.look(["t", "none"], asked, 0) == View(
        {"t": 2}, frozenset({"none"}),
        stable={TP0: 2, TopicPartition("u", 0): 0}, tops={TP0: 5, TopicPartition("u", 0): 0},
    )  # fmt: skip
    assert log.describe(["u", "t"])["t"].extents == {0: Extent(0, 2), 1: Extent(0, 0)}


def test_what_looks_compacted_is_what_a_test_says(log):
    assert log.compacted(["t", "u"]) == frozenset()
    log.compacting |= {"t", "other"}
    assert log.compacted(["t", "u"]) == {"t"}


def test_how_long_a_topic_is_kept_is_what_a_test_says(log):
    assert log.kept_ms("t") is None
    log.keeping_ms["t"] = 5
    assert (log.kept_ms("t"), log.kept_ms("u")) == (5, None)


def test_the_identity_of_a_topic_is_that_of_the_asking(log):
    t, none = log.identity("t"), log.identity("none")
    log.make_anew("t")
    log.create({"none": 1})
    assert t() == t() != log.identity("t")()
    with pytest.raises(RetriableError):
        none()


def test_who_is_in_a_group_and_what_they_have(log):
    assert (log.members("g"), log.held("g", 0)) == (frozenset(), frozenset())
    a, b = log.consumer("g", "a", ["t"]), log.consumer("g", "b", ["u"])
    assert (log.members("g"), log.held("g", 0)) == ({"a", "b"}, frozenset())
    a.poll(0, 0)
    b.poll(0, 0)
    assert log.held("g", 0) == {TP0, TP1, TopicPartition("u", 0)}


def test_positions_are_told_by_topic_and_not_while_one_is_held_open(log):
    u0 = TopicPartition("u", 0)
    log.reset("g", {TP0: Committed(1, "a"), u0: Committed(2, "b")})
    assert log.committed("g", "t") == {TP0: Committed(1, "a")}
    assert log.committed("g", "u") == {u0: Committed(2, "b")}
    assert log.committed("g", "none") == log.committed("other", "t") == {}
    a = log.consumer("g", "a", ["t"])
    a.poll(0, 0)
    with pytest.raises(FencedError, match="has 1 members"):
        log.reset("g", {TP0: Committed(9, "")})
    producer = producing(log)
    producer.send_offsets({TP1: Committed(3, "c")}, a.membership(), 0)
    with pytest.raises(RetriableError, match="holds a position"):
        log.committed("g", "t")
    assert log.committed("g", "t", stable=False) == {TP0: Committed(1, "a")}
    assert log.committed("g", "u") == {u0: Committed(2, "b")}
    producer.commit(0)
    assert log.committed("g", "t") == {TP0: Committed(1, "a"), TP1: Committed(3, "c")}


@pytest.mark.parametrize("size", [1, 2, 3, 99])
def test_a_scan_gives_every_record_of_its_range_once_in_pieces(log, monkeypatch, size):
    monkeypatch.setattr(module, "_SCANNED", size)
    log.feed("t", [b"0", b"1"], partition=0)
    producer = producing(log)
    producer.produce(Output("t", [b"2"], partition=0))
    producer.abort(0)
    log.feed("t", [b"4", b"5", b"6"], partition=0)
    for committed, offsets in ((True, [0, 1, 4, 5, 6]), (False, [0, 1, 2, 4, 5, 6])):
        for start, end in ((0, 99), (0, 5), (1, 6), (2, 4), (5, 5)):
            pieces = list(log.scan(TP0, start, end, committed=committed))
            wanted = [(0, at, b"%d" % at) for at in offsets if start <= at < end]
            assert seen([message for piece in pieces for message in piece]) == wanted
            assert [len(p) for p in pieces[:-1]] == [size] * (len(pieces) - 1)
            assert all(pieces)
    log.trim(TP0, 1)
    assert seen(next(log.scan(TP0, 1, 2))) == [(0, 1, b"1")]
    with pytest.raises(LogError, match="offset 0 is before its first, 1"):
        next(log.scan(TP0, 0, 2))


def test_reading_a_topic_gives_all_that_is_committed_by_partition(log):
    log.feed("t", [b"a", b"b"], partition=1, timestamps_ms=[7, 8])
    log.feed("t", [b"c"], partition=0, headers=[[("h", b"1")]])
    producing(log).produce(Output("t", [b"d"], partition=1))
    found = log.read("t")
    assert seen(found) == [(0, 0, b"c"), (1, 0, b"a"), (1, 1, b"b")]
    assert [m.timestamp() for m in found] == [(1, 1_000), (1, 7), (1, 8)]
    log.trim(TP1, 1)
    assert seen(log.read("t")) == [(0, 0, b"c"), (1, 1, b"b")]
    with pytest.raises(LogError, match="a column of 1 goes with 2 values"):
        log.feed("t", [b"x", b"y"], partition=0, timestamps_ms=[1])
    with pytest.raises(LogError):
        log.read("none")


def test_sessions_end_by_the_clock_to_the_second(log):
    a, b = log.consumer("g", "a", ["t"]), log.consumer("h", "b", ["t"])
    clock = log._broker.clock
    clock.advance(4)
    b.poll(0, 0)
    clock.advance(5.5)
    log.expire_sessions()
    assert (log.members("g"), log.members("h")) == ({"a"}, {"b"})
    clock.advance(0.5)
    log.expire_sessions()
    assert (log.members("g"), log.members("h")) == (frozenset(), {"b"})
    log.evict("b")
    assert log.members("h") == frozenset()
    assert a.poll(0, 0).changes == []


def test_a_log_has_the_clock_of_the_system_unless_it_is_given_one():
    assert isinstance(MemoryLog()._broker.clock, SystemClock)


def test_transactions_time_out_by_name_or_all_and_only_those_that_are_open(log):
    one, two, done = producing(log, "one"), producing(log, "two"), producing(log, "done")
    done.commit(0)
    log.expire("two")
    one.flush(0)
    with pytest.raises(FencedError):
        two.flush(0)
    log.expire()
    with pytest.raises(FencedError):
        one.flush(0)
    done.flush(0)
