"""Kafka as a log: makes consumers and producers, and answers about topics."""

from __future__ import annotations

import re
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import admin as untyped_admin

from processor.connectors.kafka import together
from processor.connectors.kafka.asking import REQUEST_S, answered, retried
from processor.connectors.kafka.consumer import KafkaConsumer, positions_of
from processor.connectors.kafka.errors import classify, reason
from processor.connectors.kafka.look import RENEW_S, held, look
from processor.connectors.kafka.making import made
from processor.connectors.kafka.producer import KafkaProducer
from processor.connectors.kafka.reach import Heard
from processor.connectors.kafka.reader import scan
from processor.connectors.kafka.seen import settings_of
from processor.connectors.kafka.settings import (
    FOREVER,
    RECORD_BYTES_MAX,
    Connection,
    admin_settings,
    reader_settings,
)
from processor.errors import AbortableError, FencedError, LogError, RetriableError
from processor.model.log import Committed, Extent, TopicDescription
from processor.model.log import TopicPartition as Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from processor.model.log import Message, View

admin: Any = untyped_admin

FIRST_S = 1.0
# What a broker puts behind a member's own name to tell it from others.
_MEMBER = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
# Each is a connection and three threads.
READERS_MAX = 4


class KafkaLog:
    """Implements `processor.connectors.ports.Log`.

    ``extra`` holds any further settings of librdkafka; one that begins with ``consumer.`` or
    ``producer.`` is for that client alone. It may hold secrets, so nothing ever shows it.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        extra: Mapping[str, str] | None = None,
        *,
        session_timeout_ms: int = 10_000,
        transaction_timeout_ms: int = 10_000,
    ) -> None:
        self._connection = Connection(
            bootstrap_servers, dict(extra or {}), session_timeout_ms, transaction_timeout_ms
        )
        self._admin: Any = None
        self._former: Any = None
        self._making = threading.Lock()
        self._answered_s = time.monotonic()
        self._heard = Heard()
        self._met = False
        self._readers: dict[tuple[str, bool], Any] = {}

    def __repr__(self) -> str:
        return f"KafkaLog({self._connection.bootstrap_servers!r})"

    def consumer(self, group: str, instance: str, topics: Sequence[str]) -> KafkaConsumer:
        """A new member of ``group``; ``instance`` is its identity over restarts."""
        return made(lambda: KafkaConsumer(self._connection, group, instance, topics))

    def producer(self, transactional_id: str | None) -> KafkaProducer:
        """A new producer; ``None`` makes one without transactions."""
        return made(lambda: KafkaProducer(self._connection, transactional_id))

    def describe(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        """The topics that exist, of those named."""
        try:
            return retried(lambda: self._describe(frozenset(topics)))
        except RetriableError as problem:
            # The address that was given may answer, and those that the brokers give may not.
            self._client().poll(0)
            if self._heard:
                raise self._why() from problem
            raise

    def _describe(self, topics: frozenset[str]) -> dict[str, TopicDescription]:
        counts = self._partitions(topics)
        asked = [TopicPartition(name, i) for name, n in counts.items() for i in range(n)]
        lows = self._offsets(asked, admin.OffsetSpec.earliest())
        highs = self._offsets(asked, admin.OffsetSpec.latest())
        return {
            name: TopicDescription(
                name,
                {
                    i: Extent(lows[Partition(name, i)], highs[Partition(name, i)])
                    for i in range(count)
                },
            )
            for name, count in counts.items()
        }

    def _offsets(self, asked: list[Any], spec: Any) -> dict[Partition, int]:
        if not asked:
            return {}
        answers = self._client().list_offsets(
            dict.fromkeys(asked, spec),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=REQUEST_S,
        )
        return {
            Partition(p.topic, p.partition): answered(
                answer, f"{p.topic}: asking for offsets"
            ).offset
            for p, answer in answers.items()
        }

    def offsets_at(self, topic: str, ms: int) -> dict[Partition, int]:
        """Where each partition's first record of a timestamp or a later one lies, or its end."""
        return retried(lambda: self._offsets_at(topic, ms))

    def _offsets_at(self, topic: str, ms: int) -> dict[Partition, int]:
        asked = [TopicPartition(topic, i) for i in range(self._partitions({topic}).get(topic, 0))]
        # The ends first: what comes between the two answers is behind them.
        ends = self._offsets(asked, admin.OffsetSpec.latest())
        # Numbers below 0 mean something else to a broker.
        found = self._offsets(asked, admin.OffsetSpec.for_timestamp(max(0, ms)))
        return {partition: ends[partition] if at < 0 else at for partition, at in found.items()}

    def _partitions(self, topics: Collection[str]) -> dict[str, int]:
        """Those of the topics that exist, each with its number of partitions.

        Raises `RetriableError` while one of their partitions has no leader.
        """
        counts = {}
        for name, topic in self._metadata(REQUEST_S).topics.items():
            if name not in topics:
                continue
            if any(p.leader < 0 for p in topic.partitions.values()):
                raise RetriableError(f"{name}: a partition has no leader")
            counts[name] = len(topic.partitions)
        return counts

    def identity(self, topic: str) -> Callable[[], str]:
        """Begin to ask for the topic's id."""
        asked = TopicCollection([topic])
        answer = self._client().describe_topics(asked, request_timeout=REQUEST_S)[topic]
        return lambda: _topic_id(answered(answer, f"{topic}: asking for the topic's id"))

    def look(
        self, topics: Collection[str], ends_of: Collection[Partition], timeout_s: float
    ) -> View:
        """How topics and partitions stand now, asked once; any thread may ask."""
        client = self._client()
        try:
            view = look(client, topics, ends_of, timeout_s)
        except RetriableError:
            if time.monotonic() - self._answered_s > RENEW_S:
                self._renew(client)
            raise
        self._answered_s = time.monotonic()
        return view

    def _renew(self, client: Any) -> None:
        # The former is kept until the next time: futures of one that is thrown away never resolve.
        with self._making:
            if self._admin is client:
                self._former, self._admin = client, None
            self._answered_s = time.monotonic()

    def held(self, group: str, timeout_s: float) -> frozenset[Partition] | None:
        """The partitions that members of a group have, asked once; any thread may ask."""
        return held(self._client(), group, timeout_s)

    def create(self, topics: Mapping[str, int], *, forever: bool = False) -> None:
        """Create topics with so many partitions; those that exist are left alone."""
        if not topics:
            return
        # -1: as many replicas as the brokers are set to give.
        config = {"max.message.bytes": str(RECORD_BYTES_MAX)}
        if forever:
            config |= FOREVER
        wanted = [
            admin.NewTopic(name, count, replication_factor=-1, config=config)
            for name, count in topics.items()
        ]
        for name, answer in self._client().create_topics(wanted, request_timeout=REQUEST_S).items():
            try:
                answered(answer, f"creating topic {name}")
            except LogError as problem:
                error = reason(problem.__cause__) if problem.__cause__ is not None else None
                if error is None or error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        retried(lambda: self._appeared(topics))

    def _appeared(self, topics: Iterable[str]) -> None:
        missing = set(topics) - self._partitions(set(topics)).keys()
        if missing:
            raise RetriableError(f"created, but not there yet: {', '.join(sorted(missing))}")

    def compacted(self, topics: Collection[str]) -> frozenset[str]:
        """Those of the topics that keep the last record of each key only, so that each needs one.

        A topic whose settings the broker does not show (they take a right of their own) counts as
        not compacted.
        """
        told = retried(lambda: settings_of(self._client(), topics))
        return frozenset(t for t in told if "compact" in told[t].get("cleanup.policy", ""))

    def kept_ms(self, topic: str) -> int | None:
        """How long a topic's records are kept; ``None`` where it is for ever, or is not shown."""
        told = retried(lambda: settings_of(self._client(), [topic])).get(topic, {})
        kept_ms = int(told.get("retention.ms", "-1"))
        return kept_ms if kept_ms >= 0 and "delete" in told.get("cleanup.policy", "") else None

    def committed(
        self, group: str, topic: str, *, stable: bool = True
    ) -> dict[Partition, Committed]:
        """The group's committed positions in a topic, seen from outside the group."""
        return retried(lambda: self._committed(group, topic, stable=stable))

    def _committed(self, group: str, topic: str, *, stable: bool) -> dict[Partition, Committed]:
        doing = f"committed positions of {group} in {topic}"
        asked = [TopicPartition(topic, i) for i in range(self._partitions({topic}).get(topic, 0))]
        if not asked:
            return {}
        try:
            found = positions_of(
                self._reader(group, stable=stable).committed(asked, REQUEST_S), doing
            )
        except KafkaException as problem:
            raise classify(problem, doing) from problem
        return {partition: known for partition, known in found.items() if known is not None}

    def _reader(self, group: str, *, stable: bool) -> Any:
        """A consumer that never joins.

        The admin client's own call for this ends the process when the group's coordinator is not
        ready yet: librdkafka 2.16 dereferences the group that an admin client does not have.
        """
        known = group, stable
        if known not in self._readers:
            if len(self._readers) == READERS_MAX:
                self._readers.pop(next(iter(self._readers))).close()
            settings = reader_settings(self._connection, group, committed=stable)
            self._readers[known] = made(lambda: Consumer(settings))
        return self._readers[known]

    def members(self, group: str) -> frozenset[str]:
        """The identities of a group's members; none for one that is not there."""
        return retried(lambda: self._members(group))

    def _members(self, group: str) -> frozenset[str]:
        doing = f"describing group {group}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                # The call that is to be used instead ends the process when a broker goes away
                # while it waits: confluentinc/librdkafka#4605.
                answers = self._client().list_groups(group, timeout=REQUEST_S)
        except KafkaException as problem:
            raise classify(problem, doing) from problem
        found = next((answer for answer in answers if answer.id == group), None)
        if found is None:
            return frozenset()
        if found.error is not None:
            raise classify(KafkaException(found.error), doing)
        if found.state == "Dead":  # or of the next protocol, of which that call knows nothing
            return self._members_described(group, doing)
        return frozenset(_MEMBER.sub("", member.id) for member in found.members)

    def _members_described(self, group: str, doing: str) -> frozenset[str]:
        answers = self._client().describe_consumer_groups([group], request_timeout=REQUEST_S)
        try:
            found = answered(answers[group], doing).members
            return frozenset(member.group_instance_id or member.member_id for member in found)
        except LogError as problem:
            error = reason(problem.__cause__) if problem.__cause__ is not None else None
            if error is not None and error.code() == KafkaError.GROUP_ID_NOT_FOUND:
                return frozenset()
            raise

    def reset(self, group: str, offsets: Mapping[Partition, Committed]) -> None:
        """Commit positions from outside the group; raises `FencedError` while it has members."""
        if self.members(group):
            raise FencedError(f"group {group!r} has members", remedy="stop them first")
        wanted = [
            TopicPartition(topic, partition, committed.offset, metadata=committed.metadata)
            for (topic, partition), committed in offsets.items()
        ]
        # The coordinator of a group that is new on a new broker is found, but not ready yet.
        retried(lambda: self._reset(group, wanted))

    def reset_all(self, groups: Mapping[str, Mapping[Partition, Committed]]) -> None:
        """Commit positions of several groups, all or none."""
        for group in groups:
            if self.members(group):
                raise FencedError(f"group {group!r} has members", remedy="stop them first")
        producer = self.producer(f"{min(groups)}:reset")
        try:
            together.commit(self._connection, producer, groups, lambda _: None)
        finally:
            producer.close()

    def _reset(self, group: str, wanted: list[Any]) -> None:
        doing = f"resetting positions of {group}"
        try:
            answers = self._client().alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, wanted)], request_timeout=REQUEST_S
            )
            positions_of(answered(answers[group], doing).topic_partitions, doing)
        except AbortableError as problem:
            # A member came in between: the broker takes positions of an empty group only.
            raise FencedError(problem.message, remedy="stop the group's members first") from problem

    def scan(
        self, partition: Partition, start: int, end: int, *, committed: bool = True
    ) -> Iterator[Sequence[Message]]:
        """Records of a partition from ``start`` to before ``end``, outside any group."""
        return scan(self._connection, partition, start, end, committed=committed)

    def trim(self, partition: Partition, low: int) -> None:
        """Delete the records before ``low``; it is no error if they are gone already."""
        doing = f"{partition}: deleting what is before {low}"
        asked = [TopicPartition(*partition, low)]
        for answer in self._client().delete_records(asked, request_timeout=REQUEST_S).values():
            answered(answer, doing)

    def cluster_id(self, timeout_s: float = REQUEST_S) -> str:
        """The cluster's name for itself; raises `LogError` when no broker answers in time."""
        return str(self._metadata(timeout_s).cluster_id)

    def _metadata(self, timeout_s: float) -> Any:
        # What never passes is known after a moment; then there is no use in waiting for the rest.
        self._client().poll(0)
        self._heard.clear()
        first_s = min(FIRST_S, timeout_s)
        for limit_s in (first_s, timeout_s - first_s):
            try:
                found = self._client().list_topics(timeout=max(0.001, limit_s))
            except KafkaException as problem:
                error = classify(problem, "asking for topics")
                if not isinstance(error, RetriableError):
                    raise error from problem
            else:
                self._met = True
                return found
            self._client().poll(0)
            if self._heard.lasting:
                break
        raise self._why()

    def _why(self) -> LogError:
        servers, protocol = self._connection.bootstrap_servers, self._connection.protocol()
        return self._heard.why(servers, protocol, first=not self._met)

    def _client(self) -> Any:
        # One for all threads, and for as long as it hears answers.
        with self._making:
            if self._admin is None:
                settings = admin_settings(self._connection, self._heard)
                self._admin = made(lambda: admin.AdminClient(settings))
            return self._admin

    def close(self) -> None:
        """Let go of everything."""
        self._admin = self._former = None
        while self._readers:
            self._readers.popitem()[1].close()


def make_kafka_log(bootstrap_servers: str) -> KafkaLog:
    """A log for tests: the session and the transactions end sooner than a worker's would."""
    return KafkaLog(bootstrap_servers, session_timeout_ms=6_000, transaction_timeout_ms=6_000)


def _topic_id(description: Any) -> str:
    # Brokers before 2.8 have none: all its bits are 0.
    topic_id = description.topic_id
    known = topic_id.get_most_significant_bits() or topic_id.get_least_significant_bits()
    return str(topic_id) if known else ""
