"""Keys that a client with another partitioner has placed, against a broker and a Redis."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from processor.engine.running.keys import PARTITIONERS
from tests.integration.running import POPULAR, bench, enriched_lines, trips

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

NAMES = ("consistent_random", "fnv1a_random", "murmur2_random")
OF_THE_CLIENT = dict(zip(NAMES, PARTITIONERS.values(), strict=True))


def _fill(bench, partitioner, values, keys):
    """Send by one of the client's own partitioners; where each key came to lie."""
    placed = {}
    producer = Producer({"bootstrap.servers": bench.servers, "partitioner": partitioner})

    def sent(error, message):
        assert error is None
        placed[message.key()] = message.partition()

    for value, key in zip(values, keys, strict=True):
        producer.produce(bench.enriched, value, key, on_delivery=sent)
    assert producer.flush(30) == 0
    return placed


@pytest.mark.parametrize("partitioner", OF_THE_CLIENT)
def test_partitioners_are_those_of_the_client(bench, partitioner):
    bench.create()
    keys = [b"user-%d" % number for number in range(200)] + [b"\xff\0" * n for n in range(1, 9)]
    for key, partition in _fill(bench, partitioner, keys, keys).items():
        assert OF_THE_CLIENT[partitioner](key, 4) == partition


def test_a_worker_says_once_that_keys_lie_elsewhere_and_counts_them(bench):
    bench.create()
    values, keys = enriched_lines(trips(400))
    _fill(bench, "consistent_random", values, keys)
    run = bench.run(POPULAR, "--until-caught-up").succeeds()
    first, *then = run.events("see whether this is right")
    assert first["level"] == "warning"
    assert "by murmur2 of that text" in first["what"]
    assert len(then) <= 1
    assert "crc32" in (then or [first])[0]["what"]
    assert sum(batch.get("misplaced", 0) for batch in run.events("batch")) > 0
