"""The Kafka consumer: a static member of a group that reads committed records."""

from __future__ import annotations

import logging
import time
from itertools import compress, groupby
from typing import TYPE_CHECKING, Any

import confluent_kafka
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from processor.connectors.kafka import settings
from processor.connectors.kafka.closing import end, leave_group
from processor.connectors.kafka.errors import classify, fenced, kind, reason, remedy, told
from processor.connectors.kafka.standing import SILENTLY, Standing
from processor.errors import AbortableError, FencedError, LogError, RetriableError
from processor.model.log import (
    Assigned,
    Committed,
    Extent,
    Lost,
    Membership,
    Message,
    Polled,
    Rebalance,
    Revoked,
)
from processor.model.log import TopicPartition as Partition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

logger = logging.getLogger(__name__)
logger.addFilter(settings.Repeats())

# A change of the assignment shows within this time, whatever the poll's limit.
SLICE_S = 0.1
OPEN_S = 10.0
# Methods of the class, which take a quarter of the time of `methodcaller`'s look-up by name.
_kind: Any = confluent_kafka.Message
_topic, _number, _offset, _error = _kind.topic, _kind.partition, _kind.offset, _kind.error


class KafkaConsumer:
    """Implements `processor.connectors.ports.Consumer`.

    The group's callbacks only take notes, which the next return of `poll` brings. A partition
    that the group gives is not handed to the client before `open` says from where to read: so
    there is never a fetch from a guessed offset, whose late answer could move the position.
    """

    def __init__(
        self,
        connection: settings.Connection,
        group: str,
        instance: str,
        topics: Sequence[str],
    ) -> None:
        self._name = f"{group}/{instance}"
        self._owned: set[Partition] = set()
        self._opened: set[Partition] = set()
        self._floors: dict[Partition, int] = {}
        self._changes: list[Rebalance] = []
        self._ends: dict[Partition, int] = {}
        self._fatal = ""
        self._out = False
        self._standing = Standing()
        configuration = settings.consumer_settings(connection, group, instance, self._on_error)
        self.poll_interval_s = int(configuration["max.poll.interval.ms"]) / 1000
        # Of the other protocol the broker itself hands partitions over, one epoch after another.
        self._classic = configuration.get("group.protocol", "classic") == "classic"
        self._client: Any = Consumer(configuration)
        self._client.subscribe(
            list(topics),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def __repr__(self) -> str:
        return f"KafkaConsumer({self._name!r})"

    # The client's callbacks, which run inside poll and close.

    def _on_assign(self, client: Any, partitions: list[Any]) -> None:
        # With nothing in it: the call completes the rebalance, and keeps the client from
        # reading by itself from the committed offsets.
        client.incremental_assign([])
        new = _partitions(partitions)
        self._told(client)
        self._owned |= new
        self._out = False
        self._changes.append(Assigned(new))

    def _on_revoke(self, client: Any, partitions: list[Any]) -> None:
        self._told(client)
        self._changes.append(Revoked(self._drop(client, partitions)))

    def _on_lost(self, client: Any, partitions: list[Any]) -> None:
        self._out = True
        self._changes.append(Lost(self._drop(client, partitions)))

    def _told(self, client: Any) -> None:
        """A rebalance is done: what is owned from here on is so as this member of its group."""
        standing = Standing.of(client.consumer_group_metadata())
        if self._another(standing):
            self._fatal = self._fatal or SILENTLY
        self._standing = standing

    def _another(self, now: Standing) -> bool:
        """Whether it owns partitions as a member that it is no more: `_on_lost` may still come."""
        return bool(self._owned) and now.member != self._standing.member

    def _drop(self, client: Any, partitions: list[Any]) -> frozenset[Partition]:
        gone = _partitions(partitions)
        client.incremental_unassign([TopicPartition(*p) for p in gone & self._opened])
        self._owned -= gone
        self._opened -= gone
        for partition in gone:
            self._floors.pop(partition, None)
            self._ends.pop(partition, None)
        return gone

    def _on_error(self, error: Any) -> None:
        if kind(error) is FencedError:
            self._fatal = error.str()
        else:
            logger.info("%s: %s", self._name, error.str())

    # Reading.

    def poll(self, records_max: int, timeout_s: float) -> Polled:
        """Serve the group, and return up to ``records_max`` records of opened partitions."""
        deadline = time.monotonic() + timeout_s
        limit_s = min(timeout_s, SLICE_S)
        while True:
            messages = self._consume(records_max, limit_s)
            if messages or self._changes:
                break
            limit_s = min(deadline - time.monotonic(), SLICE_S)
            if limit_s <= 0:
                break
        changes, self._changes = self._changes, []
        ends, self._ends = self._ends, {}
        return Polled(messages, changes, ends)

    def _consume(self, records_max: int, timeout_s: float) -> list[Message]:
        try:
            found = [] if self._fatal else self._client.consume(records_max, timeout_s)
        except (KafkaException, SystemError) as problem:
            raise classify(problem, f"{self._name}: reading") from problem
        if self._fatal:
            raise fenced(self._fatal)(
                f"{self._name}: {self._fatal}", remedy="join with a new consumer"
            )
        if not found:
            return []
        messages: list[Message] = found
        if any(map(_error, found)):
            messages = [m for m in found if m.error() is None]
            for message in found:
                if message.error() is not None:
                    self._judge(message)
        if self._changes or self._floors:
            return self._admitted(messages)
        return messages

    def _judge(self, message: Any) -> None:
        """Raise for an error that came in a message's place, unless it passes by itself."""
        error = message.error()
        where: Partition | None = None
        if message.topic() is not None and (message.partition() or 0) >= 0:
            where = Partition(message.topic(), message.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            if where in self._opened:
                self._ends[where] = message.offset()
            return
        sort = kind(error)
        if sort is FencedError:
            raise told(error, self._name)
        if sort is RetriableError or (where is not None and where not in self._opened):
            logger.info("%s: %s: %s", self._name, where, error.str())
            return
        raise LogError(
            f"{self._name}: {where or message.topic() or 'reading'}: {error.str()} "
            f"({error.name()})",
            remedy=remedy(error),
        )

    def _admitted(self, messages: list[Message]) -> list[Message]:
        """Those of opened partitions, at or above the position asked for."""
        # Records come in long runs of one partition: look at runs, not at each record.
        kept: list[Message] = []
        for partition, run in _runs(messages):
            if partition not in self._opened:
                continue
            records, floor = list(run), self._floors.get(partition, 0)
            offsets = [*map(_offset, records)]
            if min(offsets) >= floor:
                kept += records
                # Offsets ascend from here on: the partition has arrived.
                self._floors.pop(partition, None)
            else:
                kept += compress(records, map(floor.__le__, offsets))
        return kept

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on; also used to go back after an abort."""
        foreign = [p for p in positions if p not in self._owned]
        if foreign:
            raise LogError(f"{self._name}: not assigned: {', '.join(map(str, foreign))}")
        try:
            self._move({p: at for p, at in positions.items() if p in self._opened})
            fresh = {p: at for p, at in positions.items() if p not in self._opened}
            if fresh:
                self._client.incremental_assign(
                    [TopicPartition(*p, offset) for p, offset in fresh.items()]
                )
        except (KafkaException, SystemError) as problem:
            raise classify(problem, f"{self._name}: opening partitions") from problem
        self._opened |= positions.keys()
        for partition in positions:
            self._ends.pop(partition, None)
        self._floors.update(positions)

    def shut(self, partitions: Collection[Partition]) -> None:
        """Read these partitions no more: no poll returns a record of them before the next `open`.

        The client lets go of them, as before the first `open`.
        """
        opened = self._opened.intersection(partitions)
        if not opened:
            return
        self._opened -= opened
        for partition in opened:
            self._floors.pop(partition, None)
            self._ends.pop(partition, None)
        try:
            self._client.incremental_unassign([TopicPartition(*p) for p in opened])
        except (KafkaException, SystemError) as problem:
            raise classify(problem, f"{self._name}: shutting partitions") from problem

    def _move(self, positions: Mapping[Partition, int]) -> None:
        deadline = time.monotonic() + OPEN_S
        for partition, offset in positions.items():
            target = TopicPartition(*partition, offset)
            while True:
                try:
                    self._client.seek(target)
                    break
                except KafkaException as problem:
                    # The client has not begun to fetch, so it cannot move yet: it will, shortly.
                    error = reason(problem)
                    known = error is not None and error.code() in (
                        KafkaError._STATE,  # noqa: SLF001
                        KafkaError._PREV_IN_PROGRESS,  # noqa: SLF001
                    )
                    if not known or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)

    # Standing and positions.

    def membership(self) -> Membership:
        """This member's standing now; a partition is owned until a poll has said otherwise."""
        # The client asks its own thread: not for every poll, only where it is needed.
        token: bytes = self._client.consumer_group_metadata()
        now = Standing.of(token)
        # It keeps the former generation while no coordinator answers, though all was lost; and has
        # the next one before it has told what that takes away.
        out = self._out or self._fatal or self._another(now) or self._behind(now)
        return Membership(-1 if out else now.generation, frozenset(self._owned), token)

    def _behind(self, now: Standing) -> bool:
        return self._classic and now.generation != self._standing.generation

    def committed(
        self, partitions: Collection[Partition], timeout_s: float
    ) -> dict[Partition, Committed | None]:
        """The group's committed positions, stable: waits while a transaction holds one open."""
        doing = f"{self._name}: reading committed positions"
        try:
            found = self._client.committed([TopicPartition(*p) for p in partitions], timeout_s)
        except KafkaException as problem:
            raise classify(problem, doing) from problem
        return positions_of(found, doing)

    def commit(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:  # noqa: ARG002
        """Commit positions outside any transaction, and wait for the answer.

        The client offers no limit of its own here: it gives up after ``socket.timeout.ms``.
        """
        now = Standing.of(self._client.consumer_group_metadata())
        out = self._out or self._fatal or self._another(now) or now.generation < 0
        if out or not offsets.keys() <= self._owned:
            # The broker would take it from a member of no group: hold on to our own rule.
            raise FencedError(f"{self._name}: commit of partitions that it does not own")
        if self._behind(now):
            raise AbortableError(f"{self._name}: a rebalance has not told yet what it takes away")
        positions = [
            TopicPartition(topic, partition, committed.offset, metadata=committed.metadata)
            for (topic, partition), committed in offsets.items()
        ]
        doing = f"{self._name}: committing positions"
        try:
            for done in self._client.commit(offsets=positions, asynchronous=False):
                if done.error is not None:
                    raise told(done.error, doing)
        except KafkaException as problem:
            raise _disowned(classify(problem, doing)) from problem
        except AbortableError as problem:
            raise _disowned(problem) from problem

    def extent(self, partition: Partition, timeout_s: float) -> Extent:
        """The offsets the partition holds now (``high`` is the last stable offset)."""
        doing = f"{self._name}: {partition}: asking for its offsets"
        try:
            found = self._client.get_watermark_offsets(TopicPartition(*partition), timeout_s)
        except KafkaException as problem:
            raise classify(problem, doing) from problem
        if found is None:
            raise RetriableError(f"{doing}: no answer within {timeout_s:g} s")
        return Extent(*found)

    def lag(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """Records behind the end, from what the client last heard: never asks the log.

        A partition of which it has heard nothing yet is left out.
        """
        behind = {}
        for partition, position in positions.items():
            if partition not in self._opened:
                continue
            try:
                found = self._client.get_watermark_offsets(TopicPartition(*partition), cached=True)
            except KafkaException:
                continue
            if found is not None and found[1] >= 0:
                behind[partition] = max(0, found[1] - position)
        return behind

    def close(self, *, leave: bool) -> None:
        """Stop; with ``leave`` the group hands the partitions on at once."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            if leave and not self._fatal:
                leave_group(client, self)
        except (KafkaException, SystemError) as problem:
            logger.info("%s: leaving: %s", self._name, problem)
        finally:
            end(client, self._name)
            self._owned.clear()
            self._opened.clear()

    def owns_any(self) -> bool:
        """Whether the group has given it partitions that it has not handed back."""
        return bool(self._owned)


def _disowned(error: LogError) -> LogError:
    if not isinstance(error, AbortableError):
        return error
    # What a person can mend is no question of who owns the partitions, and would never pass.
    return (LogError if error.remedy else FencedError)(error.message, remedy=error.remedy)


def _runs(messages: Sequence[Message]) -> Iterator[tuple[Partition, Iterator[Message]]]:
    """Neighbours of one partition together."""
    for topic, of_topic in groupby(messages, _topic):
        for number, run in groupby(of_topic, _number):
            yield Partition(topic, number), run


def _partitions(found: Iterable[Any]) -> frozenset[Partition]:
    return frozenset(Partition(p.topic, p.partition) for p in found)


def positions_of(found: Iterable[Any], doing: str) -> dict[Partition, Committed | None]:
    """The answers about committed positions; raises for one that is an error."""
    positions: dict[Partition, Committed | None] = {}
    for answer in found:
        if answer.error is not None:
            raise told(answer.error, doing)
        known = answer.offset >= 0
        if not known and answer.offset != OFFSET_INVALID:
            raise LogError(f"{doing}: offset {answer.offset} means nothing")
        partition = Partition(answer.topic, answer.partition)
        positions[partition] = Committed(answer.offset, answer.metadata or "") if known else None
    return positions
