"""Fills a batch: at least the interval between two starts, or as much as one batch may hold.

A quiet topic gets its answer at once; a backlog gets batches of tens of thousands of records. There
is no poll while a batch is running, so a batch never mixes two assignments.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from processor.clock import Clock
from processor.connectors.ports import Consumer
from processor.model.log import Message, Polled, TopicPartition

_FILL_S: Final = 0.02
# So many records at a time stay in the processor's cache between the client's passes and ours.
_AT_ONCE: Final = 4_000


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch starts, and how large it may be.

    ``interval_s``: least seconds between two starts. ``wait_s``: how long one poll may wait when
    there is nothing, so that the worker stays responsive.
    """

    interval_s: float = 0.1
    records_max: int = 20_000
    bytes_max: int = 64 * 1024 * 1024
    wait_s: float = 0.1


@dataclass(slots=True)
class Share:
    """What a batch has of one partition."""

    messages: list[Message] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)

    def clear(self) -> None:
        """Let go of the records."""
        self.messages.clear()
        self.values.clear()


class Batcher:
    """Collects polled records until a batch is due."""

    def __init__(self, consumer: Consumer, topic: str, clock: Clock, limits: Limits) -> None:
        self._consumer = consumer
        self._topic = topic
        self._clock = clock
        self._limits = limits
        self._shares: dict[TopicPartition, Share] = {}
        self._records = 0
        self._bytes = 0
        self._due_s = clock.monotonic_s()

    def poll(self) -> Polled:
        """One poll into the batch that is being filled; its changes are the caller's to handle."""
        room = self._limits.records_max - self._records
        if room <= 0:
            return Polled()
        if self._records:
            left_s = self._due_s - self._clock.monotonic_s()
            polled = self._consumer.poll(min(room, _AT_ONCE), max(0.0, min(_FILL_S, left_s)))
        else:
            polled = self._consumer.poll(1, self._limits.wait_s)
        self._take(polled)
        if len(polled.messages) == 1 == self._records:
            # The first record of a batch: what is ready behind it comes along.
            more = self._consumer.poll(min(room - 1, _AT_ONCE), 0.0)
            self._take(more)
            return Polled((), [*polled.changes, *more.changes], {**polled.ends, **more.ends})
        return polled

    def due(self) -> bool:
        """Whether the batch is to be run now."""
        full = self._records >= self._limits.records_max or self._bytes >= self._limits.bytes_max
        return full or (self._records > 0 and self._clock.monotonic_s() >= self._due_s)

    def empty(self) -> bool:
        """Whether nothing is waiting for the next batch."""
        return not self._records

    def take(self) -> Mapping[TopicPartition, Share]:
        """The batch; the next one begins to fill."""
        shares = self._shares
        self._shares, self._records, self._bytes = {}, 0, 0
        self._due_s = self._clock.monotonic_s() + self._limits.interval_s
        return shares

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what was polled of partitions."""
        for partition in partitions:
            share = self._shares.pop(partition, None)
            if share is not None:
                self._records -= len(share.messages)
                self._bytes -= _size(share.values)

    def _take(self, polled: Polled) -> None:
        values = [message.value() for message in polled.messages]
        numbers: list[Any] = [message.partition() for message in polled.messages]
        end = 0
        for partition, run in groupby(numbers):
            start, end = end, end + len(list(run))
            share = self._shares.setdefault(TopicPartition(self._topic, partition), Share())
            share.messages += polled.messages[start:end]
            share.values += values[start:end]
        self._records += len(values)
        self._bytes += _size(values)


def _size(values: Collection[bytes | None]) -> int:
    return sum(map(len, filter(None, values)))
