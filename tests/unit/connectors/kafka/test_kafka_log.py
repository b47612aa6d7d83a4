"""What the log makes of the answers of a broker, without one."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError
from confluent_kafka import TopicPartition as Asked

from processor.connectors.kafka import KafkaLog
from processor.errors import FencedError
from processor.model.log import Committed, TopicPartition

HERE = {TopicPartition("t", 0): Committed(5, "m")}


def _log(*codes):
    """A log whose broker answers resets with these errors, one after the other; then it is well."""
    log, left, taken = KafkaLog("nowhere:1"), list(codes), []

    def alter(asked, request_timeout):
        (group,) = asked
        (wanted,) = group.topic_partitions
        error = KafkaError(left.pop(0)) if left else None
        answer = SimpleNamespace(
            topic=wanted.topic, partition=wanted.partition, offset=wanted.offset, metadata="",
            error=error,
        )  # fmt: skip
        if error is None:
            taken.append((wanted, wanted.offset, wanted.metadata))
        done = Future()
        done.set_result(SimpleNamespace(topic_partitions=[answer]))
        return {group.group_id: done}

    log._admin = SimpleNamespace(
        alter_consumer_group_offsets=alter, list_groups=lambda group, timeout: []
    )
    return log, taken


def test_a_reset_waits_for_a_coordinator_that_is_not_ready():
    log, taken = _log(KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
    log.reset("g", HERE)
    assert taken == [(Asked("t", 0), 5, "m")]


def test_a_reset_gives_way_to_a_member_that_came_in_between():
    log, taken = _log(KafkaError.UNKNOWN_MEMBER_ID)
    with pytest.raises(FencedError, match="resetting positions of g"):
        log.reset("g", HERE)
    assert taken == []
