"""Sees that many records are late or set aside: the run goes on, and nobody may notice."""

from __future__ import annotations

from typing import Final

import structlog

from processor.metrics.progress import BatchReport

RECORDS: Final = 1_000
SHARE: Final = 0.01
AGAIN_MS: Final = 60_000
LATE: Final = (
    "`processor late` shows how late they are and what another delay would have kept; where the "
    "topic was written by another topology, let its records carry the watermark: docs/guide.md, "
    "*Records that were ordered, and are late*"
)
SET_ASIDE: Final = (
    "the header processor.error of each record in {topic} says why, and processor.stage where: "
    "correct the producer or the topology"
)

log_lines = structlog.get_logger("processor")


class Losses:
    """Warns when of a thousand records more than a hundredth were late, or could not be used.

    Once a minute at most, for either. ``dead_letters`` is where those are that could not be used.

    >>> watch = Losses("rides", "rides-dead-letters")
    >>> watch.see(BatchReport("rides", "rides.0", 1, started_ms=0, records_in=900, late=0))
    """

    def __init__(self, app: str, dead_letters: str) -> None:
        self._app = app
        aside = SET_ASIDE.format(topic=dead_letters)
        self._told = {"late": ("many records are late", LATE),
                      "dead_lettered": ("many records are set aside", aside)}  # fmt: skip
        self._quiet_until_ms = dict.fromkeys(self._told, 0)
        self._clear()

    def _clear(self) -> None:
        self._records = 0
        self._lost = dict.fromkeys(self._told, 0)

    def see(self, report: BatchReport) -> None:
        """A batch was committed."""
        self._records += report.records_in
        for kind in self._lost:
            self._lost[kind] += getattr(report, kind)
        if self._records < RECORDS:
            return
        for kind, lost in self._lost.items():
            if lost > self._records * SHARE and report.started_ms >= self._quiet_until_ms[kind]:
                self._quiet_until_ms[kind] = report.started_ms + AGAIN_MS
                event, remedy = self._told[kind]
                share = f"{lost / self._records:.1%}"
                log_lines.warning(
                    event, topology=self._app, of=self._records, share=share, remedy=remedy,
                    **{kind: lost},
                )  # fmt: skip
        self._clear()
