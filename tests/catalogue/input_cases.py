"""Topics and groups that lost something, records nobody can read, limits that are too low."""

from __future__ import annotations

import random
import string
import subprocess
import sys
from uuid import uuid4

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from tests.catalogue.case import case
from tests.catalogue.counting import STOPPED, Counting
from tests.catalogue.garbage import BAD_JSON, BAD_LINES
from tests.catalogue.redis_faults import flush
from tests.integration.running import (
    ENRICH,
    POPULAR,
    ROOT,
    enriched,
    enriched_lines,
    popular,
    read_enriched,
    read_popular,
    trips,
    until,
)
from tests.services.kafka import LocalKafka

LIMIT_S = 20


def _admin(bench):
    return bench.topics._admin  # one for all: futures of one that is thrown away never resolve


def _all(answers):
    for answer in answers.values():
        answer.result(LIMIT_S)


def _set(bench, topic, **config):
    entries = [
        ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    _all(_admin(bench).incremental_alter_configs([resource]))


# Records that cannot be read, or not be written.


@case(
    "kafka: poison in CSV and in JSON",
    done=f"{len(BAD_LINES)} kinds of broken lines and {len(BAD_JSON)} kinds of broken JSON",
    expected="each is a dead letter as it was, with its place; all others exact",
    in_tests=True,
)
def poison(servers):
    bench = servers.bench()
    bench.create(max_message_bytes=10_000_000)
    lines = trips(400)
    values, keys = enriched_lines(lines)
    for topology, topic, good, bad in (
        (ENRICH, bench.trips, lines, BAD_LINES),
        (POPULAR, f"ready-{bench.id}", values, BAD_JSON),
    ):
        if topic not in bench.topics.names():
            bench.topics.create(topic, max_message_bytes=10_000_000)
        dead = f"dead-{topology[-7:]}-{bench.id}"
        bench.topics.create(dead, max_message_bytes=10_000_000)
        # One between any two good ones, so that each has good neighbours in its batch.
        mixed = [value for pair in zip(good, bad, strict=False) for value in pair]
        mixed += good[len(bad) :]
        mixed_keys = [key for key in keys[: len(bad)] for _ in range(2)] + keys[len(bad) :]
        bench.topics.fill(topic, mixed, keys=mixed_keys)
        sets = {"input": topic, "dead_letters": dead}
        bench.run(topology, "--until-caught-up", "--batch-records-max", 50, sets=sets).succeeds()
        found = bench.topics.read(dead)
        places = {
            tuple(v for k, v in m.headers() if k.endswith(("partition", "offset"))) for m in found
        }
        assert len(places) == len(found) == len(bad)
        assert sorted(m.value() or b"" for m in found) == sorted(value or b"" for value in bad)
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    assert read_popular(bench.topics.read(bench.popular)) == popular(lines)


def _wide(servers):
    """Trips of which one has a base of 600 kB, that does not get smaller."""
    bench = servers.bench()
    bench.create(max_message_bytes=10_000_000)
    lines = trips(200)
    letters = random.Random(5).choices(string.ascii_letters, k=600_000)
    lines[150] = lines[150].rpartition(b",")[0] + b"," + "".join(letters).encode()
    bench.topics.fill(bench.trips, lines)
    return bench, lines


def _refused(bench, lines, *args):
    run = bench.run(ENRICH, "--until-caught-up", "--batch-records-max", 40, *args)
    assert run.exit_code() == STOPPED, run.tail()
    for word in (bench.enriched, "remedy:", "message.max.bytes"):
        assert word in run.text(), run.tail()
    assert read_enriched(bench.topics.read(bench.enriched)) < enriched(lines)


@case(
    "kafka: an output larger than the client takes",
    done="producer.message.max.bytes=100000 and a record of 600 kB; then without",
    expected="stops, names the topic, the size and the limit; then exact",
)
def client_refuses(servers):
    bench, lines = _wide(servers)
    _refused(bench, lines, "--kafka", "producer.message.max.bytes=100000")
    bench.run(ENRICH, "--until-caught-up").succeeds()
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)


