"""What a log promises of the offsets that it gives for a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from processor.connectors.memory.log import MemoryLog
from processor.model.log import Output, TopicPartition
from tests.contract.drive import WAIT_S, Bench, numbered, unique, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# Of today: a broker deletes what is old, and refuses what is far ahead of its clock.
NOON_MS = round(time.time()) * 1_000 - HOUR_MS


@pytest.fixture
def stamp(
    bench: Bench, request: pytest.FixtureRequest
) -> Callable[[str, int, Sequence[int]], None]:
    """Writes a record for each timestamp into a partition."""

    def write(topic: str, partition: int, times_ms: Sequence[int]) -> None:
        if isinstance(bench.log, MemoryLog):
            bench.log.feed(topic, numbered(0, len(times_ms)), partition=partition,
                           timestamps_ms=times_ms)  # fmt: skip
            return
        from confluent_kafka import Producer

        servers = request.getfixturevalue("kafka").bootstrap_servers
        producer = Producer({"bootstrap.servers": servers, "linger.ms": 50})
        refused = []
        for number, time_ms in enumerate(times_ms):
            producer.produce(
                topic, b"%d" % number, partition=partition, timestamp=time_ms,
                on_delivery=lambda error, _: refused.append(error) if error else None,
            )  # fmt: skip
        assert producer.flush(WAIT_S) == 0
        assert refused == []

    return write


def at(bench: Bench, topic: str, ms: int) -> list[int]:
    found = bench.log.offsets_at(topic, ms)
    return [found[TopicPartition(topic, number)] for number in range(len(found))]


def test_a_time_is_each_partitions_first_record_of_it_or_later(bench: Bench, stamp):
    topic = bench.topic(3)
    stamp(topic, 0, [NOON_MS + n * 1000 for n in range(10)])
    stamp(topic, 1, [NOON_MS + n * 10_000 for n in range(5)])
    assert at(bench, topic, NOON_MS) == [0, 0, 0]
    assert at(bench, topic, NOON_MS + 4000) == [4, 1, 0]
    assert at(bench, topic, NOON_MS + 4001) == [5, 1, 0]
    assert at(bench, topic, NOON_MS - DAY_MS) == [0, 0, 0]


def test_where_no_record_is_that_late_it_is_the_end(bench: Bench, stamp):
    topic = bench.topic(2)
    stamp(topic, 0, [NOON_MS] * 7)
    assert at(bench, topic, NOON_MS + 1) == [7, 0]
    assert at(bench, topic, NOON_MS + 9000 * DAY_MS) == [7, 0]


@pytest.mark.parametrize(
    "ms", [0, -1, -2, -3, pytest.param(-NOON_MS, id="as long before as it is since")]
)
def test_a_time_before_1970_is_the_beginning_and_no_sign_to_the_broker(bench: Bench, stamp, ms):
    topic = bench.topic()
    stamp(topic, 0, [NOON_MS, NOON_MS - HOUR_MS, NOON_MS + 1])
    assert at(bench, topic, ms) == [0]


def test_of_timestamps_that_do_not_rise_the_first_in_the_order_of_offsets_counts(
    bench: Bench, stamp
):
    topic = bench.topic()
    stamp(topic, 0, [NOON_MS + n * 1000 for n in (0, 5, 2, 3, 9, 1)])
    assert [at(bench, topic, NOON_MS + n * 1000)[0] for n in range(11)] == [
        0, 1, 1, 1, 1, 1, 4, 4, 4, 4, 6,
    ]  # fmt: skip


def test_what_was_trimmed_is_not_found(bench: Bench, stamp):
    topic = bench.topic()
    stamp(topic, 0, [NOON_MS + n * 1000 for n in range(10)])
    bench.log.trim(TopicPartition(topic, 0), 4)
    assert at(bench, topic, NOON_MS) == [4]


def test_an_open_transaction_is_behind_the_end(bench: Bench, stamp):
    topic = bench.topic()
    stamp(topic, 0, [NOON_MS] * 3)
    producer = bench.producer()
    producer.begin()
    producer.produce(Output(topic, numbered(0, 2), partition=0))
    producer.flush(WAIT_S)
    assert at(bench, topic, NOON_MS) == [0]
    assert at(bench, topic, NOON_MS + 1) == [3]
    producer.commit(WAIT_S)
    until(lambda: bench.log.describe([topic])[topic].extents[0].high == 6, "the mark")
    assert at(bench, topic, NOON_MS + 9000 * DAY_MS) == [6]


def test_a_topic_that_is_not_there_has_no_offsets(bench: Bench):
    assert bench.log.offsets_at(unique("nowhere"), NOON_MS) == {}
