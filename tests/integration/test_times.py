"""Times as places to begin, and a watermark that is set back, on a real broker and Redis."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys

import orjson
import pytest
from confluent_kafka import Producer

from tests.integration.running import ROOT, bench

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

TOPOLOGY = """
import polars as pl
from processor import Json, Topology, functions as F

CLICK = Json({"user": pl.String, "ts": pl.Datetime("us")})


@Topology.define
def counted(*, app: str = "counted", source: str = "clicks", output: str = "counts") -> Topology:
    topology = Topology(app)
    clicks = topology.read.kafka(source, format=CLICK, event_time="ts", partitioned_by="user")
    counts = clicks.with_watermark("5 minutes").group_by("user").agg(n=F.count())
    counts.write.kafka(output, key="user", mode="update")
    return topology
"""
BEGIN = dt.datetime(2026, 8, 1, 12, tzinfo=dt.UTC)
# Its own clock stamps it, so that it is not set aside.
FAR = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)


class Place:
    """A topology of its own, and topics of two partitions, user ``u0`` and ``u1``."""

    def __init__(self, bench):
        self.bench = bench
        self.path = bench.directory / "counted.py"
        self.path.write_text(TOPOLOGY)
        self.source, self.output = f"clicks-{bench.id}", f"counts-{bench.id}"
        bench.topics.create(
            self.source, self.output, f"counted-{bench.id}-dead-letters", partitions=2,
            # A broker deletes what is old, and refuses what is far ahead of its clock.
            retention_ms=-1, message_timestamp_type="CreateTime",
            **{"message.timestamp.after.max.ms": 2**62},
        )  # fmt: skip
        self.options = (
            "--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url,
            "--set", f"app=counted-{bench.id}", "--set", f"source={self.source}",
            "--set", f"output={self.output}",
        )  # fmt: skip

    def write(self, partition, times):
        producer = Producer({"bootstrap.servers": self.bench.servers, "log_level": 2})
        refused = []
        for time in times:
            value = {"user": f"u{partition}", "ts": time.replace(tzinfo=None).isoformat()}
            stamp = round(time.timestamp() * 1000)
            producer.produce(
                self.source,
                orjson.dumps(value),
                b"u%d" % partition,
                partition=partition,
                timestamp=stamp,
                on_delivery=lambda error, _: refused.append(error) if error else None,
            )
        assert producer.flush(30) == 0
        assert refused == []

    def run(self, *options):
        return self.bench.start(
            self.path, *self.options, "--until-caught-up", "--session-timeout", "6s", *options
        ).succeeds()

    def command(self, name, *options, code=0, **env):
        done = subprocess.run(
            [sys.executable, "-m", "processor", name, self.path, *self.options, *options],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
            env=os.environ | env,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def counts(self):
        found = {}
        for message in self.bench.topics.read(self.output):
            row = orjson.loads(message.value())
            found[row["user"]] = row["n"]
        return found


def seconds(*numbers):
    return [BEGIN + dt.timedelta(seconds=number) for number in numbers]


def late(run):
    return sum(batch.get("late", 0) for batch in run.events("batch"))


def test_a_new_group_and_a_reset_of_one_partition_begin_at_a_time(bench):
    place = Place(bench)
    place.write(0, seconds(*range(10)))
    place.write(1, seconds(*range(0, 100, 10)))
    place.run("--from", "2026-08-01T14:00:05+02:00")
    assert place.counts() == {"u0": 5, "u1": 9}

    told = place.command("reset", "--to", "2026-08-01T12:00:08", "--partitions", "0")
    assert f"{place.source}[0]: offset 10 -> offset 8" in told
    assert f"{place.source}[1]" not in told
    place.command("reset", "--to", "2026-08-01T12:00:08", "--partitions", "0", "--yes")
    place.run("--from", "2030-01-01")  # which is about a new group only
    assert place.counts() == {"u0": 2, "u1": 9}

    refused = place.command("reset", "--partitions", "0,2", code=2)
    assert f"{place.source}[2] is not there" in refused


def test_a_clock_that_was_ahead_is_set_back_and_what_was_counted_stays(bench):
    place = Place(bench)
    place.write(0, [*seconds(*range(10)), FAR])
    place.write(1, seconds(*range(10)))
    place.run()
    place.write(0, seconds(*range(10, 20)))
    assert late(place.run()) == 10
    assert place.counts() == {"u0": 11, "u1": 10}

    back = "--watermark", "2026-08-01T12:00:00"
    told = place.command("reset", *back)
    assert f"{place.source}[0]: watermark 2098-12-31T23:55:00 -> 2026-08-01T12:00:00" in told
    assert f"{place.source}[1]: watermark 2026-08-01T11:55:09 stays" in told
    assert "nothing was changed" in told
    place.command("reset", *back, "--yes", code=70, PROCESSOR_CRASH_AT="before:offsets")
    assert "-> 2026-08-01T12:00:00" in place.command("reset", *back)
    place.command("reset", *back, "--yes", code=70, PROCESSOR_CRASH_AT="after:offsets")
    assert "nothing is to be done" in place.command("reset", *back, "--yes")

    place.write(0, seconds(*range(20, 30)))
    assert late(place.run()) == 0
    assert place.counts() == {"u0": 21, "u1": 10}
    refused = place.command("verify", code=2)
    assert f"the watermark of {place.source}[0] was set back" in refused
