"""A member of a group of the in-memory log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from processor.connectors.memory.group import MemberToken
from processor.errors import FencedError, IdentityTakenError, LogError, RetriableError
from processor.model.log import (
    Committed,
    Extent,
    Lost,
    Membership,
    Polled,
    Rebalance,
    Revoked,
    TopicPartition,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from processor.connectors.memory.broker import Broker
    from processor.connectors.memory.records import StoredMessage


class MemoryConsumer:
    """Reads committed records; implements `processor.connectors.ports.Consumer`.

    It joins when it is made, and learns of its partitions by polling. No time-out strikes by
    itself: how long the group waits for a poll is what a test says.
    """

    poll_interval_s = math.inf

    def __init__(self, broker: Broker, group: str, instance: str, topics: Sequence[str]) -> None:
        self._broker = broker
        self._instance = instance
        self._topics = tuple(topics)
        self._positions: dict[TopicPartition, int] = {}
        self._turn: list[TopicPartition] = []
        self._closed = False
        with broker.changed:
            self._group = broker.group(group)
            now_s = broker.clock.monotonic_s()
            self._member = self._group.join(instance, topics, now_s)
            broker.changed.notify_all()
        self._outside = Membership(-1, frozenset(), MemberToken(group, "", 0))
        self._standing = self._outside
        self._rejoin = False

    def poll(self, records_max: int, timeout_s: float) -> Polled:
        """Serve the group and read; see the port. Never blocks with ``timeout_s`` 0."""
        polled = Polled()

        def ready() -> bool:
            nonlocal polled
            changes = self._serve()
            polled = Polled(self._read(records_max), changes, self._ends())
            return bool(polled.messages or polled.changes)

        with self._broker.changed:
            if not ready() and timeout_s > 0:
                self._broker.changed.wait_for(ready, timeout_s)
        return polled

    def _serve(self) -> list[Rebalance]:
        self._check_open()
        now_s = self._broker.clock.monotonic_s()
        if self._rejoin:
            self._check_identity()
            self._member = self._group.join(self._instance, self._topics, now_s)
            self._broker.changed.notify_all()
            self._rejoin = False
        elif self._instance not in self._group.members:
            return self._lose()
        self._check_identity()
        changes = self._group.serve(self._member, now_s)
        if self._standing.generation != self._group.generation or changes:
            token = MemberToken(self._group.name, self._instance, self._member.id)
            owned = frozenset(self._member.owned)
            self._standing = Membership(self._group.generation, owned, token)
        for change in changes:
            if isinstance(change, Revoked):
                self._drop(change.partitions)
        if changes:
            self._broker.changed.notify_all()  # another may wait for what was given back
        return changes

    def _lose(self) -> list[Rebalance]:
        """The group has thrown this member out: it joins anew with the next poll."""
        lost = frozenset(self._member.owned)
        self._member.owned = set()
        self._drop(lost)
        self._standing = self._outside
        if self._instance in self._group.untold:
            self._group.untold.discard(self._instance)
            raise FencedError(
                f"{self._group.name}/{self._instance}: it was taken for dead",
                remedy="join with a new consumer",
            )
        self._rejoin = True
        return [Lost(lost)] if lost else []

    def _drop(self, partitions: Collection[TopicPartition]) -> None:
        for name in partitions:
            self._positions.pop(name, None)
        self._turn = list(self._positions)

    def _read(self, records_max: int) -> list[StoredMessage]:
        """Ask every opened partition, beginning after the one that gave last."""
        found: list[StoredMessage] = []
        last = -1
        for place, name in enumerate(self._turn):
            if len(found) >= records_max:
                break
            partition = self._broker.partition(name)
            position = self._positions[name]
            if not partition.low <= position <= partition.end:
                raise LogError(
                    f"offset {position} of {name} is out of range: the partition holds "
                    f"{partition.low} to {partition.end}"
                )
            records, self._positions[name] = partition.read(position, records_max - len(found))
            if records:
                found = found + records if found else records
                last = place
        self._turn = self._turn[last + 1 :] + self._turn[: last + 1]
        return found

    def _ends(self) -> dict[TopicPartition, int]:
        """The opened partitions that have been read to the end, marks of transactions included."""
        ends = {name: self._broker.partition(name).stable for name in self._positions}
        return {name: end for name, end in ends.items() if self._positions[name] >= end}

    def open(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets on."""
        with self._broker.changed:
            foreign = set(positions) - self._member.owned
            if foreign:
                raise LogError(f"not assigned, thus not to be opened: {sorted(foreign)}")
            self._positions.update(positions)
            self._turn = list(self._positions)

    def shut(self, partitions: Collection[TopicPartition]) -> None:
        """Read these partitions no more."""
        with self._broker.changed:
            self._drop(partitions)

    def membership(self) -> Membership:
        """This member's standing as of the last poll."""
        return self._standing

    def committed(
        self, partitions: Collection[TopicPartition], timeout_s: float
    ) -> dict[TopicPartition, Committed | None]:
        """The stable committed positions; raises `RetriableError` while one is held open."""
        with self._broker.changed:
            self._check_open()
            if self._group.pending(partitions):
                self._broker.changed.wait_for(
                    lambda: not self._group.pending(partitions), max(timeout_s, 0)
                )
            pending = self._group.pending(partitions)
            if pending:
                raise RetriableError(f"a transaction holds the position of {sorted(pending)}")
            return {name: self._group.committed.get(name) for name in partitions}

    def commit(self, offsets: Mapping[TopicPartition, Committed], timeout_s: float) -> None:  # noqa: ARG002
        """Commit positions outside any transaction."""
        with self._broker.changed:
            self._check_open()
            token = self._standing.token
            if not isinstance(token, MemberToken) or self._standing.generation < 0:
                raise FencedError("in no group")
            refusal = self._group.refusal(token, self._standing.generation)
            foreign = set(offsets) - self._member.owned
            if refusal or foreign:
                raise FencedError(refusal or f"not assigned: {sorted(foreign)}")
            self._broker.commit(self._group.name, offsets)

    def extent(self, partition: TopicPartition, timeout_s: float) -> Extent:  # noqa: ARG002
        """The offsets the partition holds now."""
        with self._broker.changed:
            return self._broker.extent(partition)

    def lag(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Offsets between the positions and the end."""
        with self._broker.changed:
            return {
                name: max(0, self._broker.partition(name).stable - position)
                for name, position in positions.items()
            }

    def close(self, *, leave: bool) -> None:
        """Stop; without ``leave`` the identity keeps its partitions."""
        with self._broker.changed:
            if self._closed:
                return
            self._closed = True
            if leave and self._group.members.get(self._instance) is self._member:
                self._group.leave(self._instance)
                self._broker.changed.notify_all()

    def _check_open(self) -> None:
        if self._closed:
            raise LogError("the consumer is closed")

    def _check_identity(self) -> None:
        holder = self._group.members.get(self._instance)
        if holder is not None and holder is not self._member:
            raise IdentityTakenError(f"another member has taken the identity {self._instance!r}")
