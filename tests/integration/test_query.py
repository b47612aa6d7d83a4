"""Topologies started from Python, on a real broker and Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import orjson
import polars as pl
import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

import processor
from processor import Json, Topology
from processor import functions as F
from processor.errors import QueryError, SettingsError
from tests.integration.running import LIMIT_S, ROOT, bench, until

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

CLICK = Json({"user": pl.String, "n": pl.Int64})


class Place:
    """A topology of its own, its topics, and where it runs."""

    def __init__(self, bench):
        self.bench = bench
        self.app, self.clicks, self.totals = (f"{w}-{bench.id}" for w in ("app", "clicks", "out"))
        bench.topics.create(self.clicks, self.totals, f"{self.app}-dead-letters", partitions=2)
        self.where = {"bootstrap_servers": bench.servers, "redis_url": bench.redis_url,
                      "session_timeout": "6s"}  # fmt: skip
        self.topology = Topology(self.app)
        clicks = self.topology.read.kafka(
            self.clicks, format=CLICK, partitioned_by="user", on_error="fail"
        )
        counts = clicks.group_by("user").agg(times=F.count(), total=F.sum("n"))
        counts.write.kafka(self.totals, key="user", mode="update")

    def fill(self, first, last):
        users = [f"u{n % 7}" for n in range(first, last)]
        values = [orjson.dumps({"user": u, "n": n})
                  for u, n in zip(users, range(first, last), strict=True)]  # fmt: skip
        self.bench.topics.fill(self.clicks, values, keys=users)

    def counted(self):
        """The last word on each user."""
        rows = [orjson.loads(m.value()) for m in self.bench.topics.read(self.totals)]
        return {row["user"]: (row["times"], row["total"]) for row in rows}

    def state(self):
        admin = AdminClient({"bootstrap.servers": self.bench.servers, "log_level": 2})
        return admin.describe_consumer_groups([self.app])[self.app].result(20).state


def right(count):
    found = {}
    for n in range(count):
        times, total = found.get(f"u{n % 7}", (0, 0))
        found[f"u{n % 7}"] = times + 1, total + n
    return found


@pytest.fixture
def place(bench, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    yield Place(bench)
    for query in processor.active():
        query.stop()


def test_a_query_works_through_a_topic_stops_and_another_one_goes_on(place):
    place.fill(0, 500)
    with place.topology.start(workers=2, **place.where) as query:
        until(lambda: place.counted() == right(500), "all that was there")
        running = processor.app.query.Status("running")
        until(lambda: query.status == running, "both workers are in the group")
        assert query.last_progress.topology == place.app
    assert place.state() == ConsumerGroupState.EMPTY
    place.fill(500, 800)
    again = place.topology.start(until_caught_up=True, **place.where)
    assert again.await_termination(LIMIT_S)
    assert sum(batch.records_in for batch in again.recent_progress) == 300
    assert place.counted() == right(800)


def test_a_topic_that_is_missing_is_told_at_once(place):
    topology = Topology(f"lost-{place.bench.id}")
    topology.read.kafka("not-there", format=CLICK).write.kafka("nor-there")
    with pytest.raises(SettingsError, match=r"topics are missing: .*not-there"):
        topology.start(**place.where)
    assert processor.active() == ()


def test_an_error_of_a_worker_arrives_and_its_group_is_left(place):
    place.fill(0, 10)
    place.bench.topics.fill(place.clicks, [b"bad"], keys=["u0"])
    query = place.topology.start(workers=2, **place.where)
    with pytest.raises(QueryError, match=f"{place.app}: .* cannot read the record"):
        query.await_termination(LIMIT_S)
    assert place.state() == ConsumerGroupState.EMPTY


def test_two_queries_of_two_topologies_run_beside_each_other(place):
    second = Topology(f"second-{place.bench.id}")
    rows = second.read.kafka(place.clicks, format=CLICK)
    place.bench.topics.create(f"copy-{place.bench.id}", f"{second._app}-dead-letters")
    rows.write.kafka(f"copy-{place.bench.id}")
    place.fill(0, 100)
    one = place.topology.start(until_caught_up=True, **place.where)
    two = second.start(until_caught_up=True, **place.where)
    assert one.await_termination(LIMIT_S)
    assert two.await_termination(LIMIT_S)
    assert place.counted() == right(100)
    assert len(place.bench.topics.read(f"copy-{place.bench.id}")) == 100


def test_what_topics_hold_is_collected_and_nothing_is_left_behind(place):
    place.fill(0, 1000)
    before = place.bench.topics.names()
    found = place.topology.collect(**place.where)
    assert {user: (times, total) for user, times, total in found.rows()} == right(1000)
    assert place.bench.topics.read(place.totals) == []
    assert place.bench.topics.names() == before
    assert place.state() in (ConsumerGroupState.DEAD, ConsumerGroupState.UNKNOWN)


def test_what_is_collected_begins_at_a_time(place):
    place.fill(0, 50)
    last = max(m.timestamp()[1] for m in place.bench.topics.read(place.clicks))
    stamp = str(pl.Series([last + 60_000]).cast(pl.Datetime("ms")).dt.to_string("iso:strict")[0])
    assert place.topology.collect(from_=stamp, **place.where).height == 0
    assert place.topology.collect(from_="2020-01-01", **place.where).height == 7
    with pytest.raises(SettingsError, match="nothing behind the ends"):
        place.topology.collect(from_="latest", **place.where)


def test_an_offset_of_the_topic_is_not_had_of_a_copy(place):
    topology = Topology("offsets")
    topology.read.kafka(place.clicks, format=CLICK, offset="at").write.kafka("out")
    with pytest.raises(processor.TopologyError, match="offset='at' would be those of a copy"):
        topology.collect(**place.where)


def test_a_broker_that_stops_is_waited_for_by_a_query_too(place):
    place.fill(0, 100)
    seen = threading.Event()
    query = place.topology.start(on_progress=lambda _: seen.set(), **place.where)
    assert seen.wait(LIMIT_S)
    place.bench.kafka.stop()
    try:
        until(lambda: query.status.message, "the query says what it waits for")
        assert query.status.state == "running"
    finally:
        place.bench.kafka.restart()
    place.fill(100, 200)
    until(lambda: place.counted() == right(200), "it goes on")
    query.stop()


SCRIPT = """
import sys
import polars as pl
from processor import Json, Topology, functions as F