@case(
    "kafka: an output larger than the broker takes",
    done="the topic's max.message.bytes=100000 and a record of 600 kB; then with 10 MB",
    expected="stops, names the topic and the limit; then exact",
)
def broker_refuses(servers):
    bench, lines = _wide(servers)
    _set(bench, bench.enriched, max_message_bytes=100_000)
    _refused(bench, lines, "--kafka", "producer.linger.ms=0")
    _set(bench, bench.enriched, max_message_bytes=10_000_000)
    bench.run(ENRICH, "--until-caught-up").succeeds()
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)


@case(
    "kafka: a manifest longer than the broker takes",
    done="offset.metadata.max.bytes=16, then 64, then Kafka's 4096, by restarts of the broker",
    expected="stops, names the broker's setting; then exact",
)
def long_manifest(servers):
    setting = "offset.metadata.max.bytes"
    broker = LocalKafka({setting: "16"})
    servers.at_the_end(broker.close)
    stage = Counting(servers.bench(kafka=broker))
    stage.feed(200)
    # Too low for the first position, then for the first batch only.
    stage.stops(stage.start("a", "--until-caught-up"), setting, stage.bench.app(POPULAR))
    broker.configure({setting: "64"})
    stage.stops(stage.start("a", "--until-caught-up"), setting, stage.bench.app(POPULAR))
    broker.configure({setting: "4096"})
    stage.catch_up()
    stage.exact()


# Topics and groups that lost something.


def _half_done(servers):
    """Half of the trips are counted, and the worker has ended."""
    stage = Counting(servers.bench())
    stage.feed(300).catch_up()
    stage.exact()
    return stage


def _delete_records(bench, topic, offset):
    asked = [TopicPartition(topic, p, offset) for p in range(4)]
    _all(_admin(bench).delete_records(asked))


def _under_another_name(stage, lines):
    """What a remedy says: another application id, with topics of its own."""
    bench = stage.bench
    output = f"again-{bench.id}"
    bench.topics.create(output)
    sets = {"app": f"again-{bench.id}", "output": output}
    bench.run(POPULAR, "--until-caught-up", sets=sets).succeeds()
    assert read_popular(bench.topics.read(output)) == popular(lines)


@case(
    "kafka: retention passes the committed offset",
    done="the records that were to be read next are deleted while the worker is down",
    expected="stops, names partition, offset and loss; another application id counts what is left",
    in_tests=True,
)
def retention(servers):
    stage = _half_done(servers)
    stage.feed(200)
    _delete_records(stage.bench, stage.bench.enriched, -1)
    left = stage.lines[500:]
    stage.feed(100)
    stage.stops(stage.start("a"), "input_lost", f"{stage.bench.enriched}[", "were deleted")
    stage.exact(stage.lines[:300])
    _under_another_name(stage, left)


@case(
    "kafka: the topic is made anew, and is empty",
    done="deleted and created with the same name while the worker is down; then filled",
    expected="stops, names the group; another application id counts all of the new topic",
)
def made_anew(servers):
    stage = _half_done(servers)
    _make_anew(stage)
    stage.stops(stage.start("a"), "state_mismatch", f"{stage.bench.enriched}[")
    stage.exact(stage.lines[:300])
    stage.feed(300)
    stage.stops(stage.start("a"), "state_mismatch", f"{stage.bench.enriched}[")
    _under_another_name(stage, stage.lines[300:])


def _make_anew(stage):
    bench, topic = stage.bench, stage.bench.enriched
    _all(_admin(bench).delete_topics([topic]))
    until(lambda: topic not in bench.topics.names(), "that the topic is gone")
    bench.topics.create(topic)


@case(
    "kafka: the group is gone, its state is not",
    done="the consumer group is deleted after five workers were in it; checkpoints stay",
    expected="stops, names group and task; another application id counts all",
)
def group_gone(servers):
    stage = Counting(servers.bench())
    stage.feed(300)
    for name in "abcde":
        run = stage.start(name)
        run.owns(4)
        stage.counted(run)
        run.terminate().succeeds(40)
    _all(_admin(stage.bench).delete_consumer_groups([stage.bench.app(POPULAR)]))
    stage.feed(100)
    stage.stops(stage.start("a"), "state_mismatch", stage.bench.app(POPULAR))
    stage.exact(stage.lines[:300])
    _under_another_name(stage, stage.lines[:400])


