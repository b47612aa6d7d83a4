"""What a log promises of transactions: all or nothing, fencing, and offsets with their metadata."""

from __future__ import annotations

import pytest

from processor.errors import AbortableError, FencedError, LogError, RetriableError
from processor.model.log import Committed, Output, TopicPartition
from tests.contract.drive import WAIT_S, Bench, numbered, settle, unique


def test_a_commit_makes_all_records_visible(bench: Bench):
    topic = bench.topic(2)
    reader = bench.reader(topic).own(2)
    producer = bench.producer()
    producer.begin()
    producer.produce(Output(topic, numbered(0, 10), [b"%d" % n for n in range(10)]))
    producer.produce(Output(topic, numbered(10, 20), [b"%d" % n for n in range(10)]))
    producer.flush(WAIT_S)
    reader.quiet()
    producer.commit(WAIT_S)
    assert sorted(map(int, reader.read(20))) == list(range(20))


def test_an_abort_shows_nothing_and_reading_goes_past_it(bench: Bench):
    topic = bench.topic()
    producer = bench.producer()
    producer.begin()
    producer.produce(Output(topic, [b"never"] * 5))
    producer.flush(WAIT_S)
    producer.abort(WAIT_S)
    producer.begin()
    producer.produce(Output(topic, [b"shown"]))
    producer.commit(WAIT_S)
    reader = bench.reader(topic)
    assert reader.read(1) == [b"shown"]
    assert reader.messages[0].offset() == 6  # five aborted records and the marker of their end


def test_the_end_of_a_transaction_takes_an_offset(bench: Bench):
    topic = bench.topic()
    producer = bench.producer()
    for value in (b"a", b"b"):
        producer.begin()
        producer.produce(Output(topic, [value]))
        producer.commit(WAIT_S)
    reader = bench.reader(topic)
    assert reader.read(2) == [b"a", b"b"]
    assert [m.offset() for m in reader.messages] == [0, 2]


def test_an_empty_transaction_may_be_committed_and_aborted(bench: Bench):
    topic = bench.topic()
    producer = bench.producer()
    producer.begin()
    producer.commit(WAIT_S)
    producer.begin()
    producer.abort(WAIT_S)
    producer.begin()
    producer.produce(Output(topic, [b"x"]))
    producer.commit(WAIT_S)
    assert bench.reader(topic).read(1) == [b"x"]


def test_an_open_transaction_holds_back_later_committed_records(bench: Bench):
    topic = bench.topic()
    producer = bench.producer()
    producer.begin()
    producer.produce(Output(topic, [b"first"]))
    producer.flush(WAIT_S)
    bench.feed(topic, [b"second"])
    reader = bench.reader(topic).own(1)
    assert reader.consumer.extent(TopicPartition(topic, 0), WAIT_S).high == 0
    reader.quiet()
    producer.commit(WAIT_S)
    assert reader.read(2) == [b"first", b"second"]


def test_a_new_producer_of_the_identity_fences_the_older_and_aborts_its_transaction(bench: Bench):
    topic = bench.topic()
    identity = unique("identity")
    older = bench.producer(identity)
    older.begin()
    older.produce(Output(topic, [b"zombie"]))
    older.flush(WAIT_S)
    newer = bench.producer(identity)
    with pytest.raises(FencedError):
        older.commit(WAIT_S)
    newer.begin()
    newer.produce(Output(topic, [b"alive"]))
    newer.commit(WAIT_S)
    assert bench.reader(topic).read(1) == [b"alive"]


def test_a_fenced_producer_cannot_publish_any_more(bench: Bench):
    topic = bench.topic()
    identity = unique("identity")
    older = bench.producer(identity)
    newer = bench.producer(identity)
    with pytest.raises(FencedError):
        _publish(older, topic, b"zombie")
    _publish(newer, topic, b"alive")
    assert bench.reader(topic).read(1) == [b"alive"]


def _publish(producer, topic: str, value: bytes) -> None:
    producer.begin()
    producer.produce(Output(topic, [value]))
    producer.flush(WAIT_S)
    producer.commit(WAIT_S)


def test_offsets_and_records_commit_at_one_point(bench: Bench):
    source, sink = bench.topic(), bench.topic()
    bench.feed(source, numbered(0, 5))
    reader = bench.reader(source)
    reader.read(5)
    name = TopicPartition(source, 0)
    producer = bench.producer()
    producer.begin()
    producer.produce(Output(sink, [b"out"]))
    producer.flush(WAIT_S)
    producer.send_offsets({name: Committed(5, "m")}, reader.consumer.membership(), WAIT_S)
    producer.commit(WAIT_S)
    assert reader.consumer.committed([name], WAIT_S) == {name: Committed(5, "m")}
    assert bench.log.committed(bench.group, source) == {name: Committed(5, "m")}
    group, bench.group = bench.group, unique("other")
    assert group != bench.group
    assert bench.reader(sink).read(1) == [b"out"]


