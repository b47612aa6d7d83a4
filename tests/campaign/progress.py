"""Watches the groups' committed offsets, from a thread of its own: does every partition go on?"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.campaign.terms import PARTITIONS

LOOK_S = 0.5
ANSWER_S = 2.0


@dataclass(frozen=True)
class Seen:
    """What was seen at a time: where each group stands, and where the input ends."""

    at_s: float
    committed: Mapping[str, Mapping[int, int]]
    ends: Mapping[int, int]


class Watch(threading.Thread):
    """Asks again and again; ``newest`` is the last answer of the broker."""

    def __init__(self, bootstrap_servers: str, groups: Sequence[str], topic: str) -> None:
        super().__init__(daemon=True)
        self.newest: Seen | None = None
        self.problem = ""
        self._topic, self._over = topic, threading.Event()
        settings = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
        settings["reconnect.backoff.max.ms"] = 500
        self._admin = AdminClient(settings)
        # Positions as they are, also while a transaction is open: this is only a look.
        settings |= {"isolation.level": "read_uncommitted", "enable.auto.commit": False}
        self._readers = {group: Consumer(settings | {"group.id": group}) for group in groups}

    def run(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                self.newest, self.problem = self._look(), ""
            except Exception as error:  # the watch goes on, whatever the client meets
                self.problem = f"; the watch: {error}"

    def _look(self) -> Seen:
        wanted = [TopicPartition(self._topic, p) for p in range(PARTITIONS)]
        committed = {
            group: {p.partition: max(p.offset, 0) for p in reader.committed(wanted, ANSWER_S)}
            for group, reader in self._readers.items()
        }
        # Else it asks with an older leader's epoch for ever, once a broker has come back.
        self._admin.list_topics(timeout=ANSWER_S)
        asked = self._admin.list_offsets(
            dict.fromkeys(wanted, OffsetSpec.latest()), request_timeout=ANSWER_S
        )
        ends = {p.partition: answer.result(ANSWER_S + 1).offset for p, answer in asked.items()}
        return Seen(time.monotonic(), committed, ends)

    def close(self) -> None:
        self._over.set()
        self.join(10)
        for reader in self._readers.values():
            reader.close()


@dataclass
class Past:
    """Sees that the broker tells positions which are older than it told before.

    A coordinator of Kafka 4.1 that has loaded its log after a kill may have read a part of it
    (`processor/engine/commit/newest.py`). The workers wait for an operator then, and say so.
    """

    _furthest: dict[tuple[str, int], int] = field(default_factory=dict)
    _since_s: float | None = None

    def look(self, seen: Seen) -> tuple[list[str], float]:
        """The groups that it is so of now, and for how many seconds it is so."""
        told = {(g, p): at for g, found in seen.committed.items() for p, at in found.items()}
        behind = sorted({g for (g, p), at in told.items() if at < self._furthest.get((g, p), 0)})
        for place, at in told.items():
            self._furthest[place] = max(at, self._furthest.get(place, 0))
        self._since_s = (self._since_s or seen.at_s) if behind else None
        return behind, seen.at_s - (self._since_s or seen.at_s)

    def begin_anew(self) -> None:
        """Count the seconds from now on: something was done about it."""
        self._since_s = None


@dataclass
class Stalls:
    """How long each partition of each group has stood still though there was something to do.

    Time counts only while nothing hinders the group: see `look`.
    """

    longest: dict[str, tuple[float, int]] = field(default_factory=dict)
    _at: dict[tuple[str, int], int] = field(default_factory=dict)
    _since: dict[tuple[str, int], float] = field(default_factory=dict)

    def look(self, seen: Seen, hindered: Mapping[str, bool]) -> dict[str, dict[int, float]]:
        """By group and partition, the seconds that it stands still now."""
        standing: dict[str, dict[int, float]] = {}
        for group, committed in seen.committed.items():
            for p, offset in committed.items():
                moved = self._at.get((group, p)) != offset
                if moved or hindered[group] or offset >= seen.ends[p]:
                    self._since[group, p] = seen.at_s
                self._at[group, p] = offset
                still = seen.at_s - self._since[group, p]
                standing.setdefault(group, {})[p] = still
                if still > self.longest.get(group, (0.0, 0))[0]:
                    self.longest[group] = still, p
        return standing
