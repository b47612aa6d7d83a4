"""Keys with a format, events in headers and a topology that was inferred, on a real broker."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent

import pytest
from confluent_kafka import Producer

from tests.integration.running import ROOT, bench

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

TOTALS = """
    import polars as pl
    from processor import CloudEvents, Json, Topology, functions as F

    topology = Topology("totals-{id}")
    items = CloudEvents(Json({{"cents": pl.Int64}}), mode="binary", attributes={{"id": "event"}})
    rows = topology.read.kafka(
        "trips-{id}", format=items, partitioned_by=["shop", "user"],
        key_format=Json({{"shop": pl.String, "user": pl.Int64}}), dead_letters="dead-{id}",
    )
    totals = rows.group_by("shop", "user").agg(cents=F.sum("cents"))
    totals.write.kafka(
        "popular-{id}", key=["shop", "user"], key_format=Json(), mode="update",
        format=Json({{"cents": pl.Int64}}),
    )
"""
HEADERS = [("ce_specversion", b"1.0"), ("ce_id", b"a"), ("ce_source", b"/s"), ("ce_type", b"t")]


def _started(bench, name, code):
    path = bench.directory / f"{name}.py"
    path.write_text(dedent(code).format(id=bench.id))
    servers = ["--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url]
    return bench.start(path, *servers, "--session-timeout", "6s", "--until-caught-up")


def _filled(bench):
    """Three groups, each with its key's bytes, and two records that are bad."""
    bench.create()
    producer = Producer({"bootstrap.servers": bench.servers, "partitioner": "murmur2_random"})
    for n in range(60):
        key = b'{"shop":"a","user":%d}' % (n % 3)
        producer.produce(bench.trips, b'{"cents":%d}' % n, key, headers=HEADERS)
    producer.produce(bench.trips, b'{"cents":1}', b'{"shop":"a","user":"x"}', headers=HEADERS)
    producer.produce(bench.trips, b'{"cents":1}', b'{"shop":"a","user":1}', headers=HEADERS[1:])
    assert producer.flush(30) == 0


def test_groups_by_a_key_with_a_format_of_events_in_headers_are_counted(bench):
    _filled(bench)
    run = _started(bench, "totals", TOTALS).succeeds()
    assert run.events("see whether this is right") == []
    last = {m.key(): json.loads(m.value()) for m in bench.topics.read(bench.popular)}
    assert last == {
        b'{"shop":"a","user":%d}' % user: {"cents": sum(range(user, 60, 3))} for user in range(3)
    }
    reasons = {dict(m.headers())["processor.error"] for m in bench.topics.read(bench.dead)}
    assert reasons == {
        b"key: column 'user': 'x' is no Int64", b"attribute 'specversion': null or missing"
    }  # fmt: skip


def test_what_is_inferred_of_a_topic_reads_it_without_a_dead_letter(bench):
    _filled(bench)
    bench.topics.create(f"{bench.trips}-copy", f"{bench.trips}-copy-dead-letters")
    done = subprocess.run(
        [sys.executable, "-m", "processor", "infer", bench.trips, "--bootstrap-servers",
         bench.servers, "--records", "1000"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "looking at 62 of its records" in done.stdout
    assert "key_format=Json({" in done.stdout
    path = bench.directory / "inferred.py"
    path.write_text(done.stdout)
    servers = ["--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url]
    bench.start(path, *servers, "--session-timeout", "6s", "--until-caught-up").succeeds()
    assert len(bench.topics.read(f"{bench.trips}-copy")) == 62
    assert bench.topics.read(f"{bench.trips}-copy-dead-letters") == []
