"""The client's errors, turned into those that say what the receiver must do.

One table for everything. What librdkafka itself says of an error (fatal, to be aborted, to be
retried) goes before the table, except for the codes that always mean a taken identity.
"""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from processor.errors import (
    AbortableError,
    FencedError,
    IdentityTakenError,
    LogError,
    OutcomeUnknownError,
    RetriableError,
)

FENCED = frozenset(
    {
        KafkaError._FATAL,  # noqa: SLF001 - librdkafka's own codes are named so
        KafkaError._FENCED,  # noqa: SLF001
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)
ABORTABLE = frozenset(
    {
        KafkaError._STATE,  # noqa: SLF001
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.TRANSACTION_ABORTABLE,
    }
)
RETRIABLE = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._RETRY,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError._WAIT_CACHE,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._PARTITION_EOF,  # noqa: SLF001
        KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001 - the loss of the partitions tells it too
        KafkaError._DESTROY_BROKER,  # noqa: SLF001
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
    }
)
# The client calls some of these fatal, as if another had taken the identity; a new one would meet
# them again.
REFUSED = frozenset({KafkaError.INVALID_TRANSACTION_TIMEOUT, KafkaError.INVALID_SESSION_TIMEOUT})
# A record that an abort threw away is reported as failed, perhaps only in the next transaction.
PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001

REMEDIES = {
    KafkaError._AUTO_OFFSET_RESET: "the position is outside what the topic holds",  # noqa: SLF001
    KafkaError.OFFSET_OUT_OF_RANGE: "the position is outside what the topic holds",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this principal access to the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant this principal access to the consumer group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (
        "grant this principal access to the transactional id"
    ),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant this principal access to the cluster",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check the user and the password",
    KafkaError._AUTHENTICATION: "check the user, the password and the certificates",  # noqa: SLF001
    # The client tells so of two and more in one request, whatever the broker had against them.
    KafkaError.INVALID_RECORD: (
        "a topic with cleanup.policy=compact takes no record without a key: write with key=..., "
        "and filter out rows whose key is null; and with timestamp=..., none whose timestamp is "
        "further from the broker's clock than message.timestamp.after.max.ms (or before) allows"
    ),
    KafkaError.INVALID_TRANSACTION_TIMEOUT: (
        "give a shorter --transaction-timeout, or raise transaction.max.timeout.ms on the brokers"
    ),
    KafkaError.INVALID_SESSION_TIMEOUT: (
        "give a --session-timeout between group.min.session.timeout.ms and "
        "group.max.session.timeout.ms of the brokers"
    ),
    KafkaError.OFFSET_METADATA_TOO_LARGE: "raise offset.metadata.max.bytes on the brokers",
    KafkaError.INVALID_TIMESTAMP: (
        "a timestamp of a record is further from the broker's clock than the topic allows: raise "
        "its message.timestamp.after.max.ms (or before), or write without timestamp=..."
    ),
    KafkaError.MSG_SIZE_TOO_LARGE: (
        "raise max.message.bytes of the topic (and --kafka message.max.bytes for more than 10 MB), "
        "or make the records smaller"
    ),
}


def reason(problem: BaseException) -> Any:
    """The `KafkaError` inside an exception of the client."""
    error = problem.args[0] if problem.args else None
    return error if isinstance(error, KafkaError) else None


def kind(error: Any) -> type[LogError]:
    """What the receiver of this `KafkaError` must do, as the class to raise."""
    code = error.code()
    if code in REFUSED:
        return LogError
    if error.fatal() or code in FENCED:
        return FencedError
    if error.txn_requires_abort() or code in ABORTABLE:
        return AbortableError
    if error.retriable() or code in RETRIABLE:
        return RetriableError
    return LogError


def classify(problem: BaseException, doing: str) -> LogError:
    """The project's error for what the client raised while ``doing`` something."""
    error = reason(problem)
    if error is None:
        # A callback that meets a fatal error leaves the client's call with a SystemError.
        return FencedError(f"{doing}: {problem}", remedy="make a new client")
    return told(error, doing)


def fenced(text: str) -> type[FencedError]:
    """Which error it is to have been fenced, by what the client says of it."""
    return IdentityTakenError if "group.instance.id" in text else FencedError


def told(error: Any, doing: str) -> LogError:
    """The project's error for a `KafkaError` that was handed over, not raised."""
    sort = kind(error)
    if sort is FencedError:
        sort = fenced(error.str())
    return sort(f"{doing}: {error.str()} ({error.name()})", remedy=remedy(error))


def remedy(error: Any) -> str:
    """What a person can do about it; empty where the error's kind says it all."""
    return REMEDIES.get(error.code(), "")


__all__ = [
    "PURGED",
    "AbortableError",
    "FencedError",
    "KafkaError",
    "KafkaException",
    "LogError",
    "OutcomeUnknownError",
    "RetriableError",
    "classify",
    "kind",
    "reason",
    "remedy",
    "told",
]
