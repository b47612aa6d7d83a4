"""Positions of several groups that become true together: in one transaction, from outside them.

The broker takes a transaction's positions for a group that has no members (measured on 4.1), and
refuses them for one that has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from confluent_kafka import Consumer

from processor.connectors.kafka import settings
from processor.connectors.ports import Producer
from processor.model.log import Committed, Membership
from processor.model.log import TopicPartition as Partition

LIMIT_S = 30.0


def commit(
    connection: settings.Connection,
    producer: Producer,
    groups: Mapping[str, Mapping[Partition, Committed]],
    on_error: Callable[[object], None],
) -> None:
    """Commit all positions, or none; raises `LogError` where that cannot be."""
    producer.start(LIMIT_S)
    producer.begin()
    try:
        for group, offsets in groups.items():
            standing = Membership(-1, frozenset(), _nobody(connection, group, on_error))
            producer.send_offsets(offsets, standing, LIMIT_S)
        producer.flush(LIMIT_S)
    except BaseException:
        producer.abort(LIMIT_S)
        raise
    producer.commit(LIMIT_S)


def _nobody(
    connection: settings.Connection, group: str, on_error: Callable[[object], None]
) -> object:
    """What the client calls a group in which it is no member."""
    wanted = settings.consumer_settings(connection, group, group, on_error)
    client = Consumer({k: v for k, v in wanted.items() if k != "group.instance.id"})
    try:
        return client.consumer_group_metadata()
    finally:
        client.close()
