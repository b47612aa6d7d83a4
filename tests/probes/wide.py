"""Transactions over many partitions, and blocks of half a mebibyte."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from confluent_kafka.admin import AdminClient, NewTopic

from processor.errors import AbortableError
from processor.model.headers import headers_of
from processor.model.log import Committed, Output, TopicPartition
from tests.probes.bed import LIMIT_S, Bed, need, same, spread, until

WIDTHS = (1, 4, 40, 100)
BLOCK = 1_200
LARGE = 512 * 1024
PAUSE_S = 0.05
UPSTREAM = [("upstream", b"enrich;0;4;17;100-200;1700000000000")]


def all_or_none(bed: Bed) -> Iterator[str]:
    """What goes to 100 partitions in one transaction is in all of them, or in none."""
    width = WIDTHS[-1]
    topic = bed.topic("whole", width)
    source = bed.topic("source", 1)
    member = bed.joined("whole", source, 1)
    reader = bed.reader(topic, width)
    producer = bed.producer("whole")
    for attempt, end in enumerate((producer.abort, producer.commit)):
        producer.begin()
        for partition in range(width):
            producer.produce(Output(topic, [b"%d" % attempt], partition=partition))
        producer.flush(LIMIT_S)
        offsets = {TopicPartition(source, 0): Committed(attempt + 1, "")}
        producer.send_offsets(offsets, member.membership(), LIMIT_S)
        end(LIMIT_S)
    took_s = reader.sees(width)
    until(lambda: set(reader.more().end.values()) == {4}, "two records and two marks in each")
    same(reader.values, [b"1"] * width, "what is read of an aborted and a committed one")
    yield f"{width} partitions: by abort none, by commit all, within {1000 * took_s:.0f} ms"


def times(bed: Bed) -> Iterator[str]:
    """How long a transaction over so many partitions takes: soft figures."""
    source = bed.topic("source", 1)
    member = bed.joined("times", source, 1)
    for width in (WIDTHS[0], WIDTHS[2]) if bed.short else WIDTHS:
        topic = bed.topic(f"wide{width}", width)
        reader = bed.reader(topic, width, f"wide{width}")
        producer = bed.producer(f"times{width}")
        batch = Batch(producer, topic, width, TopicPartition(source, 0), member)
        batch.run(0)  # the first one makes connections
        count = 3 if bed.short else 40
        cpu_s = time.process_time()
        steps = [batch.run(number) for number in range(1, count)]
        whole = spread([sum(step) for step in steps])
        parts = ", ".join(f"{1000 * min(part):.1f}" for part in zip(*steps, strict=True))
        cpu_s = (time.process_time() - cpu_s) / (count - 1)
        reader.sees(width * count)
        seen, apart = [], []
        for number in range(count, 2 * count):
            time.sleep(PAUSE_S)
            apart.append(sum(batch.run(number)))
            seen.append(reader.sees(width * (number + 1)))
        yield (
            f"{width:>3} partitions: back to back {whole} (write, offsets, commit at "
            f"least {parts}; {1000 * cpu_s:.1f} of CPU with the reader's); "
            f"{1000 * PAUSE_S:.0f} ms apart {spread(apart)}, seen behind after {spread(seen)} more"
        )


class Batch:
    """One block to each partition and the offsets, in one transaction."""

    def __init__(self, producer, topic: str, width: int, source: TopicPartition, member) -> None:
        self.producer, self.topic, self.width = producer, topic, width
        self.source, self.member = source, member

    def run(self, number: int) -> tuple[float, float, float]:
        """Gives the seconds of writing, of sending the offsets, and of the commit."""
        blocks = [os.urandom(BLOCK) for _ in range(self.width)]
        began = time.perf_counter()
        self.producer.begin()
        for partition, block in enumerate(blocks):
            self.producer.produce(
                Output(self.topic, [block], headers=[UPSTREAM], partition=partition)
            )
        self.producer.flush(LIMIT_S)
        written = time.perf_counter()
        offsets = {self.source: Committed(number, "m")}
        self.producer.send_offsets(offsets, self.member.membership(), LIMIT_S)
        sent = time.perf_counter()
        self.producer.commit(LIMIT_S)
        return written - began, sent - written, time.perf_counter() - sent


def large(bed: Bed) -> Iterator[str]:
    """Blocks of 512 KiB to 40 partitions arrive whole, in order and with their headers."""
    width = WIDTHS[2]
    each = 1 if bed.short else 4
    topic = bed.topic("large", width)
    reader = bed.reader(topic, width)
    for compression in ("lz4", "none"):
        log = bed.logged({"producer.compression.type": compression})
        producer = bed.producer(f"large-{compression}", log)
        blocks = [[os.urandom(LARGE) for _ in range(each)] for _ in range(width)]
        known, began, cpu = len(reader.values), time.perf_counter(), time.process_time()
        producer.begin()
        for partition, mine in enumerate(blocks):
            producer.produce(Output(topic, mine, headers=[UPSTREAM] * each, partition=partition))
        producer.flush(LIMIT_S)
        producer.commit(LIMIT_S)
        wrote_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        read_s = reader.sees(known + width * each)
        got: list[list[bytes]] = [[] for _ in range(width)]
        for message in reader.messages[known:]:
            got[message.partition()].append(message.value())
            same(list(headers_of(message)), UPSTREAM, "a block's headers")
        need(got == blocks, "every block arrives as it was written, in order")
        yield (
            f"{width} x {each} blocks of 512 KiB, {compression}: written in {wrote_s:.2f} s "
            f"({1000 * cpu_s / width / each:.1f} ms of CPU a block), read in {read_s:.2f} s more"
        )
    yield from _limits(bed)


def _limits(bed: Bed) -> Iterator[str]:
    """A topic with the broker's own limit takes a block of 512 KiB, and none of 1 MiB."""
    topic = bed.name("default")
    plain = AdminClient({"bootstrap.servers": bed.servers, "log_level": 2})
    plain.create_topics([NewTopic(topic, 1)])[topic].result(LIMIT_S)
    producer = bed.producer("limits")
    for size, taken in ((LARGE, True), (2 * LARGE + 1024, False)):
        producer.begin()
        try:
            producer.produce(Output(topic, [os.urandom(size)], partition=0))
            producer.flush(LIMIT_S)
        except AbortableError:
            producer.abort(LIMIT_S)
            need(not taken, f"{size} bytes are taken")
        else:
            producer.commit(LIMIT_S)
            need(taken, f"{size} bytes are refused")
    yield "a topic of the broker's own limits takes 512 KiB, and refuses 1 MiB by name"
