"""What a worker tells: as metrics and as lines of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from processor.app.health import Pulse
from processor.app.lateness import Lateness
from processor.engine.heal import Healed
from processor.engine.options import Listener
from processor.engine.pace import TooSlowError
from processor.engine.protocol import Verdict
from processor.engine.upgrade import Upgraded
from processor.errors import ProcessorError
from processor.metrics.catalogue import AbortReason, CheckpointKind, Metrics, RebalanceKind
from processor.metrics.progress import BatchReport
from processor.model.log import Assigned, Rebalance, Revoked

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
    app: str,
    metrics: Metrics,
    on_batch: Callable[[BatchReport], None],
    pulse: Pulse,
) -> Listener:
    """Metrics and log lines of the application ``app``; ``on_batch`` hears of batches besides.

    ``pulse`` hears of what goes well and what does not.
    """
    lateness = Lateness(app)

    def batch(report: BatchReport) -> None:
        metrics.observe(report)
        lateness.see(report)
        pulse.well()
        log_lines.info("batch", **report.log_fields())
        on_batch(report)

    def change(event: Rebalance) -> None:
        kinds: dict[type[Rebalance], RebalanceKind] = {Assigned: "assigned", Revoked: "revoked"}
        kind = kinds.get(type(event), "lost")
        metrics.rebalanced(app, kind)
        # Who loses partitions was away from the group for too long, and does not know it yet.
        tell = log_lines.warning if kind == "lost" else log_lines.info
        tell(
            "partitions changed", kind=kind, topology=app,
            partitions=sorted(map(str, event.partitions)),
        )  # fmt: skip

    def undone(verdict: Verdict, error: ProcessorError | None) -> None:
        reason, message = _why(verdict, error)
        metrics.aborted(app, reason)
        pulse.failed(message)
        log_lines.warning("batch undone", topology=app, verdict=verdict.value, reason=message)

    def healed(event: Healed) -> None:
        log_lines.warning(
            "lost checkpoints healed", topology=app, task=event.task, how=event.how,
            records=event.records, offset_from=event.offset_from, offset_to=event.offset_to,
        )  # fmt: skip

    def upgraded(event: Upgraded) -> None:
        log_lines.warning(
            "state taken over by a changed topology", topology=app, task=event.task,
            offset=event.offset, operators=event.table.splitlines(),
        )  # fmt: skip

    def noted(what: str) -> None:
        log_lines.warning("see whether this is right", topology=app, what=what)

    def unsaved(kind: CheckpointKind, error: ProcessorError) -> None:
        metrics.unsaved(app, kind)
        if kind == "delta":
            metrics.aborted(app, "store")
            pulse.failed(error.message)
        log_lines.warning("checkpoint not taken", topology=app, kind=kind, reason=error.message)

    return Listener(batch, change, undone, healed, upgraded, noted, unsaved)


def _why(verdict: Verdict, error: ProcessorError | None) -> tuple[AbortReason, str]:
    """Why a batch was undone: the kind for the metric, and words."""
    kind, silent = _SILENT[verdict]
    if error is None:
        return kind, silent
    if verdict is Verdict.REJOIN:
        return kind, error.message
    return "too_slow" if isinstance(error, TooSlowError) else "log", error.message
