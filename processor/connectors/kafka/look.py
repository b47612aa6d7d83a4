"""Questions about topics and groups that are asked once, within a limit, from any thread.

None of them makes a broker create a topic: the client's older question for a topic's metadata does.
"""

from __future__ import annotations

import struct
import time
import warnings
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as Asked
from confluent_kafka import admin as untyped_admin

from processor.connectors.kafka.errors import classify, reason
from processor.errors import RetriableError
from processor.model.log import TopicPartition as Partition
from processor.model.log import View

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

admin: Any = untyped_admin

_GONE = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own codes are named so
    }
)
# The client answers a question by its limit; the future is asked a little longer.
_SPARE_S = 0.5
_LEAST_S = 0.1
# After so long without an answer a new client asks: after a broker had stood still, one (librdkafka
# 2.16) was seen to find no connection for more than a minute, while others found theirs at once.
RENEW_S = 10.0
# What each of up to three questions may take of the time.
_SHARE = 0.4


def look(
    client: Any, topics: Collection[str], ends_of: Collection[Partition], timeout_s: float
) -> View:
    """See `processor.connectors.ports.Log.look`."""
    deadline = time.monotonic() + timeout_s
    try:
        seen = _described(client, topics, timeout_s * _SHARE)
    except RetriableError:
        # The client (librdkafka 2.16) asks the controller, and goes on asking one that is gone. A
        # list of all topics comes from any broker, and tells who the controller is now.
        seen = _listed(client, topics, timeout_s * _SHARE)
    wanted = [p for p in ends_of if p.topic in seen.partitions and p not in seen.leaderless]
    left_s = max(_LEAST_S, deadline - time.monotonic())
    stable, tops = (
        _offsets(client, wanted, level, left_s)
        for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    )
    heard_s = left_s + _SPARE_S
    return replace(seen, stable=_heard(stable, heard_s), tops=_heard(tops, heard_s))


def _described(client: Any, topics: Collection[str], timeout_s: float) -> View:
    """The topics, without any offsets."""
    counts: dict[str, int] = {}
    gone: set[str] = set()
    leaderless: set[Partition] = set()
    asked = TopicCollection(sorted(topics))
    for name, answer in client.describe_topics(asked, request_timeout=timeout_s).items():
        try:
            described = answer.result(timeout_s + _SPARE_S)
        except (KafkaException, TimeoutError) as problem:
            if _is_gone(problem):
                gone.add(name)
            else:
                _check_answered(problem, f"asking for topic {name}")
            continue
        counts[name] = len(described.partitions)
        leaderless |= {Partition(name, p.id) for p in described.partitions if p.leader is None}
    return View(counts, frozenset(gone), frozenset(leaderless))


def _listed(client: Any, topics: Collection[str], timeout_s: float) -> View:
    """The same from a list of all topics."""
    try:
        found = client.list_topics(timeout=timeout_s).topics
    except KafkaException as problem:
        raise classify(problem, "asking for all topics") from problem
    there = {name: found[name].partitions for name in topics if name in found}
    return View(
        {name: len(partitions) for name, partitions in there.items()},
        frozenset(topics) - there.keys(),
        frozenset(
            Partition(name, number)
            for name, partitions in there.items()
            for number, partition in partitions.items()
            if partition.leader < 0
        ),
    )


def _offsets(
    client: Any, partitions: Collection[Partition], level: Any, timeout_s: float
) -> Mapping[Any, Future[Any]]:
    if not partitions:
        return {}
    asked = {Asked(*partition): admin.OffsetSpec.latest() for partition in partitions}
    answers: Mapping[Any, Future[Any]] = client.list_offsets(
        asked, isolation_level=level, request_timeout=timeout_s
    )
    return answers


def _heard(answers: Mapping[Any, Future[Any]], timeout_s: float) -> dict[Partition, int]:
    """The offsets that came; a partition whose broker gave none is left out."""
    found: dict[Partition, int] = {}
    deadline = time.monotonic() + timeout_s
    for partition, answer in answers.items():
        try:
            offset = answer.result(max(0.0, deadline - time.monotonic())).offset
        except (KafkaException, TimeoutError):
            continue
        if offset >= 0:
            found[Partition(partition.topic, partition.partition)] = offset
    return found


def held(client: Any, group: str, timeout_s: float) -> frozenset[Partition] | None:
    """See `processor.connectors.ports.Log.held`."""
    doing = f"describing group {group}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # The call that is to be used instead ends the process when a broker goes away while it
            # waits: confluentinc/librdkafka#4605.
            answers = client.list_groups(group, timeout=timeout_s)
    except KafkaException as problem:
        raise classify(problem, doing) from problem
    found = next((answer for answer in answers if answer.id == group), None)
    if found is None:
        return frozenset()
    if found.error is not None:
        raise classify(KafkaException(found.error), doing)
    if found.state == "Dead":  # or of the next protocol, of which that call knows nothing
        return None
    return frozenset(p for member in found.members for p in _assigned(member.assignment))


def _assigned(assignment: bytes) -> Iterator[Partition]:
    """The partitions in a member's assignment: a version, then topics with their numbers."""
    if not assignment:
        return
    _, topics = struct.unpack_from(">hi", assignment)
    at = 6
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", assignment, at)
        topic = assignment[at + 2 : at + 2 + length].decode()
        at += 2 + length
        (count,) = struct.unpack_from(">i", assignment, at)
        for number in struct.unpack_from(f">{count}i", assignment, at + 4):
            yield Partition(topic, number)
        at += 4 + 4 * count


def _is_gone(problem: BaseException) -> bool:
    error = reason(problem)
    return error is not None and error.code() in _GONE


def _check_answered(problem: BaseException, doing: str) -> None:
    """Raise unless the broker has answered: a refusal is an answer too."""
    if isinstance(problem, TimeoutError):
        raise RetriableError(f"{doing}: no answer") from problem
    error = classify(problem, doing)
    if isinstance(error, RetriableError):
        raise error from problem
