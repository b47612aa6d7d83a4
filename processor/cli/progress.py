"""How far a command has come that reads for long: a line on standard error now and then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from processor import telling
from processor.clock import Clock, SystemClock
from processor.connectors.ports import Log
from processor.model.log import Message, TopicPartition

EVERY_S: Final = 5.0


class Progress:
    """Counts what a command has done of so much, and tells it every five seconds.

    Args:
        what: what is done, as in "verify".
        unit: of what, as in "offsets".
        total: how much there is to do.

    >>> progress = Progress("verify", "offsets", 10)
    >>> progress.done(3)
    >>> progress.text()
    'verify: 3 of 10 offsets (30 %)'
    """

    def __init__(self, what: str, unit: str, total: int, clock: Clock | None = None) -> None:
        self._what, self._unit, self._total = what, unit, total
        self._clock = clock or SystemClock()
        self._count = 0
        self._told_s = self._clock.monotonic_s()

    def done(self, count: int) -> None:
        """So much more is done."""
        self._count = min(self._total, self._count + count)
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= EVERY_S:
            self._told_s = now_s
            telling.line(self.text(), done=self._count, total=self._total)

    def text(self) -> str:
        """How far it is."""
        share = 100 * self._count // self._total if self._total else 100
        return f"{self._what}: {self._count:,} of {self._total:,} {self._unit} ({share} %)"

    def scan(
        self, log: Log, partition: TopicPartition, start: int, end: int, *, committed: bool = True
    ) -> Iterator[Sequence[Message]]:
        """`Log.scan`, counted by offsets."""
        at = start
        for messages in log.scan(partition, start, end, committed=committed):
            yield messages
            if messages:
                behind = (messages[-1].offset() or 0) + 1
                self.done(behind - at)
                at = behind
        self.done(max(0, end - at))