def test_aborted_offsets_are_not_committed(bench: Bench):
    source = bench.topic()
    reader = bench.reader(source).own(1)
    name = TopicPartition(source, 0)
    reader.consumer.commit({name: Committed(0, "before")}, WAIT_S)
    producer = bench.producer()
    producer.begin()
    producer.send_offsets({name: Committed(0, "aborted")}, reader.consumer.membership(), WAIT_S)
    producer.abort(WAIT_S)
    assert reader.consumer.committed([name], WAIT_S) == {name: Committed(0, "before")}


def test_committed_does_not_answer_while_a_transaction_holds_the_position(bench: Bench):
    source = bench.topic()
    reader = bench.reader(source).own(1)
    name = TopicPartition(source, 0)
    producer = bench.producer()
    producer.begin()
    producer.send_offsets({name: Committed(0, "pending")}, reader.consumer.membership(), WAIT_S)
    with pytest.raises(RetriableError):
        reader.consumer.committed([name], 0.5)
    producer.commit(WAIT_S)
    assert reader.consumer.committed([name], WAIT_S) == {name: Committed(0, "pending")}


def test_a_new_producer_ends_what_the_identity_left_open(bench: Bench):
    source = bench.topic()
    reader = bench.reader(source).own(1)
    name = TopicPartition(source, 0)
    identity = unique("identity")
    dead = bench.producer(identity)
    dead.begin()
    dead.send_offsets({name: Committed(0, "dead")}, reader.consumer.membership(), WAIT_S)
    dead.close()
    bench.producer(identity)
    assert reader.consumer.committed([name], WAIT_S) == {name: None}


@pytest.mark.parametrize("metadata", ["", "1;7;a1b2;-;;x", "m" * 4_095])
def test_metadata_comes_back_exactly(bench: Bench, metadata: str):
    source = bench.topic(2)
    reader = bench.reader(source).own(2)
    first, second = TopicPartition(source, 0), TopicPartition(source, 1)
    producer = bench.producer()
    producer.begin()
    producer.send_offsets({first: Committed(3, metadata)}, reader.consumer.membership(), WAIT_S)
    producer.commit(WAIT_S)
    reader.consumer.commit({second: Committed(4, metadata)}, WAIT_S)
    expected = {first: Committed(3, metadata), second: Committed(4, metadata)}
    assert reader.consumer.committed([first, second], WAIT_S) == expected
    assert bench.log.committed(bench.group, source) == expected


def test_offsets_of_a_stale_generation_are_refused(bench: Bench):
    source, sink = bench.topic(2), bench.topic()
    first = bench.reader(source).own(2)
    stale = first.consumer.membership()
    settle(first, bench.reader(source), each=1)
    producer = bench.producer()
    producer.begin()
    producer.produce(Output(sink, [b"never"]))
    producer.flush(WAIT_S)
    offsets = {TopicPartition(source, 0): Committed(0, "stale")}
    with pytest.raises(AbortableError):
        producer.send_offsets(offsets, stale, WAIT_S)
    producer.abort(WAIT_S)
    assert bench.log.committed(bench.group, source) == {}
    producer.begin()
    producer.produce(Output(sink, [b"shown"]))
    producer.send_offsets(
        dict.fromkeys(first.owned, Committed(0, "new")), first.consumer.membership(), WAIT_S
    )
    producer.commit(WAIT_S)
    assert bench.log.committed(bench.group, source) == dict.fromkeys(
        first.owned, Committed(0, "new")
    )


def test_a_second_begin_is_refused(bench: Bench):
    producer = bench.producer()
    producer.begin()
    with pytest.raises(LogError):
        producer.begin()


def test_a_fenced_producer_may_be_closed(bench: Bench):
    identity = unique("identity")
    older = bench.producer(identity)
    older.begin()
    older.produce(Output(bench.topic(), [b"zombie"]))
    bench.producer(identity)
    with pytest.raises(FencedError):
        older.commit(WAIT_S)
    older.close()
    older.close()


def test_the_log_does_not_guard_against_offsets_of_partitions_not_owned(bench: Bench):
    """Not wished for, but so: the engine has to look at its assignment by itself."""
    source = bench.topic(2)
    first = bench.reader(source).own(2)
    second = bench.reader(source)
    settle(first, second, each=1)
    (foreign,) = second.owned
    producer = bench.producer()
    producer.begin()
    producer.send_offsets({foreign: Committed(0, "first")}, first.consumer.membership(), WAIT_S)
    producer.commit(WAIT_S)
    assert bench.log.committed(bench.group, source) == {foreign: Committed(0, "first")}
