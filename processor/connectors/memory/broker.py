"""What a broker keeps: partitions, transactions and groups, behind one lock.

It models what an application can see of Kafka. A transaction's end occupies an offset of every
partition it wrote to, so that offsets have gaps; records of an open transaction hold back the last
stable offset; those of an aborted one are never seen but keep their offsets.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import Condition
from typing import TYPE_CHECKING
from uuid import uuid4

from processor.connectors.memory.group import Group
from processor.errors import FencedError, LogError
from processor.model.log import Committed, Extent, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processor.clock import Clock
    from processor.connectors.memory.records import Columns, StoredMessage


@dataclass(slots=True, eq=False)
class Transaction:
    """An open transaction: what it appended, and the offsets that go with it, by group."""

    appended: dict[TopicPartition, list[range]] = field(default_factory=dict)
    offsets: dict[str, dict[TopicPartition, Committed]] = field(default_factory=dict)


@dataclass(slots=True)
class Identity:
    """A transactional id: its epoch, and its transaction if one is open."""

    epoch: int = 0
    transaction: Transaction | None = None


class PartitionLog:
    """One partition: its entries by offset, ``None`` for those that are no (committed) record."""

    __slots__ = ("_aborted", "_entries", "_open", "low", "name")

    def __init__(self, name: TopicPartition) -> None:
        self.name = name
        self.low = 0
        self._entries: list[StoredMessage | None] = []
        self._open: dict[Transaction, int] = {}
        self._aborted: dict[int, StoredMessage] = {}

    @property
    def end(self) -> int:
        """One past the last entry."""
        return self.low + len(self._entries)

    @property
    def stable(self) -> int:
        """The last stable offset: where the oldest open transaction begins, else the end."""
        return min(self._open.values()) if self._open else self.end

    def append(self, columns: Columns, transaction: Transaction | None) -> None:
        """Append records, visible at once or with their transaction."""
        start = self.end
        self._entries.extend(columns.messages(*self.name, start))
        if transaction is not None:
            self._open.setdefault(transaction, start)
            transaction.appended.setdefault(self.name, []).append(range(start, self.end))

    def finish(self, transaction: Transaction, *, commit: bool) -> None:
        """End a transaction here: its marker takes an offset, and aborted records are blanked."""
        if not commit:
            for offsets in transaction.appended[self.name]:
                for offset in range(max(offsets.start, self.low), offsets.stop):
                    aborted = self._entries[offset - self.low]
                    if aborted is not None:
                        self._aborted[offset] = aborted
                    self._entries[offset - self.low] = None
        self._entries.append(None)
        del self._open[transaction]

    def read(
        self, position: int, limit: int, *, committed: bool = True
    ) -> tuple[list[StoredMessage], int]:
        """Up to ``limit`` records from ``position`` on, and where to go on.

        Those that are ``committed``, else those of open and of aborted transactions too.
        """
        end = self.stable if committed else self.end
        found: list[StoredMessage] = []
        while position < end and len(found) < limit:
            stop = min(end, position + limit - len(found))
            entries = self._entries[position - self.low : stop - self.low]
            if not committed and self._aborted:
                entries = [e or self._aborted.get(at) for at, e in enumerate(entries, position)]
            found.extend(filter(None, entries))
            position = stop
        return found, position

    def check(self, offset: int) -> None:
        """Raise `LogError` when the offset is before the first that is held."""
        if offset < self.low:
            raise LogError(f"{self.name}: offset {offset} is before its first, {self.low}")

    def offset_at(self, ms: int) -> int:
        """The offset of the first record with that timestamp or a later one, or the end."""
        stable = self.stable
        records, _ = self.read(self.low, stable - self.low, committed=False)
        later = (r.offset() for r in records if r.timestamp()[1] >= ms)
        return min(next(later, stable), stable)

    def trim(self, low: int) -> None:
        """Forget what is below ``low``, as retention does."""
        low = min(max(low, self.low), self.end)
        del self._entries[: low - self.low]
        self._aborted = {at: record for at, record in self._aborted.items() if at >= low}
        self.low = low


class Broker:
    """The shared state. Every method is called with `changed` held, unless it says otherwise.

    One that keeps it on disk as well (`processor.connectors.sqlite`) has its own of `durably`,
    `made`, `dropped` and `noted`.
    """

    def __init__(self, clock: Clock, session_timeout_s: float) -> None:
        self.clock = clock
        self.session_timeout_s = session_timeout_s
        self.changed = Condition()
        self.topics: dict[str, list[PartitionLog]] = {}
        # A topic that is made anew has another.
        self.names: dict[str, str] = {}
        self.groups: dict[str, Group] = {}
        self.identities: dict[str, Identity] = {}
        self._turn = 0

    def durably(self) -> AbstractContextManager[object]:
        """A block whose changes become true at one point: in memory there is no other."""
        return nullcontext()

    def made(self, topic: str, partitions: int) -> list[PartitionLog]:
        """The partitions of a topic that is new."""
        return [PartitionLog(TopicPartition(topic, number)) for number in range(partitions)]

    def dropped(self, topic: str) -> None:
        """A topic is gone with all its records."""

    def noted(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """A group's positions are committed."""

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic unless it exists, and hand its partitions out."""
        if topic in self.topics:
            return
        if partitions < 1:
            raise LogError(f"the topic {topic!r} cannot have {partitions} partitions")
        self.names[topic] = uuid4().hex
        with self.durably():
            self.topics[topic] = self.made(topic, partitions)
        for group in self.groups.values():
            group.topics_changed(topic)
        self.changed.notify_all()

    def make_anew(self, topic: str) -> None:
        """Delete a topic, and create it again with as many partitions."""
        with self.durably():
            partitions = len(self.topics.pop(topic))
            self.dropped(topic)
            self.create(topic, partitions)

    def commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit positions of a group, outside any transaction."""
        self.commit_all({group: offsets})

    def commit_all(self, groups: Mapping[str, Mapping[TopicPartition, Committed]]) -> None:
        """Commit positions of several groups, all at one point."""
        with self.durably():
            for group, offsets in groups.items():
                self.noted(group, offsets)
        for group, offsets in groups.items():
            self.group(group).committed.update(offsets)

    def trim(self, name: TopicPartition, low: int) -> None:
        """Forget what a partition has below ``low``."""
        found = self.partition(name)
        with self.durably():
            found.trim(low)
        self.changed.notify_all()

    def topic(self, name: str) -> list[PartitionLog]:
        """The partitions of a topic; raises `LogError` when there is no such topic."""
        try:
            return self.topics[name]
        except KeyError:
            raise LogError(f"there is no topic {name!r}", remedy="create it first") from None

    def partition(self, name: TopicPartition) -> PartitionLog:
        """One partition; raises `LogError` when there is none."""
        partitions = self.topic(name.topic)
        if not 0 <= name.partition < len(partitions):
            raise LogError(f"there is no partition {name}")
        return partitions[name.partition]

    def extent(self, name: TopicPartition) -> Extent:
        """The offsets that a partition holds, up to the last stable one."""
        partition = self.partition(name)
        return Extent(partition.low, partition.stable)

    def group(self, name: str) -> Group:
        """The group of that name, made when first asked for."""
        if name not in self.groups:
            self.groups[name] = Group(name, self._count)
        return self.groups[name]

    def _count(self, topic: str) -> int:
        return len(self.topics.get(topic, ()))

    def append(
        self,
        topic: str,
        columns: Columns,
        transaction: Transaction | None,
        partition: int | None = None,
    ) -> None:
        """Append to a partition, or keyed records by hash and others to the next in turn."""
        partitions = self.topic(topic)
        if not columns.values:
            return
        if partition is not None:
            parts = [(self.partition(TopicPartition(topic, partition)), columns)]
        else:
            self._turn += 1
            placed = columns.placed(len(partitions), self._turn % len(partitions))
            parts = [(partitions[number], part) for number, part in placed]
        with self.durably() if transaction is None else nullcontext():
            for found, part in parts:
                found.append(part, transaction)
        if transaction is None:
            self.changed.notify_all()

    def fence(self, transactional_id: str) -> int:
        """Take a transactional id: abort what is open under it; returns the new epoch."""
        identity = self.identities.setdefault(transactional_id, Identity())
        identity.epoch += 1
        if identity.transaction is not None:
            self.finish(identity, commit=False)
        return identity.epoch

    def identity(self, transactional_id: str, epoch: int) -> Identity:
        """The identity; raises `FencedError` when its epoch has moved on."""
        identity = self.identities[transactional_id]
        if identity.epoch != epoch:
            raise FencedError(
                f"the transactional id {transactional_id!r} is at epoch {identity.epoch}, "
                f"this producer at {epoch}"
            )
        return identity

    def finish(self, identity: Identity, *, commit: bool) -> None:
        """End the open transaction of an identity, records and offsets at one point."""
        transaction = identity.transaction
        if transaction is None:
            raise LogError("no transaction is open")
        identity.transaction = None
        with self.durably():
            for name in transaction.appended:
                self.partition(name).finish(transaction, commit=commit)
            for group, offsets in transaction.offsets.items() if commit else ():
                self.noted(group, offsets)
        for group in transaction.offsets:
            self.groups[group].finish(transaction, commit=commit)
        self.changed.notify_all()
