"""Every metric there is, with its labels. A metric is an attribute, so a wrong name fails mypy.

Names follow Prometheus: base units, ``_total`` for counters, the prefix ``processor_``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from processor.metrics.progress import BatchReport
from processor.model.log import TopicPartition

AbortReason: TypeAlias = Literal[
    "record",
    "log",
    "outcome_unknown",
    "fenced",
    "store",
    "owner_lost",
    "rebalance",
    "shutdown",
    "too_slow",
]
RebalanceKind: TypeAlias = Literal["assigned", "revoked", "lost"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RECORDS: Final = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
_PREFIX: Final = "processor"


class Metrics:
    """One worker process's metrics, in a registry of their own.

    >>> metrics = Metrics()
    >>> metrics.observe(BatchReport("rides", "rides.0", 1, started_ms=0, records_in=3))
    >>> metrics.registry.get_sample_value("processor_records_in_total", {"topology": "rides"})
    3.0
    """

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.records_in: Final = self._counter(
            "records_in", "Records read, in batches that were committed."
        )
        self.records_contributed: Final = self._counter(
            "records_contributed",
            "Records that went into outputs or state: in = contributed + filtered + late + "
            "dead_lettered + skipped.",
        )
        self.records_out: Final = self._counter("records_out", "Records published and committed.")
        self.records_dead_lettered: Final = self._counter(
            "records_dead_lettered", "Records that could not be processed, sent to dead letters."
        )
        self.records_late: Final = self._counter(
            "records_late", "Records behind the watermark, too late for their window."
        )
        self.records_skipped: Final = self._counter(
            "records_skipped", "Records that failed and were dropped, as the topology says."
        )
        self.records_filtered: Final = self._counter(
            "records_filtered", "Records that a filter did not let through."
        )
        self.misplaced_keys: Final = self._counter(
            "misplaced_keys",
            "Records in another partition than that of their key, of the few that are looked at.",
        )
        self.batches: Final = self._counter("batches", "Batches committed.")
        self.batch_aborts: Final = self._counter(
            "batch_aborts", "Batches aborted and tried again or given up.", ["reason"]
        )
        self.rebalances: Final = self._counter(
            "rebalances", "Changes of this worker's partitions.", ["kind"]
        )
        self.batch_duration: Final = Histogram(
            "batch_duration_seconds",
            "Time of a committed batch by phase.",
            ["topology", "phase"],
            namespace=_PREFIX,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_records: Final = Histogram(
            "batch_records",
            "Records read per committed batch.",
            ["topology"],
            namespace=_PREFIX,
            buckets=_RECORDS,
            registry=self.registry,
        )
        self.state_rows: Final = self._gauge("state_rows", "Rows of state held in memory.")
        self.state_bytes: Final = self._gauge("state_bytes", "Bytes of state held in memory.")
        self.checkpoint_bytes: Final = self._counter(
            "checkpoint_bytes", "Bytes of checkpoints written to the store.", ["kind"]
        )
        self.consumer_lag: Final = self._gauge(
            "consumer_lag_records", "Records behind the partition's end.", ["topic", "partition"]
        )
        self.watermark_lag: Final = self._gauge(
            "watermark_lag_seconds",
            "How far the partition's event time is behind the clock.",
            ["topic", "partition"],
        )
        self._shown: Final[set[tuple[str, TopicPartition]]] = set()

    def observe(self, report: BatchReport) -> None:
        """Count a committed batch."""
        topology = report.topology
        for counter, count in (
            (self.records_in, report.records_in),
            (self.records_out, report.records_out),
            (self.records_contributed, report.contributed),
            (self.records_dead_lettered, report.dead_lettered),
            (self.records_late, report.late),
            (self.records_skipped, report.skipped),
            (self.records_filtered, report.filtered),
            (self.misplaced_keys, report.misplaced),
            (self.batches, 1),
        ):
            counter.labels(topology).inc(count)
        for phase, seconds in report.phases.items():
            self.batch_duration.labels(topology, phase).observe(seconds)
        self.batch_records.labels(topology).observe(report.records_in)
        self.state_rows.labels(topology).set(report.state_rows)
        self.state_bytes.labels(topology).set(report.state_bytes)
        self.checkpoint_bytes.labels(topology, "delta").inc(report.checkpoint_bytes)
        self.checkpoint_bytes.labels(topology, "snapshot").inc(report.snapshot_bytes)
        for partition, lag in report.lag.items():
            self._labels(self.consumer_lag, topology, partition).set(lag)
        for partition, behind_s in report.watermark_lag_s().items():
            self._labels(self.watermark_lag, topology, partition).set(behind_s)

    def aborted(self, topology: str, reason: AbortReason) -> None:
        """Count an aborted batch.

        >>> Metrics().aborted("rides", "fenced")
        """
        self.batch_aborts.labels(topology, reason).inc()

    def rebalanced(self, topology: str, kind: RebalanceKind) -> None:
        """Count a change of the assignment.

        >>> Metrics().rebalanced("rides", "revoked")
        """
        self.rebalances.labels(topology, kind).inc()

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Show the partitions no more: another worker has them, and a stale gauge would lie.

        >>> Metrics().forget([TopicPartition("rides", 0)])
        """
        gone = set(partitions)
        for topology, partition in [shown for shown in self._shown if shown[1] in gone]:
            labels = (topology, partition.topic, str(partition.partition))
            for gauge in (self.consumer_lag, self.watermark_lag):
                gauge.labels(*labels)  # makes it, since removing what is not there is an error
                gauge.remove(*labels)
            self._shown.discard((topology, partition))

    def _labels(self, gauge: Gauge, topology: str, partition: TopicPartition) -> Gauge:
        self._shown.add((topology, partition))
        return gauge.labels(topology, partition.topic, str(partition.partition))

    def _counter(self, name: str, help_: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(
            name, help_, ["topology", *labels], namespace=_PREFIX, registry=self.registry
        )

    def _gauge(self, name: str, help_: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, help_, ["topology", *labels], namespace=_PREFIX, registry=self.registry)