def _gone_without_state(servers, *, emptied):
    """Trips that are enriched, a few of them garbage; then the group is deleted."""
    redis = servers.own_redis()
    bench = servers.bench(redis=redis)
    bench.create()
    lines = trips(100)
    bench.topics.fill(bench.trips, [*lines, b"garbage", b"more of it"])
    bench.run(ENRICH, "--until-caught-up").succeeds()
    _all(_admin(bench).delete_consumer_groups([bench.app(ENRICH)]))
    if emptied:
        flush(redis)
    run = bench.run(ENRICH)
    assert run.exit_code() == 2, run.tail()
    for word in ("error (state_mismatch)", bench.app(ENRICH), "processor reset"):
        assert word in run.text(), run.tail()
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    more = trips(50, first=100)
    bench.topics.fill(bench.trips, more)
    given = ["--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url, "--yes"]
    command = [sys.executable, "-m", "processor", "reset", ENRICH, *given, "--to", "latest"]
    asked = [*map(str, [*command, *bench.sets(ENRICH)])]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    bench.topics.fill(bench.trips, trips(50, first=150))
    bench.run(ENRICH, "--until-caught-up").succeeds()
    made = read_enriched(bench.topics.read(bench.enriched))
    assert made == enriched([*lines, *trips(50, first=150)])
    assert len(bench.topics.read(bench.dead)) == 2


@case(
    "kafka: the group is gone, and there is no state",
    done="the consumer group of a topology without state is deleted; Redis is as it was",
    expected="stops, names the group; after a reset it goes on; nothing was published twice",
)
def group_gone_without_state(servers):
    _gone_without_state(servers, emptied=False)


@case(
    "kafka: the group and all of Redis are gone",
    done="the consumer group of a topology without state is deleted, and Redis emptied",
    expected="stops, names the group: its dead letters tell; after a reset it goes on",
)
def group_and_store_gone(servers):
    _gone_without_state(servers, emptied=True)


# Transactions of others in the input.


def _foreign(stage, count):
    """Another's open transaction, with trips of its own before and behind trips of nobody's."""
    producer = Producer(
        {
            "bootstrap.servers": stage.bench.servers,
            "transactional.id": f"foreign-{uuid4().hex}",
            "transaction.timeout.ms": 120_000,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
    producer.init_transactions(LIMIT_S)
    producer.begin_transaction()
    for value, key in zip(*enriched_lines(trips(count, first=5000)), strict=True):
        producer.produce(stage.bench.enriched, value, key)
    assert producer.flush(LIMIT_S) == 0
    return producer


def _behind_a_foreign(servers):
    stage = Counting(servers.bench())
    stage.feed(200)
    run = stage.start("a")
    stage.counted(run)
    producer = _foreign(stage, 150)
    stage.feed(200)  # these stand behind it, and have to wait
    batches = run.batches()
    # A worker that joins now has to wait too, and no less than the one that is there.
    other = stage.start("b")
    other.owns(2), run.owns(2)
    assert run.batches() == batches
    assert read_popular(stage.bench.topics.read(stage.bench.popular)) == popular(stage.lines[:200])
    return stage, run, other, producer


@case(
    "kafka: a transaction of another hangs in the input, and commits",
    done="open while trips follow it and a worker joins; then committed",
    expected="waits, then goes on with its records too, exact",
)
def foreign_commit(servers):
    stage, run, other, producer = _behind_a_foreign(servers)
    producer.commit_transaction(LIMIT_S)
    lines = stage.lines[:400] + trips(150, first=5000)
    with stage.bench.topics.reader(stage.bench.popular) as reader:
        reader.until(lambda m: read_popular(m) == popular(lines), "counts", runs=[run, other])
    for each in (run, other):
        each.terminate().succeeds(40)
    stage.exact(lines)


@case(
    "kafka: a transaction of another hangs in the input, and aborts",
    done="open while trips follow it and a worker joins; then aborted",
    expected="waits, then goes on without its records, exact",
)
def foreign_abort(servers):
    stage, run, other, producer = _behind_a_foreign(servers)
    producer.abort_transaction(LIMIT_S)
    stage.counted(run, other)
    stage.finish(run, other)
