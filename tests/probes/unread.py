"""Positions in transactions of a group that reads nothing: what feeds and intents rest on."""

from __future__ import annotations

from collections.abc import Iterator

from processor.connectors.kafka import KafkaLog
from processor.errors import AbortableError, RetriableError
from processor.model.log import Committed, TopicPartition
from tests.probes.bed import LIMIT_S, Bed, need, put, same, until

METADATA_MAX = 4_095
# A position stays 60 s in a group without members; looked at every second.
FORGETS = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "1000"}


def feed(bed: Bed) -> Iterator[str]:
    """A feed owns partitions of the topic that it writes, and reads none of it."""
    yield from _feed(bed, "classic", bed.log)


def feed_of_the_next_protocol(bed: Bed) -> Iterator[str]:
    """The same where the broker itself hands partitions over."""
    yield from _feed(bed, "consumer", bed.logged({"consumer.group.protocol": "consumer"}))


def _feed(bed: Bed, protocol: str, log: KafkaLog) -> Iterator[str]:
    topic = bed.topic(f"fed-{protocol}", 2)
    group = f"feed-{protocol}"
    member = bed.joined(group, topic, 2, log)
    first, second = (TopicPartition(topic, p) for p in (0, 1))
    producer = bed.producer(group)
    wanted = {first: Committed(0, "file;row=7"), second: Committed(10**12, "m" * METADATA_MAX)}
    for end, told in ((producer.abort, {}), (producer.commit, wanted)):
        producer.begin()
        put(producer, first, b"block")
        producer.send_offsets(wanted, member.membership(), LIMIT_S)
        end(LIMIT_S)
        same(bed.log.committed(bed.name(group), topic), told, f"{protocol}: positions")
    # The same offset with another metadata: an intent.
    intent = {first: Committed(0, "intent")}
    producer.begin()
    producer.send_offsets(intent, member.membership(), LIMIT_S)
    producer.commit(LIMIT_S)
    same(bed.log.committed(bed.name(group), topic), wanted | intent, f"{protocol}: an intent")
    for _ in range(10):
        same(list(member.poll(100, 0.05).messages), [], f"{protocol}: what a feed is given")
    producer.begin()
    stale = member.membership()
    other = bed.consumer(group, topic, "b", log)
    until(
        lambda: member.poll(1, 0.02) and other.poll(1, 0.02)
        and len(member.membership().partitions) == len(other.membership().partitions) == 1,
        f"{protocol}: two members have one partition each",
    )  # fmt: skip
    try:
        producer.send_offsets({first: Committed(0, "stale")}, stale, LIMIT_S)
    except AbortableError:
        producer.abort(LIMIT_S)
    else:
        need(found=False, what=f"{protocol}: the standing of before a hand-over is refused")
    yield (
        f"{protocol}: taken with offset 0 and 10^12 of an empty partition and {METADATA_MAX} "
        "characters, by abort none; offset unchanged: taken; a stale standing: refused"
    )


def stable_read(bed: Bed) -> Iterator[str]:
    """Who takes a feed over waits for its open transaction, and for no other's."""
    topic = bed.topic("held", 2)
    member = bed.joined("holding", topic, 2)
    first, second = (TopicPartition(topic, p) for p in (0, 1))
    producer = bed.producer("holding")
    producer.begin()
    producer.send_offsets({first: Committed(0, "held")}, member.membership(), LIMIT_S)
    same(member.committed([second], LIMIT_S), {second: None}, "a partition without any")
    try:
        member.committed([first], 0.5)
    except RetriableError:
        pass
    else:
        need(found=False, what="a stable read waits while a transaction holds the position")
    unstable = bed.log.committed(bed.name("holding"), topic, stable=False)
    same(unstable, {}, "an unstable read, at once")
    producer.commit(LIMIT_S)
    took_s = until(
        lambda: member.committed([first], LIMIT_S) == {first: Committed(0, "held")},
        "the position is read",
    )
    yield f"waits for the partition's own transaction only; {1000 * took_s:.0f} ms after its commit"


def forgotten(bed: Bed) -> Iterator[str]:
    """Positions are kept as long as somebody is in the group, and go some time after the last."""
    topic = bed.topic("rests", 1)
    member = bed.joined("rests", topic, 1)
    place = TopicPartition(topic, 0)
    producer = bed.producer("rests")
    wanted = {place: Committed(0, "row=7")}
    producer.begin()
    producer.send_offsets(wanted, member.membership(), LIMIT_S)
    producer.commit(LIMIT_S)

    def kept() -> bool:
        member.poll(1, 0.2)
        return bed.log.committed(bed.name("rests"), topic) == wanted

    try:
        until(lambda: not kept(), "", 100)
    except AssertionError:
        pass
    else:
        need(found=False, what="positions of a group with a member stay")
    member.close(leave=True)
    gone_s = until(
        lambda: not bed.log.committed(bed.name("rests"), topic),
        "positions of a group without members go", 120,
    )  # fmt: skip
    yield (
        "with offsets.retention.minutes=1: kept for 100 s by a member that reads nothing; gone "
        f"{gone_s:.0f} s after it left"
    )
