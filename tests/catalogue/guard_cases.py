"""What the broker would take and must not get; and what this catalogue's oracle must see."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer

from processor.clock import SystemClock
from processor.connectors.kafka import make_kafka_log
from processor.engine.commit.committer import Committer, Work
from processor.engine.commit.protocol import EXACTLY_ONCE, Verdict
from processor.model.log import Committed, Membership, Output, TopicPartition
from tests.catalogue.case import case
from tests.catalogue.counting import SMALL, Counting
from tests.integration.running import POPULAR, until

LIMIT_S = 20
CRASHED = 70


def _open(servers):
    """Half-made topics, a log, and a producer that has its identity."""
    bench = servers.bench()
    bench.topics.create(bench.trips, bench.enriched, partitions=2)
    log = make_kafka_log(bench.servers)
    servers.at_the_end(log.close)
    producer = log.producer(f"x-{bench.id}")
    servers.at_the_end(producer.close)
    producer.start(LIMIT_S)
    return bench, log, producer


def _consumer(servers, bench, log):
    consumer = log.consumer(bench.id, "a", [bench.trips])
    servers.at_the_end(lambda: consumer.close(leave=True))
    return consumer


def _ours(consumer, producer, partition, bench):
    """One batch of the partition, committed as the worker does it; the steps that it took."""
    steps = []
    committer = Committer(
        EXACTLY_ONCE, consumer, producer, None, SystemClock(),
        renew=lambda: producer, probe=steps.append,
    )  # fmt: skip
    task = SimpleNamespace(partition=partition, name="task", base=None)
    prepared = SimpleNamespace(task=task, blobs=(), head=Committed(7, "ours"))
    done = committer.commit(Work([prepared], [Output(bench.enriched, [b"output"])]))
    return done.verdict, [step.partition(":")[2] for step in steps]


def _raw(membership, producer, partition):
    """The same without any guard."""
    producer.begin()
    producer.send_offsets({partition: Committed(5, "raw")}, membership, LIMIT_S)
    producer.commit(LIMIT_S)


@case(
    "kafka: a commit under generation -1",
    done="a worker that is in no group commits a batch; beside it the same without the guard",
    expected="the broker takes it, so our own guard stops it before the transaction",
    in_tests=True,
)
def no_generation(servers):
    bench, log, producer = _open(servers)
    consumer, partition = _consumer(servers, bench, log), TopicPartition(bench.trips, 0)
    verdict, steps = _ours(consumer, producer, partition, bench)
    assert verdict is Verdict.REDO
    assert "begin" not in steps
    assert not log.committed(bench.id, bench.trips)
    assert not bench.topics.read(bench.enriched)
    nobody = Consumer({"bootstrap.servers": bench.servers, "group.id": f"bare-{bench.id}"})
    servers.at_the_end(nobody.close)
    _raw(Membership(-1, frozenset(), nobody.consumer_group_metadata()), producer, partition)
    assert log.committed(f"bare-{bench.id}", bench.trips) == {partition: Committed(5, "raw")}


@case(
    "kafka: a commit of a partition that is another's",
    done="a worker commits a batch of a partition it was not given; the same without the guard",
    expected="the broker takes it, so our own guard stops it before the transaction",
)
def not_owned(servers):
    bench, log, producer = _open(servers)
    consumer, partition = _consumer(servers, bench, log), TopicPartition(bench.enriched, 0)

    def joined():
        consumer.poll(1, 0.1)
        return len(consumer.membership().partitions) == 2

    until(joined, "its partitions")
    verdict, steps = _ours(consumer, producer, partition, bench)
    assert verdict is Verdict.REDO
    assert "begin" not in steps
    assert not log.committed(bench.id, bench.enriched)
    _raw(consumer.membership(), producer, partition)
    assert log.committed(bench.id, bench.enriched) == {partition: Committed(5, "raw")}


def _seen(stage):
    with pytest.raises(AssertionError):
        stage.exact()


@case(
    "control: a repeat",
    done="a worker with --guarantee at-least-once is killed between its outputs and its commit",
    expected="the oracle sees that counts were published twice",
)
def repeated(servers):
    stage = Counting(servers.bench())
    stage.feed(200)
    args = ("--guarantee", "at-least-once", "--until-caught-up", *SMALL)
    crash = {"PROCESSOR_CRASH_AT": "after:flush#3"}
    assert stage.bench.run(POPULAR, *args, env=crash).exit_code() == CRASHED
    stage.bench.run(POPULAR, *args).succeeds()
    _seen(stage)


@case(
    "control: a loss",
    done="one record is missing from the input that is counted",
    expected="the oracle sees that a count is too low",
)
def lost(servers):
    stage = Counting(servers.bench())
    stage.feed(200).catch_up()
    stage.exact()
    stage.fed += 1
    _seen(stage)
