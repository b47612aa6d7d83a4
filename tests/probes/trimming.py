"""A topic that is kept for ever, and trimmed by who knows what is not needed any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from confluent_kafka.admin import AdminClient, ConfigEntry, ConfigResource, NewTopic
from confluent_kafka.admin import AlterConfigOpType as Op

from processor.errors import LogError
from processor.model.log import Extent, Output, TopicPartition
from tests.probes.bed import LIMIT_S, Bed, need, put, same, until

DECADE_MS = 10 * 365 * 86_400_000
MIB = 1024 * 1024
# What is over is thrown away within a second.
SWEEPS = {"log.retention.check.interval.ms": "1000", "log.initial.task.delay.ms": "100"}


def trimmed(bed: Bed) -> Iterator[str]:
    """The low end moves, what is behind it stays, and who is before it is told."""
    place = TopicPartition(bed.topic("trimmed"), 0)
    producer = bed.producer(None)
    for number in range(10):
        put(producer, place, b"%d" % number)
    began = time.perf_counter()
    bed.log.trim(place, 6)
    took_s = time.perf_counter() - began
    same(bed.log.describe([place.topic])[place.topic].extents[0], Extent(6, 10), "what is there")
    bed.log.trim(place, 3)
    same(bed.log.describe([place.topic])[place.topic].extents[0], Extent(6, 10), "trimmed before")
    rest = [m.value() for part in bed.log.scan(place, 6, 99) for m in part]
    same(rest, [b"6", b"7", b"8", b"9"], "what is read")
    reader = bed.joined("early", place.topic, 1)
    reader.open({place: 2})
    try:
        until(lambda: reader.poll(10, 0.1) is None, "", 10)
    except LogError as problem:
        need("outside what the topic holds" in problem.remedy, f"it is named: {problem}")
    else:
        need(found=False, what="a reader before the low end is told")
    try:
        bed.log.trim(place, 11)
    except LogError as problem:
        refused = problem.message
    else:
        need(found=False, what="nothing is trimmed behind the end")
    bed.log.trim(place, 10)
    same(bed.log.describe([place.topic])[place.topic].extents[0], Extent(10, 10), "all trimmed")
    put(producer, place, b"10")
    same([m.offset() for part in bed.log.scan(place, 10, 99) for m in part], [10], "goes on")
    yield f"{1000 * took_s:.1f} ms; a reader before it is stopped by name; past the end: {refused}"


def past_open(bed: Bed) -> Iterator[str]:
    """A broker trims what is in an open transaction, too: only the stage can know better."""
    place = TopicPartition(bed.topic("past"), 0)
    open_ = bed.producer("open")
    open_.begin()
    put(open_, place, b"open")
    other = bed.producer("other")
    other.begin()
    put(other, place, b"other")
    other.commit(LIMIT_S)
    until(lambda: bed.ends(place)[0] == (0, 3), "the mark of the second")
    bed.log.trim(place, 2)
    extents = bed.log.describe([place.topic])[place.topic].extents[0]
    open_.commit(LIMIT_S)
    until(lambda: bed.ends(place)[0] == (4, 4), "the mark of the first")
    read = [m.value() for part in bed.log.scan(place, 2, 99) for m in part]
    same(read, [], "what is left of both")
    yield f"trimmed to 2 with a transaction open at 0: taken ({extents.low} to {extents.high})"


def kept(bed: Bed) -> Iterator[str]:
    """Records of ten years ago stay where retention.ms is -1, and go elsewhere."""
    ever, week = TopicPartition(bed.topic("ever"), 0), TopicPartition(bed.name("week"), 0)
    plain = AdminClient({"bootstrap.servers": bed.servers, "log_level": 2})
    plain.create_topics([NewTopic(week.topic, 1)])[week.topic].result(LIMIT_S)
    producer = bed.producer(None)
    old_ms = round(time.time() * 1000) - DECADE_MS
    for place in (ever, week):
        producer.produce(Output(place.topic, [b"old"] * 5, timestamps=[old_ms] * 5, partition=0))
        producer.flush(LIMIT_S)

    def extents() -> list[Extent]:
        found = bed.log.describe([ever.topic, week.topic])
        return [found[p.topic].extents[0] for p in (ever, week)]

    gone_s = until(lambda: extents()[1] == Extent(5, 5), "records past a week go")
    same(extents()[0], Extent(0, 5), "records that are kept for ever")
    yield f"ten years old: kept by retention.ms=-1; with the default gone after {gone_s:.1f} s"


def room(bed: Bed) -> Iterator[str]:
    """Trimming gives room on the disk by whole segments that are closed."""
    for name, segment in (("default", {}), ("small", {"segment.bytes": str(MIB)})):
        place = TopicPartition(bed.topic(name), 0)
        if segment:
            _alter(bed, place.topic, segment)
        producer = bed.producer(None)
        for _ in range(20):
            put(producer, place, os.urandom(MIB // 2))
        before = _disk(bed, place)
        bed.log.trim(place, 20)
        try:
            until(lambda at=place: _disk(bed, at) < 2 * MIB, "", 8)
        except AssertionError:
            need(not segment, "closed segments are deleted")
        else:
            need(segment, "the open segment stays")
        yield (
            f"segments of {name} size: {before / MIB:.1f} MiB before, "
            f"{_disk(bed, place) / MIB:.1f} MiB after"
        )


def _alter(bed: Bed, topic: str, config: dict[str, str]) -> None:
    entries = [ConfigEntry(k, v, incremental_operation=Op.SET) for k, v in config.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    client = AdminClient({"bootstrap.servers": bed.servers, "log_level": 2})
    for answer in client.incremental_alter_configs([resource]).values():
        answer.result(LIMIT_S)


def _disk(bed: Bed, place: TopicPartition) -> int:
    """The bytes of the partition's segments; one may be deleted while it is looked at."""
    found = 0
    where = Path(bed.broker._directory) / "data" / f"{place.topic}-{place.partition}"
    for segment in where.glob("*.log"):
        with suppress(FileNotFoundError):
            found += segment.stat().st_size
    return found


def comes_back(bed: Bed) -> Iterator[str]:
    """After a broker that was killed, trimmed records may be there again: no reader may mind."""
    place = TopicPartition(bed.topic("back"), 0)
    put(bed.producer(None), place, *[b"%d" % n for n in range(10)])
    lows = []
    for stop in ("stop", "kill"):
        bed.log.trim(place, 5 if stop == "stop" else 8)
        getattr(bed.broker, stop)()
        bed.broker.restart()
        until(lambda: bed.log.describe([place.topic]), "the broker answers")
        lows.append(bed.log.describe([place.topic])[place.topic].extents[0].low)
    same(lows[0], 5, "the low end after a stop in order")
    need(lows[1] in (5, 8), f"the low end after a kill: {lows[1]}")
    yield f"low end trimmed to 5, stopped in order: {lows[0]}; trimmed to 8, killed: {lows[1]}"
