"""What the clients are set to, and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Repeats(logging.Filter):
    """Lets a line through once in ten seconds: the client tells of every try to connect."""

    every_s = 10.0

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is let through."""
        line = record.getMessage().partition(" (after ")[0]
        if record.created - self._last.get(line, 0.0) < self.every_s:
            return False
        if len(self._last) > 1_000:
            self._last.clear()
        self._last[line] = record.created
        return True


# The client's own words, served by its polls.
CLIENT_LOGGER = logging.getLogger("processor.kafka.client")
CLIENT_LOGGER.addFilter(Repeats())


class ClientLog:
    """What the client logs by: `CLIENT_LOGGER`, made safe for how the client calls it.

    When it meets a fatal error, the client (confluent-kafka 2.16) sets an exception and logs on. To
    look a method up in a base class then fails with an `AttributeError`, which takes the place of
    the exception: a worker that was fenced ended with a traceback about its logger. So ``log``
    stands in the class itself, and what goes wrong inside loses a line and nothing else.
    """

    def log(self, level: int, message: str, *args: object) -> None:
        """Log a line."""
        try:
            CLIENT_LOGGER.log(level, message, *args)
        except Exception:  # noqa: BLE001 - see above
            return


CLIENT_LOG = ClientLog()
ROLES = ("consumer", "producer", "admin")
# What a topic that the processor makes takes, so that a large record fits into its dead letters.
RECORD_BYTES_MAX = 10 * 1024 * 1024
# Of topics that are trimmed by us alone; the broker frees whole segments.
FOREVER = {
    "retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete",
    "segment.bytes": str(64 * 1024 * 1024),
}  # fmt: skip


