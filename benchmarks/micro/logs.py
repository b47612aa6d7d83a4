"""``python -m benchmarks.micro.logs``: records a second into the embedded logs and out of them.

Transactions of ``--batch`` keyed records of about 60 bytes go into a topic of four partitions, a
fifth as many at a time for comparison, and single ones; then a member reads all of them, as a
worker does, 4,000 at a time. *disk* is what the log has in its directory at the end. The directory
is made in ``--place``: a disk, not a file system in memory.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from processor.connectors.memory.group import MemberToken
from processor.connectors.memory.log import MemoryLog
from processor.connectors.sqlite.log import SqliteLog
from processor.model.log import Assigned, Committed, Membership, Output, TopicPartition

TOPIC: Final = "rides"
PARTITIONS: Final = 4
AT_ONCE: Final = 4_000


def written(log: MemoryLog, records: int, batch: int, first: int = 0) -> float:
    """Seconds for so many records in transactions of ``batch``, with a position each."""
    producer = log.producer("writer")
    producer.start(10)
    nobody = Membership(-1, frozenset(), MemberToken("outside", "", 0))
    started = time.perf_counter()
    for start in range(first, first + records, batch):
        numbers = range(start, start + batch)
        values = [b'{"cluster": %d, "trips": 17, "at": "2014-08-01T00:00:00"}' % n for n in numbers]
        producer.begin()
        producer.produce(Output(TOPIC, values, [b"%d" % (n % 1000) for n in numbers]))
        producer.send_offsets({TopicPartition("in", 0): Committed(start, "x" * 400)}, nobody, 10)
        producer.commit(10)
    return time.perf_counter() - started


def read(log: MemoryLog, records: int) -> float:
    """Seconds for a member to read so many."""
    consumer = log.consumer("reader", "reader", [TOPIC])
    started, found = time.perf_counter(), 0
    while found < records:
        polled = consumer.poll(AT_ONCE, 1)
        for change in polled.changes:
            if isinstance(change, Assigned):
                consumer.open(dict.fromkeys(change.partitions, 0))
        found += len([message.value() for message in polled.messages])
    taken = time.perf_counter() - started
    consumer.close(leave=True)
    return taken


def measured(log: MemoryLog, records: int, batch: int) -> dict[str, Any]:
    log.create({TOPIC: PARTITIONS, "in": 1})
    few = max(1, batch // 5)
    whole, fifth = written(log, records, batch), written(log, records // 5, few, records)
    single = written(log, 200, 1, 2 * records)
    return {
        f"in, {batch:,} a transaction": records / whole,
        f"in, {few:,} a transaction": records // 5 / fifth,
        "in, 1 a transaction": 200 / single,
        "out": (records + records // 5) / read(log, records + records // 5),
    }


def rows(records: int, batch: int, place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "memory", measured(MemoryLog(), records, batch)
    with tempfile.TemporaryDirectory(dir=place) as made:
        directory = Path(made, "data")
        with closing(SqliteLog(directory)) as log:
            found = measured(log, records, batch)
        disk = sum(file.stat().st_size for file in directory.iterdir())
        started = time.perf_counter()
        with closing(SqliteLog(directory)):
            found |= {
                "ms to open": 1000 * (time.perf_counter() - started),
                "MB on disk": disk / 1e6,
            }
        yield "SQLite", found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=20_000)
    parser.add_argument("--place", type=Path, default=Path.cwd())
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for name, found in rows(given.records, given.batch, given.place):
        if given.json:
            print(json.dumps({"log": name, **found}))
            continue
        print(name)
        for what, number in found.items():
            print(f"  {what:<28} {number:>12,.0f}")


if __name__ == "__main__":
    main()
