from prometheus_client import generate_latest

from processor.metrics.catalogue import Metrics
from processor.metrics.progress import BatchReport
from processor.model.log import TopicPartition

A = TopicPartition("rides", 0)
B = TopicPartition("rides", 1)


def report(**values):
    return BatchReport("t", "t.0", 1, started_ms=10_000, **values)


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"processor_{name}", {"topology": "t", **labels})


def test_counters_add_up_over_batches():
    metrics = Metrics()
    for _ in range(2):
        metrics.observe(
            report(
                records_in=5,
                records_out=4,
                contributed=7,
                dead_lettered=1,
                late=2,
                skipped=3,
                filtered=6,
                checkpoint_bytes=10,
                snapshot_bytes=100,
                phases={"process": 0.5},
            )
        )
    assert value(metrics, "records_in_total") == 10
    assert value(metrics, "records_out_total") == 8
    assert value(metrics, "records_contributed_total") == 14
    assert value(metrics, "records_dead_lettered_total") == 2
    assert value(metrics, "records_late_total") == 4
    assert value(metrics, "records_skipped_total") == 6
    assert value(metrics, "records_filtered_total") == 12
    assert value(metrics, "batches_total") == 2
    assert value(metrics, "checkpoint_bytes_total", kind="delta") == 20
    assert value(metrics, "checkpoint_bytes_total", kind="snapshot") == 200
    assert value(metrics, "batch_duration_seconds_sum", phase="process") == 1.0
    assert value(metrics, "batch_records_count") == 2


def test_gauges_show_the_last_batch():
    metrics = Metrics()
    metrics.observe(report(state_rows=9, state_bytes=90, lag={A: 7}, watermark_ms={A: 8_500}))
    metrics.observe(report(state_rows=3, state_bytes=30, lag={A: 2}, watermark_ms={A: 9_500}))
    assert value(metrics, "state_rows") == 3
    assert value(metrics, "state_bytes") == 30
    assert value(metrics, "consumer_lag_records", topic="rides", partition="0") == 2
    assert value(metrics, "watermark_lag_seconds", topic="rides", partition="0") == 0.5


def test_partitions_that_are_gone_are_shown_no_more():
    metrics = Metrics()
    metrics.observe(report(lag={A: 1, B: 2}, watermark_ms={A: 1, B: None}))
    metrics.forget([A, B, TopicPartition("other", 3)])
    metrics.forget([A])
    assert b'partition="' not in generate_latest(metrics.registry)
    metrics.observe(report(lag={B: 5}))
    assert value(metrics, "consumer_lag_records", topic="rides", partition="1") == 5


def test_aborts_and_rebalances_are_counted_by_cause():
    metrics = Metrics()
    metrics.aborted("t", "fenced")
    metrics.rebalanced("t", "lost")
    assert value(metrics, "batch_aborts_total", reason="fenced") == 1
    assert value(metrics, "rebalances_total", kind="lost") == 1


def test_two_workers_in_one_process_do_not_share_numbers():
    first, second = Metrics(), Metrics()
    first.observe(report(records_in=1))
    assert value(second, "records_in_total") is None