# How properties begin that one kind of client has alone (the column C/P of CONFIGURATION.md).
_ALONE = {
    "consumer": (
        "allow.auto.", "auto.offset.reset", "check.crcs", "coordinator.query", "enable.auto.",
        "enable.partition", "fetch.", "group.", "heartbeat.", "isolation.", "max.partition.fetch",
        "max.poll.", "partition.assignment", "queued.", "session.",
    ),
    "producer": (
        "acks", "batch.", "compression.", "delivery.", "enable.idempotence", "linger.",
        "message.send", "message.timeout", "partitioner", "queue.buffering", "queuing.",
        "request.required", "request.timeout", "retries", "sticky.", "transaction",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the brokers are and how to talk to them. ``extra`` may hold secrets: never shown."""

    bootstrap_servers: str
    extra: Mapping[str, str] = field(repr=False, default_factory=dict)
    session_timeout_ms: int = 10_000
    transaction_timeout_ms: int = 10_000

    def extras(self, role: str) -> dict[str, str]:
        """The extra settings of one client; ``consumer.``, ``producer.`` say for which alone.

        What only the other kind of client has is left out: this one would warn of it.

        >>> extra = {"ssl.ca.location": "c", "producer.linger.ms": "9", "fetch.min.bytes": "1"}
        >>> Connection("b", extra).extras("producer")
        {'ssl.ca.location': 'c', 'linger.ms': '9'}
        """
        prefixes = tuple(f"{name}." for name in ROLES)
        prefixes += tuple(begin for of, begins in _ALONE.items() for begin in begins if of != role)
        shared = {k: v for k, v in self.extra.items() if not k.startswith(prefixes)}
        own = f"{role}."
        alone = {k.removeprefix(own): v for k, v in self.extra.items() if k.startswith(own)}
        return shared | alone

    def protocol(self) -> str:
        """How questions are sent: ``plaintext``, ``ssl``, ``sasl_plaintext`` or ``sasl_ssl``."""
        return self.extras("admin").get("security.protocol", "plaintext").lower()


def _common(connection: Connection) -> dict[str, Any]:
    return {
        "bootstrap.servers": connection.bootstrap_servers,
        "client.id": "processor",
        # A restarted broker is found again within a second, not ten.
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
    }


_CLASSIC_ONLY = (
    "group.instance.id",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "heartbeat.interval.ms",
)


def consumer_settings(
    connection: Connection, group: str, instance: str, error_cb: Callable[[Any], None]
) -> dict[str, Any]:
    """Read committed records only, as a static member of a group with cooperative hand-over."""
    settings: dict[str, Any] = {
        **_common(connection),
        "group.id": group,
        "group.instance.id": instance,
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": connection.session_timeout_ms,
        "heartbeat.interval.ms": 500,
        "max.poll.interval.ms": 300_000,
        # So soon partitions that were added to the topic are assigned; with the default, 5 minutes.
        "topic.metadata.refresh.interval.ms": 5_000,
        # Positions are always explicit: a missing one must stop the worker, not move it.
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Tells where the marks of transactions behind the last record end.
        "enable.partition.eof": True,
        # A full batch ahead of each partition, of all together a few megabytes: more is no faster,
        # and the client takes a few hundred bytes for every record that waits.
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 4_096,
        "fetch.queue.backoff.ms": 5,
        # An idle fetch holds its connection; a partition opened meanwhile waits for its end.
        "fetch.wait.max.ms": 50,
        "error_cb": error_cb,
        "logger": CLIENT_LOG,
        **connection.extras("consumer"),
    }
    if settings.get("group.protocol") == "consumer":
        # The broker assigns and times out (KIP-848): the client refuses these. And a replacement
        # under the same static identity would be refused until the session has expired.
        for name in _CLASSIC_ONLY:
            settings.pop(name, None)
    return settings


def producer_settings(
    connection: Connection,
    transactional_id: str | None,
    on_delivery: Callable[[Any, Any], None],
    error_cb: Callable[[Any], None],
) -> dict[str, Any]:
    """Idempotent, batched, and silent about what went well."""
    settings: dict[str, Any] = {
        **_common(connection),
        "enable.idempotence": True,
        # With the default, transactions back to back wait 100 ms for each other.
        "retry.backoff.ms": 5,
        # Every batch ends in a flush, which waits for nothing. Before it the records are to gather:
        # sent in bits, they cost the client's thread half as much again.
        "linger.ms": 50,
        "compression.type": "lz4",
        # How large a record may be is for the topic to say, not for the client.
        "message.max.bytes": RECORD_BYTES_MAX + 64 * 1024,
        "queue.buffering.max.messages": 1_000_000,
        # The choice of Kafka's own clients, so that a key meets its state.
        "partitioner": "murmur2_random",
        "delivery.report.only.error": True,
        "on_delivery": on_delivery,
        "error_cb": error_cb,
        "logger": CLIENT_LOG,
    }
    if transactional_id is not None:
        settings["transactional.id"] = transactional_id
        settings["transaction.timeout.ms"] = connection.transaction_timeout_ms
    return settings | connection.extras("producer")


def admin_settings(connection: Connection, error_cb: Callable[[Any], None]) -> dict[str, Any]:
    """For questions and for creating topics; ``error_cb`` hears why brokers cannot be reached."""
    # Its log is never served by a poll, and what goes wrong is told by its calls.
    return {
        **_common(connection),
        "log_level": 2,
        "error_cb": error_cb,
        **connection.extras("admin"),
    }


def reader_settings(connection: Connection, group: str, *, committed: bool) -> dict[str, Any]:
    """For reading a partition from outside any group; ``group`` is a name only."""
    # The client compares settings of membership with each other, also where it never joins.
    extra = connection.extras("consumer")
    for name in ("group.protocol", "max.poll.interval.ms", *_CLASSIC_ONLY):
        extra.pop(name, None)
    return {
        **_common(connection),
        "group.id": group,
        "isolation.level": "read_committed" if committed else "read_uncommitted",
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        "logger": CLIENT_LOG,
        **extra,
    }
