from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from processor.connectors.kafka.settings import Connection, consumer_settings, reader_settings

MEMBERSHIP = [
    {"max.poll.interval.ms": "6000"},
    {"consumer.max.poll.interval.ms": "6000"},
    {"consumer.group.protocol": "consumer"},
]


@pytest.mark.parametrize("extra", MEMBERSHIP, ids=str)
def test_a_setting_of_membership_that_a_worker_takes_does_not_keep_readers_from_being_made(
    extra: dict[str, str],
) -> None:
    connection = Connection("127.0.0.1:1", extra, session_timeout_ms=6_000)
    quiet = {"log_level": 0, "logger": None}
    for made in (
        consumer_settings(connection, "group", "a", lambda _: None),
        reader_settings(connection, "group", committed=True),
    ):
        Consumer({k: v for k, v in (made | quiet).items() if v is not None}).close()


def test_readers_keep_what_they_need_to_connect() -> None:
    connection = Connection(
        "127.0.0.1:1", {"consumer.fetch.max.bytes": "9", "ssl.ca.location": "c"}
    )
    made = reader_settings(connection, "group", committed=False)
    assert made["fetch.max.bytes"] == "9"
    assert made["ssl.ca.location"] == "c"
