from __future__ import annotations

import logging

import pytest
from confluent_kafka import Consumer

from processor.connectors.kafka import settings
from processor.connectors.kafka.settings import (
    Connection,
    admin_settings,
    consumer_settings,
    producer_settings,
    reader_settings,
)

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


def test_no_client_is_given_what_only_the_other_kind_has():
    given = {
        "fetch.min.bytes": "1", "max.poll.interval.ms": "9", "group.protocol": "classic",
        "linger.ms": "5", "batch.size": "9", "compression.type": "lz4", "acks": "all",
        "retries": "5", "retry.backoff.ms": "50", "client.rack": "a",
    }  # fmt: skip
    connection = Connection("127.0.0.1:1", given)
    both = {"retry.backoff.ms", "client.rack"}
    assert connection.extras("admin").keys() == both
    assert connection.extras("consumer").keys() == {
        "fetch.min.bytes", "max.poll.interval.ms", "group.protocol", *both,
    }  # fmt: skip
    assert connection.extras("producer").keys() == given.keys() - {
        "fetch.min.bytes", "max.poll.interval.ms", "group.protocol",
    }  # fmt: skip
    alone = Connection("b", {"producer.fetch.min.bytes": "1"})  # who says so is taken at his word
    assert alone.extras("producer") == {"fetch.min.bytes": "1"}


def test_the_clients_log_is_found_while_an_exception_is_set():
    """The client looks ``log`` up with one set: in a base class it would not be found."""
    assert "log" in vars(type(settings.CLIENT_LOG))


def test_what_goes_wrong_in_logging_is_not_the_clients_concern(monkeypatch, caplog):
    settings.CLIENT_LOG.log(30, "%s [%s] %s", "FAIL", "processor#producer-1", "away")
    assert "FAIL [processor#producer-1] away" in caplog.text
    monkeypatch.setattr(settings, "CLIENT_LOGGER", None)
    settings.CLIENT_LOG.log(30, "x")


COMMON = {
    "bootstrap.servers": "b:1",
    "client.id": "processor",
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1_000,
}
READING = {
    "group.id": "g",
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 50,
    "logger": settings.CLIENT_LOG,
}
CLASSIC = {
    "group.instance.id": "one",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 7,
    "heartbeat.interval.ms": 500,
}
PUBLISHING = {
    "enable.idempotence": True,
    "retry.backoff.ms": 5,
    "linger.ms": 50,
    "compression.type": "lz4",
    "message.max.bytes": 10_551_296,
    "queue.buffering.max.messages": 1_000_000,
    "partitioner": "murmur2_random",
    "delivery.report.only.error": True,
    "logger": settings.CLIENT_LOG,
}


def heard(*_: object) -> None:
    """What a client calls back."""


def test_a_member_reads_what_is_committed_from_positions_that_it_was_given_and_commits_none():
    connection = Connection("b:1", {"a": "1", "producer.b": "2"}, session_timeout_ms=7)
    wanted = {
        **COMMON, **READING, **CLASSIC, "max.poll.interval.ms": 300_000, "error_cb": heard,
        "topic.metadata.refresh.interval.ms": 5_000, "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 4_096, "fetch.queue.backoff.ms": 5, "a": "1",
    }  # fmt: skip
    assert consumer_settings(connection, "g", "one", heard) == wanted
    newer = Connection("b:1", {"consumer.group.protocol": "consumer"}, session_timeout_ms=7)
    found = consumer_settings(newer, "g", "one", heard)
    del wanted["a"]
    assert found == {k: v for k, v in wanted.items() if k not in CLASSIC} | {
        "group.protocol": "consumer"
    }
    older = Connection("b:1", {"consumer.group.protocol": "classic"}, session_timeout_ms=7)
    assert consumer_settings(older, "g", "one", heard) == wanted | {"group.protocol": "classic"}


def test_a_producer_is_idempotent_and_has_an_identity_where_it_is_given_one():
    connection = Connection("b:1", {"producer.x": "9", "consumer.x": "1"}, 7, 8)
    wanted = {**COMMON, **PUBLISHING, "on_delivery": print, "error_cb": heard, "x": "9"}
    assert producer_settings(connection, None, print, heard) == wanted
    assert producer_settings(connection, "id", print, heard) == {
        **wanted, "transactional.id": "id", "transaction.timeout.ms": 8
    }  # fmt: skip


@pytest.mark.parametrize("committed", [True, False])
def test_a_reader_from_outside_takes_part_in_no_group_and_moves_by_itself_nowhere(committed):
    membership = dict.fromkeys(CLASSIC, "1") | {"max.poll.interval.ms": "2", "group.protocol": "c"}
    connection = Connection(
        "b:1", {"a": "1", **{f"consumer.{k}": v for k, v in membership.items()}}
    )
    level = "read_committed" if committed else "read_uncommitted"
    assert reader_settings(connection, "g", committed=committed) == {
        **COMMON, **READING, "isolation.level": level, "a": "1"
    }  # fmt: skip


def test_who_asks_tells_by_its_calls_and_says_how_it_talks():
    connection = Connection("b:1", {"admin.security.protocol": "SASL_SSL", "producer.x": "1"})
    assert admin_settings(connection, heard) == {
        **COMMON, "log_level": 2, "error_cb": heard, "security.protocol": "SASL_SSL"
    }  # fmt: skip
    assert connection.protocol() == "sasl_ssl"
    assert Connection("b:1").protocol() == "plaintext"


def test_a_line_that_repeats_is_told_once_in_a_while_and_others_at_once(monkeypatch):
    repeats = settings.Repeats()

    def told(text, at):
        record = logging.LogRecord("x", logging.INFO, "f", 1, text, None, None)
        record.created = at
        return repeats.filter(record)

    every_s = repeats.every_s
    assert [told("a", 1e9), told("b", 1e9), told("a", 1e9 + every_s - 1)] == [True, True, False]
    assert [told("a", 1e9 + every_s), told("a", 1e9 + every_s + 1)] == [True, False]
    for n in range(1_500):
        assert told(f"{n}", 2e9)
    assert len(repeats._last) <= 1_001
