"""What a worker tells: as metrics and as lines of the log."""

from __future__ import annotations

from collections.abc import Callable

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
        reason: AbortReason = "fenced" if verdict is Verdict.REJOIN else "rebalance"
        if error is not None and verdict is not Verdict.REJOIN:
            reason = "too_slow" if isinstance(error, TooSlowError) else "log"
        metrics.aborted(app, reason)
        message = error.message if error else "its partitions were on the move"
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
