import re

from prometheus_client import generate_latest

from processor.metrics.catalogue import Metrics
from processor.metrics.standing import Health, Standing, Topic
from processor.model.log import TopicPartition

A = TopicPartition("rides", 0)
B = TopicPartition("rides", 1)


def shown(**health):
    """A catalogue whose worker stands as ``now["is"]`` says."""
    now = {"is": Health(now_ms=10_000, **({"standing": Standing()} | health))}
    metrics = Metrics()
    metrics.shows("t", lambda: now["is"])
    return metrics, now


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"processor_{name}", {"topology": "t", **labels})


def test_gauges_show_how_the_worker_stands_when_they_are_scraped():
    standing = Standing(
        member=True, pending=1, positions={A: 5}, watermark_ms={A: 8_500, B: None},
        state_rows=9, state_bytes=90,
    )  # fmt: skip
    metrics, now = shown(standing=standing, lag={A: 7}, held={A: 2}, store_up=True)
    assert value(metrics, "state_rows") == 9
    assert value(metrics, "state_bytes") == 90
    assert value(metrics, "partitions_assigned") == 2
    assert value(metrics, "store_up") == 1
    assert value(metrics, "broker_up") == value(metrics, "ready") == 0
    of_a = {"topic": "rides", "partition": "0"}
    assert value(metrics, "consumer_lag_records", **of_a) == 7
    assert value(metrics, "input_held_records", **of_a) == 2
    assert value(metrics, "watermark_lag_seconds", **of_a) == 1.5
    now["is"] = Health(standing, 13_000, ready=True)
    assert value(metrics, "watermark_lag_seconds", **of_a) == 4.5
    assert value(metrics, "ready") == 1


def test_partitions_that_are_gone_are_shown_no_more():
    metrics, now = shown(standing=Standing(positions={A: 1}, watermark_ms={A: 1}), lag={A: 3})
    assert b'partition="0"' in generate_latest(metrics.registry)
    now["is"] = Health(Standing(member=True), 11_000)
    assert b'partition="' not in generate_latest(metrics.registry)
    assert value(metrics, "partitions_assigned") == 0
    assert value(metrics, "state_rows") == 0


def test_a_topic_is_shown_with_what_it_is_for():
    topic = Topic("clicks", "input", up=False, partitions=0)
    metrics, now = shown(topics=(topic,))
    assert value(metrics, "topic_up", topic="clicks", role="input") == 0
    assert value(metrics, "topic_partitions", topic="clicks", role="input") == 0
    now["is"] = Health(Standing(), 11_000)
    assert value(metrics, "topic_up", topic="clicks", role="input") is None


def test_a_watermark_ahead_of_the_clock_is_no_negative_lag():
    metrics, _ = shown(standing=Standing(watermark_ms={A: 15_000}))
    assert value(metrics, "watermark_lag_seconds", topic="rides", partition="0") == 0


def test_how_far_a_watermark_is_ahead_of_the_clock_is_shown_for_each_partition():
    metrics, now = shown(standing=Standing(watermark_ms={A: 15_500, B: 8_000}))
    for partition, ahead_s in (("0", 5.5), ("1", 0)):
        labels = {"topic": "rides", "partition": partition}
        assert value(metrics, "watermark_ahead_seconds", **labels) == ahead_s
    now["is"] = Health(Standing(watermark_ms={A: None}), 11_000)
    assert value(metrics, "watermark_ahead_seconds", topic="rides", partition="0") is None


def test_names_are_those_that_prometheus_recommends():
    topic = Topic("clicks", "input", up=True, partitions=1)
    metrics, _ = shown(standing=Standing(positions={A: 1}), lag={A: 0}, topics=(topic,))
    metrics.begin("t")
    for family in metrics.registry.collect():
        assert re.fullmatch(r"process(or)?_[a-z_]+", family.name), family.name
        assert family.documentation, family.name
