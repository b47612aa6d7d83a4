"""What a worker tells: as metrics and as lines of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from processor.app.health import Pulse
from processor.app.losses import Losses
from processor.engine.commit.protocol import Verdict
from processor.engine.restore.heal import Healed
from processor.engine.restore.upgrade import Upgraded
from processor.engine.running.options import Listener
from processor.engine.running.pace import TooSlowError
from processor.errors import ProcessorError
from processor.metrics.catalogue import AbortReason, CheckpointKind, Metrics, RebalanceKind
from processor.metrics.progress import BatchReport
from processor.model.log import Assigned, Rebalance, Revoked
from processor.plan.nodes import Plan

log_lines = structlog.get_logger("processor")

# Why a batch was undone, where no error tells.
_SILENT: Final[Mapping[Verdict, tuple[AbortReason, str]]] = {
    Verdict.REDO: ("rebalance", "its partitions were on the move"),
    Verdict.MEND: (
        "store",
        "Redis has lost what its checkpoint continues: that is written anew from memory",
    ),
    Verdict.RELOAD: (
        "owner_lost",
        "Redis no longer has this worker as the owner of its partitions: they are loaded anew",
    ),
    Verdict.REJOIN: ("fenced", "its transaction cannot go on: the worker joins its group anew"),
}


def listener(
    plan: Plan,
    metrics: Metrics,
    on_batch: Callable[[BatchReport], None],
    pulse: Pulse,
) -> Listener:
    """Metrics and log lines of an application; ``on_batch`` hears of batches besides.

    ``pulse`` hears of what goes well and what does not.
    """
    losses = Losses(plan.app, plan.dead_letters())

    def batch(report: BatchReport) -> None:
        metrics.observe(report)
        losses.see(report)
        pulse.well()
        log_lines.info("batch", **report.log_fields())
        on_batch(report)

    def change(event: Rebalance) -> None:
        kinds: dict[type[Rebalance], RebalanceKind] = {Assigned: "assigned", Revoked: "revoked"}
        kind = kinds.get(type(event), "lost")
        metrics.rebalanced(plan.app, kind)
        # Who loses partitions was away from the group for too long, and does not know it yet.
        tell = log_lines.warning if kind == "lost" else log_lines.info
        tell(
            "partitions changed", kind=kind, topology=plan.app,
            partitions=sorted(map(str, event.partitions)),
        )  # fmt: skip

    def undone(verdict: Verdict, error: ProcessorError | None) -> None:
        reason, message = _why(verdict, error)
        metrics.aborted(plan.app, reason)
        pulse.failed(message)
        log_lines.warning("batch undone", topology=plan.app, verdict=verdict.value, reason=message)

    def healed(event: Healed) -> None:
        log_lines.warning(
            "lost checkpoints healed", topology=plan.app, task=event.task, how=event.how,
            records=event.records, offset_from=event.offset_from, offset_to=event.offset_to,
        )  # fmt: skip

    def upgraded(event: Upgraded) -> None:
        log_lines.warning(
            "state taken over by a changed topology", topology=plan.app, task=event.task,
            offset=event.offset, operators=event.table.splitlines(),
        )  # fmt: skip

    def noted(what: str) -> None:
        log_lines.warning("see whether this is right", topology=plan.app, what=what)

    def unsaved(kind: CheckpointKind, error: ProcessorError) -> None:
        metrics.unsaved(plan.app, kind)
        if kind == "delta":
            metrics.aborted(plan.app, "store")
            pulse.failed(error.message)
        log_lines.warning(
            "checkpoint not taken", topology=plan.app, kind=kind, reason=error.message
        )

    return Listener(batch, change, undone, healed, upgraded, noted, unsaved)


def _why(verdict: Verdict, error: ProcessorError | None) -> tuple[AbortReason, str]:
    """Why a batch was undone: the kind for the metric, and words."""
    kind, silent = _SILENT[verdict]
    if error is None:
        return kind, silent
    if verdict is Verdict.REJOIN:
        return kind, error.message
    return "too_slow" if isinstance(error, TooSlowError) else "log", error.message
