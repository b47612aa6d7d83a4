"""The way of real trips through both stages, and stages that run side by side."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.integration.running import (
    DATA,
    ENRICH,
    POPULAR,
    bench,
    enriched,
    popular,
    read_enriched,
    read_popular,
    trips,
)
from tests.nightly import further

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def _data(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the trips are not there: {path}")
    return path


def _through_both_stages(bench, lines):
    bench.create()
    bench.centroids = _data("centroids.json")
    bench.topics.fill(bench.trips, lines)
    for topology in (ENRICH, POPULAR):
        bench.run(topology, "--workers", 2, "--until-caught-up").succeeds(100)
    return bench.topics.read(bench.enriched), read_popular(bench.topics.read(bench.popular))


def test_the_real_trips_come_out_byte_for_byte_and_counted(bench):
    lines = _data("uber-2014-08.csv").read_bytes().splitlines()
    wanted = Counter(_data("uber-2014-08-clustered.jsonl").read_bytes().splitlines())
    messages, counts = _through_both_stages(bench, lines)

    got = Counter(message.value() for message in messages)
    assert got.total() == wanted.total() == 46_361
    # The centroids were recovered from the clusters; one trip lies on the border of two.
    assert (wanted - got).total() == (got - wanted).total() == 1
    rows = [json.loads(line) for line in got.elements()]
    assert all(m.key() == b"%d" % json.loads(m.value())["cluster"] for m in messages)
    assert counts == Counter((row["cluster"], row["dt"][:13]) for row in rows)
    assert not bench.topics.read(bench.dead)


@pytest.mark.parametrize("name", [further("uber-raw-data-jul14.csv"), "uber-raw-data-aug14.csv"])
def test_raw_trips_come_to_what_is_computed_from_scratch(bench, name):
    # 20,000 lines from the whole of the file: every third one, after the header.
    lines = _data(name).read_bytes().splitlines()[1::3][:20_000]
    points = json.loads(_data("centroids.json").read_text())["centroids"]
    messages, counts = _through_both_stages(bench, lines)

    wanted, hours = Counter(), Counter()
    for line in lines:
        moment, lat, lon, base = line.decode().split(",")
        day, clock = moment.split(" ")
        year, month, of_month = map(int, day.split("/"))
        near = [(float(lat) - a) ** 2 + (float(lon) - b) ** 2 for a, b in points]
        cluster = near.index(min(near))
        dt = f"{year:04}-{month:02}-{of_month:02} {clock:0>8}"  # some hours have one digit
        wanted[dt, float(lat), float(lon), base, cluster] += 1
        hours[cluster, dt[:13]] += 1
    assert read_enriched(messages) == wanted
    assert counts == hours
    assert not bench.topics.read(bench.dead)


@pytest.mark.parametrize("protocol", ["classic", further("consumer")])
def test_two_stages_live_while_workers_join_and_leave(bench, protocol):
    bench.create()
    lines = trips(900)
    small = ("--batch-records-max", 40, "--interval", "10ms")
    small += ("--kafka", f"consumer.group.protocol={protocol}")
    first = bench.run(ENRICH, "--instance", "a", *small)
    second = bench.run(POPULAR, "--instance", "a", *small)
    first.owns(4), second.owns(4)
    with bench.topics.reader(bench.popular) as reader:

        def fed(start, runs):
            """A piece of input has arrived at the far end."""
            bench.topics.fill(bench.trips, lines[start : start + 300])
            wanted = popular(lines[: start + 300])
            reader.until(lambda m: read_popular(m) == wanted, f"{start + 300} trips", runs=runs)

        fed(0, [first, second])
        joined = bench.run(ENRICH, "--instance", "b", *small)
        joined.owns(2)
        first.owns(2)
        assert first.owned() | joined.owned() == {f"{bench.trips}[{p}]" for p in range(4)}
        fed(300, [first, second, joined])
        assert joined.batches()
        joined.terminate().succeeds(20)
        first.owns(4)
        fed(600, [first, second])
    for run in (first, second):
        run.terminate()
    for run in (first, second):
        run.succeeds(20)
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    assert read_popular(bench.topics.read(bench.popular)) == popular(lines)


def test_a_run_that_has_caught_up_ends_and_the_next_finds_nothing_to_do(bench):
    bench.create()
    lines = trips(500)
    bench.topics.fill(bench.trips, lines)
    assert bench.run(ENRICH, "--until-caught-up").succeeds().batches()
    assert not bench.run(ENRICH, "--until-caught-up").succeeds().batches()
    bench.run(POPULAR, "--until-caught-up").succeeds()
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    assert read_popular(bench.topics.read(bench.popular)) == popular(lines)
