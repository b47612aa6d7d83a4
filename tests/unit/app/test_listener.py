import pytest
from structlog.testing import capture_logs

from processor import Text, Topology
from processor.app.health import Pulse
from processor.app.listener import listener
from processor.clock import ManualClock
from processor.engine.commit.protocol import Verdict
from processor.errors import AbortableError, StoreAwayError
from processor.metrics.catalogue import Metrics
from processor.metrics.progress import BatchReport
from processor.model.log import Assigned, Lost, TopicPartition

A = TopicPartition("in", 0)


def made():
    clock, metrics = ManualClock(), Metrics()
    pulse = Pulse(clock, clock.monotonic_s())
    topology = Topology("t")
    topology.read.kafka("in", format=Text()).write.kafka("out")
    return listener(topology.plan(), metrics, lambda _: None, pulse), metrics, pulse


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"processor_{name}", {"topology": "t", **labels})


def test_lost_partitions_are_a_warning_that_names_them_others_are_not():
    hears, metrics, _ = made()
    with capture_logs() as lines:
        hears.change(Assigned(frozenset({A})))
        hears.change(Lost(frozenset({A})))
    assert [(line["log_level"], line["kind"], line["partitions"]) for line in lines] == [
        ("info", "assigned", ["in[0]"]),
        ("warning", "lost", ["in[0]"]),
    ]
    assert value(metrics, "rebalances_total", kind="lost") == 1


def test_a_checkpoint_that_the_store_did_not_take_is_counted_and_told():
    hears, metrics, pulse = made()
    with capture_logs() as lines:
        hears.unsaved("snapshot", StoreAwayError("Redis at cache:6379 did not answer in time"))
        assert pulse._failing is None
        hears.unsaved("delta", StoreAwayError("Redis at cache:6379 did not answer in time"))
    assert pulse._failing is not None
    for kind in ("snapshot", "delta"):
        assert value(metrics, "checkpoint_failures_total", kind=kind) == 1
    assert value(metrics, "batch_aborts_total", reason="store") == 1
    assert {line["log_level"] for line in lines} == {"warning"}
    assert all("cache:6379" in line["reason"] for line in lines)


def test_a_batch_that_is_undone_is_held_against_readiness_until_one_is_committed():
    hears, metrics, pulse = made()
    hears.undone(Verdict.REDO, AbortableError("1 records for out are not acknowledged"))
    assert pulse._failing == (0.0, "1 records for out are not acknowledged")
    assert value(metrics, "batch_aborts_total", reason="log") == 1
    hears.batch(BatchReport("t", "t.0", 1, started_ms=0))
    assert pulse._failing is None


@pytest.mark.parametrize(
    ("verdict", "reason", "words"),
    [
        (Verdict.REDO, "rebalance", "its partitions were on the move"),
        (Verdict.MEND, "store", "Redis has lost what its checkpoint continues"),
        (Verdict.RELOAD, "owner_lost", "Redis no longer has this worker as the owner"),
        (Verdict.REJOIN, "fenced", "its transaction cannot go on"),
    ],
)
def test_why_a_batch_was_undone_follows_the_verdict_where_no_error_tells(verdict, reason, words):
    hears, metrics, pulse = made()
    with capture_logs() as lines:
        hears.undone(verdict, None)
    assert words in lines[0]["reason"]
    assert lines[0]["verdict"] == verdict.value
    assert words in pulse._failing[1]
    assert value(metrics, "batch_aborts_total", reason=reason) == 1


def test_every_verdict_that_undoes_a_batch_has_its_words():
    hears, _, _ = made()
    for verdict in set(Verdict) - {Verdict.ADOPT}:
        hears.undone(verdict, None)
