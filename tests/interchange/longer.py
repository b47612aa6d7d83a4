"""What Java and kcat are asked beside, in the nightly run."""

from __future__ import annotations

import pytest

from tests.integration.running import bench
from tests.interchange.benched import misplaced
from tests.interchange.test_java import CODECS, COUNTED, KEPT, java, ran

__all__ = ["bench", "java"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_written_is_read_however_it_was_compressed(bench, java, kcat, codec):
    bench.create()
    values = sorted(b"%d %s" % (n, b"x" * 200) for n in range(2_000))
    bench.topics.fill(bench.trips, values)
    ran(bench, KEPT, "--kafka", f"producer.compression.type={codec}")
    assert sorted(each["value"] for each in java.consume(bench.enriched)) == values
    assert sorted(kcat.consume(bench.servers, bench.enriched).encode().splitlines()) == values


def test_what_a_killed_worker_had_begun_is_not_read(bench, java, kcat):
    bench.create(partitions=1)
    bench.topics.fill(bench.trips, [b"%d" % n for n in range(50)], keys=[b"k"] * 50)
    ran(bench, KEPT, crashed=True, PROCESSOR_CRASH_AT="before:commit")
    ran(bench, KEPT)
    found = java.consume(bench.enriched)
    assert [each["value"] for each in found] == [b"%d" % n for n in range(50)]
    assert len(java.consume(bench.enriched, "isolation.level=read_uncommitted")) > 50
    # kcat reads what is committed without being told to.
    shown = kcat.consume(bench.servers, bench.enriched).splitlines()
    assert shown == [str(n) for n in range(50)]


def test_keys_that_kcat_places_by_its_own_choice_are_told(bench, kcat):
    bench.create()
    text = "".join(f"k{n}:x\n" for n in range(60))
    kcat.produce(bench.servers, bench.trips, text, "-K", ":")
    first, *_ = misplaced(ran(bench, COUNTED))
    assert "crc32 (librdkafka's own choice)" in first
