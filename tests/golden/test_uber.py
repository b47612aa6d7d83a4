"""Both stages over the real trips."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest

from processor.testing.driver import TestDriver
from tests.golden.data import by_hour, centroids, enriched, final, parsed, uber
from topologies.uber.enrich import enrich
from topologies.uber.pipeline import pipeline
from topologies.uber.popular import popular

PARTITIONS, WORKERS = 4, 2


def driven(topology, values, parameters=None, *, keys=None):
    driver = TestDriver(
        topology, parameters, partitions=PARTITIONS, workers=WORKERS, batch_records_max=10_000
    )
    driver.log.feed(driver.plan.source().topic, values[:1], None if keys is None else keys[:1])
    for start in range(1, len(values), 1_000):
        part = slice(start, start + 1_000)
        driver.log.feed(
            driver.plan.source().topic, values[part], None if keys is None else keys[part]
        )
    driver.run()
    assert len(driver.owned(0)) == len(driver.owned(1)) == PARTITIONS // WORKERS
    return driver


def stage_1(lines):
    return driven(enrich, lines, {"centroids": str(uber("centroids.json"))})


def stage_2(messages):
    return driven(popular, [m.value() for m in messages], keys=[m.key() for m in messages])


@pytest.fixture(scope="module")
def august():
    return stage_1(uber("uber-2014-08.csv").read_bytes().splitlines())


def test_enriched_trips_are_the_published_ones_byte_for_byte_but_for_one(august):
    expected = Counter(uber("uber-2014-08-clustered.jsonl").read_bytes().splitlines())
    found = Counter(august.values("trips-enriched"))
    missing, surplus = list((expected - found).elements()), list((found - expected).elements())
    assert found.total() == expected.total() == 46_361
    assert len(missing) == len(surplus) == 1
    # The one trip that the centroid file does not reproduce: the same trip, the other cluster.
    assert parsed(missing[0])[:-1] == parsed(surplus[0])[:-1]
    assert parsed(missing[0])[-1] != parsed(surplus[0])[-1]
    assert august.dead_letters() == []


def test_a_cluster_is_the_record_key_and_keeps_to_one_partition(august):
    partitions = {}
    for message in august.read("trips-enriched"):
        assert message.key() == str(parsed(message.value())[-1]).encode()
        partitions.setdefault(message.key(), set()).add(message.partition())
    assert all(len(found) == 1 for found in partitions.values())


def test_final_counts_are_a_plain_group_by(august):
    second = stage_2(august.read("trips-enriched"))
    rows = second.json("popular-clusters")
    expected = by_hour(map(parsed, august.values("trips-enriched")))
    assert final(rows) == dict(expected)
    assert sum(report.late for report in second.reports) == 0
    for row in rows:
        start, end = (datetime.fromisoformat(row[f"window_{side}"]) for side in ("start", "end"))
        assert end - start == timedelta(hours=1)


def test_both_stages_in_one_topology_come_to_what_two_topologies_come_to(august):
    lines = uber("uber-2014-08.csv").read_bytes().splitlines()
    driver = TestDriver(
        pipeline, {"centroids": str(uber("centroids.json"))},
        partitions=PARTITIONS, workers=WORKERS, batch_records_max=10_000,
    )  # fmt: skip
    for start in range(0, len(lines), 1_000):
        driver.log.feed("trips", lines[start : start + 1_000])
    driver.run()
    values = driver.values("trips-enriched")
    assert Counter(values) == Counter(august.values("trips-enriched"))
    assert final(driver.json("popular-clusters")) == dict(by_hour(map(parsed, values)))
    assert sum(report.late for report in driver.reports) == 0


def test_ordered_trips_lose_none_with_a_watermark_of_minutes(august):
    lines = sorted(uber("uber-2014-08.csv").read_bytes().splitlines())
    told = {"centroids": str(uber("centroids.json")), "watermark": "2 minutes"}
    driver = TestDriver(
        pipeline, told, partitions=PARTITIONS, workers=WORKERS, batch_records_max=3_000
    )
    for number in range(PARTITIONS):
        driver.log.feed("trips", lines[number::PARTITIONS], partition=number)
    driver.run()
    assert sum(report.late for report in driver.reports) == 0
    trips = map(parsed, august.values("trips-enriched"))
    assert final(driver.json("popular-clusters")) == dict(by_hour(trips))


def test_counts_of_the_published_trips_are_a_plain_group_by():
    values = uber("uber-2014-08-clustered.jsonl").read_bytes().splitlines()
    trips = list(map(parsed, values))
    second = driven(popular, values, keys=[str(trip[-1]).encode() for trip in trips])
    assert final(second.json("popular-clusters")) == dict(by_hour(trips))


@pytest.mark.parametrize("name", ["uber-raw-data-jul14.csv", "uber-raw-data-aug14.csv"])
def test_the_raw_files_come_to_what_plain_python_comes_to(name):
    header, *lines = uber(name).read_bytes().splitlines()
    assert header == b"Date/Time,Lat,Lon,Base"
    first = stage_1([header, *lines])
    (letter,) = first.dead_letters()  # the header is no trip
    assert letter.value() == header
    expected = enriched(lines, centroids())
    assert Counter(map(parsed, first.values("trips-enriched"))) == Counter(expected)
    second = stage_2(first.read("trips-enriched"))
    assert final(second.json("popular-clusters")) == dict(by_hour(expected))


def test_avro_comes_to_what_json_comes_to(august):
    lines = uber("uber-2014-08.csv").read_bytes().splitlines()
    told = {"centroids": str(uber("centroids.json")), "format": "avro"}
    first = driven(enrich, lines, told)
    assert first.dead_letters() == []
    expected = list(map(parsed, august.values("trips-enriched")))
    assert Counter(tuple(row.values()) for row in first.rows("trips-enriched")) == Counter(expected)
    messages = first.read("trips-enriched")
    values, keys = [m.value() for m in messages], [m.key() for m in messages]
    second = driven(popular, values, {"format": "avro"}, keys=keys)
    rows = [
        row | {"window_start": row["window_start"].isoformat()}
        for row in second.rows("popular-clusters")
    ]
    assert final(rows) == dict(by_hour(expected))
    assert sum(map(len, values)) < sum(map(len, august.values("trips-enriched"))) / 2
