"""How a worker stands: what it has, how far it has got, and whether its servers answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from processor.model.log import TopicPartition

Role: TypeAlias = Literal["input", "output", "dead_letters", "late", "changelog"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a worker has, and how far it has got.

    ``member`` says whether the group counts it in, ``standby`` whether it waits outside until the
    workers of another plan are gone. ``pending`` partitions are assigned and not
    loaded yet; ``positions`` has those that are, each with the offset up to which all is committed.
    ``watermark_ms`` is milliseconds since 1970, ``None`` before the first event time.

    >>> Standing(member=True, pending=1).assigned
    1
    """

    member: bool = False
    standby: bool = False
    pending: int = 0
    positions: Mapping[TopicPartition, int] = field(default_factory=dict)
    watermark_ms: Mapping[TopicPartition, int | None] = field(default_factory=dict)
    state_rows: int = 0
    state_bytes: int = 0

    @property
    def assigned(self) -> int:
        """How many partitions the group has given it."""
        return self.pending + len(self.positions)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that the worker needs: whether it can be used, and its number of partitions."""

    name: str
    role: Role
    up: bool
    partitions: int


@dataclass(frozen=True, slots=True)
class Health:
    """A worker with what its servers say.

    ``ready`` is what ``/readyz`` says. A server that was not asked is neither up nor down:
    ``None``. Of a broker that does not answer nothing is known: then ``topics``, ``lag`` and
    ``held`` are empty, not as they were. ``lag`` counts offsets from the position to the last
    stable one, ``held`` those behind it: an open transaction and what follows.
    ``now_ms`` is when this was, in milliseconds since 1970.
    """

    standing: Standing
    now_ms: int
    ready: bool = False
    broker_up: bool | None = False
    store_up: bool | None = False
    topics: tuple[Topic, ...] = ()
    lag: Mapping[TopicPartition, int] = field(default_factory=dict)
    held: Mapping[TopicPartition, int] = field(default_factory=dict)

    def watermark_lag_s(self) -> dict[TopicPartition, float]:
        """How far each partition's event time is behind the clock now; never negative.

        >>> there = TopicPartition("rides", 0)
        >>> Health(Standing(watermark_ms={there: 1000}), now_ms=3500).watermark_lag_s()
        {TopicPartition(topic='rides', partition=0): 2.5}
        """
        return {partition: max(0.0, behind) for partition, behind in self._behind_s().items()}

    def watermark_ahead_s(self) -> dict[TopicPartition, float]:
        """How far each partition's watermark is ahead of the clock now; 0 for one that is behind.

        >>> there = TopicPartition("rides", 0)
        >>> Health(Standing(watermark_ms={there: 3500}), now_ms=1000).watermark_ahead_s()
        {TopicPartition(topic='rides', partition=0): 2.5}
        """
        return {partition: max(0.0, -behind) for partition, behind in self._behind_s().items()}

    def _behind_s(self) -> dict[TopicPartition, float]:
        return {
            partition: (self.now_ms - watermark) / 1000
            for partition, watermark in self.standing.watermark_ms.items()
            if watermark is not None
        }
