"""What a committed batch is told to have done, and how a worker stands between batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from processor.engine.commit.committer import Work
from processor.engine.commit.protocol import Step
from processor.engine.commit.task import Task
from processor.metrics.progress import BatchReport, Phase
from processor.metrics.standing import Standing
from processor.model.batch import Result
from processor.model.log import TopicPartition

_PHASES: Final[Mapping[Step, Phase]] = {
    Step.STAGE: "stage",
    Step.PRODUCE: "publish",
    Step.FLUSH: "publish",
    Step.WRITE: "publish",
}


def phases_of(poll_s: float, process_s: float, steps: Mapping[Step, float]) -> dict[Phase, float]:
    """Seconds of a batch by phase.

    >>> phases_of(1.0, 2.0, {Step.FLUSH: 0.5, Step.PRODUCE: 0.5, Step.BEGIN: 0.1})
    {'poll': 1.0, 'process': 2.0, 'publish': 1.0, 'commit': 0.1}
    """
    phases: dict[Phase, float] = {"poll": poll_s, "process": process_s}
    for step, seconds in steps.items():
        phase = _PHASES.get(step, "commit")
        phases[phase] = phases.get(phase, 0.0) + seconds
    return phases


def report_of(
    result: Result,
    work: Work,
    tasks: Mapping[TopicPartition, Task],
    *,
    delay: timedelta | None,
) -> BatchReport:
    """The counts of a batch, and how the worker's tasks stand after it; who and when are left out.

    ``delay`` is the watermark's.
    """
    counts = result.counts
    return BatchReport(
        "",
        "",
        0,
        0,
        records_in=counts.read,
        records_out=sum(map(len, result.outputs))
        - result.aside
        + sum(shown.rows.height for shown in result.shown),
        contributed=counts.contributed,
        dead_lettered=counts.dead_lettered,
        late=counts.late,
        skipped=counts.skipped,
        filtered=counts.filtered,
        misplaced=result.misplaced,
        letters=result.letters,
        state_rows=sum(task.rows() for task in tasks.values()),
        state_bytes=sum(task.memory_bytes() for task in tasks.values()),
        checkpoint_bytes=sum(p.bytes for p in work.prepared),
        watermark_ms=_watermarks(tasks, delay),
    )


def standing_of(
    tasks: Mapping[TopicPartition, Task],
    positions: Mapping[TopicPartition, int],
    pending: int,
    delay: timedelta | None,
) -> Standing:
    """How a worker with these tasks stands; ``delay`` is the watermark's."""
    known = dict(tasks)
    return Standing(
        pending=pending,
        positions=positions,
        watermark_ms=_watermarks(known, delay),
        state_rows=sum(task.rows() for task in known.values()),
        state_bytes=sum(task.memory_bytes() for task in known.values()),
    )


def _watermarks(
    tasks: Mapping[TopicPartition, Task], delay: timedelta | None
) -> dict[TopicPartition, int | None]:
    delay_ms = delay.total_seconds() * 1000 if delay else 0
    times = {p: task.event_time_max for p, task in tasks.items()}
    return {p: None if time is None else int(time // 1000 - delay_ms) for p, time in times.items()}
