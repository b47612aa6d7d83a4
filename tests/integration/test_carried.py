"""An ordered backlog that one topology keys anew and another counts: nothing of it is late."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import orjson
import pytest

from tests.integration.running import bench
from tests.nightly import further

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

CLICKS = 40_000
BEGIN = dt.datetime(2026, 8, 1)
TOPOLOGIES = """
import polars as pl
from processor import Json, Topology, functions as F

CLICK = Json({"user": pl.String, "ts": pl.Datetime("us")})


@Topology.define
def rekey(*, app: str = "rekey", source: str = "clicks", output: str = "by-user") -> Topology:
    topology = Topology(app)
    clicks = topology.read.kafka(source, format=CLICK, event_time="ts")
    clicks.with_watermark("5 minutes").write.kafka(output, key="user", watermark="carried")
    return topology


@Topology.define
def count(*, app: str = "count", source: str = "by-user", output: str = "counts") -> Topology:
    topology = Topology(app)
    clicks = topology.read.kafka(
        source, format=CLICK, event_time="ts", partitioned_by="user", watermark="carried"
    )
    counts = clicks.group_by(F.window("ts", "1 minute"), "user").agg(n=F.count())
    counts.write.kafka(output, key="user", mode="update")
    return topology
"""


def clicks():
    """In strict order of time, of 50 users, one each half of a second."""
    for number in range(CLICKS):
        time = BEGIN + dt.timedelta(seconds=number / 2)
        yield f"u{number * 7 % 50}", time


def run(bench, topology, workers, **topics):
    """To the end of its input; the records that it found late."""
    sets = [part for k, v in topics.items() for part in ("--set", f"{k}={v}")]
    done = bench.start(
        f"{bench.directory}/rekeyed.py:{topology}", "--bootstrap-servers", bench.servers,
        "--redis-url", bench.redis_url, "--workers", workers, "--until-caught-up",
        "--set", f"app={topology}-{bench.id}", "--session-timeout", "6s",
        "--create-topics", 4, *sets,
    )  # fmt: skip
    done.succeeds()
    return sum(batch.get("late", 0) for batch in done.events("batch"))


@pytest.mark.parametrize("workers", [further(1), 3])
def test_a_rekeyed_backlog_in_order_loses_nothing(bench, workers):
    (bench.directory / "rekeyed.py").write_text(TOPOLOGIES)
    source, by_user, counts = (f"{name}-{bench.id}" for name in ("clicks", "by-user", "counts"))
    bench.topics.create(source, by_user, counts, partitions=4)
    rows = [orjson.dumps({"user": user, "ts": time.isoformat()}) for user, time in clicks()]
    for number in range(4):
        bench.topics.fill(source, rows[number::4], partition=number)
    assert run(bench, "rekey", workers, source=source, output=by_user) == 0
    assert run(bench, "count", workers, source=by_user, output=counts) == 0
    last = {}
    for message in bench.topics.read(counts):
        row = orjson.loads(message.value())
        last[row["user"], row["window_start"]] = row["n"]
    expected = Counter(
        (user, time.replace(second=0, microsecond=0).isoformat(sep=" ")) for user, time in clicks()
    )
    assert {(u, str(dt.datetime.fromisoformat(t))): n for (u, t), n in last.items()} == expected
