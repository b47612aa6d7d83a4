"""What no topic should have, through the ride pipeline on a real broker: all of it set aside."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests import corpus
from tests.integration.running import ENRICH, POPULAR, bench, enriched, popular, trips

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def among(good, bad):
    """Bad records between good ones, first and last too."""
    mixed, bad = [], list(bad)
    step = max(1, len(good) // (len(bad) - 1))
    while good or bad:
        mixed += bad[:1] + good[:step]
        good, bad = good[step:], bad[1:]
    return mixed


def balanced(run):
    """That every record that was read went one way; how many were dead letters."""
    batches = run.events("batch")
    read = sum(b["records_in"] for b in batches)
    dead = sum(b.get("dead_lettered", 0) for b in batches)
    ways = ("contributed", "filtered", "late", "dead_lettered", "skipped")
    assert read == sum(b.get(way, 0) for b in batches for way in ways)
    return dead


def told(letters, bad):
    """Each bad record once, with a reason that says something."""
    assert Counter(letter.value() for letter in letters) == Counter(bad)
    for letter in letters:
        headers = dict(letter.headers())
        assert len(headers["processor.error"]) > 5
        assert b"Traceback" not in headers["processor.error"]


@pytest.mark.parametrize("form", ["json", "avro"])
def test_no_bad_record_harms_its_neighbours_and_each_is_told(bench, form):
    bench.create()
    lines = trips(600)
    bench.topics.fill(bench.trips, among(lines, corpus.CSV.values()))
    run = bench.run(ENRICH, "--workers", 1, "--until-caught-up", sets={"format": form})
    assert balanced(run.succeeds(100)) == len(corpus.CSV)
    told(bench.topics.read(bench.dead), corpus.CSV.values())
    if form == "json":
        rows = [json.loads(message.value()) for message in bench.topics.read(bench.enriched)]
        found = Counter((r["dt"], r["lat"], r["lon"], r["base"], r["cluster"]) for r in rows)
        assert found == enriched(lines)
    bad = corpus.JSON if form == "json" else corpus.AVRO
    for partition in range(4):
        some = [*bad.values()][partition::4]
        bench.topics.fill(bench.enriched, some, partition=partition)
    run = bench.run(POPULAR, "--workers", 1, "--until-caught-up", sets={"format": form})
    assert balanced(run.succeeds(100)) == len(bad)
    told(bench.topics.read(bench.dead), [*corpus.CSV.values(), *bad.values()])
    if form == "json":
        counts = {}
        for row in (json.loads(message.value()) for message in bench.topics.read(bench.popular)):
            counts[row["cluster"], row["window_start"][:13].replace("T", " ")] = row["trips"]
        assert counts == popular(lines)


def test_the_corpus_is_of_many_kinds():
    assert sum(map(len, (corpus.CSV, corpus.JSON, corpus.AVRO))) >= 60