servers, redis, app, clicks, totals = sys.argv[1:]
topology = Topology(app)
form = Json({"user": pl.String, "n": pl.Int64})
rows = topology.read.kafka(clicks, format=form, partitioned_by="user")
counts = rows.group_by("user").agg(times=F.count(), total=F.sum("n"))
counts.write.kafka(totals, key="user", mode="update")
query = topology.start(bootstrap_servers=servers, redis_url=redis, session_timeout="6s",
                       on_progress=lambda batch: print("batch", batch.records_in, flush=True))
query.await_termination()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_script_that_is_interrupted_leaves_its_group_and_the_next_one_goes_on(
    place, tmp_path, number
):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    command = [sys.executable, str(path), place.bench.servers, place.bench.redis_url, place.app,
               place.clicks, place.totals]  # fmt: skip
    env = {k: v for k, v in os.environ.items() if not k.startswith("PROCESSOR_")}
    env["PYTHONPATH"] = str(ROOT)
    for first in (0, 300):
        place.fill(first, first + 300)
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, cwd=tmp_path) as running:  # fmt: skip
            try:
                done = 0
                while done < 300:
                    line = running.stdout.readline()
                    assert line, running.stderr.read()
                    done += int(line.split()[1])
                running.send_signal(number)
                _, said = running.communicate(timeout=LIMIT_S)
            finally:
                running.kill()
        assert done == 300  # none of them a second time
        assert running.returncode == (-number if number == signal.SIGINT else 0)
        assert said.strip().splitlines()[-1:] == (
            ["KeyboardInterrupt"] if number == signal.SIGINT else []
        )
        assert place.state() == ConsumerGroupState.EMPTY
    assert place.counted() == right(600)
