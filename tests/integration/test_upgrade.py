"""A topology and its input's partition count change, against a broker and a Redis."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import NewPartitions

from tests.integration.running import (
    ENRICH,
    POPULAR,
    Topics,
    bench,
    enriched,
    enriched_lines,
    popular,
    read_enriched,
    read_popular,
    trips,
    until,
)

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def _fill(bench, lines):
    values, keys = enriched_lines(lines)
    # A producer of its own: one that was there before a raise goes on by the former count.
    Topics(bench.servers).fill(bench.enriched, values, keys=keys)


def _raise(bench, count):
    admin = bench.topics._admin
    for answer in admin.create_partitions([NewPartitions(bench.enriched, count)]).values():
        answer.result(20)

    def partitions():
        return admin.list_topics(bench.enriched, timeout=10).topics[bench.enriched].partitions

    until(lambda: len(partitions()) == count, f"{count} partitions")


def test_state_goes_through_changes_of_the_topology_and_of_the_partition_count(bench):
    bench.create()
    _fill(bench, trips(200))
    bench.run(POPULAR, "--until-caught-up").succeeds()

    _fill(bench, trips(100, first=200))
    refused = bench.run(POPULAR, "--until-caught-up", sets={"window": "2 hours"})
    assert refused.exit_code() == 2
    assert "incompatible  window 1:00:00 of dt -> 2:00:00 of dt" in refused.text()
    assert "`processor reset` begins anew" in refused.text()

    longer = {"watermark": "40 days"}
    run = bench.run(POPULAR, "--until-caught-up", sets=longer).succeeds()
    assert len(run.events("state taken over by a changed topology")) == 4
    assert read_popular(bench.topics.read(bench.popular)) == popular(trips(300))

    _raise(bench, 6)
    _fill(bench, trips(100, first=300))
    refused = bench.run(POPULAR, "--until-caught-up", sets=longer)
    assert refused.exit_code() == 2
    assert "the topic has 6 partitions, the state was written with 4" in refused.text()
    rebuild = ("--until-caught-up", "--on-partitions-raised", "rebuild")
    # Two at the same moment: one deals out, the other goes on with what it has made.
    runs = [bench.run(POPULAR, *rebuild, "--instance", name, sets=longer) for name in "ab"]
    dealt = [event for run in runs for event in run.succeeds().events("state dealt out anew")]
    assert {event["partitions"] for event in dealt} == {6}
    assert read_popular(bench.topics.read(bench.popular)) == popular(trips(400))


def test_another_topology_under_the_application_id_waits_ready_until_the_first_has_gone(bench):
    bench.create()
    bench.topics.create(other := f"other-{bench.id}")
    lines = trips(120)
    small = ("--batch-records-max", 30, "--interval", "10ms")
    first = bench.run(ENRICH, "--instance", "a", *small)
    bench.topics.fill(bench.trips, lines[:40])
    first.until(lambda run: run.batches() > 0, "a batch")
    second = bench.run(ENRICH, "--instance", "b", *small, sets={"output": other})
    second.until(lambda run: "another topology runs under" in run.text(), "the second waits")
    bench.topics.fill(bench.trips, lines[40:80])
    with bench.topics.reader(bench.enriched) as reader:
        reader.until(lambda m: read_enriched(m) == enriched(lines[:80]), "80", runs=[first, second])
    first.terminate().succeeds(20)
    bench.topics.fill(bench.trips, lines[80:])
    with bench.topics.reader(other) as reader:
        reader.until(lambda m: read_enriched(m) == enriched(lines[80:]), "40", runs=[second])
    second.terminate().succeeds(20)
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines[:80])
