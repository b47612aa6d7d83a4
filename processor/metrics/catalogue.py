"""Every counter and histogram there is, with its labels.

A metric is an attribute, so a wrong name fails mypy. What tells how a worker stands is in
`processor.metrics.gauges`. Names follow Prometheus: base units, ``_total`` for counters, the
prefix ``processor_``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Final, Literal, TypeAlias, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)

from processor.metrics.gauges import Gauges
from processor.metrics.progress import PHASES, BatchReport
from processor.metrics.standing import Health
from processor.model.letters import REASONS

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
CheckpointKind: TypeAlias = Literal["delta", "snapshot"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RECORDS: Final = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
_PREFIX: Final = "processor"
_LIBRARIES: Final = ("confluent-kafka", "polars", "redis")


class Metrics:
    """One worker process's metrics, in a registry of their own.

    >>> metrics = Metrics(); metrics.begin("rides")
    >>> metrics.registry.get_sample_value("processor_records_late_total", {"topology": "rides"})
    0.0
    >>> metrics.observe(BatchReport("rides", "rides.0", 1, started_ms=0, records_in=3))
    >>> metrics.registry.get_sample_value("processor_records_in_total", {"topology": "rides"})
    3.0
    """

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("build", "What is running.", namespace=_PREFIX, registry=self.registry).info(_build())
        self._all: Final[list[tuple[Counter | Gauge | Histogram, list[tuple[str, ...]]]]] = []
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
        self.dead_letters: Final = self._counter(
            "dead_letters",
            "Dead letters by what set them aside: of records, and of groups of an aggregate.",
            reason=REASONS,
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
            "batch_aborts",
            "Batches aborted and tried again or given up.",
            reason=get_args(AbortReason),
        )
        self.rebalances: Final = self._counter(
            "rebalances", "Changes of this worker's partitions.", kind=get_args(RebalanceKind)
        )
        self.checkpoint_bytes: Final = self._counter(
            "checkpoint_bytes",
            "Bytes of checkpoints written to the store.",
            kind=get_args(CheckpointKind),
        )
        self.checkpoint_failures: Final = self._counter(
            "checkpoint_failures",
            "Checkpoints that the store did not take.",
            kind=get_args(CheckpointKind),
        )
        self.registry_failures: Final = self._counter(
            "registry_failures",
            "Questions that a schema registry did not answer: their batch waits, and asks again.",
        )
        self.batch_duration: Final = self._histogram(
            "batch_duration_seconds",
            "Time of a committed batch by phase; waiting for records is not in it.",
            _SECONDS,
            phase=PHASES,
        )
        self.batch_records: Final = self._histogram(
            "batch_records", "Records read per committed batch.", _RECORDS
        )
        self.last_commit: Final = Gauge(
            "last_commit_timestamp_seconds",
            "When the last batch was committed, in seconds since 1970; 0 before the first.",
            ["topology"],
            namespace=_PREFIX,
            registry=self.registry,
        )
        self._all.append((self.last_commit, [()]))

    def begin(self, topology: str) -> None:
        """Show every counter of the topology, at 0, for each value that its labels can have."""
        for metric, known in self._all:
            for labels in known:
                metric.labels(topology, *labels)

    def shows(self, topology: str, health: Callable[[], Health]) -> None:
        """Show how a worker stands; ``health`` is asked with every scrape.

        >>> from processor.metrics.standing import Standing
        >>> metrics = Metrics()
        >>> metrics.shows("rides", lambda: Health(Standing(), 0))
        >>> metrics.registry.get_sample_value("processor_ready", {"topology": "rides"})
        0.0
        """
        self.registry.register(Gauges(topology, health))

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
        for reason, count in report.letters.items():
            self.dead_letters.labels(topology, reason).inc(count)
        for phase, seconds in report.phases.items():
            self.batch_duration.labels(topology, phase).observe(seconds)
        self.batch_records.labels(topology).observe(report.records_in)
        self.checkpoint_bytes.labels(topology, "delta").inc(report.checkpoint_bytes)
        self.checkpoint_bytes.labels(topology, "snapshot").inc(report.snapshot_bytes)
        self.last_commit.labels(topology).set(report.ended_ms / 1000)

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

    def unsaved(self, topology: str, kind: CheckpointKind) -> None:
        """Count a checkpoint that the store did not take.

        >>> Metrics().unsaved("rides", "snapshot")
        """
        self.checkpoint_failures.labels(topology, kind).inc()

    def unanswered(self, topology: str) -> None:
        """Count a question that the schema registry did not answer.

        >>> Metrics().unanswered("rides")
        """
        self.registry_failures.labels(topology).inc()

    def _counter(self, name: str, help_: str, **labels: tuple[str, ...]) -> Counter:
        made = Counter(
            name, help_, ["topology", *labels], namespace=_PREFIX, registry=self.registry
        )
        self._all.append((made, [*product(*labels.values())]))
        return made

    def _histogram(
        self, name: str, help_: str, buckets: tuple[float, ...], **labels: tuple[str, ...]
    ) -> Histogram:
        made = Histogram(
            name,
            help_,
            ["topology", *labels],
            namespace=_PREFIX,
            buckets=buckets,
            registry=self.registry,
        )
        self._all.append((made, [*product(*labels.values())]))
        return made


def _build() -> dict[str, str]:
    """Versions of the processor, of Python and of what it rests on."""
    found = {"version": _version("processor"), "python": platform.python_version()}
    return found | {name.replace("-", "_"): _version(name) for name in _LIBRARIES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
