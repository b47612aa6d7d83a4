"""Each way of compressing what is written, read by Java and by kcat; in the nightly run."""

from __future__ import annotations

import pytest

from tests.integration.running import bench
from tests.interchange.benched import run
from tests.interchange.test_java import CODECS, KEPT, java

__all__ = ["bench", "java"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_written_is_read_however_it_was_compressed(bench, java, kcat, codec):
    bench.create()
    values = sorted(b"%d %s" % (n, b"x" * 200) for n in range(2_000))
    bench.topics.fill(bench.trips, values)
    code = KEPT.format(id=bench.id, trips=bench.trips, enriched=bench.enriched)
    run(bench, "kept", code, "--kafka", f"producer.compression.type={codec}")
    assert sorted(each["value"] for each in java.consume(bench.enriched)) == values
    assert sorted(kcat.consume(bench.servers, bench.enriched).encode().splitlines()) == values
