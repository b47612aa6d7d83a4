"""An in-process log that keeps Kafka's promises, for tests and for running without a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.clock import Clock, SystemClock
from processor.connectors.memory.broker import Broker
from processor.connectors.memory.consumer import MemoryConsumer
from processor.connectors.memory.producer import MemoryProducer
from processor.connectors.memory.records import Columns, StoredMessage
from processor.errors import FencedError, RetriableError
from processor.model.log import (
    Committed,
    Extent,
    Headers,
    TopicDescription,
    TopicPartition,
    View,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

_SCANNED = 10_000


class MemoryLog:
    """Topics in memory; implements `processor.connectors.ports.Log`.

    Any number of threads may work on one. Nothing blocks where the time-out is 0, and no time-out
    strikes by itself: `expire`, `expire_sessions` and `evict` make them happen, so that a test
    decides when.

    >>> log = MemoryLog(); log.create({"rides": 2}); log.feed("rides", [b"a"], partition=1)
    >>> log.read("rides")
    [rides[1]@0: None b'a']
    """

    def __init__(self, clock: Clock | None = None, session_timeout_s: float = 10.0) -> None:
        self._broker = Broker(clock or SystemClock(), session_timeout_s)
        # Nothing is compacted here; a test says of which topics it is to look so.
        self.compacting: set[str] = set()
        # Nor is anything deleted by its age.
        self.keeping_ms: dict[str, int] = {}

    def consumer(self, group: str, instance: str, topics: Sequence[str]) -> MemoryConsumer:
        """A new member of ``group``, or the one that takes over the identity ``instance``."""
        return MemoryConsumer(self._broker, group, instance, topics)

    def producer(self, transactional_id: str | None) -> MemoryProducer:
        """A new producer."""
        return MemoryProducer(self._broker, transactional_id)

    def describe(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        """The topics that exist, of those named."""
        with self._broker.changed:
            return {
                topic: TopicDescription(
                    topic,
                    {
                        partition.name.partition: Extent(partition.low, partition.stable)
                        for partition in self._broker.topics[topic]
                    },
                )
                for topic in topics
                if topic in self._broker.topics
            }

    def offsets_at(self, topic: str, ms: int) -> dict[TopicPartition, int]:
        """Where each partition's first record of a timestamp or a later one lies, or its end."""
        with self._broker.changed:
            return {
                partition.name: partition.offset_at(ms)
                for partition in self._broker.topics.get(topic, ())
            }

    def compacted(self, topics: Collection[str]) -> frozenset[str]:
        """Those of the topics that `compacting` names."""
        return frozenset(topics) & self.compacting

    def kept_ms(self, topic: str) -> int | None:
        """What `keeping_ms` says of it."""
        return self.keeping_ms.get(topic)

    def identity(self, topic: str) -> Callable[[], str]:
        """What the topic's log calls itself, as of now."""
        with self._broker.changed:
            found = self._broker.names.get(topic)

        def answer() -> str:
            if found is None:
                raise RetriableError(f"there is no topic {topic!r}")
            return found

        return answer

    def look(
        self,
        topics: Collection[str],
        ends_of: Collection[TopicPartition],
        timeout_s: float,  # noqa: ARG002
    ) -> View:
        """How topics and partitions stand now."""
        with self._broker.changed:
            there = self._broker.topics
            counts = {topic: len(there[topic]) for topic in topics if topic in there}
            asked = [p for p in ends_of if p.partition < len(there.get(p.topic, ()))]
            found = {name: self._broker.partition(name) for name in asked}
            return View(
                counts,
                frozenset(topics) - counts.keys(),
                stable={name: partition.stable for name, partition in found.items()},
                tops={name: partition.end for name, partition in found.items()},
            )

    def held(self, group: str, timeout_s: float) -> frozenset[TopicPartition]:  # noqa: ARG002
        """The partitions that members of a group have."""
        with self._broker.changed:
            known = self._broker.groups.get(group)
            members = known.members.values() if known else ()
            return frozenset(name for member in members for name in member.owned)

    def create(self, topics: Mapping[str, int], *, forever: bool = False) -> None:  # noqa: ARG002
        """Create topics with so many partitions; those that exist are left alone."""
        with self._broker.changed:
            for topic, partitions in topics.items():
                self._broker.create(topic, partitions)

    def committed(
        self, group: str, topic: str, *, stable: bool = True
    ) -> dict[TopicPartition, Committed]:
        """The group's committed positions; of one that is held open the former, or an error."""
        with self._broker.changed:
            if group not in self._broker.groups:
                return {}
            members = self._broker.groups[group]
            names = [partition.name for partition in self._broker.topics.get(topic, ())]
            if stable and members.pending(names):
                raise RetriableError(f"a transaction holds a position of {group!r} in {topic!r}")
            return {name: members.committed[name] for name in names if name in members.committed}

    def members(self, group: str) -> frozenset[str]:
        """The identities of a group's members."""
        with self._broker.changed:
            known = self._broker.groups.get(group)
            return frozenset(m.instance for m in known.members.values()) if known else frozenset()

    def reset(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit positions from outside the group; raises `FencedError` while it has members."""
        with self._broker.changed:
            known = self._broker.group(group)
            if known.members:
                raise FencedError(f"group {group!r} has {len(known.members)} members")
            self._broker.commit(group, offsets)

    def reset_all(self, groups: Mapping[str, Mapping[TopicPartition, Committed]]) -> None:
        """Commit positions of several groups, all or none."""
        with self._broker.changed:
            for group in groups:
                if self._broker.group(group).members:
                    raise FencedError(f"group {group!r} has members")
            self._broker.commit_all(groups)

    def scan(
        self, partition: TopicPartition, start: int, end: int, *, committed: bool = True
    ) -> Iterator[list[StoredMessage]]:
        """Records of a partition from ``start`` to before ``end``, outside any group."""
        yield from self._runs(partition, start, end, committed=committed)

    def _runs(
        self, partition: TopicPartition, start: int, end: int, *, committed: bool
    ) -> Iterator[list[StoredMessage]]:
        with self._broker.changed:
            found = self._broker.partition(partition)
            found.check(start)
            end = min(end, found.stable if committed else found.end)
        while start < end:
            with self._broker.changed:
                found.check(start)
                most = min(_SCANNED, end - start)
                records, start = found.read(start, most, committed=committed)
            if records and records[-1].offset() >= end:
                records = [record for record in records if record.offset() < end]
            if records:
                yield records

    def close(self) -> None:
        """Nothing to let go of; the records stay."""

    def feed(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        *,
        partition: int | None = None,
        timestamps_ms: Sequence[int] | None = None,
        headers: Sequence[Headers] | None = None,
    ) -> None:
        """Append committed records, to one ``partition`` or as a producer would."""
        with self._broker.changed:
            times = self._broker.clock.now_ms() if timestamps_ms is None else timestamps_ms
            columns = Columns(values, keys, headers, times)
            columns.check()
            self._broker.append(topic, columns, None, partition)

    def read(self, topic: str) -> list[StoredMessage]:
        """All committed records of a topic, by partition and offset."""
        with self._broker.changed:
            return [
                message
                for partition in self._broker.topic(topic)
                for run in self._runs(
                    partition.name, partition.low, partition.stable, committed=True
                )
                for message in run
            ]

    def trim(self, partition: TopicPartition, low: int) -> None:
        """Forget the records below ``low``, as retention does."""
        with self._broker.changed:
            self._broker.trim(partition, low)

    def make_anew(self, topic: str) -> None:
        """Delete a topic and create it again at once; groups keep their positions in it."""
        with self._broker.changed:
            self._broker.make_anew(topic)

    def evict(self, instance: str, *, told: bool = True) -> None:
        """End the session of an identity in every group: its next poll tells it `Lost`.

        One that is not ``told``, as the client of Kafka may not be, is fenced by it.
        """
        with self._broker.changed:
            for group in self._broker.groups.values():
                if not told and instance in group.members:
                    group.untold.add(instance)
                group.leave(instance)
            self._broker.changed.notify_all()

    def expire_sessions(self) -> None:
        """Evict every member whose last poll is a session time-out ago by the clock."""
        with self._broker.changed:
            due = self._broker.clock.monotonic_s() - self._broker.session_timeout_s
            for group in self._broker.groups.values():
                for member in list(group.members.values()):
                    if member.seen_s <= due:
                        group.leave(member.instance)
            self._broker.changed.notify_all()

    def expire(self, transactional_id: str | None = None) -> None:
        """Let open transactions time out: aborted, and their producers fenced."""
        with self._broker.changed:
            for name, identity in self._broker.identities.items():
                if transactional_id in (None, name) and identity.transaction is not None:
                    self._broker.fence(name)
