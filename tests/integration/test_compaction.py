"""Null keys on a real broker: one partition, and a refusal where a topic is compacted."""

from __future__ import annotations

import json

import polars as pl
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from processor import Json, Topology, TopologyError, app
from processor import functions as F
from processor.connectors.kafka import KafkaLog
from processor.model.log import NULL_KEYS, Output
from processor.settings import Settings
from tests.integration.running import bench

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]
MODULE = """
import polars as pl
from processor import Json, Topology, functions as F

topology = Topology("{app}")
rows = topology.read.kafka(
    "{source}", format=Json({{"k": pl.String, "n": pl.Int64}}, optional=frozenset("k")),
    partitioned_by="k", on_error="skip",
)
{way}.group_by("k").agg(n=F.sum("n")).write.kafka("{output}", key="k", mode="update")
"""


def make(servers, name, **config):
    admin = AdminClient({"bootstrap.servers": servers})
    wanted = NewTopic(name, 4, 1, config={k.replace("_", "."): v for k, v in config.items()})
    for answer in admin.create_topics([wanted]).values():
        answer.result(20)


@pytest.fixture
def topics(kafka, bench):
    unique = bench.trips
    names = {"source": f"{unique}-k", "compacted": f"{unique}-c", "plain": f"{unique}-p"}
    make(kafka.bootstrap_servers, names["source"])
    make(kafka.bootstrap_servers, names["compacted"], cleanup_policy="compact,delete")
    make(kafka.bootstrap_servers, names["plain"])
    return names


def written(bench, topics, output, way="rows"):
    module = bench.directory / "nulls.py"
    text = MODULE.format(
        app=f"nulls-{topics['source']}", source=topics["source"], output=topics[output], way=way
    )
    module.write_text(text)
    return module


def fed(kafka, topics, values):
    log = KafkaLog(kafka.bootstrap_servers)
    producer = log.producer(None)
    producer.start(10)
    lines = [json.dumps({"k": k, "n": n}).encode() for k, n in values]
    keys = [None if k is None else k.encode() for k, _ in values]
    for line, key in zip(lines, keys, strict=True):
        part = NULL_KEYS if key is None else None
        producer.produce(Output(topics["source"], [line], [key], partition=part))
    producer.flush(20)
    producer.close()


def run(bench, module, *more):
    servers = ["--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url]
    return bench.start(str(module), *servers, "--until-caught-up", *more)


def test_compaction_is_known_from_the_topics_settings(kafka, topics):
    log = KafkaLog(kafka.bootstrap_servers)
    assert log.compacted(topics.values()) == {topics["compacted"]}
    assert log.compacted([]) == frozenset()


def test_a_sink_that_may_write_a_null_key_to_a_compacted_topic_is_refused_at_its_line(
    bench, topics
):
    module = written(bench, topics, "compacted")
    refused = run(bench, module)
    assert refused.exit_code() == 2
    assert f"{module}:10: '{topics['compacted']}' is compacted, and its key 'k' may be null" in (
        refused.text()
    )
    assert "Traceback" not in refused.text()


def test_with_the_filter_that_the_remedy_names_it_runs(kafka, bench, topics):
    fed(kafka, topics, [("a", 1), (None, 2), ("b", 3)])
    way = 'rows.filter(pl.col("k").is_not_null())'
    run(bench, written(bench, topics, "compacted", way)).succeeds()
    messages = bench.topics.read(topics["compacted"])
    assert {message.key() for message in messages} == {b"a", b"b"}


def test_updates_of_the_group_without_a_key_are_in_one_partition_the_last_one_last(
    kafka, bench, topics
):
    module = written(bench, topics, "plain")
    for number in range(3):
        fed(kafka, topics, [(None, 10), ("a", number)])
        run(bench, module).succeeds()
    found = [m for m in bench.topics.read(topics["plain"]) if m.key() is None]
    assert {message.partition() for message in found} == {NULL_KEYS}
    assert [json.loads(message.value())["n"] for message in found] == [10, 20, 30]


def test_a_topology_that_sets_records_aside_into_a_compacted_topic_is_refused(kafka, topics):
    topology = Topology("aside")
    rows = topology.read.kafka(
        topics["source"], format=Json({"k": pl.String}), dead_letters=topics["compacted"],
        partitioned_by="k",
    )  # fmt: skip
    rows.group_by("k").agg(n=F.count()).write.kafka(topics["plain"], key="k", mode="update")
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers)
    with pytest.raises(TopologyError, match="what is set aside keeps its key"):
        app.prepare_topics(KafkaLog(kafka.bootstrap_servers), [topology.plan()], settings)
