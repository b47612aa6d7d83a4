"""What a log promises to who reads a range of a partition from outside any group."""

from __future__ import annotations

import pytest

from processor.errors import LogError
from processor.model.log import Output, TopicPartition
from tests.contract.drive import WAIT_S, Bench, numbered, unique, until


def scanned(bench: Bench, topic: str, start: int, end: int, *, committed: bool = True) -> list[int]:
    runs = bench.log.scan(TopicPartition(topic, 0), start, end, committed=committed)
    return [int(message.value()) for run in runs for message in run]


def transaction(bench: Bench, topic: str, values: list[bytes], end: str) -> None:
    producer = bench.producer()
    producer.begin()
    producer.produce(Output(topic, values))
    producer.flush(WAIT_S)
    if end != "open":
        getattr(producer, end)(WAIT_S)


def test_a_scan_gives_exactly_the_range_it_was_asked_for(bench: Bench):
    topic = bench.topic()
    bench.feed(topic, numbered(0, 100))
    assert scanned(bench, topic, 0, 100) == [*range(100)]
    assert scanned(bench, topic, 20, 30) == [*range(20, 30)]
    assert scanned(bench, topic, 99, 100) == [99]
    assert scanned(bench, topic, 30, 30) == []


def test_a_scan_ends_where_the_partition_ends(bench: Bench):
    topic = bench.topic()
    assert scanned(bench, topic, 0, 50) == []
    bench.feed(topic, numbered(0, 10))
    assert scanned(bench, topic, 5, 1_000) == [*range(5, 10)]


def test_a_scan_passes_the_marks_of_transactions_wherever_they_stand(bench: Bench):
    topic = bench.topic()
    transaction(bench, topic, numbered(0, 2), "commit")
    transaction(bench, topic, numbered(2, 4), "abort")
    transaction(bench, topic, numbered(4, 6), "commit")
    until(lambda: scanned(bench, topic, 0, 100) == [0, 1, 4, 5], "all is committed")
    runs = bench.log.scan(TopicPartition(topic, 0), 0, 100)
    offsets = [message.offset() for run in runs for message in run]
    # Six records and the marks of three transactions, the last mark behind everything.
    until(lambda: bench.log.describe([topic])[topic].extents[0].high == 9, "the last mark")
    for end in range(10):
        values = [0, 1, 4, 5][: sum(offset < end for offset in offsets)]
        assert scanned(bench, topic, 0, end) == values
    assert scanned(bench, topic, 8, 9) == []


def test_uncommitted_shows_what_is_aborted_and_what_is_open(bench: Bench):
    topic = bench.topic()
    transaction(bench, topic, numbered(0, 2), "abort")
    transaction(bench, topic, numbered(2, 4), "open")
    bench.feed(topic, numbered(4, 6))  # behind the open transaction
    assert scanned(bench, topic, 0, 100) == []
    assert scanned(bench, topic, 0, 100, committed=False) == [*range(6)]
    assert scanned(bench, topic, 1, 2, committed=False) == [1]


def test_a_scan_given_up_halfway_leaves_nothing_behind(bench: Bench):
    topic = bench.topic()
    bench.feed(topic, numbered(0, 10))
    runs = bench.log.scan(TopicPartition(topic, 0), 0, 10)
    next(runs)
    runs.close()
    assert scanned(bench, topic, 0, 10) == [*range(10)]


def test_a_scan_of_what_is_not_there_is_refused(bench: Bench):
    with pytest.raises(LogError):
        list(bench.log.scan(TopicPartition(unique("nowhere"), 0), 0, 1))


def test_what_is_trimmed_is_gone_and_trimming_again_is_no_error(bench: Bench):
    topic = bench.topic()
    bench.feed(topic, numbered(0, 10))
    for low in (4, 4, 2):
        bench.log.trim(TopicPartition(topic, 0), low)
        assert bench.log.describe([topic])[topic].extents[0].low == 4
    assert scanned(bench, topic, 4, 10) == [*range(4, 10)]
    with pytest.raises(LogError, match="4"):
        scanned(bench, topic, 3, 10)


def test_an_output_may_say_its_partition(bench: Bench):
    topic = unique("kept")
    bench.log.create({topic: 3}, forever=True)
    until(lambda: topic in bench.log.describe([topic]), "the topic is there")
    producer = bench.producer()
    producer.begin()
    producer.produce(Output(topic, [b"1", b"2"], [b"a", b"b"], partition=2))
    producer.produce(Output(topic, [b"3"], partition=0))
    producer.commit(WAIT_S)
    until(lambda: bench.log.describe([topic])[topic].extents[0].high == 2, "all is committed")
    assert scanned(bench, topic, 0, 10) == [3]
    runs = bench.log.scan(TopicPartition(topic, 2), 0, 10)
    assert [message.value() for run in runs for message in run] == [b"1", b"2"]
