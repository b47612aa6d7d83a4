"""What a test driver runs and feeds with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

import orjson

from processor.engine.running.feeder import Feeder
from processor.engine.running.worker import Worker
from processor.errors import ProcessorError
from processor.feeds.base import Feed
from processor.formats.base import Format, SchemaFormat
from processor.plan.nodes import Plan, Source

Value = TypeVar("Value")


class Inline(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call, and return the finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future carries whatever was raised
            future.set_exception(error)
        return future


def several(values: Iterable[Value]) -> Iterable[Value]:
    """Records one after the other; raises `ProcessorError` for one that is given by itself."""
    if isinstance(values, str | bytes | Mapping):
        raise ProcessorError(
            f"feed takes a list of records, not {type(values).__name__}",
            remedy="put it into a list: feed([record])",
        )
    return values


def encoded(form: Format | None, value: str | bytes | Mapping[str, Any] | None) -> bytes | None:
    """A record's bytes, as a producer of a topic of this format writes it."""
    if isinstance(form, SchemaFormat) and isinstance(value, Mapping):
        return form.records([value])[0]
    return None if value is None else as_bytes(value)


def as_bytes(value: str | bytes | Mapping[str, Any]) -> bytes:
    """Text as UTF-8, mappings as JSON."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def feeder_of(feed: Feed | None) -> str:
    """What the feeder of a feed is called; empty without one.

    >>> feeder_of(None)
    ''
    """
    return "" if feed is None else f"feed-{feed.name}"


def running(workers: Mapping[Any, Value], who: object) -> Value:
    """The worker of this name; raises `ProcessorError` where none runs."""
    if who not in workers:
        raise ProcessorError(
            f"no worker {who!r} is at work",
            remedy=f"restart({who!r}) starts one; at work are {', '.join(map(repr, workers))}",
        )
    return workers[who]


def taken(workers: dict[Any, Value], who: object) -> Value:
    """The worker of this name, out of those that run; raises `ProcessorError` where none does."""
    found = running(workers, who)
    del workers[who]
    return found


def plan_of(plans: Sequence[Plan], name: str) -> Plan:
    """The stage of this name, or that a feeder of this name feeds; raises `ProcessorError`."""
    begin = f"{plans[0].app}."
    by_name = {feeder_of(p.source().feed): p for p in plans if p.source().feed}
    by_name |= {plan.app.removeprefix(begin): plan for plan in plans}
    if name not in by_name:
        raise ProcessorError(
            f"no stage is called {name!r}", remedy=f"there are: {', '.join(by_name)}"
        )
    return by_name[name]


def topics_of(feed: Feed | None) -> dict[str, int]:
    """The topics that a feed writes, with their partitions."""
    if feed is None:
        return {}
    topics = [feed.topic, *([feed.ledger] if feed.ledger else [])]
    return dict.fromkeys(topics, feed.partitions)


def killed(one: object) -> None:
    """What the system closes of a process that is gone: no file of a feed stays open."""
    for fed in one.tasks.values() if isinstance(one, Feeder) else ():
        fed.reading.close()


def tells(one: Worker | Feeder) -> bool:
    """Let a worker tell what it owes; whether it did."""
    return isinstance(one, Worker) and one.tell()


def holds(workers: Iterable[Worker | Feeder]) -> bool:
    """Whether one of them lets partitions wait that are far ahead of others."""
    return any(isinstance(one, Worker) and one.held for one in workers)


def fills(one: Worker | Feeder) -> bool:
    """Whether its batch waits for what the client has ready."""
    return isinstance(one, Worker) and one.filling


def begins(one: Worker | Feeder, source: Source) -> bool:
    """Whether this is the feeder of a source, and has not begun."""
    return isinstance(one, Feeder) and one.feed == source.feed and not one.tasks


def source_of(plans: Sequence[Plan], topic: str | None) -> Source:
    """The source of this topic; raises `ProcessorError` where none reads it, or it is not said."""
    read = {plan.source().topic: plan.source() for plan in reversed(plans)}
    written = {sink.topic for plan in plans for sink in plan.sinks}
    given = [name for name in reversed(read) if name not in written] or list(read)
    if topic is None and len(given) > 1:
        raise ProcessorError(
            "several topics are read, and which to feed is not said",
            remedy=f"feed(..., topic=...): one of {', '.join(given)}",
        )
    found = read.get(given[0] if topic is None else topic)
    if found is None:
        raise ProcessorError(
            f"no stage reads {topic!r}", remedy=f"those that are read: {', '.join(reversed(read))}"
        )
    return found
