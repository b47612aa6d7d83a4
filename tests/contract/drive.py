"""What the contract tests drive a log with: members that are polled until something is so."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from processor.model.log import (
    Assigned,
    Committed,
    Lost,
    Message,
    Output,
    Rebalance,
    TopicPartition,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.connectors.ports import Consumer, Log, Producer

DEADLINE_S = 30.0
WAIT_S = 10.0  # what a call may take on a slow machine
QUIET_S = 0.4  # how long "nothing comes" is watched; a wrong log shows it within


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:12]}"


def until(condition: Callable[[], bool], what: str) -> None:
    """Call again and again until it is true; every call has to wait a little by itself."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"


class Reader:
    """A member that opens what it gets at the committed offset, and keeps what it saw."""

    def __init__(self, consumer: Consumer, *, opens: bool = True) -> None:
        self.consumer = consumer
        self.opens = opens
        self.owned: set[TopicPartition] = set()
        self.changes: list[Rebalance] = []
        self.messages: list[Message] = []
        self.positions: dict[TopicPartition, int] = {}

    def turn(self, records_max: int = 500, timeout_s: float = 0.1) -> list[Message]:
        polled = self.consumer.poll(records_max, timeout_s)
        for change in polled.changes:
            self.changes.append(change)
            if isinstance(change, Assigned):
                self.owned |= change.partitions
                if self.opens:
                    self._open(change.partitions)
            else:
                self.owned -= change.partitions
                for name in change.partitions:
                    self.positions.pop(name, None)
        self.messages += polled.messages
        for message in polled.messages:
            name = TopicPartition(message.topic(), message.partition())
            assert name in self.owned
            self.positions[name] = message.offset() + 1
        return list(polled.messages)

    def _open(self, partitions) -> None:
        committed = self.consumer.committed(partitions, WAIT_S)
        found = {name: 0 if at is None else at.offset for name, at in committed.items()}
        self.positions |= found
        self.consumer.open(found)

    def own(self, count: int) -> Reader:
        def owns() -> bool:
            self.turn()
            return len(self.owned) == count

        until(owns, f"{count} owned")
        return self

    def read(self, count: int) -> list[bytes | None]:
        """The values of all messages once there are ``count``."""

        def enough() -> bool:
            if len(self.messages) < count:
                self.turn()
            return len(self.messages) >= count

        until(enough, f"{count} read")
        return self.values

    def quiet(self) -> None:
        """Nothing comes for a while."""
        end = time.monotonic() + QUIET_S
        while time.monotonic() < end:
            assert not self.turn(timeout_s=0.1)

    @property
    def values(self) -> list[bytes | None]:
        return [message.value() for message in self.messages]

    @property
    def lost(self) -> bool:
        return any(isinstance(change, Lost) for change in self.changes)

    def commit(self, metadata: str = "") -> None:
        offsets = {name: Committed(at, metadata) for name, at in self.positions.items()}
        self.consumer.commit(offsets, WAIT_S)


class Bench:
    """One test's names and clients on a log."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.group = unique("group")
        self._close: list[Callable[[], None]] = []

    def topic(self, partitions: int = 1) -> str:
        name = unique("topic")
        self.log.create({name: partitions})
        until(lambda: name in self.log.describe([name]), "the topic is there")
        return name

    def consumer(self, topic: str, instance: str | None = None) -> Consumer:
        consumer = self.log.consumer(self.group, instance or unique("member"), [topic])
        self._close.append(lambda: consumer.close(leave=True))
        return consumer

    def reader(self, topic: str, instance: str | None = None, *, opens: bool = True) -> Reader:
        return Reader(self.consumer(topic, instance), opens=opens)

    def producer(self, transactional_id: str | None = None) -> Producer:
        """A transactional producer, started; with an id of its own unless one is given."""
        producer = self.log.producer(transactional_id or unique("producer"))
        self._close.append(producer.close)
        producer.start(WAIT_S)
        return producer

    def feed(self, topic: str, values, keys=None, headers=None, timestamps=None) -> None:
        """Publish outside any transaction."""
        producer = self.log.producer(None)
        producer.start(WAIT_S)
        producer.produce(Output(topic, values, keys, headers, None, timestamps))
        producer.flush(WAIT_S)
        producer.close()

    def close(self) -> None:
        for close in reversed(self._close):
            close()


def settle(*readers: Reader, each: int) -> None:
    """Poll all until everyone owns ``each`` and knows the same generation."""

    def settled() -> bool:
        for reader in readers:
            reader.turn()
        standings = {reader.consumer.membership().generation for reader in readers}
        return len(standings) == 1 and all(len(reader.owned) == each for reader in readers)

    until(settled, f"everyone owns {each}")


def read_by_both(first: Reader, second: Reader, count: int) -> list[int]:
    """The numbers that the two have read, once there are ``count`` and no more are coming."""

    def enough() -> bool:
        came = first.turn() + second.turn()
        return not came and len(first.messages) + len(second.messages) >= count

    until(enough, f"{count} read by both")
    return sorted(map(int, first.values + second.values))


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%d" % n for n in range(start, stop)]
