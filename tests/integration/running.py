"""Runs the product as its users do, as processes, and looks at what it leaves in the topics."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.services.process import _die_with_parent

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "uber"
ENRICH, POPULAR = "topologies.uber.enrich", "topologies.uber.popular"
LIMIT_S = 60.0


def until(done, what, limit_s=LIMIT_S, look_s=0.02):
    """Looks again and again until ``done()`` gives something true, and gives that."""
    deadline = time.monotonic() + limit_s
    while not (found := done()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what}")
        time.sleep(look_s)
    return found


class Run:
    """One ``processor run`` with its children; what it says goes to a file.

    ``module``: what is run in the command's place, to plant a fault and then be the command.
    """

    def __init__(self, directory, *args, env=None, cwd=ROOT, module="processor"):
        self.args = [str(a) for a in args]
        self._path = directory / f"{uuid4().hex[:8]}.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PROCESSOR_")}
        python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self._path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "run", *self.args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=inherited | {"PYTHONPATH": python_path} | (env or {}),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - no other thread forks here
            )

    def text(self):
        return self._path.read_text(errors="replace")

    def events(self, name=None):
        """The events of its log, in order; with ``name`` those only."""
        found = []
        for line in self.text().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and name in (None, event.get("event")):
                    found.append(event)
        return found

    def batches(self):
        return len(self.events("batch"))

    def owned(self):
        """The partitions that it has now, as far as its log tells."""
        held = set()
        for event in self.events():
            if event["event"] == "partitions changed":
                named = set(event["partitions"])
                held = held | named if event["kind"] == "assigned" else held - named
        return held

    def until(self, done, what, limit_s=LIMIT_S):
        """Waits for something that the living process does."""

        def look():
            found = done(self)
            assert found or self.process.poll() is None, (
                f"ended with {self.process.returncode} before: {what}\n{self.tail()}"
            )
            return found

        return until(look, what, limit_s)

    def owns(self, count):
        return self.until(lambda run: len(run.owned()) == count, f"{count} partitions")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        return self

    def exit_code(self, limit_s=LIMIT_S):
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {limit_s:g} s\n{self.tail()}") from None

    def succeeds(self, limit_s=LIMIT_S):
        code = self.exit_code(limit_s)
        assert code == 0, f"exit code {code}\n{self.tail()}"
        return self

    def tail(self, lines=25):
        cut = (
            (line, 250 if '"event":"batch"' in line else 1500) for line in self.text().splitlines()
        )
        shown = "\n".join(line[:length] for line, length in list(cut)[-lines:])
        return f"--- processor run {' '.join(self.args)}\n{shown}"

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Topics:
    """Makes, fills and reads topics; reads what is committed, without any group."""

    def __init__(self, bootstrap_servers):
        self._servers = bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "partitioner": "murmur2_random",
                "message.max.bytes": 12_000_000,
                # What a test sends stays in its order, also when the client has to try again.
                "enable.idempotence": True,
                "linger.ms": 1,
                "sticky.partitioning.linger.ms": 1,
                "log_level": 2,
            }
        )

    def create(self, *names, partitions=4, replica_assignment=None, **config):
        config = {name.replace("_", "."): str(value) for name, value in config.items()}
        where = {"replica_assignment": replica_assignment} if replica_assignment else {}
        where = where or {"replication_factor": -1}
        wanted = [NewTopic(n, partitions, config=config, **where) for n in names]
        for answer in self._admin.create_topics(wanted).values():
            answer.result(20)
        until(lambda: set(names) <= self.names(), f"topics {names}")

    def names(self):
        return set(self._admin.list_topics(timeout=10).topics)

    def fill(self, topic, values, *, partition=None, keys=None):
        """Values go round the partitions, or where their keys say."""
        count = len(self._admin.list_topics(topic, timeout=10).topics[topic].partitions)
        for i, value in enumerate(values):
            if keys is not None:
                self._producer.produce(topic, value, keys[i])
            else:
                where = i % count if partition is None else partition
                self._producer.produce(topic, value, partition=where)
            if i % 5000 == 4999:
                self._producer.poll(0)
        assert self._producer.flush(30) == 0

    def read(self, topic):
        """All messages that are committed now, in each partition's order."""
        with Reader(self._servers, topic) as reader:
            return reader.to_the_end()

    def reader(self, topic):
        return Reader(self._servers, topic)


class Reader:
    """Reads committed messages of a topic on and on."""

    def __init__(self, bootstrap_servers, topic):
        self.messages = []
        self._client = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"reader-{uuid4().hex}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.message.max.bytes": 12_000_000,
                "fetch.wait.max.ms": 20,
                "log_level": 2,
            }
        )
        partitions = self._client.list_topics(topic, timeout=10).topics[topic].partitions
        self._partitions = set(partitions)
        self._client.assign([TopicPartition(topic, p, 0) for p in partitions])

    def more(self, timeout_s=0.05):
        """One look; gives the partitions that were read to their ends."""
        ended = set()
        for message in self._client.consume(5000, timeout_s):
            error = message.error()
            if error is None:
                self.messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            elif not error.retriable() and error.code() not in (
                KafkaError._ALL_BROKERS_DOWN,
                KafkaError._TRANSPORT,
            ):
                raise AssertionError(error.str())
        return ended

    def until(self, done, what, limit_s=LIMIT_S, runs=()):
        """Reads until ``done(messages)``; none of ``runs`` may end in the meantime."""
        deadline = time.monotonic() + limit_s
        while not done(self.messages):
            self.more()
            for run in runs:
                assert run.process.poll() is None, f"ended before: {what}\n{run.tail()}"
            assert time.monotonic() < deadline, (
                f"not within {limit_s:g} s: {what}; {len(self.messages)} messages"
            )
        return self.messages

    def to_the_end(self):
        ended, deadline = set(), time.monotonic() + LIMIT_S
        while ended < self._partitions:
            assert time.monotonic() < deadline, f"only the ends of {ended} were reached"
            ended |= self.more()
        return self.messages

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.close()


