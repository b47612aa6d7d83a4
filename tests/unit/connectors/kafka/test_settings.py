from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from processor.connectors.kafka import settings
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


def test_the_clients_log_is_found_while_an_exception_is_set():
    """The client looks ``log`` up with one set: in a base class it would not be found."""
    assert "log" in vars(type(settings.CLIENT_LOG))


def test_what_goes_wrong_in_logging_is_not_the_clients_concern(monkeypatch, caplog):
    settings.CLIENT_LOG.log(30, "%s [%s] %s", "FAIL", "processor#producer-1", "away")
    assert "FAIL [processor#producer-1] away" in caplog.text
    monkeypatch.setattr(settings, "CLIENT_LOGGER", None)
    settings.CLIENT_LOG.log(30, "x")
