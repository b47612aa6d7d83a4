"""A bounded read of one partition, outside any group."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processor.connectors.kafka import settings
from processor.connectors.kafka.errors import classify, kind, remedy
from processor.errors import LogError, RetriableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from processor.model.log import Message
    from processor.model.log import TopicPartition as Partition

# The group is never joined, and nothing is committed in its name: the client wants one.
_GROUP = "processor-scan"
_RECORDS = 10_000
_WAIT_S = 0.05
SILENCE_S = 30.0


def scan(
    connection: settings.Connection, partition: Partition, start: int, end: int, *, committed: bool
) -> Iterator[Sequence[Message]]:
    """See `processor.connectors.ports.Log.scan`."""
    client: Any = Consumer(settings.reader_settings(connection, _GROUP, committed=committed))
    doing = f"{partition}: reading {start} to {end}"
    try:
        low, high = client.get_watermark_offsets(TopicPartition(*partition), SILENCE_S)
        if not low <= start:
            raise LogError(f"{doing}: out of range, the partition begins at {low}")
        end = min(end, high)
        if start < end:
            client.assign([TopicPartition(*partition, start)])
            yield from _read(client, end, doing)
    except KafkaException as problem:
        raise classify(problem, doing) from problem
    finally:
        client.close()


def _read(client: Any, end: int, doing: str) -> Iterator[Sequence[Message]]:
    """By position: aborted records and the marks of transactions leave gaps, also at the end."""
    heard_s = time.monotonic()
    arrived = False
    while not arrived:
        found = client.consume(_RECORDS, _WAIT_S)
        if found:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > SILENCE_S:
            raise RetriableError(f"{doing}: nothing came for {SILENCE_S:g} s")
        messages: list[Message] = [m for m in found if m.error() is None]
        for error in (m.error() for m in found if m.error() is not None):
            _judge(error, doing)
        arrived = any(_passed(m) >= end for m in found)
        wanted = [m for m in messages if (m.offset() or 0) < end]
        if wanted:
            yield wanted


def _passed(message: Any) -> int:
    """The position behind a record, or that at which the partition ends for now."""
    if message.error() is None:
        return int(message.offset()) + 1
    return int(message.offset()) if _ended(message.error()) else -1


def _ended(error: Any) -> bool:
    return bool(error.code() == KafkaError._PARTITION_EOF)  # noqa: SLF001


def _judge(error: Any, doing: str) -> None:
    if not _ended(error) and kind(error) is not RetriableError:
        raise LogError(f"{doing}: {error.str()} ({error.name()})", remedy=remedy(error))
