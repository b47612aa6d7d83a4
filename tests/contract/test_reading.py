"""What a log promises to who reads and publishes outside transactions."""

from __future__ import annotations

import time

import pytest

from processor.connectors.partitioner import partition
from processor.errors import RetriableError
from processor.model.log import TopicPartition
from tests.contract.drive import WAIT_S, Bench, numbered, unique, until


def test_records_of_a_partition_come_in_the_order_they_were_published(bench: Bench):
    topic = bench.topic(3)
    keys = [b"key%d" % (n % 7) for n in range(300)]
    bench.feed(topic, numbered(0, 300), keys)
    reader = bench.reader(topic)
    reader.read(300)
    assert sorted(map(int, reader.values)) == list(range(300))
    for number in range(3):
        of_one = [m for m in reader.messages if m.partition() == number]
        assert [int(m.value()) for m in of_one] == sorted(int(m.value()) for m in of_one)
        assert [m.offset() for m in of_one] == sorted(m.offset() for m in of_one)


def test_a_keyed_record_lies_where_murmur2_puts_it(bench: Bench):
    topic = bench.topic(5)
    keys = [b"", *(b"rider-%d" % n for n in range(60))]
    bench.feed(topic, [b"v"] * len(keys), keys)
    reader = bench.reader(topic)
    reader.read(len(keys))
    assert {m.key(): m.partition() for m in reader.messages} == {
        key: partition(key, 5) for key in keys
    }


def test_keys_values_and_headers_come_back_as_they_were(bench: Bench):
    topic = bench.topic()
    large = bytes(range(256)) * 3900  # just under the client's limit of 1,000,000
    values = [b"plain", None, b"", large]
    keys = [None, b"tombstone", b"", b"large"]
    headers = [[], [("a", b"1"), ("a", b"2"), ("ü", None), ("e", b"")], [], [("h", b"\0\xff")]]
    bench.feed(topic, values, keys, headers)
    reader = bench.reader(topic)
    reader.read(4)
    assert reader.values == values
    assert [m.key() for m in reader.messages] == keys
    assert [list(m.headers() or ()) for m in reader.messages] == headers


@pytest.mark.parametrize("headers", [None, [[("h", b"1")], [], [("h", None)], []]])
def test_a_record_carries_the_time_that_it_was_given_and_without_one_that_of_its_writing(
    bench: Bench, headers
):
    topic = bench.topic()
    before = time.time() * 1000
    stamps = [1_600_000_000_123, None, 1, int(before)]
    bench.feed(topic, [b"a", b"b", b"c", b"d"], None, headers, stamps)
    reader = bench.reader(topic)
    reader.read(4)
    kinds, found = zip(*(m.timestamp() for m in reader.messages), strict=True)
    assert set(kinds) == {1}
    assert [found[0], *found[2:]] == [stamps[0], *stamps[2:]]
    assert found[1] >= int(before)
    if headers:
        assert [list(m.headers() or ()) for m in reader.messages] == headers


def test_a_record_carries_the_time_it_was_published(bench: Bench):
    topic = bench.topic()
    before = time.time() * 1000
    bench.feed(topic, [b"x"])
    reader = bench.reader(topic)
    reader.read(1)
    kind, stamp = reader.messages[0].timestamp()
    assert kind == 1
    assert before - 1000 <= stamp <= time.time() * 1000 + 1000


def test_an_empty_topic_gives_an_empty_poll_in_time(bench: Bench):
    reader = bench.reader(bench.topic()).own(1)
    begun = time.monotonic()
    polled = reader.consumer.poll(10, 0.2)
    assert not polled.messages
    assert not polled.changes
    assert time.monotonic() - begun < 5


def test_a_poll_brings_no_more_than_it_was_asked_for(bench: Bench):
    topic = bench.topic(2)
    bench.feed(topic, numbered(0, 50), [b"%d" % n for n in range(50)])
    reader = bench.reader(topic).own(2)

    def turn() -> bool:
        assert len(reader.turn(7)) <= 7
        return len(reader.messages) >= 50

    until(turn, "all read")
    assert sorted(map(int, reader.values)) == list(range(50))


def test_a_poll_for_one_record_looks_into_every_partition(bench: Bench):
    topic = bench.topic(4)
    reader = bench.reader(topic).own(4)
    keys = {partition(b"%d" % n, 4): b"%d" % n for n in range(60)}
    for number in range(4):
        bench.feed(topic, [b"here"], [keys[number]])
        until(lambda: bool(reader.turn(1)), f"the record of partition {number}")
        assert reader.messages[-1].partition() == number


def test_polls_for_one_record_each_starve_no_partition(bench: Bench):
    topic = bench.topic(3)
    keys = [b"%d" % (n % 20) for n in range(60)]
    bench.feed(topic, numbered(0, 60), keys)
    reader = bench.reader(topic).own(3)

    def turn() -> bool:
        assert len(reader.turn(1)) <= 1
        return len(reader.messages) >= 60

    until(turn, "all read")
    assert sorted(map(int, reader.values)) == list(range(60))


def test_nothing_is_read_before_open(bench: Bench):
    topic = bench.topic()
    bench.feed(topic, numbered(0, 5))
    reader = bench.reader(topic, opens=False).own(1)
    reader.quiet()
    assert not reader.messages
    reader.consumer.open({TopicPartition(topic, 0): 2})
    assert reader.read(3) == numbered(2, 5)


