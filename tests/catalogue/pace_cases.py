"""Steps that take too long, and partitions that are added to a topic."""

from __future__ import annotations

import json
from collections import Counter

from confluent_kafka.admin import AdminClient, NewPartitions

from tests.catalogue.case import case
from tests.integration.running import Topics

SLOW = "tests.catalogue.slow:slow"
LIMIT_S = 4


class Slow:
    """Records that say how long they take, and what came out of them."""

    def __init__(self, servers, partitions=1):
        self.bench = servers.bench()
        self.names = {n: f"{n}-{self.bench.id}" for n in ("app", "input", "output", "dead")}
        topics = [self.names[n] for n in ("input", "output", "dead")]
        self.bench.topics.create(*topics, partitions=partitions)
        self.fed = 0

    def feed(self, seconds, partition=None):
        values = [json.dumps({"n": self.fed + i, "s": s}).encode() for i, s in enumerate(seconds)]
        self.bench.topics.fill(self.names["input"], values, partition=partition)
        self.fed += len(values)

    def add_partitions(self, count):
        admin = AdminClient({"bootstrap.servers": self.bench.servers, "log_level": 2})
        new = [NewPartitions(self.names["input"], count)]
        for answer in admin.create_partitions(new).values():
            answer.result(20)
        self.bench.topics = Topics(self.bench.servers)  # one that knows of them

    def start(self, *args):
        sets = [part for k, v in self.names.items() for part in ("--set", f"{k}={v}")]
        servers = ["--bootstrap-servers", self.bench.servers, "--redis-url", self.bench.redis_url]
        limit = ["--kafka", f"consumer.max.poll.interval.ms={LIMIT_S * 1000}"]
        return self.bench.start(
            SLOW, *servers, *sets, *limit, "--session-timeout", f"{LIMIT_S}s", *args
        )

    def exact(self):
        rows = [json.loads(m.value()) for m in self.bench.topics.read(self.names["output"])]
        assert Counter(row["n"] for row in rows) == Counter(range(self.fed))


@case(
    "kafka: all records together take longer than max.poll.interval",
    done="max.poll.interval.ms=4000; 40 quick records, then 200 that take 0.05 s each, 10 s",
    expected="batches become smaller; goes on, exact",
)
def too_many(servers):
    slow = Slow(servers)
    slow.feed([0.0] * 40 + [0.05] * 200)
    run = slow.start("--until-caught-up").succeeds(120)
    assert any("step with_columns at" in e["reason"] for e in run.events("batch undone"))
    slow.exact()


@case(
    "kafka: one record takes longer than max.poll.interval",
    done="max.poll.interval.ms=4000; of 60 records one takes 6 s",
    expected="stops by name: the step, its line, the record's offset; those before it are out",
)
def one_record(servers):
    slow = Slow(servers)
    slow.feed([0.0] * 40 + [6.0] + [0.0] * 19)
    run = slow.start("--until-caught-up")
    assert run.exit_code(180) == 2, run.tail()
    named = f"{slow.names['input']}[0] offset 40: step with_columns at "
    assert "error (too_slow)" in run.text(), run.tail()
    assert named in run.text(), run.tail()
    assert len(slow.bench.topics.read(slow.names["output"])) == 40


@case(
    "kafka: a step never ends",
    done="max.poll.interval.ms=4000; a record takes an hour",
    expected="stops by name: the step, its line, the offsets of the batch",
)
def never(servers):
    slow = Slow(servers)
    slow.feed([0.0] * 3 + [3600.0])
    run = slow.start("--workers", 2)
    assert run.exit_code(60) == 2, run.tail()
    text = run.text()
    assert "error (too_slow)" in text, run.tail()
    assert "step with_columns at " in text, run.tail()
    assert "slow.py:" in text, run.tail()


@case(
    "kafka: partitions are added under a worker without state",
    done="two partitions more, while two workers run; records in all of them",
    expected="read from their beginning within seconds, without a restart; exact",
    in_tests=True,
)
def more_partitions(servers):
    slow = Slow(servers, partitions=2)
    slow.feed([0.0] * 20)
    runs = [slow.start("--instance", name) for name in ("a", "b")]
    for run in runs:
        run.owns(1)
    slow.add_partitions(4)
    for partition in range(4):
        slow.feed([0.0] * 10, partition=partition)
    with slow.bench.topics.reader(slow.names["output"]) as reader:
        reader.until(lambda m: len(m) >= slow.fed, "all records", runs=runs)
    for run in runs:
        run.terminate().succeeds(20)
    slow.exact()


@case(
    "kafka: partitions are added while all workers are dead",
    done="SIGKILL of the only worker; two partitions more, records in all; started again at once",
    expected="the group gives the worker what it had; it leaves and comes back, and has all; exact",
)
def more_partitions_meanwhile(servers):
    slow = Slow(servers, partitions=2)
    slow.feed([0.0] * 20)
    interval = ("--kafka", "consumer.max.poll.interval.ms=60000")
    session = ("--session-timeout", "45s", *interval, "--instance", "a")
    run = slow.start(*session)
    with slow.bench.topics.reader(slow.names["output"]) as reader:
        reader.until(lambda m: len(m) >= slow.fed, "the first records", runs=[run])
    run.kill()
    slow.add_partitions(4)
    for partition in range(4):
        slow.feed([0.0] * 10, partition=partition)
    slow.start(*session, "--until-caught-up").succeeds(180)
    slow.exact()
