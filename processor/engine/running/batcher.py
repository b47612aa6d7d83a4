"""Fills a batch: at least the interval between two starts, or as much as one batch may hold.

A quiet topic gets its answer at once; a backlog gets batches of tens of thousands of records, since
a batch that is due still takes what the client has ready. There is no poll while a batch is
running, so a batch never mixes two assignments.

A partition is read in *openings*. One begins with `Batcher.open` at a position and ends with the
next one, or with `Batcher.shut`. Every record belongs to one opening; what comes of a partition
that is not open is thrown away, since the next opening reads it again::

    open at 7 ──► 7 8 9 │ 10 11 │ undone ──► open at 10 ──► 10 11 12 │ lost ──► shut
                 batch    batch                            batch

`Share.check` holds a batch to that before it is computed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from processor.clock import Clock
from processor.connectors.ports import Consumer
from processor.errors import ProcessorError
from processor.model.headers import headers_of
from processor.model.log import Message, Polled, TopicPartition

_FILL_S: Final = 0.02
# So many records at a time stay in the processor's cache between the client's passes and ours.
_AT_ONCE: Final = 4_000
_LOOKS: Final = 32


class ContinuityError(ProcessorError):
    """A batch is not what follows the one before: nothing of it was committed."""

    code = "continuity"


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
class Opening:
    """One reading of a partition.

    ``position`` is where its next batch begins. ``given`` records came of it, ``taken`` of them are
    in batches. ``end`` is the position behind all that can be seen, once all of it was given.
    """

    position: int
    given: int = 0
    taken: int = 0
    end: int | None = None


@dataclass(slots=True)
class Share:
    """What a batch has of one partition: records of ``opening``, the ``first``-th of it and on.

    One that was promised ends ``until`` there, whatever its last record is.
    """

    opening: Opening
    first: int
    messages: list[Message] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    bytes: int = 0
    until: int | None = None

    def end(self) -> int:
        """The position behind its records; without any, behind all that can be seen.

        Unless records wait behind it: those are for the next batch.
        """
        opening = self.opening
        if self.until is not None:
            return self.until
        if self.runs:
            return self.runs[-1][1] + 1
        if opening.given > opening.taken:
            return opening.position
        return max(opening.position, opening.end or 0)

    def check(self, partition: TopicPartition, base: int) -> None:
        """Raise `ContinuityError` unless it is what follows ``base``, the committed position.

        It begins where the last batch of its opening ended, none of that opening's records was
        left out on the way, and offsets rise.
        """
        opening, position = self.opening, self.opening.position
        wrong = ""
        if position != base:
            wrong = f"it begins at {position}, what is committed ends at {base}"
        elif self.first != opening.taken:
            wrong = f"it begins with record {self.first} of its opening, not with {opening.taken}"
        for first, last, count in self.runs:
            if first < position or last - first < count - 1:
                wrong = wrong or f"{count} records from {first} to {last} follow {position - 1}"
            position = last + 1
        if wrong:
            raise ContinuityError(
                f"{partition}: a batch does not continue the one before: {wrong}",
                remedy="this is a fault of the processor: report it with the log; nothing of the "
                "batch was committed, and a new start goes on from what was",
            )

    def took(self) -> None:
        """The batch is committed: the next one of this opening follows it."""
        self.opening.position = self.end()
        self.opening.taken += sum(count for _, _, count in self.runs)

    def clear(self) -> None:
        """Let go of the records."""
        self.messages.clear()
        self.values.clear()


class Batcher:
    """Opens partitions, and collects what is polled of them until a batch is due."""

    def __init__(self, consumer: Consumer, topic: str, clock: Clock, limits: Limits) -> None:
        self._consumer = consumer
        self._topic = topic
        self._clock = clock
        self._limits = limits
        self._openings: dict[TopicPartition, Opening] = {}
        self._shares: dict[TopicPartition, Share] = {}
        self.held: frozenset[TopicPartition] = frozenset()
        self._records = 0
        self._bytes = 0
        self._due_s = clock.monotonic_s()
        # Whether the last poll was given as many records as it asked for.
        self._more = False
        # Less than the limit while batches take too long.
        self.records_max = limits.records_max
        # Seconds that its records took to come into the last batch, without waiting for the first.
        self.fetched_s = self._fetched_s = 0.0

    def open(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these positions on; what was polled of them is forgotten."""
        self._forget(positions)
        self._consumer.open({p: at for p, at in positions.items() if p not in self.held})
        self._openings |= {p: Opening(position) for p, position in positions.items()}

    def hold(
        self, held: frozenset[TopicPartition], positions: Mapping[TopicPartition, int]
    ) -> None:
        """Read these open partitions no further, whatever opens them anew, and all others on.

        ``positions`` is where each goes on.
        """
        changed = held ^ self.held
        self._consumer.shut(held - self.held)
        self.held = held
        self.open({partition: positions[partition] for partition in changed})

    def shut(self, partitions: Collection[TopicPartition]) -> None:
        """Read these partitions no more; what was polled of them is forgotten."""
        self._forget(partitions)
        self.held -= frozenset(partitions)
        self._consumer.shut(partitions)

    def poll(self) -> Polled:
        """One poll into the batch that is being filled; its changes are the caller's to handle."""
        room = self.records_max - self._records
        if room <= 0:
            return Polled()
        began_s = self._clock.monotonic_s()
        if self._records:
            left_s = self._due_s - began_s
            most = min(room, _AT_ONCE)
            polled = self._consumer.poll(most, max(0.0, min(_FILL_S, left_s)))
            self._more = len(polled.messages) >= most
        else:
            polled = self._consumer.poll(1, self._limits.wait_s)
            began_s = self._clock.monotonic_s()
        self._take(polled)
        if len(polled.messages) == 1 == self._records:
            # The first record of a batch: what is ready behind it comes along.
            most = min(room - 1, _AT_ONCE)
            more = self._consumer.poll(most, 0.0)
            self._take(more)
            self._more = len(more.messages) >= most
            polled = Polled((), [*polled.changes, *more.changes])
        elif not polled.messages:
            return polled
        self._fetched_s += self._clock.monotonic_s() - began_s
        return polled

    def due(self) -> bool:
        """Whether the batch is to be run now."""
        if self._records >= self.records_max or self._bytes >= self._limits.bytes_max:
            return True
        timely = self._records > 0 and self._clock.monotonic_s() >= self._due_s
        return timely and not self._more

    def filling(self) -> bool:
        """Whether records wait, and the client had more of them ready."""
        return self._more and self._records > 0

    def empty(self) -> bool:
        """Whether nothing is waiting for the next batch."""
        return not self._records

    def take(self) -> Mapping[TopicPartition, Share]:
        """The batch; the next one begins to fill."""
        shares = self._shares
        self._shares, self._records, self._bytes = {}, 0, 0
        self.fetched_s, self._fetched_s = self._fetched_s, 0.0
        self._due_s = self._clock.monotonic_s() + self._limits.interval_s
        return shares

    def took(self, shares: Mapping[TopicPartition, Share]) -> None:
        """A batch is committed; what was promised began an opening that ends with it."""
        for share in shares.values():
            share.took()
        if ends := {p: share.end() for p, share in shares.items() if share.until is not None}:
            self.open(ends)

    def nothing(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Share]:
        """A batch without records, which leaves alone those that wait for the next one."""
        self.fetched_s = 0.0
        openings = {partition: self._openings[partition] for partition in partitions}
        return {p: Share(opening, opening.taken) for p, opening in openings.items()}

    def again(self, partition: TopicPartition, messages: Sequence[Message], end: int) -> Share:
        """A batch of these records of an opening that begins, up to ``end``."""
        opening = self._openings[partition]
        runs = [(_offset(messages[0]), _offset(messages[-1]), len(messages))] if messages else []
        values = [message.value() for message in messages]
        return Share(opening, opening.taken, list(messages), values, runs, until=end)

    def end(self, partition: TopicPartition) -> int | None:
        """Where an open partition ends, when all that can be seen of it was polled."""
        opening = self._openings.get(partition)
        return opening.end if opening else None

    def emptied(self) -> dict[TopicPartition, int]:
        """The partitions of which all that can be seen is committed, and the position behind it."""
        return {
            partition: max(opening.end, opening.position)
            for partition, opening in self._openings.items()
            if opening.end is not None and opening.given == opening.taken
        }

    def passed(self, partition: TopicPartition, base: int) -> int:
        """How far ``base``, the committed position, reaches: behind the marks that follow it.

        Any thread may ask.
        """
        opening = self._openings.get(partition)
        if opening is None:
            return base
        # The end first: what is given after this look is not behind it.
        end = opening.end
        whole = opening.given == opening.taken
        return max(base, end) if whole and end is not None else base

    def at_end(self) -> bool:
        """Whether all that can be seen of the open partitions is in committed batches."""
        openings = self._openings.values()
        return all(o.end is not None and o.given == o.taken for o in openings)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            self._openings.pop(partition, None)
            share = self._shares.pop(partition, None)
            if share is not None:
                self._records -= len(share.messages)
                self._bytes -= share.bytes

    def _take(self, polled: Polled) -> None:
        messages = polled.messages
        numbers: list[Any] = [message.partition() for message in messages]
        end = 0
        for number, run in groupby(numbers):
            start, end = end, end + len(list(run))
            self._add(TopicPartition(self._topic, number), messages[start:end])
        for partition, position in polled.ends.items():
            if partition in self._openings:
                self._openings[partition].end = position

    def _add(self, partition: TopicPartition, messages: Sequence[Message]) -> None:
        opening = self._openings.get(partition)
        if opening is None:
            return
        share = self._shares.get(partition)
        if share is None:
            share = self._shares[partition] = Share(opening, opening.given)
        values = [message.value() for message in messages]
        size = sum(map(len, filter(None, values))) + _beside_values(messages)
        opening.given += len(messages)
        share.messages += messages
        share.values += values
        share.runs.append((_offset(messages[0]), _offset(messages[-1]), len(messages)))
        share.bytes += size
        self._records += len(messages)
        self._bytes += size


def _beside_values(messages: Sequence[Message]) -> int:
    """Bytes of keys and headers, taken from some dozen records where there are many.

    To look at each would cost a batch of small records a twentieth of its time. The step is odd, so
    that records by turns large and small are both seen.
    """
    looked_at = messages[:: len(messages) // _LOOKS | 1]
    size = 0
    for message in looked_at:
        size += len(message.key() or b"")
        for name, value in headers_of(message):
            size += len(name) + len(value or b"")
    return size * len(messages) // len(looked_at)


def _offset(message: Message) -> int:
    offset = message.offset()
    if offset is None:
        raise ContinuityError("a record came without its offset")
    return offset
