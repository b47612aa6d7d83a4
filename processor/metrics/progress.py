"""What one batch did, told once and used twice: as metrics and as one line of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from processor.model.letters import Reason
from processor.model.log import TopicPartition

Phase: TypeAlias = Literal["poll", "process", "stage", "publish", "commit"]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One committed batch of one worker.

    ``records_in`` = ``contributed`` + ``filtered`` + ``late`` + ``dead_lettered`` + ``skipped``.
    ``letters`` are dead letters by reason: those of records, and those of groups besides.
    ``batch`` counts this worker's batches since it started. ``phases`` are seconds of work: waiting
    for records is in none of them, and ``started_ms`` is their sum before the batch's end. ``lag``
    is in records; ``watermark_ms`` is milliseconds since 1970, ``None`` before an event time.

    >>> report = BatchReport("rides", "rides.0", 7, started_ms=0, records_in=500,
    ...                      phases={"process": 0.25})
    >>> report.seconds, report.log_fields()["records_per_s"]
    (0.25, 2000)
    """

    topology: str
    worker: str
    batch: int
    started_ms: int
    records_in: int = 0
    records_out: int = 0
    contributed: int = 0
    dead_lettered: int = 0
    late: int = 0
    skipped: int = 0
    filtered: int = 0
    misplaced: int = 0
    letters: Mapping[Reason, int] = field(default_factory=dict)
    phases: Mapping[Phase, float] = field(default_factory=dict)
    state_rows: int = 0
    state_bytes: int = 0
    checkpoint_bytes: int = 0
    snapshot_bytes: int = 0
    lag: Mapping[TopicPartition, int] = field(default_factory=dict)
    watermark_ms: Mapping[TopicPartition, int | None] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long the batch took, without waiting for its first record."""
        return sum(self.phases.values())

    @property
    def ended_ms(self) -> int:
        """When it ended, in milliseconds since 1970."""
        return self.started_ms + round(self.seconds * 1000)

    def watermark_lag_s(self) -> dict[TopicPartition, float]:
        """How far each partition's event time is behind the clock; never negative."""
        return {
            partition: max(0, self.ended_ms - watermark) / 1000
            for partition, watermark in self.watermark_ms.items()
            if watermark is not None
        }

    def log_fields(self) -> dict[str, str | int | float]:
        """One flat line: partitions summed up, the worst watermark, zeros of rare events left out.

        >>> BatchReport("t", "t.0", 1, started_ms=0, late=2).log_fields()["late"]
        2
        """
        fields: dict[str, str | int | float] = {
            "topology": self.topology,
            "worker": self.worker,
            "batch": self.batch,
            "records_in": self.records_in,
            "records_out": self.records_out,
            "contributed": self.contributed,
            "seconds": round(self.seconds, 4),
            "records_per_s": round(self.records_in / self.seconds) if self.seconds else 0,
        }
        rare = {
            "dead_lettered": self.dead_lettered,
            "late": self.late,
            "skipped": self.skipped,
            "filtered": self.filtered,
            "misplaced": self.misplaced,
            "snapshot_bytes": self.snapshot_bytes,
        }
        fields |= {name: count for name, count in rare.items() if count}
        fields |= {
            f"{phase}_s": round(self.phases[phase], 4) for phase in PHASES if phase in self.phases
        }
        fields |= {
            "state_rows": self.state_rows,
            "state_bytes": self.state_bytes,
            "checkpoint_bytes": self.checkpoint_bytes,
            "partitions": len(self.lag),
            "lag_records": sum(self.lag.values()),
        }
        behind = self.watermark_lag_s()
        if behind:
            fields["watermark_lag_s"] = max(behind.values())
        return fields