# Trips that are made up: each one once, far from any border between two clusters.

CENTROIDS = [[40.50 + 0.05 * (i // 4), -74.2 + 0.1 * (i % 4)] for i in range(12)]


def trips(count, first=0):
    """Lines of CSV, no two alike."""
    start = datetime(2014, 8, 1)
    lines = []
    for i in range(first, first + count):
        lat, lon = CENTROIDS[i * 7 % 12]
        time_ = start + timedelta(seconds=37 * i)
        lines.append(f"{time_},{lat + 0.0001 * (i % 90):.4f},{lon:.4f},B{i:05}".encode())
    return lines


def enriched(lines):
    """What stage 1 has to make of trips, counted."""
    return Counter(_enriched(line) for line in lines)


def _enriched(line):
    dt, lat, lon, base = line.decode().split(",")
    lat, lon = float(lat), float(lon)
    near = [(lat - a) ** 2 + (lon - b) ** 2 for a, b in CENTROIDS]
    return dt, lat, lon, base, near.index(min(near))


def enriched_lines(lines):
    """Values and keys for stage 2."""
    rows = [_enriched(line) for line in lines]
    names = ("dt", "lat", "lon", "base", "cluster")
    values = [json.dumps(dict(zip(names, row, strict=True))).encode() for row in rows]
    return values, [b"%d" % row[-1] for row in rows]


def read_enriched(messages):
    rows = (json.loads(m.value()) for m in messages)
    return Counter((r["dt"], r["lat"], r["lon"], r["base"], r["cluster"]) for r in rows)


def popular(lines):
    """What stage 2 has to come to: trips by cluster and hour."""
    return Counter((row[-1], row[0][:13]) for row in map(_enriched, lines))


def read_popular(messages):
    """The last word on each cluster and hour, of all that was said."""
    return {group: counts[-1] for group, counts in told(messages).items()}


def told(messages):
    """Every count that was published, by cluster and hour."""
    counts = {}
    for message in messages:
        row = json.loads(message.value())
        assert message.key() == b"%d" % row["cluster"]
        group = row["cluster"], row["window_start"][:13].replace("T", " ")
        counts.setdefault(group, []).append(row["trips"])
    return counts


class Bench:
    """A test's own topics, names and processes."""

    def __init__(self, kafka, redis_url, directory):
        self.id = uuid4().hex[:8]
        self.kafka = kafka
        self.servers, self.redis_url = kafka.bootstrap_servers, redis_url
        self.directory = directory
        self.topics = Topics(self.servers)
        self.trips, self.enriched = f"trips-{self.id}", f"enriched-{self.id}"
        self.popular, self.dead = f"popular-{self.id}", f"dead-{self.id}"
        self.runs = []
        self.centroids = directory / "centroids.json"
        self.centroids.write_text(json.dumps({"centroids": CENTROIDS}))

    def app(self, topology):
        return f"{topology.rpartition('.')[2]}-{self.id}"

    def create(self, of=None, **options):
        """Makes the topics; ``of`` has what is different for some of the four."""
        of = of or {}
        for role in of:
            self.topics.create(getattr(self, role), **(options | of[role]))
        rest = {"trips", "enriched", "popular", "dead"} - of.keys()
        self.topics.create(*(getattr(self, role) for role in sorted(rest)), **options)

    def sets(self, topology, **sets):
        own = {"app": self.app(topology), "dead_letters": self.dead}
        if topology == ENRICH:
            own |= {"input": self.trips, "output": self.enriched, "centroids": self.centroids}
        else:
            own |= {"input": self.enriched, "output": self.popular}
        return [part for k, v in (own | sets).items() for part in ("--set", f"{k}={v}")]

    def run(self, topology, *args, sets=None, env=None, module="processor"):
        """Starts a topology between this test's topics."""
        servers = ["--bootstrap-servers", self.servers, "--redis-url", self.redis_url]
        more = [] if "--session-timeout" in args else ["--session-timeout", "6s"]
        given = self.sets(topology, **(sets or {}))
        return self.start(topology, *servers, *more, *given, *args, env=env, module=module)

    def start(self, *args, env=None, cwd=ROOT, module="processor"):
        run = Run(self.directory, *args, env=env, cwd=cwd, module=module)
        self.runs.append(run)
        return run

    def close(self):
        for run in self.runs:
            run.close()
        for run in self.runs:
            print(run.tail())  # noqa: T201 - shown where a test has failed


@pytest.fixture
def bench(kafka, redis_server, tmp_path):
    made = Bench(kafka, redis_server.url, tmp_path)
    yield made
    made.close()
