"""Where a partition ends: the high watermark, the last stable offset, and a hanging transaction."""

from __future__ import annotations

from collections.abc import Iterator

from processor.model.log import Extent, TopicPartition
from tests.probes.bed import LIMIT_S, Bed, need, put, same, until

# Long enough that a busy machine has looked meanwhile.
HANGS_MS = 5_000


def hanging(bed: Bed) -> Iterator[str]:
    """A reader stops before an open transaction, says that this is the end, and later goes on."""
    place = TopicPartition(bed.topic("hangs"), 0)
    reader = bed.reader(place.topic)
    open_ = bed.producer("hangs", bed.logged(transaction_ms=HANGS_MS))
    behind = bed.producer("behind")
    before = bed.producer("before")
    before.begin()
    put(before, place, b"before")
    before.commit(LIMIT_S)
    open_.begin()
    put(open_, place, b"open")
    behind.begin()
    put(behind, place, b"behind")
    behind.commit(LIMIT_S)
    reader.sees(1)
    stable, top = bed.ends(place)[0]
    until(lambda: reader.more().end.get(place) == stable, "the reader is told of an end")
    need(stable < top, f"the last stable offset {stable} is before the high watermark {top}")
    same(reader.values, [b"before"], "what a reader sees")
    held_s = until(lambda: len(reader.more().values) == 2, "the broker ends the transaction")
    same(reader.values, [b"before", b"behind"], "what a reader sees in the end")
    until(lambda: bed.ends(place)[0][0] > top, "the mark of the abort is stable")
    last = bed.ends(place)[0]
    until(lambda: reader.more().end.get(place) == last[1], "the end behind the last mark")
    same(last[0], last[1], "nothing is open")
    yield (
        f"the reader's end is {stable} (the last stable offset), the partition's {top}; held "
        f"{held_s:.1f} s with a time-out of {HANGS_MS / 1000:g} s and a look each second; then the "
        f"end is {last[1]} for both, marks counted"
    )


def asked(bed: Bed) -> Iterator[str]:
    """Who asks for the end is told the last stable offset, or the high watermark."""
    topic = bed.topic("asked", 3)
    rows, nothing, aborted = (TopicPartition(topic, p) for p in range(3))
    reader = bed.reader(topic, 3)
    producer = bed.producer("asked")
    producer.begin()
    put(producer, aborted, b"aborted")
    producer.abort(LIMIT_S)
    producer.begin()
    put(producer, rows, b"open")
    until(lambda: bed.ends(aborted) == [(2, 2)], "an aborted record and its mark")
    same(bed.ends(rows, nothing), [(0, 1), (0, 0)], "stable and high, while it is open")
    same(reader.consumer.extent(rows, LIMIT_S), Extent(0, 0), "the reader's own question")
    same(bed.log.describe([topic])[topic].extents[0], Extent(0, 0), "a topic's description")
    same([m for part in bed.log.scan(rows, 0, 9) for m in part], [], "a scan of what is committed")
    read = [m.value() for part in bed.log.scan(rows, 0, 9, committed=False) for m in part]
    same(read, [b"open"], "a scan to the high watermark")
    until(lambda: len(reader.more().end) == 3, "an end of each partition")
    same(reader.end, {rows: 0, nothing: 0, aborted: 2}, "the ends that the reader is told")
    producer.commit(LIMIT_S)
    took_s = reader.sees(1)
    until(lambda: reader.more().end[rows] == 2, "the end behind the mark")
    yield (
        "open: stable 0, high 1; asked by `extent`, `describe` and a poll's ends: 0; by `look`: "
        f"both; an aborted record alone: 2 for both; seen {1000 * took_s:.0f} ms after the commit"
    )
