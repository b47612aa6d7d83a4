"""What a worker tells: as metrics and as lines of the log."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from processor.engine.heal import Healed
from processor.engine.options import Listener
from processor.engine.pace import TooSlowError
from processor.engine.protocol import Verdict
from processor.engine.upgrade import Upgraded
from processor.errors import ProcessorError
from processor.metrics.catalogue import AbortReason, Metrics, RebalanceKind
from processor.metrics.progress import BatchReport
from processor.model.log import Assigned, Rebalance, Revoked

log_lines = structlog.get_logger("processor")


def listener(app: str, metrics: Metrics, on_batch: Callable[[BatchReport], None]) -> Listener:
    """Metrics and log lines of the application ``app``; ``on_batch`` hears of batches besides."""

    def batch(report: BatchReport) -> None:
        metrics.observe(report)
        log_lines.info("batch", **report.log_fields())
        on_batch(report)

    def change(event: Rebalance) -> None:
        kinds: dict[type[Rebalance], RebalanceKind] = {Assigned: "assigned", Revoked: "revoked"}
        kind = kinds.get(type(event), "lost")
        if kind != "assigned":
            metrics.forget(event.partitions)
        metrics.rebalanced(app, kind)
        log_lines.info(
            "partitions changed", kind=kind, topology=app,
            partitions=sorted(map(str, event.partitions)),
        )  # fmt: skip

    def undone(verdict: Verdict, error: ProcessorError | None) -> None:
        reason: AbortReason = "fenced" if verdict is Verdict.REJOIN else "rebalance"
        if error is not None and verdict is not Verdict.REJOIN:
            reason = "too_slow" if isinstance(error, TooSlowError) else "log"
        metrics.aborted(app, reason)
        message = error.message if error else "its partitions were on the move"
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

    return Listener(batch, change, undone, healed, upgraded, noted)
