"""When the broker and Redis were away, and for how long at a stretch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.campaign.exits import Away


@dataclass
class _Of:
    since: float | None = None
    # Those that are over: when each began and ended.
    over: list[tuple[float, float]] = field(default_factory=list)

    def look(self, now: float, *, away: bool) -> None:
        if away and self.since is None:
            self.since = now
        elif not away and self.since is not None:
            self.over.append((self.since, now))
            self.since = None

    def longest_since(self, start: float, now: float) -> float:
        stretches = [*self.over, *([(self.since, now)] if self.since is not None else [])]
        return max((end - began for began, end in stretches if end >= start), default=0.0)


class Outages:
    """Told with every turn of the campaign how the two are."""

    def __init__(self) -> None:
        self._broker, self._store = _Of(), _Of()

    def look(self, *, broker_away: bool, store_away: bool) -> None:
        now = time.monotonic()
        self._broker.look(now, away=broker_away)
        self._store.look(now, away=store_away)

    def now(self) -> tuple[bool, bool]:
        """Whether the broker is away, and whether Redis is."""
        return self._broker.since is not None, self._store.since is not None

    def longest_since(self, start: float) -> Away:
        """The longest outage of each that was not over at a time."""
        now = time.monotonic()
        return Away(self._broker.longest_since(start, now), self._store.longest_since(start, now))
