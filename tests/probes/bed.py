"""A broker to probe: the product's own connectors on it, topics, and clients that are closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from uuid import uuid4

from processor.connectors.kafka import KafkaLog
from processor.model.log import Output, TopicPartition

SESSION_MS = 6_000
# Nothing ends a transaction but what a probe does.
TRANSACTION_MS = 60_000
LIMIT_S = 30.0


class UnlikeError(AssertionError):
    """The broker does something else than the design needs."""


def need(found: object, what: str) -> None:
    """Goes on if ``found`` is true; else says what was needed."""
    if not found:
        raise UnlikeError(what)


def same(found: object, wanted: object, what: str) -> None:
    """Goes on if both are equal; else says what was needed and what came."""
    if found != wanted:
        raise UnlikeError(f"{what}: wanted {wanted!r}, got {found!r}")


def until(done: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> float:
    """Looks until ``done()`` is true; gives the seconds that it took."""
    began = time.monotonic()
    while not done():
        need(time.monotonic() - began < limit_s, f"not within {limit_s:g} s: {what}")
        time.sleep(0.002)
    return time.monotonic() - began


def spread(seconds: list[float]) -> str:
    """Times in milliseconds: the least, which a busy machine disturbs least, median and most."""
    found = min(seconds), median(seconds), max(seconds)
    return " / ".join(f"{1000 * each:.1f}" for each in found) + " ms"


class Bed:
    """Where one probe lies: names of its own, short or at length.

    Args:
        servers: the broker's address.
        short: a probe does once what it else does often enough for a figure.
        broker: the server itself, if it was started for this probe and may be stopped.
    """

    def __init__(self, servers: str, stack: ExitStack, *, short: bool, broker=None) -> None:
        self.servers, self.short, self.broker, self.stack = servers, short, broker, stack
        self.id = uuid4().hex[:8]
        self.log = self.logged()

    def logged(self, extra: Mapping[str, str] | None = None, transaction_ms: int = TRANSACTION_MS):
        """Another log on the same broker."""
        log = KafkaLog(
            self.servers, extra, session_timeout_ms=SESSION_MS,
            transaction_timeout_ms=transaction_ms,
        )  # fmt: skip
        self.stack.callback(log.close)
        return log

    def name(self, of: str) -> str:
        """A name that no other probe has."""
        return f"{of}-{self.id}"

    def topic(self, name: str, partitions: int = 1) -> str:
        """An internal topic, as the processor makes them: kept for ever."""
        self.log.create({self.name(name): partitions}, forever=True)
        return self.name(name)

    def producer(self, name: str | None, log: KafkaLog | None = None, *, start: bool = True):
        """A producer of the processor that has its identity."""
        made = (log or self.log).producer(name and self.name(name))
        self.stack.callback(made.close)
        if start:
            made.start(LIMIT_S)
        return made

    def consumer(self, group: str, topic: str, instance: str = "a", log: KafkaLog | None = None):
        """A member of a group that has not polled yet."""
        made = (log or self.log).consumer(self.name(group), instance, [topic])
        self.stack.callback(made.close, leave=False)
        return made

    def joined(self, group: str, topic: str, partitions: int, log: KafkaLog | None = None):
        """A member that has been given so many partitions, and has opened none."""
        made = self.consumer(group, topic, log=log)
        until(lambda: made.poll(1, 0.05) and len(made.membership().partitions) == partitions,
              f"{partitions} partitions of {topic}")  # fmt: skip
        return made

    def reader(self, topic: str, partitions: int = 1, group: str = "behind") -> Reading:
        """A stage behind: a member that reads all partitions from their beginning."""
        made = self.joined(group, topic, partitions)
        made.open({TopicPartition(topic, p): 0 for p in range(partitions)})
        return Reading(made)

    def ends(self, *partitions: TopicPartition) -> list[tuple[int, int]]:
        """Of each partition the last stable offset and the high watermark."""
        view = self.log.look({p.topic for p in partitions}, partitions, LIMIT_S)
        need(view.stable.keys() == view.tops.keys() == set(partitions), "each partition answers")
        return [(view.stable[p], view.tops[p]) for p in partitions]


class Reading:
    """What a reader has seen so far."""

    def __init__(self, consumer) -> None:
        self.consumer = consumer
        self.values: list[bytes] = []
        self.messages: list = []
        self.end: dict[TopicPartition, int] = {}

    def more(self, timeout_s: float = 0.02) -> Reading:
        """One poll."""
        polled = self.consumer.poll(1_000, timeout_s)
        self.messages += polled.messages
        self.values += [m.value() for m in polled.messages]
        self.end |= polled.ends
        return self

    def sees(self, count: int) -> float:
        """Reads until there are so many records; gives the seconds that it took."""
        return until(lambda: len(self.more(0.001).values) >= count, f"{count} records are read")


def put(producer, partition: TopicPartition, *values: bytes) -> None:
    """Writes records to one partition, and waits for the broker to have them."""
    producer.produce(Output(partition.topic, list(values), partition=partition.partition))
    producer.flush(LIMIT_S)


@dataclass(frozen=True)
class Probe:
    """One question.

    ``run`` gives lines with what was seen, and raises `UnlikeError` where the broker does something
    else than the design needs. ``settings`` are those of a broker that is started for it alone.
    """

    name: str
    question: str
    run: Callable[[Bed], Iterator[str]]
    in_tests: bool = True
    settings: Mapping[str, str] | None = None
