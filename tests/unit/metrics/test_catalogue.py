from importlib.metadata import version
from typing import get_args

from processor.metrics.catalogue import AbortReason, CheckpointKind, Metrics, RebalanceKind
from processor.metrics.progress import PHASES, BatchReport


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
                letters={"decode": 1, "group": 4},
                phases={"process": 0.5},
            )
        )
    assert value(metrics, "records_in_total") == 10
    assert value(metrics, "records_out_total") == 8
    assert value(metrics, "records_contributed_total") == 14
    assert value(metrics, "records_dead_lettered_total") == 2
    assert value(metrics, "dead_letters_total", reason="decode") == 2
    assert value(metrics, "dead_letters_total", reason="group") == 8
    assert value(metrics, "records_late_total") == 4
    assert value(metrics, "records_skipped_total") == 6
    assert value(metrics, "records_filtered_total") == 12
    assert value(metrics, "batches_total") == 2
    assert value(metrics, "checkpoint_bytes_total", kind="delta") == 20
    assert value(metrics, "checkpoint_bytes_total", kind="snapshot") == 200
    assert value(metrics, "batch_duration_seconds_sum", phase="process") == 1.0
    assert value(metrics, "batch_records_count") == 2


def test_a_batch_tells_when_it_was_committed():
    metrics = Metrics()
    metrics.observe(report(phases={"poll": 0.25, "process": 0.25}))
    assert value(metrics, "last_commit_timestamp_seconds") == 10.5


def test_every_counter_is_there_from_the_start_with_each_value_of_its_labels():
    metrics = Metrics()
    metrics.begin("t")
    assert value(metrics, "last_commit_timestamp_seconds") == 0
    for name in ("in", "contributed", "out", "dead_lettered", "late", "skipped", "filtered"):
        assert value(metrics, f"records_{name}_total") == 0
    assert value(metrics, "registry_failures_total") == 0
    assert value(metrics, "batches_total") == value(metrics, "batch_records_count") == 0
    for phase in PHASES:
        assert value(metrics, "batch_duration_seconds_count", phase=phase) == 0
    for reason in get_args(AbortReason):
        assert value(metrics, "batch_aborts_total", reason=reason) == 0
    for reason in ("decode", "watermark", "step", "write", "group"):
        assert value(metrics, "dead_letters_total", reason=reason) == 0
    for kind in get_args(RebalanceKind):
        assert value(metrics, "rebalances_total", kind=kind) == 0
    for kind in get_args(CheckpointKind):
        assert value(metrics, "checkpoint_bytes_total", kind=kind) == 0
        assert value(metrics, "checkpoint_failures_total", kind=kind) == 0


def test_what_happens_later_adds_no_series_to_those_of_the_start():
    metrics = Metrics()
    metrics.begin("t")
    before = series(metrics)
    metrics.observe(report(phases=dict.fromkeys(PHASES, 0.1), records_in=1, snapshot_bytes=3))
    metrics.aborted("t", "log")
    metrics.rebalanced("t", "lost")
    metrics.unsaved("t", "snapshot")
    metrics.unanswered("t")
    assert value(metrics, "registry_failures_total") == 1
    assert series(metrics) == before


def series(metrics):
    return {
        (sample.name, *sorted(sample.labels.items()))
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def test_what_runs_is_told_with_its_process():
    found = {name: dict(labels) for name, *labels in series(Metrics())}
    assert found["processor_build_info"]["version"] == version("processor")
    assert {"python", "polars", "confluent_kafka", "redis"} <= found["processor_build_info"].keys()
    assert "process_cpu_seconds_total" in found
    assert "process_start_time_seconds" in found


def test_checkpoints_that_were_not_taken_are_counted():
    metrics = Metrics()
    metrics.unsaved("t", "delta")
    assert value(metrics, "checkpoint_failures_total", kind="delta") == 1


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
