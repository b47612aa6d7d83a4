"""One partition and the topics of the log in memory: exact offsets, also after retention."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from processor.clock import ManualClock
from processor.connectors.memory.broker import PartitionLog, Transaction
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.records import Columns, StoredMessage
from processor.errors import LogError
from processor.model.log import Assigned, Extent, Lost, Output, Revoked, TopicPartition

TP0, TP1 = TopicPartition("t", 0), TopicPartition("t", 1)


def columns(*values: bytes) -> Columns:
    return Columns(values, None, None, 0)


def seen(messages) -> list[tuple[int, bytes]]:
    return [(m.offset(), m.value()) for m in messages]


@pytest.fixture
def partition() -> PartitionLog:
    """Offsets 0 and 1, 2 to 4 aborted with the mark at 5, 6 to 9, an open transaction from 10."""
    made = PartitionLog(TP0)
    made.append(columns(b"0", b"1"), None)
    aborted, opened = Transaction(), Transaction()
    made.append(columns(b"2", b"3", b"4"), aborted)
    made.finish(aborted, commit=False)
    made.append(columns(b"6", b"7", b"8", b"9"), None)
    made.append(columns(b"10"), opened)
    made.append(columns(b"11"), None)
    return made


@pytest.mark.parametrize(
    ("start", "limit", "offsets", "onward"),
    [
        (0, 0, [], 0), (0, 1, [0], 1), (0, 2, [0, 1], 2), (0, 3, [0, 1, 6], 7),
        (0, 5, [0, 1, 6, 7, 8], 9), (0, 99, [0, 1, 6, 7, 8, 9], 10), (2, 1, [6], 7),
        (5, 4, [6, 7, 8, 9], 10), (9, 5, [9], 10), (10, 5, [], 10), (11, 5, [], 11),
    ],
)  # fmt: skip
def test_a_reading_gives_so_many_committed_records_below_the_stable_end(
    partition, start, limit, offsets, onward
):
    for low in (0, min(start, 1), start):
        partition.trim(low)
        records, position = partition.read(start, limit)
        assert (seen(records), position) == ([(at, b"%d" % at) for at in offsets], onward)


def everything(partition: PartitionLog, start: int, end: int) -> list[StoredMessage]:
    records, _ = partition.read(max(start, partition.low), end - start, committed=False)
    return [record for record in records if record.offset() < end]


@pytest.mark.parametrize("low", [0, 3, 4, 6, 9])
def test_everything_has_the_aborted_and_the_open_too_but_nothing_that_retention_took(
    partition, low
):
    partition.trim(low)
    every = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    for start, end in ((0, 99), (2, 11), (3, 5), (7, 7), (5, 6)):
        wanted = [(at, b"%d" % at) for at in every if max(low, start) <= at < end]
        assert seen(everything(partition, start, end)) == wanted
    assert (partition.low, partition.stable, partition.end) == (low, 10, 12)


def test_retention_goes_neither_back_nor_beyond_the_end(partition):
    partition.trim(7)
    partition.trim(3)
    assert partition.low == 7
    assert seen(everything(partition, 0, 99))[0] == (7, b"7")
    partition.trim(99)
    assert (partition.low, partition.end) == (12, 12)
    partition.append(columns(b"12"), None)
    assert seen(everything(partition, 0, 99)) == [(12, b"12")]


def test_a_transaction_that_retention_overtook_is_aborted_from_there():
    partition = PartitionLog(TP0)
    work = Transaction()
    partition.append(columns(b"0", b"1", b"2"), work)
    partition.append(columns(b"3"), None)
    partition.append(columns(b"4"), work)
    partition.trim(1)
    partition.finish(work, commit=False)
    records, position = partition.read(1, 9)
    assert (seen(records), position) == ([(3, b"3")], 6)
    assert seen(everything(partition, 0, 9)) == [(at, b"%d" % at) for at in range(1, 5)]
    assert partition.stable == 6


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(ManualClock(1_000))
    log.create({"t": 2})
    return log


def test_a_topic_has_the_partitions_from_nought_and_no_others(log):
    for wrong in (-1, 2):
        with pytest.raises(LogError, match="there is no partition"):
            log.feed("t", [b"x"], partition=wrong)
    log.feed("t", [b"x"], partition=1)
    assert log.describe(["t", "none"])["t"].extents == {0: Extent(0, 0), 1: Extent(0, 1)}
    log.create({"one": 1})
    log.create({"one": 5})
    assert set(log.describe(["one"])["one"].extents) == {0}


def test_records_without_a_key_go_to_the_partitions_in_turn_and_stay_together(log):
    for _ in range(4):
        log.feed("t", [b"a", b"b"])
    log.feed("t", [])
    assert log.describe(["t"])["t"].extents == {0: Extent(0, 4), 1: Extent(0, 4)}
    with pytest.raises(LogError, match="no topic"):
        log.feed("none", [])


def test_topics_made_anew_have_another_identity_and_the_others_keep_theirs(log):
    log.create({"u": 1})
    before = log.identity("t"), log.identity("u"), log.identity("none")
    log.make_anew("t")
    assert log.identity("t")() != before[0]()
    assert log.identity("u")() == before[1]()
    assert set(log.describe(["t"])["t"].extents) == {0, 1}


@pytest.mark.parametrize("how", ["created", "fed", "fed to a partition", "committed", "left"])
def test_a_poll_that_waits_is_woken_by_whatever_brings_it_something(log, how):
    other = log.consumer("g", "a", ["late" if how == "created" else "t"])
    other.poll(0, 0)
    consumer = log.consumer("g", "b", ["late" if how == "created" else "t"])
    if how != "left":
        other.close(leave=True)
        for change in consumer.poll(0, 0).changes:
            consumer.open(dict.fromkeys(change.partitions, 0))
    producer = log.producer("p")
    producer.start(0)
    producer.begin()
    producer.produce(Output("t", [b"x"]))
    waiting = Event()
    condition, wait_for = log._broker.changed, log._broker.changed.wait_for

    def watched(*args):
        waiting.set()
        return wait_for(*args)

    condition.wait_for = watched
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(consumer.poll, 10, 600)
        assert waiting.wait(10)
        {
            "created": lambda: log.create({"late": 1}),
            "fed": lambda: log.feed("t", [b"x"]),
            "fed to a partition": lambda: log.feed("t", [b"x"], partition=0),
            "committed": lambda: producer.commit(0),
            "left": lambda: other.close(leave=True),
        }[how]()
        try:
            polled = future.result(10)
        finally:
            with condition:  # who was not woken ends too
                condition.notify_all()
    if how in ("created", "left"):
        wanted = {TopicPartition("late", 0)} if how == "created" else {TP0, TP1}
        assert polled.changes == [Assigned(frozenset(wanted))]
    else:
        assert [message.value() for message in polled.messages] == [b"x"]


@pytest.mark.parametrize(
    "how", ["joined", "came back", "gave back", "evicted", "expired", "trimmed"]
)
def test_a_member_that_waits_is_woken_by_what_others_do_in_the_group(log, how):
    a, other = log.consumer("g", "a", ["t"]), None
    a.poll(0, 0)
    if how == "came back":
        other = log.consumer("g", "b", ["t"])
        a.poll(0, 0)
        log.evict("b")
        other.poll(0, 0)
        a.poll(0, 0)
    waits = a
    if how == "trimmed":
        log.feed("t", [b"x"], partition=0)
        a.open({TP0: 1})
        producer = log.producer("p")
        producer.start(0)
        producer.begin()
        producer.produce(Output("t", [b"x"] * 2, partition=0))
    if how == "gave back":
        waits = log.consumer("g", "b", ["t"])
    waiting = Event()
    condition, wait_for = log._broker.changed, log._broker.changed.wait_for

    def watched(*args):
        waiting.set()
        return wait_for(*args)

    condition.wait_for = watched
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(waits.poll, 10, 600)
        assert waiting.wait(10)
        {
            "joined": lambda: log.consumer("g", "b", ["t"]),
            "came back": lambda: other.poll(0, 0),
            "gave back": lambda: a.poll(0, 0),
            "evicted": lambda: log.evict("a"),
            "expired": lambda: (log._broker.clock.advance(99), log.expire_sessions()),
            "trimmed": lambda: log.trim(TP0, 3),
        }[how]()
        try:
            if how == "trimmed":
                with pytest.raises(LogError, match="out of range"):
                    future.result(10)
                return
            (change,) = future.result(10).changes
        finally:
            with condition:  # who was not woken ends too
                condition.notify_all()
    kind, taken = {
        "gave back": (Assigned, {TP1}),
        "evicted": (Lost, {TP0, TP1}),
        "expired": (Lost, {TP0, TP1}),
    }.get(how, (Revoked, {TP1}))
    assert change == kind(frozenset(taken))


def test_an_epoch_that_is_taken_over_aborts_what_was_open_once(log):
    first, second = log.producer("p"), log.producer("p")
    first.start(0)
    first.begin()
    first.produce(Output("t", [b"x"], [b"k"]))
    second.start(0)
    assert log.read("t") == []
    second.start(0)
    assert sum(extent.high for extent in log.describe(["t"])["t"].extents.values()) == 2
    second.begin()
    with pytest.raises(LogError, match="open already"):
        second.begin()
    second.commit(0)
    with pytest.raises(LogError, match="no transaction is open"):
        second.commit(0)
