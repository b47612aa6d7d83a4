"""Both stages in Avro on a real broker, read back by another implementation."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import fastavro
import pytest

from tests.integration.running import ENRICH, POPULAR, bench, enriched, popular, trips

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

SCHEMAS = Path(__file__).parents[2] / "topologies" / "uber"


def read(messages, name):
    schema = fastavro.parse_schema(json.loads((SCHEMAS / name).read_text()))
    found = []
    for message in messages:
        source = io.BytesIO(message.value())
        row = fastavro.schemaless_reader(source, schema, None)
        assert source.tell() == len(message.value())
        assert message.key() == b"%d" % row["cluster"]
        found.append(row)
    return found


@pytest.mark.nightly
def test_both_stages_in_avro_come_to_what_they_should(bench):
    bench.create()
    lines, broken = trips(3_000), [b"\x00", b"", b"\xff" * 40]
    bench.topics.fill(bench.trips, lines)
    for topology in (ENRICH, POPULAR):
        if topology == POPULAR:
            # What is no record lies among the others, and none of them is moved.
            bench.topics.fill(bench.enriched, broken, partition=0)
        run = bench.run(topology, "--workers", 2, "--until-caught-up", sets={"format": "avro"})
        run.succeeds(100)
    messages = bench.topics.read(bench.enriched)
    rows = read([message for message in messages if message.key() is not None], "trip.avsc")
    found = Counter((str(r["dt"]), r["lat"], r["lon"], r["base"], r["cluster"]) for r in rows)
    assert found == enriched(lines)
    counts = {}
    for row in read(bench.topics.read(bench.popular), "count.avsc"):
        counts[row["cluster"], str(row["window_start"])[:13]] = row["trips"]
    assert counts == popular(lines)
    assert sorted(letter.value() for letter in bench.topics.read(bench.dead)) == sorted(broken)
