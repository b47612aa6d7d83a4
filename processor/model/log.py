"""What a log is made of: partitions, messages, committed offsets, and the changes of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol, TypeAlias

# Where rows go whose key column is null: one partition, so that the last of a group is the last. It
# is there whatever the count is.
NULL_KEYS: Final = 0

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Message(Protocol):
    """A record as it was read.

    The names are those of the Kafka client's message, so that it is one as it stands, and nothing
    is copied per record.
    """

    def topic(self) -> str | None: ...
    def partition(self) -> int | None: ...
    def offset(self) -> int | None: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def timestamp(self) -> tuple[int, int]: ...
    def headers(self) -> Headers | None: ...


@dataclass(frozen=True, slots=True)
class Output:
    """Records for one topic, column by column, in order.

    ``keys``, ``headers`` and ``timestamps`` are ``None`` where no record has one, otherwise as long
    as ``values``. A timestamp is in milliseconds since 1970; ``None`` is the time of writing.
    All go to ``partition``, if one is given; else a record with a key goes to the partition that
    the key's murmur2 hash picks (the choice of Kafka's own clients), one without to any.
    """

    topic: str
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None = None
    headers: Sequence[Headers] | None = None
    partition: int | None = None
    timestamps: Sequence[int | None] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, numbers: Sequence[int], partition: int) -> Output:
        """Some of the records, for one partition.

        >>> some = Output("to", [b"a", b"b", b"c"], [b"k", b"l", b"m"]).rows([0, 2], 1)
        >>> some.values, some.keys, some.headers, some.partition
        ([b'a', b'c'], [b'k', b'm'], None, 1)
        """
        values = [self.values[row] for row in numbers]
        keys = None if self.keys is None else [self.keys[row] for row in numbers]
        headers = None if self.headers is None else [self.headers[row] for row in numbers]
        times = None if self.timestamps is None else [self.timestamps[row] for row in numbers]
        return Output(self.topic, values, keys, headers, partition, times)

    def with_headers(self, headers: Sequence[Headers]) -> Output:
        """The same records with these headers."""
        return replace(self, headers=headers)


class Committed(NamedTuple):
    """A group's committed position in a partition: the next offset to read, and its metadata."""

    offset: int
    metadata: str


class Extent(NamedTuple):
    """The offsets that a partition holds: ``low`` is the first, ``high`` one past the last."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """Partitions that this member now owns; they are paused until opened."""

    partitions: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class Revoked:
    """Partitions that this member gave back in good order."""

    partitions: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class Lost:
    """Partitions that were taken away: another member may already own them."""

    partitions: frozenset[TopicPartition]


Rebalance: TypeAlias = Assigned | Revoked | Lost


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought: records of opened partitions, and changes of the assignment.

    The changes come first in time: no message is of a partition that a change took away.
    ``ends`` has the partitions whose last visible record has been given out, with the position
    behind it and behind the marks of transactions that follow it.
    """

    messages: Sequence[Message] = ()
    changes: Sequence[Rebalance] = ()
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Membership:
    """A consumer's standing in its group, as a transaction needs it to commit offsets.

    ``generation`` is -1 while the member is in no group. ``token`` is the adapter's own.
    """

    generation: int
    partitions: frozenset[TopicPartition]
    token: object = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic's partitions, each with the offsets it holds."""

    name: str
    extents: Mapping[int, Extent]


@dataclass(frozen=True, slots=True)
class View:
    """What a log says of topics at one moment.

    ``partitions`` has how many each topic has, of those that are there; ``gone`` are those that are
    not. ``leaderless`` are partitions that no broker serves. ``stable`` has the last stable offset
    of the partitions that were asked for, ``tops`` the end of all their records: what is between
    the two is in transactions that are still open, or behind one. A partition that gave no answer
    is in neither.
    """

    partitions: Mapping[str, int] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    leaderless: frozenset[TopicPartition] = frozenset()
    stable: Mapping[TopicPartition, int] = field(default_factory=dict)
    tops: Mapping[TopicPartition, int] = field(default_factory=dict)
