"""Reads topics back: what is committed, partition by partition, as plain records."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, IsolationLevel, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

SILENCE_S = 60.0
OPEN_S = 60.0


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies in a topic."""

    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Reader:
    """Reads without any group's positions."""

    def __init__(self, bootstrap_servers: str) -> None:
        settings = {"bootstrap.servers": bootstrap_servers, "log_level": 2}
        self._admin = AdminClient(settings)
        self._settings = settings | {
            "group.id": "campaign-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 20,
        }
        self._client = Consumer(self._settings)

    def partitions(self, topic: str, numbers: Collection[int]) -> dict[int, list[Record]]:
        """All that is committed in some partitions, each in its order."""
        self._client.assign([TopicPartition(topic, p, 0) for p in numbers])
        found: dict[int, list[Record]] = {p: [] for p in numbers}
        left, heard_s = set(numbers), time.monotonic()
        while left:
            for message in self._client.consume(10_000, 0.05):
                heard_s = time.monotonic()
                error = message.error()
                if error is None:
                    found[message.partition()].append(_record(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
            if time.monotonic() - heard_s > SILENCE_S:
                raise TimeoutError(f"{topic}: nothing more of {left} came for {SILENCE_S:g} s")
        self._client.unassign()
        return found

    def whole(self, topic: str, partitions: int) -> list[Record]:
        found = self.partitions(topic, range(partitions))
        return [record for p in range(partitions) for record in found[p]]

    def size(self, topic: str, partitions: int) -> int:
        asked = [TopicPartition(topic, p) for p in range(partitions)]
        return sum(self._ends(asked, IsolationLevel.READ_COMMITTED).values())

    def open_transactions(self, topics: Sequence[str], partitions: int) -> dict[str, list[int]]:
        """Partitions in which, for a long time, a transaction stays open: by topic."""
        asked = [TopicPartition(topic, p) for topic in topics for p in range(partitions)]
        deadline = time.monotonic() + OPEN_S
        while True:
            stable = self._ends(asked, IsolationLevel.READ_COMMITTED)
            last = self._ends(asked, IsolationLevel.READ_UNCOMMITTED)
            left = [where for where in last if stable[where] < last[where]]
            if not left or time.monotonic() > deadline:
                return {t: [p for topic, p in left if topic == t] for t, _ in left}
            time.sleep(0.5)

    def _ends(self, asked: Sequence[TopicPartition], level: object) -> dict[tuple[str, int], int]:
        self._admin.list_topics(timeout=20)
        answers = self._admin.list_offsets(
            dict.fromkeys(asked, OffsetSpec.latest()), isolation_level=level
        )
        return {(p.topic, p.partition): answer.result(20).offset for p, answer in answers.items()}

    def committed(self, group: str, topic: str, partitions: int) -> Mapping[int, int]:
        reader = Consumer(self._settings | {"group.id": group})
        try:
            found = reader.committed([TopicPartition(topic, p) for p in range(partitions)], 20)
            return {p.partition: p.offset for p in found}
        finally:
            reader.close()

    def close(self) -> None:
        self._client.close()


def _record(message) -> Record:
    headers = tuple(message.headers() or ())
    _, at_ms = message.timestamp()
    return Record(
        message.partition(), message.offset(), at_ms, message.key(), message.value(), headers
    )