def test_nothing_is_read_of_a_partition_that_is_shut_before_it_is_open_again(bench: Bench):
    topic = bench.topic()
    where = TopicPartition(topic, 0)
    bench.feed(topic, numbered(0, 5))
    reader = bench.reader(topic)
    reader.read(5)
    reader.consumer.shut([where])
    bench.feed(topic, numbered(5, 10))
    reader.quiet()
    assert reader.consumer.membership().partitions == {where}
    reader.messages.clear()
    reader.consumer.open({where: 3})
    assert reader.read(7) == numbered(3, 10)
    reader.consumer.shut([where, TopicPartition("never", 7)])
    reader.consumer.shut([])
    reader.quiet()


def test_shut_and_open_in_a_row_read_from_where_was_asked_and_skip_nothing(bench: Bench):
    topic = bench.topic()
    where = TopicPartition(topic, 0)
    bench.feed(topic, numbered(0, 200))
    reader = bench.reader(topic).own(1)
    for start in (150, 3, 90, 0, 42):
        reader.consumer.shut([where])
        reader.consumer.open({where: start})
        reader.messages.clear()
        assert reader.read(200 - start) == numbered(start, 200)


def test_open_goes_back_and_reads_again(bench: Bench):
    topic = bench.topic()
    bench.feed(topic, numbered(0, 20))
    reader = bench.reader(topic)
    reader.read(20)
    reader.messages.clear()
    reader.consumer.open({TopicPartition(topic, 0): 5})
    assert reader.read(15) == numbered(5, 20)


def test_open_in_the_middle_of_a_stream_neither_skips_nor_repeats(bench: Bench):
    topic = bench.topic(2)
    bench.feed(topic, numbered(0, 200), [b"%d" % n for n in range(200)])
    reader = bench.reader(topic).own(2)
    for _ in range(4):
        until(lambda: bool(reader.turn(10)), "some records")
        last = {name: at for name, at in reader.positions.items() if name.partition == 0}
        back = {name: max(0, at - 3) for name, at in last.items()}
        kept = [
            m
            for m in reader.messages
            if m.offset() < back.get(TopicPartition(topic, m.partition()), m.offset() + 1)
        ]
        reader.messages[:] = kept
        reader.positions |= back
        reader.consumer.open(back)
    reader.read(200)
    assert sorted(map(int, reader.values)) == list(range(200))


def test_describe_tells_partitions_and_extents_and_omits_unknown_topics(bench: Bench):
    topic = bench.topic(3)
    bench.feed(topic, numbered(0, 9), [b"same"] * 9)
    unknown = unique("unknown")
    described = bench.log.describe([topic, unknown])
    assert set(described) == {topic}
    assert described[topic].name == topic
    extents = described[topic].extents
    assert set(extents) == {0, 1, 2}
    full = partition(b"same", 3)
    assert {p: tuple(extent) for p, extent in extents.items()} == {
        p: (0, 9 if p == full else 0) for p in range(3)
    }


def test_create_leaves_a_topic_alone_that_exists(bench: Bench):
    topic = bench.topic(2)
    bench.feed(topic, [b"kept"], [b"k"])
    bench.log.create({topic: 5})
    (described,) = bench.log.describe([topic]).values()
    assert set(described.extents) == {0, 1}
    assert sum(extent.high for extent in described.extents.values()) == 1


def test_extent_tells_what_the_partition_holds(bench: Bench):
    topic = bench.topic()
    consumer = bench.reader(topic).own(1).consumer
    name = TopicPartition(topic, 0)
    assert tuple(consumer.extent(name, WAIT_S)) == (0, 0)
    bench.feed(topic, numbered(0, 4))
    assert tuple(consumer.extent(name, WAIT_S)) == (0, 4)


def test_lag_is_the_distance_from_the_position_to_the_end(bench: Bench):
    topic = bench.topic()
    bench.feed(topic, numbered(0, 10))
    reader = bench.reader(topic)
    reader.read(10)
    name = TopicPartition(topic, 0)

    def known() -> bool:
        reader.turn()
        return reader.consumer.lag({name: 4}).get(name) == 6

    until(known, "the lag is 6")
    assert reader.consumer.lag({name: 10}) == {name: 0}


@pytest.mark.parametrize("keys", [None, [None] * 30])
def test_records_without_a_key_go_anywhere_but_none_is_lost(bench: Bench, keys):
    topic = bench.topic(3)
    bench.feed(topic, numbered(0, 30), keys)
    reader = bench.reader(topic)
    assert sorted(map(int, reader.read(30))) == list(range(30))
    assert {m.key() for m in reader.messages} == {None}


def test_a_topic_keeps_its_identity_and_another_has_another(bench: Bench):
    one, other = bench.topic(), bench.topic()
    first = bench.log.identity(one)
    assert first() == bench.log.identity(one)() != bench.log.identity(other)()
    assert ";" not in bench.log.identity(one)()


def test_a_topic_that_is_not_there_has_no_identity_for_now(bench: Bench):
    answer = bench.log.identity(unique("nowhere"))
    with pytest.raises(RetriableError):
        answer()
