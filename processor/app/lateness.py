"""Sees that many records are late: each of them is lost to its window, which nobody may notice."""

from __future__ import annotations

from typing import Final

import structlog

from processor.metrics.progress import BatchReport

RECORDS: Final = 1_000
SHARE: Final = 0.01
AGAIN_MS: Final = 60_000
REMEDY: Final = (
    "`processor late` shows how late they are and what another delay would have kept; where the "
    "topic was written by another topology, let its records carry the watermark: docs/guide.md, "
    "*Records that were ordered, and are late*"
)

log_lines = structlog.get_logger("processor")


class Lateness:
    """Warns when of a thousand records more than a hundredth were late; once a minute at most.

    >>> watch = Lateness("rides")
    >>> watch.see(BatchReport("rides", "rides.0", 1, started_ms=0, records_in=900, late=0))
    """

    def __init__(self, app: str) -> None:
        self._app = app
        self._records = self._late = 0
        self._quiet_until_ms = 0

    def see(self, report: BatchReport) -> None:
        """A batch was committed."""
        self._records += report.records_in
        self._late += report.late
        if self._records < RECORDS:
            return
        records, late = self._records, self._late
        self._records = self._late = 0
        if late > records * SHARE and report.started_ms >= self._quiet_until_ms:
            self._quiet_until_ms = report.started_ms + AGAIN_MS
            log_lines.warning(
                "many records are late", topology=self._app, late=late, of=records,
                share=f"{late / records:.1%}", remedy=REMEDY,
            )  # fmt: skip
