"""Where the time comes from: the only module that reads a clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for records and people, monotonic time for intervals."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 in UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()


class ManualClock:
    """A clock that a test moves.

    >>> clock = ManualClock(); clock.advance(1.5); clock.now_ms()
    1500
    """

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970 in UTC, as set."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """The same moment in seconds."""
        return self._now_ms / 1000

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds``."""
        self._now_ms += round(seconds * 1000)
