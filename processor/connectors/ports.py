"""What the engine needs of a log and of a store. Kafka, Redis and the in-memory pair implement it.

Everything here is synchronous and called from one thread, the worker's. Every call that may block
takes its limit in seconds. What can go wrong is told by the errors of `processor.errors`:
`RetriableError`, `AbortableError`, `OutcomeUnknownError`, `FencedError`, else `LogError`; and
`StoreError` from a store. The contract tests hold every implementation to the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from processor.model.log import (
    Committed,
    Extent,
    Membership,
    Message,
    Output,
    Polled,
    TopicDescription,
    TopicPartition,
    View,
)


class Consumer(Protocol):
    """A member of a consumer group that reads committed records only.

    ``poll_interval_s`` is how long the group waits for its next poll before it gives the member up
    (infinity: for ever).
    """

    poll_interval_s: float

    def poll(self, records_max: int, timeout_s: float) -> Polled:
        """Serve the group, and return up to ``records_max`` records of opened partitions.

        Waits for the first up to ``timeout_s``; returns early when there are ``records_max``, or
        when the assignment changed. Records of a partition come in offset order. A partition that
        is newly assigned gives nothing until `open`. Raises `FencedError` when another member has
        taken the identity, `LogError` when the log cannot be read (an offset out of range among
        others).
        """
        ...

    def open(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets on; also used to go back after an abort.

        After it no poll returns a record of them below the position, nor skips one at or above it.
        """
        ...

    def shut(self, partitions: Collection[TopicPartition]) -> None:
        """Read these partitions no more: no poll returns a record of them before the next `open`.

        Those that are not open, or not assigned any more, are passed over.
        """
        ...

    def membership(self) -> Membership:
        """This member's standing as of the last poll, or fresher.

        Only for the thread that polls: asked from another one, an answer once did not come.
        """
        ...

    def committed(
        self, partitions: Collection[TopicPartition], timeout_s: float
    ) -> dict[TopicPartition, Committed | None]:
        """The group's committed positions, stable: waits while a transaction holds one open.

        Raises `RetriableError` when it is still open after ``timeout_s``.
        """
        ...

    def commit(self, offsets: Mapping[TopicPartition, Committed], timeout_s: float) -> None:
        """Commit positions outside any transaction, and wait for the answer.

        Raises `FencedError` when the member no longer owns them.
        """
        ...

    def extent(self, partition: TopicPartition, timeout_s: float) -> Extent:
        """The offsets the partition holds now (``high`` is the last stable offset)."""
        ...

    def lag(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Records behind the end, from what the client last heard: never asks the log."""
        ...

    def close(self, *, leave: bool) -> None:
        """Stop.

        With ``leave`` the group hands the partitions on at once; without, it keeps them for
        a restart under the same identity until the session ends.
        """
        ...


class Producer(Protocol):
    """Publishes outputs; with a transactional id, all or nothing together with the offsets."""

    def start(self, timeout_s: float) -> None:
        """Take the identity: fence its earlier holder and abort what it left open."""
        ...

    def begin(self) -> None:
        """Open a transaction."""
        ...

    def produce(self, output: Output) -> None:
        """Hand over records. Raises `AbortableError` for one that the client refuses."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was handed over is acknowledged.

        Raises `AbortableError` if any record was refused or is still on its way after
        ``timeout_s``, `FencedError` when the identity was taken.
        """
        ...

    def send_offsets(
        self, offsets: Mapping[TopicPartition, Committed], membership: Membership, timeout_s: float
    ) -> None:
        """Make the positions part of the transaction.

        Retries within ``timeout_s``, then raises `AbortableError`; `FencedError` when fenced.
        """
        ...

    def commit(self, timeout_s: float) -> None:
        """Commit the transaction: outputs and positions become visible together.

        Raises `OutcomeUnknownError` when no answer came within ``timeout_s``, `AbortableError`
        when the log refused.
        """
        ...

    def abort(self, timeout_s: float) -> None:
        """Abort the transaction."""
        ...

    def close(self) -> None:
        """Let go of the connection. An open transaction is left to be fenced or timed out."""
        ...


class Log(Protocol):
    """A log: makes consumers and producers, and answers about topics."""

    def consumer(self, group: str, instance: str, topics: Sequence[str]) -> Consumer:
        """A new member of ``group``; ``instance`` is its identity over restarts."""
        ...

    def producer(self, transactional_id: str | None) -> Producer:
        """A new producer; ``None`` makes one without transactions."""
        ...

    def describe(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        """The topics that exist, of those named."""
        ...

    def offsets_at(self, topic: str, ms: int) -> dict[TopicPartition, int]:
        """Where each partition's first record of a timestamp, or of a later one, lies.

        ``ms`` is in milliseconds since 1970. First is meant in the order of offsets: where
        timestamps do not rise, earlier ones may follow. Where there is none, it is the last stable
        offset. The offset may be that of a transaction's mark, or of an aborted record. Empty for a
        topic that is not there.
        """
        ...

    def identity(self, topic: str) -> Callable[[], str]:
        """Begin to ask what a topic's log calls itself; another one after it was made anew.

        What is returned waits for the answer, which is of a moment after this call. It is empty
        where the log has no name for itself. Raises `RetriableError` where none comes, and while
        there is no such topic.
        """
        ...

    def look(
        self, topics: Collection[str], ends_of: Collection[TopicPartition], timeout_s: float
    ) -> View:
        """How topics and partitions stand now, asked once. Asking creates no topic.

        Raises `RetriableError` unless an answer came within ``timeout_s``. Any thread may ask.
        """
        ...

    def held(self, group: str, timeout_s: float) -> frozenset[TopicPartition] | None:
        """The partitions that members of a group have, asked once; as `look` otherwise.

        ``None`` where the log does not tell.
        """
        ...

    def create(self, topics: Mapping[str, int], *, forever: bool = False) -> None:
        """Create topics with so many partitions; those that exist are left alone.

        With ``forever`` the log deletes nothing of them by itself.
        """
        ...

    def compacted(self, topics: Collection[str]) -> frozenset[str]:
        """Those of the topics that keep the last record of each key only, so that each needs one.

        A topic whose settings the log does not show counts as not compacted.
        """
        ...

    def kept_ms(self, topic: str) -> int | None:
        """How long the log keeps a topic's records, by their timestamps, in milliseconds.

        ``None``: for ever, or the log does not show it.
        """
        ...

    def trim(self, partition: TopicPartition, low: int) -> None:
        """Delete the records before ``low``; it is no error if they are gone already."""
        ...

    def committed(
        self, group: str, topic: str, *, stable: bool = True
    ) -> dict[TopicPartition, Committed]:
        """The group's committed positions in a topic, seen from outside the group.

        Where a transaction holds one open: raises `RetriableError`, or tells the one before it,
        if that need not be ``stable``.
        """
        ...

    def members(self, group: str) -> frozenset[str]:
        """The identities of a group's members; none for one that is not there."""
        ...

    def reset(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit positions for a group from outside it.

        Raises `FencedError`, and changes nothing, while the group has members.
        """
        ...

    def reset_all(self, groups: Mapping[str, Mapping[TopicPartition, Committed]]) -> None:
        """Commit positions of several groups from outside them: all become true, or none.

        Raises `FencedError`, and changes nothing, while one of them has members.
        """
        ...

    def scan(
        self, partition: TopicPartition, start: int, end: int, *, committed: bool = True
    ) -> Iterator[Sequence[Message]]:
        """Records of a partition from ``start`` to before ``end``, in order, outside any group.

        Stops at the partition's end as it is when the reading begins: with ``committed`` that is
        the last stable offset, without it the last offset of all; then records of open and of
        aborted transactions are among what comes. Raises `LogError` when ``start`` is before what
        the partition holds, `RetriableError` when nothing comes for long.
        """
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


@dataclass(frozen=True, slots=True)
class Owner:
    """Who works on a task: hygiene against a worker that woke up late, not what safety rests on.

    Results are exact whatever an owner record holds, and whenever it changes.
    """

    token: str
    transactional_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Former:
    """What was known of a task before it was taken.

    ``begun`` is true when the group had committed a position of it, and ``newest`` is the last one
    that was noted: see `Store.begin`.
    """

    owner: Owner | None = None
    begun: bool = False
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Staged:
    """What one staging call learnt besides writing: the owner now, and whether the links are there.

    ``linked`` is true when every blob was present that the new ones continue (or none was named).
    """

    owner: Owner | None
    linked: bool


@dataclass(frozen=True, slots=True)
class Blob:
    """One immutable piece of a checkpoint: its key, its bytes, its epoch, and what it continues.

    ``parents`` are keys that must be there when it is written.
    """

    key: str
    data: bytes = field(repr=False)
    epoch: int
    parents: tuple[str, ...] = ()


class Store(Protocol):
    """Keeps checkpoint blobs by task. A task is named ``application/topic/partition``.

    A blob's key is the adapter's business only in so far as it prefixes the task, and has its epoch
    behind the first colon. The blobs of a task lie together. An index of them is kept, which serves
    as long as it is whole: `reindex` does without it.

    A call that reads and then writes is one step: nothing of anybody else comes in between.
    """

    def acquire(self, owners: Mapping[str, Owner]) -> dict[str, Former]:
        """Take tasks, each in one step with learning who had it. Nobody is refused.

        Who takes a task that is not his is told so by the log, before he can commit.
        """
        ...

    def owners(self, tasks: Sequence[str]) -> dict[str, Owner | None]:
        """Who has the tasks."""
        ...

    def begin(self, tasks: Mapping[str, int]) -> None:
        """Note positions of these tasks that the group has committed.

        Should the log forget them, or tell older ones, they are known to be lost, not to have
        never been.
        """
        ...

    def stage(self, blobs: Mapping[str, Sequence[Blob]]) -> dict[str, Staged]:
        """Write each task's blobs, in one round trip. Parents may be among them."""
        ...

    def load(self, task: str, keys: Sequence[str]) -> list[bytes | None]:
        """The blobs' bytes, ``None`` for one that is not there."""
        ...

    def missing(self, keys: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """Those of each task's keys that are not there, for the tasks that miss any."""
        ...

    def blobs(self, task: str) -> dict[str, int]:
        """The keys of the task's blobs with their epochs, orphans among them, from the index."""
        ...

    def reindex(self, task: str) -> dict[str, int]:
        """The same as `blobs`, found without the index, which is whole again after it."""
        ...

    def delete(self, task: str, keys: Collection[str], owner: Owner) -> bool:
        """Delete blobs, in one step with seeing that the task is still ``owner``'s.

        False when it is not, or no longer; what is left of the keys then stays.
        """
        ...

    def clear(self, task: str, owner: Owner) -> bool:
        """Delete all that the store has of a task, under the same condition as `delete`.

        What was begun is forgotten too, and that it has an owner.
        """
        ...

    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
