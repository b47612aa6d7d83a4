"""What Kafka's own client for Java writes is read, and what is written it reads."""

from __future__ import annotations

import base64
import random
from collections import Counter

import pytest

from processor.connectors.partitioner import partition
from tests.integration.running import bench
from tests.interchange.benched import misplaced, run
from tests.interchange.java import kafka_client
from tests.services.tools import tool

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
KEYS = 10_000
COUNTED = """
    topology = Topology("counted-{id}")
    words = topology.read.kafka("{trips}", format=Text(), key="k", partitioned_by="k")
    counts = words.group_by("k").agg(n=F.count())
    counts.write.kafka("{enriched}", format=Json({{"n": pl.Int64}}), key="k", mode="update")
"""
KEPT = """
    topology = Topology("kept-{id}")
    form = Text(tombstones=True)
    rows = topology.read.kafka("{trips}", format=form, key="k", headers="h", timestamp="at")
    rows.write.kafka("{enriched}", format=form, key="k", headers="h", timestamp="at")
"""
SENT = [("trace", b"1"), ("größe", b"\xff\x00"), ("trace", b"2"), ("none", None), ("empty", b"")]
HEADERS = [(name, value and base64.b64encode(value).decode()) for name, value in SENT]
# Base64 of nothing is nothing, and not null.
HEADERS[-1] = ("empty", "")


@pytest.fixture
def java(bench):
    return tool(lambda: kafka_client(bench.servers))


def ran(bench, code, *args, **more):
    names = {"id": bench.id, "trips": bench.trips, "enriched": bench.enriched}
    return run(bench, "read", code.format(**names), *args, **more)


def some_keys():
    """Text of all of Unicode, of one letter to many, no two alike."""
    chance, made = random.Random(7), {""}
    while len(made) < KEYS:
        # Surrogates alone are no text: between D800 and E000.
        first, end = chance.choice([(1, 0x300), (0x300, 0xD800), (0xE000, 0x110000)])
        made.add("".join(chr(chance.randrange(first, end)) for _ in range(chance.randrange(1, 24))))
    return sorted(made)


def test_keys_of_any_text_lie_where_java_puts_them_on_the_way_in_and_out(bench, java):
    bench.create(partitions=7)
    keys = some_keys()
    lie = java.produce(bench.trips, [{"key": key, "value": "x"} for key in keys])
    assert lie == [partition(key.encode(), 7) for key in keys]
    assert set(lie) == set(range(7))
    made = ran(bench, COUNTED)
    assert misplaced(made) == []
    assert sum(batch.get("misplaced", 0) for batch in made.events("batch")) == 0
    # One group for each key, where Java itself would have put its record.
    found = java.consume(bench.enriched)
    assert {each["key"].decode(): each["partition"] for each in found} == dict(
        zip(keys, lie, strict=True)
    )
    assert Counter(each["value"] for each in found) == {b'{"n":1}': KEYS}


def test_headers_nulls_codecs_and_transactions_of_java_are_read_and_come_back(bench, java):
    bench.create()
    records = []
    for codec in CODECS:
        one = [
            {"key": f"{codec}-key", "value": f"{codec} {'ü' * 400}", "headers": HEADERS},
            {"key": f"{codec}-gone", "value": None},
            {"key": None, "value": f"{codec} without a key"},
        ]
        lost = [{"key": f"{codec}-key", "value": f"{codec} aborted"}] * 20
        begin, commit, abort = ({"do": what} for what in ("begin", "commit", "abort"))
        records += [{"do": "compress", "with": codec}, begin, *one, commit, begin, *lost, abort]
    java.produce(bench.trips, records, f"transactional.id=java-{bench.id}", "linger.ms=20")
    ran(bench, KEPT, "--kafka", "producer.compression.type=zstd")

    came = {_told(each): each["timestamp"] for each in java.consume(bench.trips)}
    found = java.consume(bench.enriched)
    assert Counter(map(_told, found)) == Counter(
        told for codec in CODECS for told in (
            (f"{codec}-key".encode(), f"{codec} {'ü' * 400}".encode(), tuple(SENT)),
            (f"{codec}-gone".encode(), None, ()),
            (None, f"{codec} without a key".encode(), ()),
        )
    )  # fmt: skip
    assert [each["timestamp"] for each in found] == [came[_told(each)] for each in found]


def _told(record):
    return record["key"], record["value"], tuple(record["headers"])
