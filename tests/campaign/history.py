"""What happened, in order: the faults, the exits, and the findings they have to explain."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """Something that must not be. ``at_ms`` is the wall clock's time to which it can be traced."""

    kind: str
    what: str
    at_ms: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Event:
    """Something that the campaign did or saw."""

    at_ms: int
    text: str

    def __str__(self) -> str:
        return f"{clock(self.at_ms)} {self.text}"


def clock(at_ms: int) -> str:
    """The time of day in UTC, to a millisecond, as in the workers' logs."""
    return time.strftime("%H:%M:%S", time.gmtime(at_ms // 1000)) + f".{at_ms % 1000:03}"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class History:
    """Kept in memory, and in a file for whom the campaign dies on."""

    path: Path
    events: list[Event] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)

    def tell(self, text: str) -> None:
        event = Event(now_ms(), text)
        self.events.append(event)
        with self.path.open("a") as file:
            file.write(f"{event}\n")

    def fault(self, kind: str, text: str) -> None:
        self.faults[kind] += 1
        self.tell(text)

    def find(self, kind: str, what: str, at_ms: int | None = None) -> None:
        self.findings.append(Finding(kind, what, at_ms or now_ms()))
        self.tell(f"FINDING {kind}: {what.splitlines()[0]}")

    def around(self, at_ms: int, before_s: float = 40, after_s: float = 5) -> list[Event]:
        """The events shortly before and after a time."""
        first, last = at_ms - before_s * 1000, at_ms + after_s * 1000
        return [event for event in self.events if first <= event.at_ms <= last]
